"""The catalogue of grid codes, and what a code says of a course of voltage and frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.gridcode_china import GBT
from sites.core.gridcode_europe import EN50549, G99
from sites.core.gridcode_ieee1547 import CATEGORY_I, CATEGORY_II, CATEGORY_III
from sites.core.gridcode_profile import (
    GridCodeError,
    GridCodeProfile,
    Operation,
    Quantity,
    RideThrough,
    Side,
    WrongNominalFrequency,
)

__all__ = [
    "CATALOGUE",
    "GridCodeError",
    "GridCodeProfile",
    "Trip",
    "WrongNominalFrequency",
    "default_profile",
    "first_trip",
    "must_ride_until_s",
    "profile_for",
    "profile_named",
    "rides_through",
]

FloatArray = npt.NDArray[np.float64]

CATALOGUE: Final[dict[str, GridCodeProfile]] = {
    profile.name: profile for profile in (G99, EN50549, GBT, CATEGORY_I, CATEGORY_II, CATEGORY_III)
}
DEFAULT_NAMES: Final = {50.0: "g99", 60.0: "ieee1547-iii"}


def profile_named(name: str) -> GridCodeProfile:
    """Return a profile of the catalogue; raise GridCodeError naming what is known otherwise."""
    try:
        return CATALOGUE[name]
    except KeyError:
        known = ", ".join(sorted(CATALOGUE))
        raise GridCodeError(f"grid code {name!r} is not in the catalogue, accepted: {known}") from None


def default_profile(nominal_hz: float) -> GridCodeProfile:
    """Return the profile that a site has when it names none; raise GridCodeError for other than 50 and 60 Hz."""
    if nominal_hz not in DEFAULT_NAMES:
        raise GridCodeError(f"no grid code for {nominal_hz:g} Hz, accepted: 50 or 60")
    return CATALOGUE[DEFAULT_NAMES[nominal_hz]]


def profile_for(name: str, nominal_hz: float) -> GridCodeProfile:
    """Return the profile of a site; an empty name means the default of its frequency.

    Raises GridCodeError for a name that is not known, WrongNominalFrequency for a profile of another frequency.
    """
    profile = profile_named(name) if name else default_profile(nominal_hz)
    profile.require_nominal(nominal_hz)
    return profile


@dataclass(frozen=True, slots=True)
class Trip:
    """The first shall-trip of a course."""

    stage: str
    at_s: float
    """When the stage's clearing time ends [s], from the course's first step."""


def first_trip(profile: GridCodeProfile, dt_s: float, voltage_pu: FloatArray, frequency_hz: FloatArray) -> Trip | None:
    """Return where a course must have tripped by, None when nothing asks it to.

    ``voltage_pu`` is [n] or [n, phases], the worst phase counts; ``frequency_hz`` is [n]. A stage starts anew
    whenever its quantity comes back. Rates of change are taken over the stage's own window.
    """
    voltage = np.atleast_2d(np.asarray(voltage_pu, dtype=np.float64).T)
    lowest, highest = voltage.min(axis=0), voltage.max(axis=0)
    trips = []
    for stage in profile.trips:
        if stage.quantity is Quantity.ROCOF_HZ_PER_S:
            steps = max(1, round(stage.window_s / dt_s))
            delayed = np.concatenate((np.full(steps, frequency_hz[0]), frequency_hz[:-steps]))
            beyond = np.abs(frequency_hz - delayed) / (steps * dt_s) > stage.level
        else:
            is_below = stage.side is Side.BELOW
            worst_pu = lowest if is_below else highest
            judged = frequency_hz if stage.quantity is Quantity.FREQUENCY_HZ else worst_pu
            beyond = judged < stage.level if is_below else judged > stage.level
        needed = max(1, round(stage.clear_by_s / dt_s))
        at = _first_run(beyond, needed)
        if at is not None:
            trips.append(Trip(stage.name, at * dt_s))
    return min(trips, key=_when, default=None)


def _when(trip: Trip) -> float:
    return trip.at_s


def _first_run(flags: npt.NDArray[np.bool_], length: int) -> int | None:
    """Return the step after which ``length`` flags in a row have been set for the first time."""
    count = np.arange(1, len(flags) + 1)
    last_unset = np.maximum.accumulate(np.where(flags, 0, count))
    places = np.flatnonzero(count - last_unset >= length)
    return int(places[0]) + 1 if len(places) else None


def must_ride_until_s(profile: GridCodeProfile, quantity: Quantity, value: float) -> float:
    """Return how long a site must ride through at a value [s]: inf inside continuous operation, 0 outside all."""
    low, high = profile.continuous_pu if quantity is Quantity.VOLTAGE_PU else profile.continuous_hz
    if low <= value <= high:
        return float("inf")
    region = _region(profile, quantity, value)
    return 0.0 if region is None else region.until_s(value)


def _region(profile: GridCodeProfile, quantity: Quantity, value: float) -> RideThrough | None:
    for region in profile.ride_through:
        if region.quantity is not quantity:
            continue
        # Above nominal the regions are (low, high], below [low, high): 1.20 pu is still ridden through.
        middle = 1.0 if quantity is Quantity.VOLTAGE_PU else profile.nominal_hz
        inside = region.low < value <= region.high if region.low >= middle else region.low <= value < region.high
        if inside:
            return region
    return None


def rides_through(profile: GridCodeProfile, quantity: Quantity, value: float, duration_s: float) -> Operation | None:
    """Return what the code asks of a site at a value that has lasted for a time; None when it may trip."""
    until_s = must_ride_until_s(profile, quantity, value)
    if until_s == float("inf"):
        return Operation.CONTINUOUS
    region = _region(profile, quantity, value)
    return region.operation if region is not None and duration_s <= until_s else None
