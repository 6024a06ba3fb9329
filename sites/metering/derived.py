"""Numbered intervals of sites behind somebody else's gateway, made from the registers that its rules map."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Max

from sites.core import observe
from sites.core.intervals import Interval
from sites.core.readings import Quality, TimeQuality
from sites.metering.instants import instant_of, ms_of
from sites.metering.models import MeterInterval, RegisterBase, StreamMark
from sites.metering.queries import metric_values
from sites.metering.registers import Base, Derived, derive
from sites.registry.models import Asset, Site
from sites.wire.foreign import REGISTERS, Rule, rules_from
from sites.wire.metrics import REGISTER_INTO

logger = logging.getLogger(__name__)

SETTLES: Final = timedelta(seconds=90)
"""A minute is closed so long after its end: what is read in it has come by then."""
FIRST: Final = timedelta(days=1)
"""Readings looked at before the first register is known."""
AT_ONCE: Final = timedelta(hours=6)
RULES_TAKEN: Final = timedelta(seconds=60)
"""By then every worker reads by new rules."""
MILLISECOND: Final = timedelta(milliseconds=1)
SWING: Final = 2.0
"""More than the nameplate times this is no measurement: another meter, or another register."""
MOST_KW: Final = 100_000.0


@dataclass(slots=True)
class _Mapped:
    """What the rules make of one asset's registers."""

    rules: list[Rule] = field(default_factory=list)

    @property
    def ways(self) -> set[str]:
        """``into``, ``from`` or both."""
        return {_way(rule.target.name) for rule in self.rules}

    @property
    def has_class(self) -> bool:
        """Whether every register's meter has a declared class."""
        return all(rule.meter_class for rule in self.rules)

    @property
    def source(self) -> str:
        """Which registers they are: others may not be taken for the same."""
        named = sorted((rule.target.name, rule.device, rule.metric, rule.unit, rule.factor) for rule in self.rules)
        return hashlib.sha256(repr(named).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Made:
    """What one run did."""

    intervals: int
    holes: int


def derive_intervals(*, at: datetime) -> Made:
    """Make the intervals that are due of all sites behind somebody else's gateway; again changes nothing."""
    made = holes = 0
    for site in Site.objects.filter(gateway__isnull=False).select_related("gateway").prefetch_related("assets"):
        mapped = _registers(site)
        for asset in site.assets.all():
            if asset.name in mapped:
                of_asset = _derive(site, asset, mapped[asset.name], at)
                made, holes = made + of_asset.intervals, holes + of_asset.holes
    return Made(made, holes)


def _registers(site: Site) -> dict[str, _Mapped]:
    mapped: dict[str, _Mapped] = defaultdict(_Mapped)
    for rule in rules_from(site.gateway.rules if site.gateway is not None else []).values():
        if rule.target.name in REGISTERS:
            mapped[rule.asset].rules.append(rule)
    return mapped


def _way(name: str) -> str:
    return "into" if name == REGISTER_INTO else "from"


def _derive(site: Site, asset: Asset, mapped: _Mapped, at: datetime) -> Made:
    with transaction.atomic():
        row = RegisterBase.objects.select_for_update().filter(asset=asset).first()
        if row is not None and row.source != mapped.source:
            # What lies between one register and another is nobody's energy, and workers still may read by older rules.
            row.at, row.into_uwh, row.from_uwh, row.source = at + RULES_TAKEN, None, None, mapped.source
            row.save()
            return Made(0, 1)
        base, since = _begin(row, at)
        intervals: list[Derived] = []
        holes, until = 0, at - SETTLES
        while since < until:
            through = min(since + AT_ONCE, until)
            # A reading at the end of a minute is that minute's.
            readings = _readings(site, asset, mapped, Interval(since, through + MILLISECOND))
            found = derive(readings, base=base, most_kw=_most_kw(asset), until_ms=ms_of(through))
            intervals += found.intervals
            base, holes, since = found.base, holes + found.holes, through
        if base is None:
            return Made(0, holes)
        _store(asset, intervals, Quality.DERIVED if mapped.has_class else Quality.UNPROVEN, at)
        RegisterBase(
            asset=asset, at=instant_of(base.at_ms), into_uwh=base.into_uwh, from_uwh=base.from_uwh, source=mapped.source
        ).save()
    if holes:
        logger.warning("%s site_id=%s asset=%s holes=%d", observe.REGISTER_BROKE, site.site_id, asset.name, holes)
    return Made(len(intervals), holes)


def _begin(row: RegisterBase | None, at: datetime) -> tuple[Base | None, datetime]:
    """Return the registers to go on from, None for the first that are read, and since when to read."""
    if row is None:
        return None, at - FIRST
    if row.into_uwh is None or row.from_uwh is None:
        return None, row.at
    return Base(ms_of(row.at), row.into_uwh, row.from_uwh), row.at


def _readings(site: Site, asset: Asset, mapped: _Mapped, period: Interval) -> Mapping[str, list[tuple[int, int]]]:
    return {
        _way(name): [
            (ms_of(measured_at), round(kwh * 1e9))
            for measured_at, kwh in metric_values(site_id=site.site_id, asset=asset.name, metric=name, period=period)
        ]
        for name in REGISTERS
        if _way(name) in mapped.ways
    }


def _most_kw(asset: Asset) -> float:
    rated_kw = max(asset.rated_kw, asset.export_limit_kw)
    return SWING * rated_kw if rated_kw > 0.0 else MOST_KW


def _store(asset: Asset, intervals: list[Derived], quality: Quality, at: datetime) -> None:
    if not intervals:
        return
    last = MeterInterval.objects.filter(asset=asset).aggregate(last=Max("number"))["last"] or 0
    MeterInterval.objects.bulk_create(
        [
            MeterInterval(
                asset=asset,
                number=number,
                starts_at=instant_of(found.starts.at_ms),
                ends_at=instant_of(found.ends.at_ms),
                into_bus_uwh=found.into_uwh,
                from_bus_uwh=found.from_uwh,
                register_into_uwh=found.ends.into_uwh,
                register_from_uwh=found.ends.from_uwh,
                quality=quality,
                time_quality=TimeQuality.SAMPLED,
                received_at=at,
            )
            for number, found in enumerate(intervals, last + 1)
        ],
        batch_size=500,
    )
    # An edge of ours that takes the site over numbers its rows behind these.
    mark, _ = StreamMark.objects.get_or_create(site=asset.site, stream=asset.name)
    if mark.stored_through == last:
        StreamMark.objects.filter(pk=mark.pk).update(stored_through=last + len(intervals))
