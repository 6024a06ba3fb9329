"""The impact statement: a service beside what others would have done for it; signed bands, in no book.

The fleet's own side is an estimate too: what it gave has to be charged again, with losses, from whatever plant stands
at the margin then. The carbon book's figure for the same energy is attributional and belongs beside this, not into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbon.core.counterfactual import NOT_BOOKED, Band, Counterfactual, Parameter, Service, spreads
from carbon.core.generator_trucks import generator_trucks
from carbon.core.thermal_plant import thermal_plant

ROUND_TRIP: Final = Parameter(
    "energy out over energy in of storage", "ratio", Band(0.80, 0.86, 0.92), "battery and converter, both ways", "C"
)
MARGINAL: Final = Parameter(
    "plant at the margin while charging again",
    "kg CO2e/kWh",
    Band(0.0, 0.45, 0.8273),
    "0 curtailed renewables; 0.45 between gas and coal is ours; 0.8273 fossil mean of China, MEE 2023",
    "C",
)
FLEET_PARAMETERS: Final = (ROUND_TRIP, MARGINAL)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One other way, and what doing it by storage avoided."""

    counterfactual: Counterfactual
    avoided_kg_co2e: Band
    """The other's less the fleet's own [kg CO2e]; negative: storage caused more."""


@dataclass(frozen=True, slots=True)
class ImpactStatement:
    """Estimates side by side."""

    service: Service
    fleet_kg_co2e: Band
    """What the fleet's own service causes at the margin [kg CO2e]; negative for energy that it took."""
    fleet_parameters: tuple[Parameter, ...]
    alternatives: tuple[Alternative, ...]
    left_out: tuple[str, ...]
    """Why an alternative is missing."""
    note: str = NOT_BOOKED


def impact_statement(service: Service) -> ImpactStatement:
    """Return the impact of a service against every alternative that could have given it."""
    (own,) = spreads(lambda p: (fleet_kg_co2e(service, p[ROUND_TRIP.name], p[MARGINAL.name]),), FLEET_PARAMETERS)
    found = [thermal_plant(service)]
    left_out = []
    if service.gives and service.energy_kwh >= 0.0:
        found.append(generator_trucks(service))
    else:
        left_out.append("Generator trucks: the service took power from the grid, which a generator cannot.")
    alternatives = tuple(Alternative(other, other.kg_co2e.less(own)) for other in found)
    return ImpactStatement(service, own, FLEET_PARAMETERS, alternatives, tuple(left_out))


def fleet_kg_co2e(service: Service, round_trip: float, marginal: float) -> float:
    """Return what the margin burns for a service by storage [kg CO2e].

    What was given is charged again with all losses of the round trip; what was taken comes back later with its losses.
    """
    energy_kwh = service.energy_kwh
    moved_kwh = energy_kwh / round_trip if energy_kwh >= 0.0 else energy_kwh * round_trip
    return moved_kwh * marginal
