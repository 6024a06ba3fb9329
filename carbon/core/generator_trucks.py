"""Mobile generator trucks for a service: how many, how soon, diesel, carbon and cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from carbon.core.counterfactual import NOT_BOOKED, Band, Counterfactual, Parameter, Service, spreads
from carbon.core.factors import DIESEL_MINERAL_2023

RATED: Final = Parameter(
    "rated power of one truck", "kW", Band(400.0, 400.0, 400.0), "500 kVA trailer set at power factor 0.8", "A"
)
LOADING: Final = Parameter(
    "loading that still answers a step", "ratio", Band(0.7, 0.8, 0.9), "ISO 8528 prime rating: 70 % on average", "C"
)
IDLE_FUEL: Final = Parameter(
    "fuel line F0",
    "l/h per rated kW",
    Band(0.015, 0.0175, 0.022),
    "large diesel sets, HOMER-type line; 0.022 from a renter's table of a 400 kW set, 33.7 l/h at quarter load",
    "A",
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
HIRE: Final = Parameter(
    "hire of one truck for a day",
    "USD",
    Band(900.0, 1400.0, 2000.0),
    "renters' planning ranges of 2026 in the United States end at 900 to 1350 USD for 300 kW; scaled to 400 kW",
    "C",
)
CREW: Final = Parameter(
    "delivery and crew of one truck", "USD", Band(300.0, 600.0, 1200.0), "two people, half a day", "C"
)
DIESEL_PRICE: Final = Parameter("diesel", "USD/l", Band(0.9, 1.3, 1.8), "pump prices between tax regimes", "C")
DIESEL_FACTOR: Final = Parameter(
    "diesel burnt",
    "kg CO2e/l",
    Band(*(float(DIESEL_MINERAL_2023.value),) * 3),
    f"{DIESEL_MINERAL_2023.source}; {DIESEL_MINERAL_2023.factor_id}",
    "V",
)

PARAMETERS: Final = (
    RATED,
    LOADING,
    IDLE_FUEL,
    LOAD_FUEL,
    MOBILIZATION,
    STANDBY,
    DISTANCE,
    ROAD_FUEL,
    HIRE,
    CREW,
    DIESEL_PRICE,
    DIESEL_FACTOR,
)


def generator_trucks(service: Service) -> Counterfactual:
    """Estimate generator trucks for a service that gives to the grid.

    Sets have to run through the whole window to answer at once, so the no-load part of the fuel line
    ``F0 * P_rated * h + F1 * kWh`` counts for the window and the standby; the road is added. Raises ValueError for a
    service that takes energy: a generator cannot.
    """
    if service.energy_kwh < 0.0 or not service.gives:
        raise ValueError(
            f"the service takes {-service.energy_kwh} kWh, accepted: one that gives; a generator only does"
        )
    trucks, litres, kg_co2e, cost_usd = spreads(lambda p: _figures(service, p), PARAMETERS)
    return Counterfactual(
        kind="generator-trucks",
        title="Generator trucks",
        units=trucks,
        units_name="trucks",
        ready_min=MOBILIZATION.band,
        fuel=litres,
        fuel_unit="l",
        kg_co2e=kg_co2e,
        cost_usd=cost_usd,
        parameters=PARAMETERS,
        statement=(
            f"{service.power_kw:.0f} kW for {service.window_h * 60.0:.1f} min by generator trucks would take "
            f"{trucks.central:.0f} trucks ({trucks.low:.0f} to {trucks.high:.0f}), {MOBILIZATION.band.central:.0f} min "
            f"to power ({MOBILIZATION.band.low:.0f} to {MOBILIZATION.band.high:.0f}, certainty C) and "
            f"{litres.central:.0f} l of diesel ({litres.low:.0f} to {litres.high:.0f}). {NOT_BOOKED}"
        ),
    )


def _figures(service: Service, p: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Return trucks, litres, carbon [kg CO2e] and cost [USD] for one set of parameters."""
    trucks = ceil(service.carried_kw / (p[RATED.name] * p[LOADING.name]))
    hours = service.window_h + p[STANDBY.name]
    running = trucks * p[IDLE_FUEL.name] * p[RATED.name] * hours + p[LOAD_FUEL.name] * service.energy_kwh
    litres = running + trucks * p[DISTANCE.name] * p[ROAD_FUEL.name]
    days = ceil((hours + p[MOBILIZATION.name] / 60.0) / 24.0)
    cost_usd = trucks * (days * p[HIRE.name] + p[CREW.name]) + litres * p[DIESEL_PRICE.name]
    return float(trucks), litres, litres * p[DIESEL_FACTOR.name], cost_usd
