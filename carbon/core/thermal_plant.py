"""A thermal plant for a service: a gas turbine that holds headroom at part load, moves, and may have to start.

What is counted is the fuel that the service causes: the plant's own megawatt-hours at part load less the same at its
best point, a penalty for moving, the energy that it gives more (or less), and a start. Whoever credits the plant with
its energy, or compares it with another reference, comes to other figures, up to the other sign (Energies 2021, 14,
549).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from carbon.core.counterfactual import NOT_BOOKED, Band, Counterfactual, Parameter, Service, spreads

_NETL: Final = (
    "NETL curve of a simple-cycle aeroderivative turbine as read off by NREL's Hercules (open_cycle_gas_turbine)"
)
LOADS: Final = (0.25, 0.50, 0.75, 1.00)
"""Share of rated power [-]."""
EFFICIENCIES: Final = (0.245, 0.325, 0.37, 0.39)
"""Net, on the gas's higher heating value [-]; certainty A."""

EFFICIENCY_SCALE: Final = Parameter(
    "efficiency against the curve 0.245, 0.325, 0.37, 0.39 at 25, 50, 75, 100 % load",
    "ratio",
    Band(0.85, 1.0, 1.05),
    f"{_NETL}; the range from older frames to new machines is ours",
    "A",
)
HEADROOM: Final = Parameter(
    "headroom held of a unit's rating",
    "ratio",
    Band(0.10, 0.20, 0.40),
    "units share a reserve; 40 % is a lone unit",
    "C",
)
MIN_LOAD: Final = Parameter("least stable load of its rating", "ratio", Band(0.4, 0.4, 0.4), _NETL, "A")
MOVING: Final = Parameter(
    "more fuel from moving all the time",
    "ratio",
    Band(0.0, 0.01, 0.03),
    "regulating against steady at the same load",
    "C",
)
STARTS: Final = Parameter("starts for the service", "starts", Band(0.0, 0.0, 1.0), "a running unit is usual", "C")
START_TIME: Final = Parameter("start to the bus", "min", Band(7.0, 8.0, 10.0), f"{_NETL}: 7 min hot, 8 min warm", "A")
LEAST_RUN: Final = Parameter("least run after a start", "h", Band(0.5, 0.5, 0.5), _NETL, "A")
RAMP: Final = Parameter("ramp of its rating", "of rating a min", Band(0.08, 0.10, 0.20), f"{_NETL}: 10 %/min", "A")
GAS_FACTOR: Final = Parameter(
    "gas burnt",
    "kg CO2e/kWh HHV",
    Band(0.18293, 0.18293, 0.18293),
    "UK DESNZ/Defra, GHG conversion factors for company reporting 2023, natural gas, gross calorific value",
    "V",
)
GAS_PRICE: Final = Parameter("gas", "USD/kWh HHV", Band(0.01, 0.03, 0.05), "hub prices, America to Europe", "C")
START_COST: Final = Parameter(
    "wear of one start",
    "USD per rated MW",
    Band(24.0, 67.0, 126.0),
    "Kumar et al. 2012 (NREL/SR-5500-55433): 24 aeroderivative, 126 large frame, warm; 67 mean of Lew et al. 2013",
    "A",
)

PARAMETERS: Final = (
    EFFICIENCY_SCALE,
    HEADROOM,
    MIN_LOAD,
    MOVING,
    STARTS,
    START_TIME,
    LEAST_RUN,
    RAMP,
    GAS_FACTOR,
    GAS_PRICE,
    START_COST,
)


def thermal_plant(service: Service) -> Counterfactual:
    """Estimate a gas turbine for a service, either way."""
    rated, ready, fuel, kg_co2e, cost_usd = spreads(lambda p: _figures(service, p), PARAMETERS)
    return Counterfactual(
        kind="thermal-plant",
        title="Gas turbine",
        units=rated,
        units_name="MW of plant",
        ready_min=ready,
        fuel=fuel,
        fuel_unit="kWh of gas",
        kg_co2e=kg_co2e,
        cost_usd=cost_usd,
        parameters=PARAMETERS,
        statement=(
            f"{service.power_kw:.0f} kW held for {service.window_h * 60.0:.1f} min by {rated.central:.1f} MW of gas "
            f"turbines ({rated.low:.1f} to {rated.high:.1f}) change the gas burnt by {fuel.central:+.0f} "
            f"kWh ({fuel.low:+.0f} to {fuel.high:+.0f}), full power {ready.central:.0f} min after the call "
            f"({ready.low:.1f} to {ready.high:.0f}). {NOT_BOOKED}"
        ),
    )


def fuel_per_output(load: float) -> float:
    """Return the gas that a kWh takes at a load [kWh/kWh], linear in the efficiency between the curve's points."""
    return 1.0 / float(np.interp(load, LOADS, EFFICIENCIES))


def _figures(service: Service, p: Mapping[str, float]) -> tuple[float, float, float, float, float]:
    """Return rating [MW], time to power [min], gas [kWh], carbon [kg CO2e] and cost [USD] for one set of parameters."""
    rated_kw = service.carried_kw / p[HEADROOM.name]
    ready_min = p[HEADROOM.name] / p[RAMP.name] + p[STARTS.name] * p[START_TIME.name]
    fuel_kwh = _fuel_kwh(service, rated_kw, p)
    cost_usd = fuel_kwh * p[GAS_PRICE.name] + p[STARTS.name] * p[START_COST.name] * rated_kw / 1000.0
    return rated_kw / 1000.0, ready_min, fuel_kwh, fuel_kwh * p[GAS_FACTOR.name], cost_usd


def _fuel_kwh(service: Service, rated_kw: float, p: Mapping[str, float]) -> float:
    """Return the gas that the service causes [kWh]; negative where taking power saves more than holding costs."""
    # To give, units run below full load; what only takes steps down from it.
    load = 1.0 - p[HEADROOM.name] if service.gives else 1.0
    hours = max(service.window_h, p[LEAST_RUN.name]) if p[STARTS.name] else service.window_h
    output_kwh = rated_kw * load * hours
    held = output_kwh * (fuel_per_output(load) * (1.0 + p[MOVING.name]) - fuel_per_output(1.0))
    given = service.energy_kwh * _marginal(load, p, is_up=service.energy_kwh >= 0.0 and service.gives)
    # A start burns what an idling machine burns: the curve's line, carried on to no output.
    quarter, full = LOADS[0] * fuel_per_output(LOADS[0]), fuel_per_output(1.0)
    idle = quarter - (full - quarter) / (1.0 - LOADS[0]) * LOADS[0]
    started = p[STARTS.name] * rated_kw * idle * p[START_TIME.name] / 60.0
    return (held + given + started) / p[EFFICIENCY_SCALE.name]


def _marginal(load: float, p: Mapping[str, float], *, is_up: bool) -> float:
    """Return the gas of one more kWh, or one less, on the way through the headroom [kWh/kWh]."""
    low, high = (load, 1.0) if is_up else (max(load - p[HEADROOM.name], p[MIN_LOAD.name]), load)
    return (high * fuel_per_output(high) - low * fuel_per_output(low)) / (high - low)
