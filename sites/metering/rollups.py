"""Roll-ups of readings, 1 minute and 15 minutes: least, greatest, sum and count; made again when late data came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from sites.metering.models import MinuteRollUp, QuarterRollUp, Reading, RollUp, RollUpDue
from sites.registry.models import Site

MINUTE: Final = timedelta(minutes=1)
QUARTER: Final = timedelta(minutes=15)
SETTLED_AFTER: Final = timedelta(seconds=15)
"""A minute is rolled up so long after its end, when nearly all of its readings are there."""
MAX_AT_ONCE: Final = 5
"""Minutes of a partition in one transaction: the ingest may have to wait for it."""
SITES_AT_ONCE: Final = 400

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What one call did."""

    minutes: int
    """Minutes of partitions that were due."""
    rows: int
    """Rows written, of minutes and of quarters of an hour."""


@dataclass(slots=True)
class _Sums:
    """Figures of one place (site, asset, shape) in one span; a metric without a value has count 0."""

    counts: Array
    totals: Array
    lows: Array
    highs: Array

    def add(self, other: _Sums) -> None:
        self.counts += other.counts
        self.totals += other.totals
        # These two take the number where the other is none.
        self.lows = np.fmin(self.lows, other.lows)
        self.highs = np.fmax(self.highs, other.highs)

    def vectors(self) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(part.tolist()) for part in (self.counts, self.totals, self.lows, self.highs))


_Place = tuple[int, str, int]
"""Site's key, asset, shape's key."""


def roll_up(*, at: datetime, oldest: datetime) -> RolledUp:
    """Make the roll-ups that are due: of minutes that ended, and of the quarters of an hour that hold them.

    Minutes before ``oldest`` are left as they stand: their readings may be deleted in part by now. Made from the
    readings each time, so that making one twice changes nothing; figures that changed carry a higher revision.
    """
    minutes = rows = 0
    due = RollUpDue.objects.filter(minute_at__lte=at - MINUTE - SETTLED_AFTER).order_by()
    for partition in sorted(due.values_list("partition", flat=True).distinct()):
        found = MAX_AT_ONCE
        while found == MAX_AT_ONCE:
            found, written = _roll_up_partition(partition, at, oldest)
            minutes, rows = minutes + found, rows + written
    return RolledUp(minutes, rows)


def _roll_up_partition(partition: int, at: datetime, oldest: datetime) -> tuple[int, int]:
    due = RollUpDue.objects.filter(partition=partition, minute_at__lte=at - MINUTE - SETTLED_AFTER)
    with transaction.atomic():
        # Taking the rows first makes readings that are being written now wait, and due again afterwards.
        taken = due.select_for_update().order_by("minute_at").values_list("minute_at", flat=True)
        waiting = list(taken[:MAX_AT_ONCE])
        due.filter(minute_at__in=waiting).delete()
        minutes = [minute for minute in waiting if minute >= oldest]
        sites = list(Site.objects.filter(partition=partition).order_by("pk").values_list("pk", flat=True))
        rows = 0
        for first in range(0, len(sites), SITES_AT_ONCE):
            chunk = sites[first : first + SITES_AT_ONCE]
            for minute in minutes:
                rows += _write(MinuteRollUp, minute, _of_readings(chunk, minute))
            for quarter in sorted({_quarter_of(minute) for minute in minutes}):
                rows += _write(QuarterRollUp, quarter, _of_minutes(chunk, quarter))
    return len(waiting), rows


def _of_readings(sites: Sequence[int], minute: datetime) -> dict[_Place, _Sums]:
    rows = Reading.objects.filter(site__in=sites, measured_at__gte=minute, measured_at__lt=minute + MINUTE)
    groups: dict[_Place, list[tuple[float, ...]]] = defaultdict(list)
    found: Any = rows.values_list("site_id", "asset", "shape_id", "values").iterator(chunk_size=10_000)
    for site, asset, shape, values in found:
        groups[site, asset, shape].append(values)
    return {place: _summed(np.array(values)) for place, values in groups.items()}


def _summed(values: Array) -> _Sums:
    """Return the figures of rows x metrics; not-a-number is no value."""
    return _Sums(
        (~np.isnan(values)).sum(axis=0).astype(np.float64),
        np.nansum(values, axis=0),
        np.fmin.reduce(values, axis=0),
        np.fmax.reduce(values, axis=0),
    )


def _of_minutes(sites: Sequence[int], quarter: datetime) -> dict[_Place, _Sums]:
    rows = MinuteRollUp.objects.filter(site__in=sites, starts_at__gte=quarter, starts_at__lt=quarter + QUARTER)
    sums: dict[_Place, _Sums] = {}
    names = ("site_id", "asset", "shape_id", "counts", "totals", "lows", "highs")
    found: Any = rows.order_by("starts_at").values_list(*names)
    for site, asset, shape, *vectors in found:
        here = _Sums(*map(np.array, vectors))
        if (site, asset, shape) in sums:
            sums[site, asset, shape].add(here)
        else:
            sums[site, asset, shape] = here
    return sums


def _write(model: type[RollUp], starts_at: datetime, sums: dict[_Place, _Sums]) -> int:
    """Insert what is new and change what differs, with the next revision; return how many rows."""
    stood = {
        (row.site_id, row.asset, row.shape_id): row
        for row in model.objects.filter(site__in={place[0] for place in sums}, starts_at=starts_at)  # type: ignore[attr-defined]
    }
    rows = []
    for place, found in sums.items():
        vectors = found.vectors()
        before = stood.get(place)
        if before is not None and _same((before.counts, before.totals, before.lows, before.highs), vectors):
            continue
        counts, totals, lows, highs = vectors
        rows.append(
            model(
                site_id=place[0], asset=place[1], shape_id=place[2], starts_at=starts_at,
                revision=0 if before is None else before.revision + 1,
                counts=counts, totals=totals, lows=lows, highs=highs,
            )
        )  # fmt: skip
    for piece in _pieces(rows, 500):
        model.objects.bulk_create(  # type: ignore[attr-defined]
            piece, update_conflicts=True, unique_fields=["site", "starts_at", "asset", "shape"],
            update_fields=["revision", "counts", "totals", "lows", "highs"],
        )  # fmt: skip
    return len(rows)


def _same(before: Iterable[Sequence[float]], after: Iterable[Sequence[float]]) -> bool:
    return all(np.array_equal(old, new, equal_nan=True) for old, new in zip(before, after, strict=True))


def _pieces(rows: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _quarter_of(minute: datetime) -> datetime:
    return minute - timedelta(minutes=minute.minute % 15)


def prune_minutes(*, before: datetime) -> int:
    """Delete roll-ups of minutes that started before an instant; return how many rows went one by one.

    On PostgreSQL whole days go by their partitions (``partitions.drop_partitions``) before.
    """
    table = connection.ops.quote_name(MinuteRollUp._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE starts_at < %s",  # noqa: S608
            [connection.ops.adapt_datetimefield_value(before)],
        )
        return int(cursor.rowcount)
