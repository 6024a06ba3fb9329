"""Local days and their clocks: which day is like which, and which instants show the same time of day.

Days are matched by what the clock on the wall shows. A day of 23 hours lacks a span of clock time: it has nothing to
say on it, and other days do. A day of 25 hours shows a span twice: its value there is the mean of both. An event in
the repeated span is matched to that same clock time of other days, both times. The same holds where the clock moves by
half an hour (Lord Howe) while readings are hourly: clocks are compared in steps of at most 15 minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from markets.core.baselines.meter import BaselineError, MeterSeries
from sites.core.curves import FloatArray
from sites.core.intervals import Interval

IntArray = npt.NDArray[np.int64]

CLOCK_STEP_S: Final = 900
"""Offsets from UTC in use today are whole multiples of 15 min."""
DAY_S: Final = 86_400


class DayKind(StrEnum):
    """What a local day is to a program's rule."""

    WEEKDAY = "weekday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"
    HOLIDAY = "holiday"


@dataclass(frozen=True, slots=True)
class LocalCalendar:
    """The days of one place."""

    zone: tzinfo
    holidays: frozenset[date] = frozenset()

    def date_of(self, at: datetime) -> date:
        """Return the local day of an instant."""
        return at.astimezone(self.zone).date()

    def kind_of(self, day: date) -> DayKind:
        """Return what a day is; a holiday wins over its day of the week."""
        if day in self.holidays:
            return DayKind.HOLIDAY
        return {5: DayKind.SATURDAY, 6: DayKind.SUNDAY}.get(day.weekday(), DayKind.WEEKDAY)

    def period_of(self, day: date) -> Interval:
        """Return a local day from midnight to midnight: 23, 24 or 25 hours, or half an hour off."""
        start, end = (
            datetime(at.year, at.month, at.day, tzinfo=self.zone).astimezone(UTC)
            for at in (day, day + timedelta(days=1))
        )
        return Interval(start, end)

    def clock(self, period: Interval, step_s: int) -> tuple[IntArray, IntArray]:
        """Return, for each step of a period, its local day (ordinal) and its clock in steps from midnight.

        The period is whole steps long and the step divides 15 min. Raises BaselineError when the zone's offset does
        not fit the step.
        """
        count = round(period.duration_s / step_s)
        offsets_s = np.empty(count, dtype=np.int64)
        at, place = period.starts_at, 0
        while place < count:
            # Offsets change on quarters of an hour alone, so one question answers to the next quarter.
            held = min(count - place, (CLOCK_STEP_S - round(at.timestamp()) % CLOCK_STEP_S) // step_s)
            offset = at.astimezone(self.zone).utcoffset() or timedelta(0)
            offset_s = offset.total_seconds()
            if offset_s % step_s:
                raise BaselineError(
                    f"the zone {self.zone} is {offset} from UTC at {at.isoformat()}, "
                    "accepted: whole quarters of an hour"
                )
            offsets_s[place : place + held] = round(offset_s)
            place += held
            at += timedelta(seconds=held * step_s)
        local_s = round(period.starts_at.timestamp()) + step_s * np.arange(count, dtype=np.int64) + offsets_s
        return local_s // DAY_S + date(1970, 1, 1).toordinal(), local_s % DAY_S // step_s


def clock_step_s(meter: MeterSeries) -> int:
    """Return the step [s] in which clocks of a meter's days are compared."""
    off_grid_s = round(meter.starts_at.timestamp()) % meter.resolution_s
    return math.gcd(CLOCK_STEP_S, meter.resolution_s, off_grid_s)


@dataclass(frozen=True, slots=True)
class ClockProfile:
    """What a meter showed on one local day, by the clock on the wall."""

    mean_kw: FloatArray
    """Mean power of each step of clock time [kW]; NaN where no reading is, or no such time."""
    exists: npt.NDArray[np.bool_]
    """False where the clock skipped that time."""


def clock_profile(meter: MeterSeries, calendar: LocalCalendar, day: date) -> ClockProfile:
    """Return a meter's local day by its clock; a span that came twice counts with the mean of both."""
    step_s = clock_step_s(meter)
    period = calendar.period_of(day)
    ordinals, slots = calendar.clock(period, step_s)
    own = ordinals == day.toordinal()
    per_reading = meter.resolution_s // step_s
    first = round((period.starts_at - meter.starts_at).total_seconds() / step_s)
    reading = (first + np.arange(slots.size)) // per_reading
    inside = own & (reading >= 0) & (reading < meter.consumption_kw.size)
    powers = np.full(slots.size, np.nan)
    powers[inside] = meter.consumption_kw[reading[inside]]
    known = own & np.isfinite(powers)
    width = DAY_S // step_s
    counts = np.bincount(slots[known], minlength=width)
    sums = np.bincount(slots[known], weights=powers[known], minlength=width)
    mean_kw = np.full(width, np.nan)
    np.divide(sums, counts, out=mean_kw, where=counts > 0)
    return ClockProfile(mean_kw, np.bincount(slots[own], minlength=width) > 0)
