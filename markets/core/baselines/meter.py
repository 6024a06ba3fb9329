"""What a baseline reads: one meter's mean powers on an even grid of instants, consumption positive.

Demand-response programs write consumption positive; the house writes power into the site's bus positive. The two are
turned into each other here and nowhere else (MeterPlace): behind this door everything is consumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np

from sites.core.curves import FloatArray
from sites.core.intervals import Interval, require_aware

LONGEST_RESOLUTION_S: Final = 3600
MOST_READINGS: Final = 5_000_000


class BaselineError(ValueError):
    """What no baseline can be computed from; the message says what is accepted."""


class MeterPlace(StrEnum):
    """Where a meter sits: what its consumption is in the house's sign."""

    CONNECTION = "connection"
    """At the point of common coupling: import is consumption, and import is power into the bus."""
    DEVICE = "device"
    """At a battery, a generator or a load: what it takes out of the bus is its consumption."""

    @property
    def bus_sign(self) -> int:
        """Return +1 where consumption is positive into the bus, -1 where it is negative; turns either way."""
        return 1 if self is MeterPlace.CONNECTION else -1


@dataclass(frozen=True, slots=True)
class MeterSeries:
    """One meter over time; a reading is the mean power of its interval."""

    starts_at: datetime
    """Start of the first reading's interval [UTC, whole seconds]."""
    resolution_s: int
    """Length of each reading's interval [s]; divides an hour."""
    consumption_kw: FloatArray
    """Mean power [kW], consumption positive, shape ``(n,)``; NaN where no reading is."""
    place: MeterPlace = MeterPlace.CONNECTION

    def __post_init__(self) -> None:
        require_aware(self.starts_at, "starts_at")
        if not 1 <= self.resolution_s <= LONGEST_RESOLUTION_S or LONGEST_RESOLUTION_S % self.resolution_s:
            raise BaselineError(
                f"the readings are {self.resolution_s} s apart, accepted: 1 s to 3600 s, and a part of an hour"
            )
        if self.starts_at.microsecond:
            raise BaselineError(f"the first reading is at {self.starts_at.isoformat()}, accepted: whole seconds")

    @property
    def period(self) -> Interval:
        """From the first reading's start to the last one's end."""
        return Interval(
            self.starts_at, self.starts_at + timedelta(seconds=self.resolution_s * max(1, self.consumption_kw.size))
        )

    def position(self, at: datetime) -> float:
        """Return where an instant lies in readings from the first one; whole on a boundary."""
        return (at - self.starts_at).total_seconds() / self.resolution_s

    def readings_kw(self, window: Interval) -> FloatArray:
        """Return the readings of a window that begins and ends on boundaries [kW]; NaN where none is."""
        first, end = round(self.position(window.starts_at)), round(self.position(window.ends_at))
        result = np.full(end - first, np.nan)
        low, high = max(first, 0), min(end, self.consumption_kw.size)
        if low < high:
            result[low - first : high - first] = self.consumption_kw[low:high]
        return result

    def with_consumption(self, consumption_kw: FloatArray) -> MeterSeries:
        """Return the same grid with other powers."""
        return MeterSeries(self.starts_at, self.resolution_s, consumption_kw, self.place)


def resolution_of(instants: Sequence[datetime]) -> int:
    """Return the shortest step between rising instants [s]; raise BaselineError for fewer than two."""
    if len(instants) < 2:
        raise BaselineError(f"{len(instants)} readings were found, accepted: two or more")
    return round(min((after - before).total_seconds() for before, after in pairwise(instants)))


def meter_series(
    readings: Iterable[tuple[datetime, float]],
    *,
    place: MeterPlace = MeterPlace.CONNECTION,
    resolution_s: int | None = None,
) -> MeterSeries:
    """Return a series from readings (start of interval, mean consumption [kW]) in any order.

    Instants between the first and the last that have no reading become gaps. Raises BaselineError for an instant that
    comes twice, lies off the grid or has no finite power, and for a span too long to hold.
    """
    ordered = sorted((require_aware(at).astimezone(UTC), power_kw) for at, power_kw in readings)
    instants = [at for at, _ in ordered]
    for before, after in pairwise(instants):
        if before == after:
            raise BaselineError(f"two readings are at {after.isoformat()}, accepted: one for an instant")
    step_s = resolution_of(instants) if resolution_s is None else resolution_s
    if not ordered or step_s < 1:
        raise BaselineError(f"the readings are {step_s} s apart, accepted: 1 s to 3600 s, and a part of an hour")
    count = (instants[-1] - instants[0]).total_seconds() / step_s + 1
    if count > MOST_READINGS:
        raise BaselineError(f"the readings span {count:.0f} intervals of {step_s} s, accepted: {MOST_READINGS} at most")
    powers = np.full(round(count), np.nan)
    for at, power_kw in ordered:
        position = (at - instants[0]).total_seconds() / step_s
        if position != round(position):
            raise BaselineError(
                f"the reading at {at.isoformat()} is off the grid of {step_s} s from {instants[0].isoformat()}"
            )
        if not math.isfinite(power_kw):
            raise BaselineError(f"the reading at {at.isoformat()} is {power_kw}, accepted: a finite power in kW")
        powers[round(position)] = power_kw
    return MeterSeries(instants[0], step_s, powers, place)
