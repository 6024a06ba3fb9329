"""Metering that came after a book had used its period: which rows, what they say, and what stood before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from sites.metering.models import MeterInterval

ENERGIES: Final = ("into_bus_uwh", "from_bus_uwh", "service_into_uwh", "service_from_uwh", "fuel_ul")

IN_FLIGHT: Final = timedelta(minutes=10)
"""How long a row may be on its way from its reception into the database."""


@dataclass(frozen=True, slots=True)
class LateInterval:
    """One numbered interval whose newest content came after an instant."""

    site_id: str
    asset: str
    number: int
    revision: int
    starts_at: datetime
    ends_at: datetime
    received_at: datetime
    before_revision: int | None
    """What stood at that instant; None for an interval that was missing then."""
    before: Mapping[str, int] | None
    """Its energies [uWh] and fuel [ul] by ENERGIES."""
    now: Mapping[str, int]


def late_intervals(
    *,
    rows: QuerySet[MeterInterval],
    booked_at: datetime,
    pinned: Mapping[tuple[str, str], Mapping[int, int]] | None = None,
) -> list[LateInterval]:
    """Return the intervals among some rows that may have got their newest content after a booking, by site and asset.

    May: a row received up to IN_FLIGHT before it may have been stored after it. ``pinned`` says by (site, asset) which
    revision of each number the book used: where it is given, it decides.
    """
    numbers: dict[int, set[int]] = defaultdict(set)
    found = rows.filter(received_at__gt=booked_at - IN_FLIGHT).values_list(
        "asset", "asset__site__site_id", "asset__name", "number", "revision"
    )
    for asset_pk, site_id, asset, number, revision in found:
        used = None if pinned is None else pinned.get((site_id, asset), {}).get(number)
        if used is None or revision > used:
            numbers[asset_pk].add(number)
    late = []
    for asset_pk, wanted in numbers.items():
        versions: dict[int, list[MeterInterval]] = defaultdict(list)
        held = MeterInterval.objects.filter(asset=asset_pk, number__gte=min(wanted), number__lte=max(wanted))
        for row in held.select_related("asset__site").order_by("number", "revision"):
            versions[row.number].append(row)
        for number in sorted(wanted):
            newest = versions[number][-1]
            key = (newest.asset.site.site_id, newest.asset.name)
            if pinned is None:
                earlier = (row for row in reversed(versions[number][:-1]) if row.received_at <= booked_at)
                before = next(earlier, None)
            else:
                used = pinned.get(key, {}).get(number)
                before = next((row for row in versions[number] if row.revision == used), None)
            late.append(_late(newest, before, *key))
    return sorted(late, key=lambda row: (row.site_id, row.asset, row.number))


def _late(newest: MeterInterval, before: MeterInterval | None, site_id: str, asset: str) -> LateInterval:
    return LateInterval(
        site_id=site_id,
        asset=asset,
        number=newest.number,
        revision=newest.revision,
        starts_at=newest.starts_at,
        ends_at=newest.ends_at,
        received_at=newest.received_at,
        before_revision=None if before is None else before.revision,
        before=None if before is None else {name: getattr(before, name) for name in ENERGIES},
        now={name: getattr(newest, name) for name in ENERGIES},
    )
