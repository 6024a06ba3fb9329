"""A meter of the meter book as a baseline reads it: mean powers on an even grid, consumption positive."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from markets.core.baselines.meter import BaselineError, MeterPlace, MeterSeries
from sites.core.intervals import Interval
from sites.core.readings import PROVES_NOTHING
from sites.core.units import UWH_PER_KWH
from sites.metering.models import MeterInterval
from sites.metering.queries import latest_intervals
from sites.registry.models import Asset

LONGEST_INTERVAL: Final = timedelta(hours=1)
"""A numbered interval lasts a minute; a longer one than this is no metering."""
UNCOVERED_S: Final = 1.0
"""So much of a reading may lie between two numbered intervals: a restarted controller begins a new one."""


def metered_power(
    *, asset: Asset, period: Interval, resolution_s: int = 900, rows: Iterable[MeterInterval] | None = None
) -> MeterSeries:
    """Return an asset's mean power from its numbered intervals, latest revisions, from the period's start on.

    An interval's energy is spread over its time. A reading that intervals do not cover whole is a gap, and so is one
    that holds an interval whose quality proves nothing. The period's start is the grid's first boundary. ``rows`` are
    the asset's intervals where they are known already. Raises
    BaselineError when the book holds nothing of the asset then.
    """
    count = int(period.duration_s // resolution_s)
    place = MeterPlace.CONNECTION if asset.kind == Asset.Kind.PCC else MeterPlace.DEVICE
    if rows is None:
        begins_before = Interval(period.starts_at - LONGEST_INTERVAL, period.ends_at)
        rows = latest_intervals(period=begins_before).filter(asset=asset, ends_at__gt=period.starts_at)
    energy_uwh, covered_s = np.zeros(count), np.zeros(count)
    found = False
    for row in rows:
        if row.quality in PROVES_NOTHING:
            continue
        found = True
        length_s = (row.ends_at - row.starts_at).total_seconds()
        begin_s, end_s = _offset_s(row.starts_at, period), _offset_s(row.ends_at, period)
        # An interval lies in one reading or in two, hardly ever in more.
        for index in range(max(0, int(begin_s // resolution_s)), min(count, int(-(-end_s // resolution_s)))):
            part_s = min(end_s, (index + 1) * resolution_s) - max(begin_s, index * resolution_s)
            energy_uwh[index] += (row.into_bus_uwh - row.from_bus_uwh) * part_s / length_s
            covered_s[index] += part_s
    if not found:
        raise BaselineError(
            f"asset {asset} has no metered interval from {period.starts_at.isoformat()} to {period.ends_at.isoformat()}"
        )
    is_whole = covered_s >= resolution_s - UNCOVERED_S
    power_kw = np.full(count, np.nan)
    power_kw[is_whole] = energy_uwh[is_whole] / UWH_PER_KWH * 3600.0 / covered_s[is_whole]
    return MeterSeries(period.starts_at, resolution_s, place.bus_sign * power_kw, place)


def _offset_s(at: datetime, period: Interval) -> float:
    return (at - period.starts_at).total_seconds()
