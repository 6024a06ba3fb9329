"""What sites can do in a window, as they tell it: by their last values, or by the same hours of the last days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.db.models import Sum

from markets.core.headroom import BoolArray
from sites.core.allocation import FloatArray
from sites.core.intervals import Interval
from sites.metering.models import LiveState, QuarterRollUp, ReadingShape
from sites.metering.queries import fleet_envelopes
from sites.metering.rollups import QUARTER
from sites.registry.models import Asset, Site
from sites.registry.windows import reserves_kwh

DAYS: Final = 7
LEAST_DAYS: Final = 3
"""Days with data in the window's hours; a site with fewer is forecast nothing."""
_NODE: Final = ("discharge_kw", "charge_kw", "usable_energy_kwh", "absorbable_energy_kwh")


class Forecast(StrEnum):
    """Where a headroom comes from."""

    LIVE = "live"
    """What sites told last."""
    ROLL_UPS = "roll-ups"
    """The same hours of the last days: of each day the least quarter of an hour, of the days the median."""


@dataclass(frozen=True, slots=True)
class Told:
    """Figures of sites in the caller's order, arrays of one length."""

    discharge_kw: FloatArray
    charge_kw: FloatArray
    usable_kwh: FloatArray
    absorbable_kwh: FloatArray
    least_import_kw: FloatArray
    """Into the site through its connection, without service [kW]; not a number where it is not known."""
    most_import_kw: FloatArray
    genset_runs: BoolArray
    causes: dict[str, str] = field(default_factory=dict)
    """Site -> why it tells nothing."""


def told_live(site_ids: Sequence[str], window: Interval, at: datetime) -> Told:
    """Return what sites told last, as far as it is fresh and they stand on the grid."""
    envelopes = {
        row.site_id: row
        for row in fleet_envelopes(at=at, fresh_within_s=settings.FRESH_WITHIN_S, program=None, window=window)
    }
    live = LiveState.objects.filter(site__site_id__in=list(envelopes)) if len(envelopes) <= 500 else (
        LiveState.objects.all()
    )  # fmt: skip
    states = {row[0]: row[1:] for row in live.values_list("site__site_id", "pcc_kw", "service_kw", "genset_running")}
    figures = np.zeros((4, len(site_ids)))
    import_kw, runs, causes = np.full(len(site_ids), np.nan), np.zeros(len(site_ids), np.bool_), {}
    for number, name in enumerate(site_ids):
        row = envelopes.get(name)
        if row is None:
            causes[name] = "no fresh data, or not on the grid"
            continue
        figures[:, number] = (row.discharge_kw, row.charge_kw, row.usable_energy_kwh, row.absorbable_energy_kwh)
        pcc_kw, service_kw, genset = states[name]
        if pcc_kw is None:
            causes[name] = "does not tell the power at its connection"
        else:
            # Service into the bus lowers the import: without it that much more would flow in.
            import_kw[number] = pcc_kw + (service_kw or 0.0)
        runs[number] = bool(genset)
    return Told(figures[0], figures[1], figures[2], figures[3], import_kw, import_kw, runs, causes)


def told_by_roll_ups(site_ids: Sequence[str], window: Interval) -> Told:
    """Return what sites had in the same hours of the last days: the median over days of each day's least quarter.

    Hours are those of UTC, a day is 24 h. A day counts for a site when every quarter of an hour has its values;
    what the owner keeps in the window beyond the enrolled reserve is taken off.
    """
    place = {pk: number for number, pk in enumerate(_keys(site_ids))}
    connections = dict(Asset.objects.filter(kind=Asset.Kind.PCC, site__in=list(place)).values_list("site_id", "name"))
    shapes = {pk: names.split(",") for pk, names in ReadingShape.objects.values_list("pk", "names")}
    # Figures: the four of the node, least and greatest import.
    values = np.full((6, DAYS, len(site_ids)), np.nan)
    quarters = _quarters(window)
    for day in range(DAYS):
        past = [start - timedelta(days=day + 1) for start in quarters]
        _read_day(values[:, day], place, connections, shapes, past)
    complete = np.isfinite(values[:5]).all(axis=0)
    values[:, ~complete] = np.nan
    days = complete.sum(axis=0)
    enough = days >= LEAST_DAYS
    figures = np.zeros((6, len(site_ids)))
    figures[4:] = np.nan
    if enough.any():
        figures[:, enough] = np.nanmedian(values[:, :, enough], axis=1)
    rated_kw, capacity_kwh, reserve_kwh = _batteries(site_ids)
    asked = reserves_kwh(period=window)
    more_kwh = np.maximum(np.array([asked.get(name, 0.0) for name in site_ids]) - reserve_kwh, 0.0)
    # As with live values: twice the rating, for a battery that charges at it can swing to discharging at it.
    figures[:2] = np.minimum(figures[:2], 2.0 * rated_kw)
    figures[2:4] = np.minimum(figures[2:4], capacity_kwh)
    figures[2] = np.maximum(figures[2] - more_kwh, 0.0)
    causes = {
        name: f"{days[number]} days with data in these hours, accepted: {LEAST_DAYS} or more"
        for number, name in enumerate(site_ids)
        if not enough[number]
    }
    runs = np.zeros(len(site_ids), np.bool_)
    return Told(figures[0], figures[1], figures[2], figures[3], figures[4], figures[5], runs, causes)


def _keys(site_ids: Sequence[str]) -> list[int]:
    found = dict(Site.objects.order_by().values_list("site_id", "pk"))
    return [found[name] for name in site_ids]


def _batteries(site_ids: Sequence[str]) -> FloatArray:
    """Return enrolled power [kW], energy and reserve [kWh] of each site's batteries, shape [3, sites]."""
    sums = Asset.objects.filter(kind=Asset.Kind.BATTERY).order_by().values_list("site__site_id").annotate(
        Sum("rated_kw"), Sum("capacity_kwh"), Sum("reserve_kwh")
    )  # fmt: skip
    found = {name: amounts for name, *amounts in sums}
    return np.array([found.get(name, (0.0, 0.0, 0.0)) for name in site_ids], dtype=np.float64).reshape(-1, 3).T


def _quarters(window: Interval) -> list[datetime]:
    starts_at = window.starts_at - timedelta(
        minutes=window.starts_at.minute % 15, seconds=window.starts_at.second, microseconds=window.starts_at.microsecond
    )
    count = math.ceil((window.ends_at - starts_at) / QUARTER)
    return [starts_at + QUARTER * number for number in range(count)]


def _read_day(
    values: FloatArray,
    place: dict[int, int],
    connections: dict[int, str],
    shapes: dict[int, list[str]],
    quarters: Sequence[datetime],
) -> None:
    """Fill one day's figures, shape [6, sites], from its quarters; what misses a quarter stays not a number."""
    seen = np.zeros(values.shape, dtype=np.intp)
    names = {"", *connections.values()}
    rows: Any = QuarterRollUp.objects.filter(
        starts_at__gte=quarters[0], starts_at__lte=quarters[-1], asset__in=names
    ).values_list("site_id", "asset", "shape_id", "counts", "lows", "highs")
    for site, asset, shape, counts, lows, highs in rows.iterator(chunk_size=10_000):
        number = place.get(site)
        if number is None:
            continue
        columns = shapes[shape]
        if asset == "":
            for figure, name in enumerate(_NODE):
                if name in columns and counts[columns.index(name)] > 0:
                    _note(values, seen, figure, number, lows[columns.index(name)], least=True)
        elif asset == connections.get(site) and "power_kw" in columns and counts[columns.index("power_kw")] > 0:
            _note(values, seen, 4, number, lows[columns.index("power_kw")], least=True)
            _note(values, seen, 5, number, highs[columns.index("power_kw")], least=False)
    values[seen < len(quarters)] = np.nan


def _note(values: FloatArray, seen: Any, figure: int, number: int, value: float, *, least: bool) -> None:
    values[figure, number] = (np.fmin if least else np.fmax)(values[figure, number], value)
    seen[figure, number] += 1
