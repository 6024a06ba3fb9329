"""The impact statement: what generator trucks would have done. Estimates with a band, never booked.

Consequential figures stand outside the books and are never subtracted from Scope 1 to 3. Every
parameter says where it comes from and how certain it is: V verified, A second-hand, C assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from carbon.core.factors import DIESEL_MINERAL_2023


@dataclass(frozen=True, slots=True)
class Band:
    """An estimate with its sensitivity band; low <= central <= high."""

    low: float
    central: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.central <= self.high:
            raise ValueError(f"band is {self.low}, {self.central}, {self.high}, accepted: rising, 0 or more")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One assumed figure behind an estimate."""

    name: str
    unit: str
    band: Band
    source: str
    certainty: str
    """V verified, A second-hand, C assumption of this project."""


TRUCK_RATED_KW: Final = Parameter(
    "rated power of one truck", "kW", Band(400.0, 400.0, 400.0), "500 kVA trailer set at power factor 0.8", "A"
)
LOADING_RATIO: Final = Parameter(
    "loading that still answers a step", "1", Band(0.7, 0.8, 0.9), "ISO 8528 prime rating: 70 % on average", "C"
)
IDLE_FUEL: Final = Parameter(
    "fuel line F0", "l/h per rated kW", Band(0.015, 0.0175, 0.020), "large diesel sets, HOMER-type line", "A"
)
LOAD_FUEL: Final = Parameter(
    "fuel line F1", "l/kWh", Band(0.240, 0.245, 0.273), "large diesel sets; 0.273 is a 50 kW set", "A"
)
MOBILIZATION: Final = Parameter(
    "call to power", "min", Band(60.0, 90.0, 120.0), "crew, road, cabling, start; local dispatch assumed", "C"
)
STANDBY: Final = Parameter("running before and after the window", "h", Band(0.1, 0.25, 0.5), "warm-up, cool-down", "C")
DISTANCE: Final = Parameter("round trip of one truck", "km", Band(20.0, 60.0, 120.0), "depot within a region", "C")
ROAD_FUEL: Final = Parameter("road fuel of one truck", "l/km", Band(0.28, 0.33, 0.40), "articulated truck, loaded", "C")

TRUCK_PARAMETERS: Final = (
    TRUCK_RATED_KW,
    LOADING_RATIO,
    IDLE_FUEL,
    LOAD_FUEL,
    MOBILIZATION,
    STANDBY,
    DISTANCE,
    ROAD_FUEL,
)


@dataclass(frozen=True, slots=True)
class TruckEstimate:
    """What the same power and energy would have taken from generator trucks; estimates, not entries."""

    power_kw: float
    energy_kwh: float
    window_h: float
    trucks: Band
    """Whole trucks."""
    mobilization_min: Band
    litres: Band
    kg_co2e: Band
    factor_id: str
    parameters: tuple[Parameter, ...]
    statement: str


def truck_estimate(power_kw: float, energy_kwh: float, window_h: float) -> TruckEstimate:
    """Estimate generator trucks that deliver a power [kW > 0] and an energy [kWh >= 0] within a window [h > 0].

    Sets have to run through the whole window to answer at once, so the no-load part of the fuel line
    ``F0 * P_rated * h + F1 * kWh`` counts for the window and the standby; the road is added. An
    energy above power times window sizes the trucks by its mean power. Raises ValueError for other figures.
    """
    for name, value, accepted in (
        ("power_kw", power_kw, power_kw > 0.0),
        ("window_h", window_h, window_h > 0.0),
        ("energy_kwh", energy_kwh, energy_kwh >= 0.0),
    ):
        if not accepted:
            raise ValueError(f"{name} is {value}, accepted: more than 0, for energy 0 too")
    # A fleet may deliver more than it owed; then the trucks have to carry its mean power.
    carried_kw = max(power_kw, energy_kwh / window_h)
    factor = float(DIESEL_MINERAL_2023.value)
    trucks: list[int] = []
    litres: list[float] = []
    # Low band: highest loading, so the loading's band runs the other way.
    for end, loading_end in (("low", "high"), ("central", "central"), ("high", "low")):
        rated = getattr(TRUCK_RATED_KW.band, end)
        count = ceil(carried_kw / (rated * getattr(LOADING_RATIO.band, loading_end)))
        hours = window_h + getattr(STANDBY.band, end)
        running = count * getattr(IDLE_FUEL.band, end) * rated * hours + getattr(LOAD_FUEL.band, end) * energy_kwh
        road = count * getattr(DISTANCE.band, end) * getattr(ROAD_FUEL.band, end)
        trucks.append(count)
        litres.append(running + road)
    fuel = Band(*litres)
    return TruckEstimate(
        power_kw=power_kw,
        energy_kwh=energy_kwh,
        window_h=window_h,
        trucks=Band(*(float(count) for count in trucks)),
        mobilization_min=MOBILIZATION.band,
        litres=fuel,
        kg_co2e=Band(fuel.low * factor, fuel.central * factor, fuel.high * factor),
        factor_id=DIESEL_MINERAL_2023.factor_id,
        parameters=TRUCK_PARAMETERS,
        statement=(
            f"Estimate: {power_kw:.0f} kW for {window_h * 60.0:.1f} min by generator trucks would take "
            f"{trucks[1]} trucks ({trucks[0]} to {trucks[2]}), {MOBILIZATION.band.central:.0f} min to power "
            f"({MOBILIZATION.band.low:.0f} to {MOBILIZATION.band.high:.0f}, certainty C) and {fuel.central:.0f} l "
            f"of diesel ({fuel.low:.0f} to {fuel.high:.0f}). Not a booked figure; not subtracted from any scope."
        ),
    )
