"""Audits of the meter book: holes in numbered streams, uncovered time, energy that does not add up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, F, Window
from django.db.models.functions import Lag

from sites.core.intervals import Interval
from sites.metering.models import HighRateRecord, MeterInterval, RefusedNumber, WaveformRecord
from sites.metering.queries import halves, latest_intervals, whole
from sites.registry.models import Asset

ROUNDING_UWH: Final = 2
"""Each asset's interval comes from two registers rounded to whole uWh in each direction."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a stream that are missing, first to last inclusive."""

    site_id: str
    stream: str
    first: int
    last: int
    after: datetime | None
    """End of the last item stored before the hole; None when the stream starts with it."""
    before: datetime
    """Start of the first item stored after it."""
    reason: str = "missing"
    """``missing``, or the error that refused the number for good."""


@dataclass(frozen=True, slots=True)
class MissingPeriod:
    """Time within a period that no interval of an asset covers."""

    site_id: str
    asset: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Imbalance:
    """An interval of a site whose bus does not add up to zero."""

    site_id: str
    starts_at: datetime
    ends_at: datetime
    residual_uwh: int
    """Sum of energies into the bus less those out of it [uWh]; 0 when a bus loses nothing."""
    tolerance_uwh: int
    assets: int
    """Assets that have this interval."""
    assets_enrolled: int


def gaps(*, period: Interval | None = None) -> list[Gap]:
    """Return the holes in all numbered streams, or those that touch a period, by site and stream.

    Works from the stored rows alone, not from the marks that it audits. A number refused for good is
    told with its reason. What comes after the newest stored number is not a hole: it is not due yet.
    """
    found: list[Gap] = []
    refused: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for row in RefusedNumber.objects.select_related("site"):
        refused[row.site.site_id, row.stream][row.number] = row.error
    sources: list[tuple[Any, str, Any]] = [
        (MeterInterval.objects.values_list("asset__site__site_id", "asset__name"), "ends_at", "asset"),
        (HighRateRecord.objects.values_list("site__site_id"), "ends_at", "site"),
        (WaveformRecord.objects.values_list("site__site_id"), "starts_at", "site"),
    ]
    for (rows, end, owner), stream in zip(sources, ("", "record", "waveform"), strict=True):
        previous = Window(Lag("number", default=0), partition_by=F(owner), order_by=[F("number"), F("revision")])
        ended = Window(Lag(end), partition_by=F(owner), order_by=[F("number"), F("revision")])
        marked = rows.annotate(previous=previous, ended=ended).filter(number__gt=F("previous") + 1)
        for site_id, *name, starts_at, number, before, ended_at in marked.values_list(
            *(["asset__site__site_id", "asset__name"] if not stream else ["site__site_id"]),
            "starts_at",
            "number",
            "previous",
            "ended",
        ):
            if period is not None and not _touches(period, ended_at, starts_at):
                continue
            settled = refused.get((site_id, stream or name[0]), {})
            found += _without(settled, Gap(site_id, stream or name[0], before + 1, number - 1, ended_at, starts_at))
    return sorted(found, key=lambda gap: (gap.site_id, gap.stream, gap.first))


def missing_intervals(*, period: Interval) -> list[MissingPeriod]:
    """Return the time within a period that is not covered by stored intervals, per enrolled asset."""
    newest: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    rows = latest_intervals().filter(starts_at__lt=period.ends_at, ends_at__gt=period.starts_at)
    for asset_pk, starts_at, ends_at in rows.order_by("starts_at").values_list("asset", "starts_at", "ends_at"):
        newest[asset_pk].append((starts_at, ends_at))
    missing = []
    for asset in Asset.objects.select_related("site").order_by("site__site_id", "name"):
        covered_to = period.starts_at
        for starts_at, ends_at in newest[asset.pk]:
            if starts_at > covered_to:
                missing.append(MissingPeriod(asset.site.site_id, asset.name, covered_to, starts_at))
            covered_to = max(covered_to, ends_at)
        if covered_to < period.ends_at:
            missing.append(MissingPeriod(asset.site.site_id, asset.name, covered_to, period.ends_at))
    return missing


def conservation(*, period: Interval, rounding_uwh: int = ROUNDING_UWH) -> list[Imbalance]:
    """Return the intervals of sites whose bus does not add up within rounding, or whose assets are incomplete."""
    enrolled = dict(
        Asset.objects.order_by().values_list("site__site_id").annotate(count=Count("pk")).values_list(
            "site__site_id", "count"
        )
    )  # fmt: skip
    sums = (
        latest_intervals(period=period)
        .values("asset__site__site_id", "starts_at", "ends_at")
        # A clock that was set back gives a second set of intervals over the same time: each adds up by itself.
        .annotate(
            **halves("into_bus_uwh"), **halves("from_bus_uwh"), assets=Count("asset", distinct=True), rows=Count("pk")
        )
        .order_by("asset__site__site_id", "starts_at", "ends_at")
    )
    found = []
    for row in sums:
        site_id, count = row["asset__site__site_id"], row["assets"]
        residual_uwh = whole(row, "into_bus_uwh") - whole(row, "from_bus_uwh")
        tolerance_uwh = rounding_uwh * row["rows"]
        if abs(residual_uwh) > tolerance_uwh or count != enrolled[site_id]:
            found.append(
                Imbalance(
                    site_id, row["starts_at"], row["ends_at"], residual_uwh, tolerance_uwh, count, enrolled[site_id]
                )
            )
    return found


def _touches(period: Interval, after: datetime | None, before: datetime) -> bool:
    return before > period.starts_at and (after is None or after < period.ends_at)


def _without(settled: dict[int, str], gap: Gap) -> list[Gap]:
    """Split a hole at the numbers that were refused for good, each with its own reason."""
    inside = sorted(number for number in settled if gap.first <= number <= gap.last)
    parts: list[Gap] = []
    first = gap.first
    for number in inside:
        if number > first:
            parts.append(Gap(gap.site_id, gap.stream, first, number - 1, gap.after, gap.before))
        parts.append(Gap(gap.site_id, gap.stream, number, number, gap.after, gap.before, settled[number]))
        first = number + 1
    if first <= gap.last:
        parts.append(Gap(gap.site_id, gap.stream, first, gap.last, gap.after, gap.before))
    return parts
