"""The rows of a batch on their way to the database: bounded in every part; no database, no clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from sites.metering.streams import NumberedItem

T = TypeVar("T")

MAX_KEPT_REFUSALS: Final = 200
"""Refused messages kept of one batch; the rest is only counted, so that a flood stays cheap."""
MAX_KEPT_BYTES: Final = 4096
MAX_READINGS: Final = 200_000
MAX_NUMBERED: Final = 20_000
MAX_NUMBERED_BYTES: Final = 64_000_000


ReadingItem = tuple[int, str, tuple[str, ...], int, int, tuple[float, ...]]
"""Site's key, asset's name or "", metrics, measured and received [ms since 1970 UTC], values."""


@dataclass(slots=True)
class LiveRow:
    """The newest values of one site, each the latest received."""

    site_id: str
    measured_at: datetime
    received_at: datetime
    values: dict[str, Any] = field(default_factory=dict)
    """Subset of LIVE_FIELDS, or of STANDING_FIELDS."""


@dataclass(slots=True)
class Refusal:
    """One refused message or metric, as it is kept."""

    received_at: datetime
    topic: str
    error: str
    detail: str
    size_bytes: int
    payload: bytes


@dataclass(slots=True)
class Unseen:
    """A metric that nobody mapped."""

    type: str
    unit: str
    value: str
    seen_at: datetime
    count: int = 0


@dataclass(slots=True)
class Batch:
    """Rows on their way to the database, bounded in every part.

    When the database does not keep up, the oldest live readings are dropped first: they carry no
    number and nothing was promised for them. Numbered data beyond the bound is not taken in: its
    site was not told `stored_through`, keeps it and sends it again.
    """

    readings: list[ReadingItem] = field(default_factory=list)
    live: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> its newest row; one per site and batch."""
    standing: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> what it stands at, where that was told anew."""
    numbered: list[NumberedItem] = field(default_factory=list)
    numbered_bytes: int = 0
    refused_numbers: dict[tuple[int, str, int], str] = field(default_factory=dict)
    """(site's key, stream, number) -> error, of content that can never be accepted."""
    refusals: list[Refusal] = field(default_factory=list)
    refused: int = 0
    """How often something was refused, kept or not."""
    unmapped: dict[tuple[int, str, str], Unseen] = field(default_factory=dict)
    """(site's key, device, name) -> what was seen of a gateway's metric that nobody mapped."""
    counts: Counter[str] = field(default_factory=Counter)
    due: set[tuple[int, int]] = field(default_factory=set)
    """(partition, minute since 1970) that the readings belong to: their roll-ups have to be made."""
    first_at: datetime | None = None
    """When the oldest message in it arrived."""
    partitions: frozenset[int] = frozenset()
    """Partitions that its worker must still hold when it is written."""
    born: set[str] = field(default_factory=set)
    """Sites whose births came with it: they are told their marks when all that came before is stored."""

    @property
    def rows(self) -> int:
        """Rows that the batch will write, about."""
        return len(self.readings) + len(self.live) + len(self.standing) + len(self.numbered) + len(self.refusals)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.rows or self.counts or self.refused_numbers or self.born or self.unmapped)

    def sealed(self) -> Batch:
        """Return the batch as it is handed to another thread: with its own copy of the live rows."""
        self.live = {pk: replace(row, values=dict(row.values)) for pk, row in self.live.items()}
        self.standing = {pk: replace(row, values=dict(row.values)) for pk, row in self.standing.items()}
        return self

    def refuse(
        self,
        *,
        error: str,
        topic: str,
        detail: str,
        payload: bytes,
        received_at: datetime,
        size_bytes: int | None = None,
    ) -> None:
        """Count a refusal and keep the message, cut, while there is room."""
        self.counts[error[:40]] += 1
        self.refused += 1
        if len(self.refusals) < MAX_KEPT_REFUSALS:
            size = len(payload) if size_bytes is None else size_bytes
            kept = bytes(payload[:MAX_KEPT_BYTES])
            self.refusals.append(
                Refusal(received_at, _clean(topic, 256), _clean(error, 40), _clean(detail, 400), size, kept)
            )

    def take_readings(self, readings: list[ReadingItem]) -> None:
        """Add readings, dropping the oldest beyond the bound and counting them."""
        self.readings.extend(readings)
        excess = len(self.readings) - MAX_READINGS
        if excess > 0:
            del self.readings[:excess]
            self.counts["reading_dropped"] += excess

    def take_numbered(self, item: NumberedItem) -> None:
        """Add a numbered item, or leave it with its site when the bound is reached."""
        if len(self.numbered) >= MAX_NUMBERED or self.numbered_bytes + item.size_bytes > MAX_NUMBERED_BYTES:
            self.counts["numbered_deferred"] += 1
            return
        self.numbered.append(item)
        self.numbered_bytes += item.size_bytes


def split(batch: Batch) -> tuple[Batch, Batch] | None:
    """Return a batch as two halves, or None when it holds one row only; counts stay with the first."""
    if batch.rows + len(batch.refused_numbers) <= 1:
        return None
    first, second = Batch(counts=batch.counts, unmapped=batch.unmapped), Batch()
    for part in (first, second):
        part.due, part.partitions = batch.due, batch.partitions
    first.readings, second.readings = _halves(batch.readings)
    first.numbered, second.numbered = _halves(batch.numbered)
    first.refusals, second.refusals = _halves(batch.refusals)
    for name in ("live", "standing", "refused_numbers"):
        head, tail = _halves(list(getattr(batch, name).items()))
        setattr(first, name, dict(head))
        setattr(second, name, dict(tail))
    if second.is_empty:
        # Each part held at most one row: one part a batch.
        return _one_part_each(batch)
    return first, second


def _one_part_each(batch: Batch) -> tuple[Batch, Batch]:
    second = Batch(due=batch.due, partitions=batch.partitions)
    for name in ("readings", "numbered", "refusals", "live", "standing", "refused_numbers"):
        part = getattr(batch, name)
        if part:
            setattr(second, name, part)
            setattr(batch, name, type(part)())
            break
    return batch, second


def _halves(rows: list[T]) -> tuple[list[T], list[T]]:
    middle = (len(rows) + 1) // 2
    return rows[:middle], rows[middle:]


def _clean(text: str, length: int) -> str:
    """Return a text as both databases store it: cut, without NUL and lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()[:length]
