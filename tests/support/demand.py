"""Meters of a demand-response customer for tests: a power by the local clock, event days on top."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

import numpy as np

from markets.core.baselines.local_days import LocalCalendar
from markets.core.baselines.meter import MeterPlace, MeterSeries
from markets.core.baselines.method import Inputs, Terms
from sites.core.intervals import Interval

Load = Callable[[datetime], float]
"""Consumption [kW] by the local instant."""


def a_meter(
    *,
    first_day: date,
    days: int,
    load: Load,
    zone: tzinfo = UTC,
    resolution_s: int = 3600,
    place: MeterPlace = MeterPlace.CONNECTION,
) -> MeterSeries:
    """Return a series over whole local days; each reading shows the load at its own start."""
    start = datetime.combine(first_day, datetime.min.time(), tzinfo=zone).astimezone(UTC)
    end = datetime.combine(first_day + timedelta(days=days), datetime.min.time(), tzinfo=zone).astimezone(UTC)
    # Whole hours in UTC, as meters read: a zone of half hours cuts them.
    start = start.replace(minute=0)
    count = int((end - start).total_seconds() // resolution_s)
    powers = [load((start + timedelta(seconds=resolution_s * n)).astimezone(zone)) for n in range(count)]
    return MeterSeries(start, resolution_s, np.array(powers, dtype=np.float64), place)


def changed(meter: MeterSeries, window: Interval, powers_kw: Iterable[float] | float) -> MeterSeries:
    """Return the series with other powers in a window."""
    powers = meter.consumption_kw.copy()
    powers[round(meter.position(window.starts_at)) : round(meter.position(window.ends_at))] = powers_kw
    return meter.with_consumption(powers)


def asked(
    meter: MeterSeries,
    event: Interval,
    *,
    zone: tzinfo = UTC,
    holidays: Iterable[date] = (),
    event_days: Iterable[date] = (),
    max_gap_share: float = 0.1,
    **terms: object,
) -> Inputs:
    """Return what a method is asked."""
    calendar = LocalCalendar(zone, frozenset(holidays))
    return Inputs(meter, event, calendar, frozenset(event_days), Terms(**terms), max_gap_share)  # type: ignore[arg-type]


def hours(day: date, first: int, last: int, zone: tzinfo = UTC) -> Interval:
    """Return a window of whole local hours of one day, ``last`` left out."""
    midnight = datetime.combine(day, datetime.min.time(), tzinfo=zone)
    return Interval(*(midnight.replace(hour=hour).astimezone(UTC) for hour in (first, last)))
