"""Half-open UTC intervals and settlement grids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta


class IntervalError(ValueError):
    """An interval that is empty, reversed or without a time zone."""


def require_aware(at: datetime, name: str = "at") -> datetime:
    """Return the instant unchanged; raise IntervalError when it carries no time zone."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise IntervalError(f"{name} is {at.isoformat()} without a time zone, accepted: an aware instant")
    return at


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A half-open period ``[starts_at, ends_at)`` of aware instants."""

    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        require_aware(self.starts_at, "starts_at")
        require_aware(self.ends_at, "ends_at")
        if self.ends_at <= self.starts_at:
            raise IntervalError(
                f"interval ends at {self.ends_at.isoformat()}, accepted: after its start {self.starts_at.isoformat()}"
            )

    def __contains__(self, at: datetime) -> bool:
        return self.starts_at <= at < self.ends_at

    @property
    def duration(self) -> timedelta:
        """Length of the period."""
        return self.ends_at - self.starts_at

    @property
    def duration_s(self) -> float:
        """Length of the period [s]."""
        return self.duration.total_seconds()

    @property
    def duration_h(self) -> float:
        """Length of the period [h]."""
        return self.duration_s / 3600.0

    def overlap(self, other: Interval) -> Interval | None:
        """Return the common part of two periods, or None when they only touch or are apart."""
        starts_at = max(self.starts_at, other.starts_at)
        ends_at = min(self.ends_at, other.ends_at)
        return Interval(starts_at, ends_at) if starts_at < ends_at else None

    def split(self, step: timedelta) -> Iterator[Interval]:
        """Yield the period in steps from its start; the last one may be shorter.

        Raises IntervalError when the step is not positive.
        """
        if step <= timedelta(0):
            raise IntervalError(f"step is {step}, accepted: more than 0")
        starts_at = self.starts_at
        while starts_at < self.ends_at:
            ends_at = min(starts_at + step, self.ends_at)
            yield Interval(starts_at, ends_at)
            starts_at = ends_at
