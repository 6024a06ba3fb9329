"""What others would have done for the same service: estimates with a band, every figure named; never booked.

Consequential figures stand outside the books and are never subtracted from Scope 1 to 3. A band runs from the smallest
to the largest result over the corners of all parameters' ranges, so nothing in it can be said more exactly than its
parameters are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

NOT_BOOKED = "An estimate, not a booked figure; it is not subtracted from any scope."


@dataclass(frozen=True, slots=True)
class Band:
    """An estimate with its range; low <= central <= high, of either sign."""

    low: float
    central: float
    high: float

    def __post_init__(self) -> None:
        # A comparison with a NaN is false, so it is refused too.
        if not (self.low <= self.central <= self.high and math.isfinite(self.high - self.low)):
            raise ValueError(f"band is {self.low}, {self.central}, {self.high}, accepted: rising and finite")

    def less(self, other: Band) -> Band:
        """Return this less another band: as wide as both together, for nothing says that they move together."""
        return Band(self.low - other.high, self.central - other.central, self.high - other.low)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One assumed figure behind an estimate."""

    name: str
    unit: str
    band: Band
    source: str
    certainty: str
    """V verified in the source named, A second-hand, M from memory, C assumption of this project."""


@dataclass(frozen=True, slots=True)
class Service:
    """What was given, or is asked for: the question to every alternative."""

    power_kw: float
    """Size of the service [kW, > 0], either way."""
    energy_kwh: float
    """Net energy given to the grid [kWh]; negative: taken from it."""
    window_h: float
    """How long the power had to stand ready [h, > 0]."""
    gives: bool = True
    """Whether power had to stand ready to be given; False for a service that only takes."""

    def __post_init__(self) -> None:
        for name, value, accepted in (
            ("power_kw", self.power_kw, self.power_kw > 0.0),
            ("window_h", self.window_h, self.window_h > 0.0),
            ("energy_kwh", self.energy_kwh, True),
        ):
            if not (accepted and math.isfinite(value)):
                raise ValueError(f"{name} is {value}, accepted: finite, and more than 0 for power and window")

    @property
    def carried_kw(self) -> float:
        """The power that others have to carry [kW]: the size, or the mean of what was given where that was more."""
        return max(self.power_kw, abs(self.energy_kwh) / self.window_h)


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What one kind of plant would have taken for a service."""

    kind: str
    title: str
    units: Band
    """Trucks, or the plant's rating in service [MW]; see ``units_name``."""
    units_name: str
    ready_min: Band
    """From the call to full power [min]."""
    fuel: Band
    """Fuel burnt because of the service; see ``fuel_unit``. Negative: less than without it."""
    fuel_unit: str
    kg_co2e: Band
    cost_usd: Band
    parameters: tuple[Parameter, ...]
    statement: str


def spreads(
    of: Callable[[Mapping[str, float]], tuple[float, ...]], parameters: Sequence[Parameter]
) -> tuple[Band, ...]:
    """Return the bands of several figures over all corners of their parameters' ranges; centers from central values.

    Parameters are given to ``of`` by name; those without a range cost nothing.
    """
    center = {parameter.name: parameter.band.central for parameter in parameters}
    open_ones = [parameter for parameter in parameters if parameter.band.low != parameter.band.high]
    names = [parameter.name for parameter in open_ones]
    ends = product(*((parameter.band.low, parameter.band.high) for parameter in open_ones))
    rows = [of(center), *(of(center | dict(zip(names, values, strict=True))) for values in ends)]
    # Adding 0.0 turns "-0.0" into plain zero.
    return tuple(Band(min(column) + 0.0, column[0] + 0.0, max(column) + 0.0) for column in zip(*rows, strict=True))
