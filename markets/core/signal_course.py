"""What an operator asked for over time: steps of a signal in shares of contract, with a text that a book can name."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from sites.core.curves import FloatArray
from sites.core.intervals import Interval, require_aware

MOST_VALUES: Final = 200_000
"""A day at 2 s is 43,200."""
_MOST_BYTES: Final = 16 * MOST_VALUES + 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SignalInvalid(ValueError):
    """A signal that cannot be read; the message says which value and what is accepted."""


@dataclass(frozen=True, slots=True)
class SignalCourse:
    """A signal that holds each value until the next one; before the first it asks for nothing."""

    at_us: tuple[int, ...]
    """Instants since 1970 [us], rising."""
    values: tuple[float, ...]
    """Shares of contract, -1 to 1, in the product's direction where it has one, else positive into the grid."""

    def __post_init__(self) -> None:
        if not self.at_us or len(self.at_us) != len(self.values):
            raise SignalInvalid(f"{len(self.at_us)} instants and {len(self.values)} values, accepted: one each or more")
        if len(self.at_us) > MOST_VALUES:
            raise SignalInvalid(f"{len(self.at_us)} values, accepted: {MOST_VALUES} at most")
        back = np.flatnonzero(np.diff(np.asarray(self.at_us, dtype=np.int64)) <= 0)
        if back.size:
            raise SignalInvalid(f"value {int(back[0]) + 2} is not after the one before, accepted: rising instants")
        beyond = np.flatnonzero(~(np.abs(np.asarray(self.values)) <= 1.0))
        if beyond.size:
            at = int(beyond[0])
            raise SignalInvalid(f"value {at + 1} is {self.values[at]}, accepted: -1 to 1, shares of the contract")

    def samples(self, window: Interval, rate_hz: float, count: int) -> FloatArray:
        """Return the value at each sample of a window, shape ``(count,)``; one on its instant already holds."""
        since_us = np.asarray(self.at_us, dtype=np.int64) - _us(window.starts_at)
        first = np.ceil(since_us * rate_hz / 1e6 - 1e-6)
        held = np.searchsorted(first, np.arange(count), side="right") - 1
        return np.where(held >= 0, np.asarray(self.values)[np.maximum(held, 0)], 0.0)

    def to_bytes(self) -> bytes:
        """Return instants and values, compressed."""
        return zlib.compress(
            np.asarray(self.at_us, dtype="<i8").tobytes() + np.asarray(self.values, dtype="<f8").tobytes()
        )

    @property
    def digest(self) -> str:
        """SHA-256 of instants and values [64 hex]."""
        plain = np.asarray(self.at_us, dtype="<i8").tobytes() + np.asarray(self.values, dtype="<f8").tobytes()
        return hashlib.sha256(plain).hexdigest()


def course_of(rows: Sequence[tuple[datetime, float]]) -> SignalCourse:
    """Return the course of (instant, value) rows; raise SignalInvalid."""
    return SignalCourse(tuple(_us(require_aware(at)) for at, _ in rows), tuple(float(value) for _, value in rows))


def course_of_bytes(packed: bytes) -> SignalCourse:
    """Return the course of ``to_bytes``; raise SignalInvalid for other bytes."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise SignalInvalid(f"a stored signal of {len(packed)} bytes is damaged: {error}") from None
    if inflater.unconsumed_tail or len(plain) % 16:
        raise SignalInvalid(f"a stored signal has {len(plain)} bytes or more, accepted: 16 for each value")
    half = len(plain) // 2
    return SignalCourse(
        tuple(np.frombuffer(plain[:half], dtype="<i8").tolist()), tuple(np.frombuffer(plain[half:], "<f8").tolist())
    )


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
