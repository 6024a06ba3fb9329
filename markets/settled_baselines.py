"""What a program's baseline method says of one site's meter, from rows that the entry names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from markets.core.baselines.declared_schedule import METHOD as DECLARED
from markets.core.baselines.local_days import LocalCalendar
from markets.core.baselines.meter import BaselineError, MeterPlace
from markets.core.baselines.method import Inputs, Terms
from markets.core.baselines.registry import method_named
from markets.core.baselines.schedule import constant_schedule
from markets.core.settled_periods import exact
from markets.core.settlement import ContractedShare
from markets.evidence import Spans, held_by, spans_of
from markets.metered_power import metered_power
from sites.core.curves import FloatArray
from sites.core.intervals import Interval
from sites.metering.models import MeterInterval
from sites.registry.models import Asset

LOOK_BACK: Final = timedelta(days=46)
"""Every method's look-back: 45 local days, and a day for the zone."""


@dataclass(frozen=True, slots=True)
class SiteBaseline:
    """One site's saving, reading by reading."""

    saving_kw: FloatArray
    """Baseline less measured, positive into the grid [kW]; NaN where no reading is."""
    facts: dict[str, Any]
    """Method, meter, days and rows, as the entry names them."""


def site_baseline(
    share: ContractedShare,
    *,
    method_name: str,
    resolution_s: int,
    window: Interval,
    event_days: Sequence[str],
    booked: Mapping[str, Any] | None = None,
) -> SiteBaseline:
    """Return what a method says of a site's event, from the meter book; ``booked`` names the rows of an entry.

    Raises BaselineError for a method that needs terms which a program does not have, or meters that do not carry it.
    """
    method = method_named(method_name)
    kind = Asset.Kind.PCC if method.rule.place is MeterPlace.CONNECTION else Asset.Kind.BATTERY
    asset = Asset.objects.select_related("site").filter(site__site_id=share.site_id, kind=kind).order_by("name").first()
    if asset is None:
        raise BaselineError(f"site {share.site_id!r} has no {kind} meter, which method {method.rule.name!r} reads")
    period = Interval(window.starts_at - LOOK_BACK, window.ends_at)
    pins: Spans | None = None if booked is None else tuple((a, b, c) for a, b, c in booked["rows"])
    rows = _rows(asset, period, pins)
    days = list(event_days) if booked is None else list(booked["event_days"])
    meter = metered_power(asset=asset, period=period, resolution_s=resolution_s, rows=rows)
    declared = method.rule.name == DECLARED.rule.name
    answer = method.baseline(
        Inputs(
            meter=meter,
            event=window,
            calendar=LocalCalendar(ZoneInfo(asset.site.time_zone)),
            event_days=frozenset(date.fromisoformat(day) for day in days),
            terms=Terms(schedule=constant_schedule(period.starts_at, share.baseline_kw) if declared else None),
        )
    )
    saving = np.array([np.nan if row.saving_kw is None else row.saving_kw for row in answer.intervals])
    adjustment = answer.adjustment
    return SiteBaseline(
        saving,
        {
            "method": method.rule.name,
            "certainty": method.rule.certainty.value,
            "asset": asset.name,
            "resolution_s": resolution_s,
            "saving_kwh": str(exact(answer.saving_kwh)),
            "days_used": [day.isoformat() for day in answer.days_used],
            "adjustment": None if adjustment is None else str(exact(adjustment.applied)),
            "event_days": days,
            "rows": [list(span) for span in spans_of([(row.number, row.revision) for row in rows])],
        },
    )


def _rows(asset: Asset, period: Interval, pins: Spans | None) -> list[MeterInterval]:
    """Return the latest revision of each interval that shares time with a period, or exactly the named rows."""
    found = MeterInterval.objects.filter(asset=asset)
    if pins is None:
        found = found.filter(starts_at__lt=period.ends_at, ends_at__gt=period.starts_at)
    else:
        found = found.filter(number__gte=pins[0][0], number__lte=pins[-1][1]) if pins else found.none()
    # The highest revision of each number stands: later in the order, so it wins.
    latest = {
        row.number: row
        for row in found.order_by("number", "revision")
        if pins is None or held_by(pins, row.number, row.revision)
    }
    return [row for _, row in sorted(latest.items())]
