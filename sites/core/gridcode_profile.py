"""What a grid code asks of one site: trips, ride-through, loss of mains, return; each figure with its source.

Certainty, as in the curves' catalogue: V = read in a cited page or in published code, M = from memory of the
primary document, U = unsure (check before commissioning a real site). Voltages in per unit of nominal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

CERTAINTIES: Final = ("V", "M", "U")
MAX_STAGES: Final = 10
"""Trip stages that a controller holds, loss of mains included."""


class GridCodeError(ValueError):
    """A profile that contradicts itself, or a name that the catalogue does not hold."""


class WrongNominalFrequency(GridCodeError):
    """A profile for 50 Hz at a 60 Hz site, or the other way around."""


class Quantity(StrEnum):
    """What a stage or region judges; voltage: the worst phase for a trip."""

    VOLTAGE_PU = "voltage_pu"
    FREQUENCY_HZ = "frequency_hz"
    ROCOF_HZ_PER_S = "rocof_hz_per_s"


class Side(StrEnum):
    """On which side of its level a stage acts."""

    BELOW = "below"
    ABOVE = "above"


class Operation(StrEnum):
    """What a site has to do in a region until its time has passed."""

    CONTINUOUS = "continuous"
    """Run on without end."""
    MANDATORY = "mandatory"
    """Stay connected and go on exchanging current."""
    PERMISSIVE = "permissive"
    """Stay connected; may go on or may cease."""
    MOMENTARY_CESSATION = "momentary_cessation"
    """Stop exchanging current at once, stay connected and return when the voltage does."""


@dataclass(frozen=True, slots=True)
class Cited:
    """Where a figure comes from and how sure it is."""

    source: str
    certainty: str

    def __post_init__(self) -> None:
        if self.certainty not in CERTAINTIES:
            raise GridCodeError(f"certainty {self.certainty!r} of {self.source!r}, accepted: V, M, U")


@dataclass(frozen=True, slots=True)
class TripStage:
    """The site must leave the grid when a quantity stays beyond a level for a time."""

    name: str
    quantity: Quantity
    side: Side
    level: float
    clear_by_s: float
    """Longest time from crossing the level to the open switch [s]."""
    cited: Cited
    delay_s: float = 0.0
    """Shortest time before it may trip [s]; 0 when the code names only the clearing time."""
    window_s: float = 0.0
    """For a rate of change: over how long it is measured [s]."""


@dataclass(frozen=True, slots=True)
class RideThrough:
    """While a quantity lies in [low, high) the site must not trip before a time has passed."""

    operation: Operation
    quantity: Quantity
    low: float
    high: float
    duration_s: float
    """At ``low`` [s], counted from leaving continuous operation."""
    cited: Cited
    slope_s_per_unit: float = 0.0
    """More time for each unit above ``low``: sloping curves."""

    def until_s(self, value: float) -> float:
        """Return how long to ride through at a value in the region [s]."""
        return self.duration_s + self.slope_s_per_unit * (value - self.low)


@dataclass(frozen=True, slots=True)
class RocofWithstand:
    """Rate of change of frequency to ride through."""

    hz_per_s: float
    window_s: float
    """Over which it is averaged."""
    cited: Cited


@dataclass(frozen=True, slots=True)
class PhaseJumpWithstand:
    """Phase jumps within a cycle to ride through."""

    positive_sequence_deg: float
    one_phase_deg: float
    """Of a single phase of three, and of a single-phase site."""
    cited: Cited


@dataclass(frozen=True, slots=True)
class LossOfMains:
    """How soon a site must cease to energize the grid's part of an unintended island."""

    method: str
    cease_within_s: float
    cited: Cited


@dataclass(frozen=True, slots=True)
class EnterService:
    """When a site may return to the grid."""

    low_pu: float
    high_pu: float
    low_hz: float
    high_hz: float
    delay_s: float
    ramp_s: float
    """From nothing to rated power; 0 when the code asks none."""
    cited: Cited


@dataclass(frozen=True, slots=True)
class SynchronismLimits:
    """Largest differences across the open switch when it closes, for sites up to a rating."""

    up_to_kva: float
    slip_hz: float
    voltage_pu: float
    angle_deg: float
    cited: Cited


@dataclass(frozen=True, slots=True)
class FrequencyDroop:
    """Default response of active power to frequency."""

    deadband_hz: float
    droop_ratio: float
    """Change of frequency, per unit, for rated power."""
    response_s: float
    cited: Cited


@dataclass(frozen=True, slots=True)
class MomentaryIsland:
    """Whether a site may leave the grid for its load's sake in a dip that it could ride through, and return."""

    permitted: bool
    reason: str
    cited: Cited


@dataclass(frozen=True, slots=True)
class GridCodeProfile:
    """One grid code at one nominal frequency."""

    name: str
    title: str
    nominal_hz: float
    continuous_pu: tuple[float, float]
    continuous_hz: tuple[float, float]
    trips: tuple[TripStage, ...]
    ride_through: tuple[RideThrough, ...]
    rocof: RocofWithstand
    phase_jump: PhaseJumpWithstand
    loss_of_mains: LossOfMains
    enter_service: EnterService
    synchronism: tuple[SynchronismLimits, ...]
    droop: FrequencyDroop
    momentary_island: MomentaryIsland

    def __post_init__(self) -> None:
        if self.nominal_hz not in (50.0, 60.0):
            raise GridCodeError(f"profile {self.name!r}: nominal_hz is {self.nominal_hz}, accepted: 50 or 60")
        if not 1 <= len(self.trips) <= MAX_STAGES:
            raise GridCodeError(f"profile {self.name!r} has {len(self.trips)} trip stages, accepted: 1 to {MAX_STAGES}")
        sizes = [limits.up_to_kva for limits in self.synchronism]
        if not sizes or any(b <= a for a, b in pairwise(sizes)) or sizes[-1] != float("inf"):
            raise GridCodeError(f"profile {self.name!r}: synchronism classes {sizes}, accepted: rising, the last inf")
        for stage in self.trips:
            if not 0.0 <= stage.delay_s <= stage.clear_by_s:
                raise GridCodeError(
                    f"profile {self.name!r}, {stage.name}: delay {stage.delay_s} s, accepted: 0 to {stage.clear_by_s}"
                )
            self._check_stage(stage)

    def _check_stage(self, stage: TripStage) -> None:
        """Raise GridCodeError when a stage must trip where the same code says to ride through for longer."""
        if stage.quantity is Quantity.ROCOF_HZ_PER_S:
            # A relay's level may equal what must be ridden through only with a delay that lets it pass.
            if stage.level < self.rocof.hz_per_s:
                raise GridCodeError(
                    f"profile {self.name!r}, {stage.name}: trips at {stage.level} Hz/s, accepted: {self.rocof.hz_per_s}"
                    " or more, which must be ridden through"
                )
            return
        low, high = self.continuous_pu if stage.quantity is Quantity.VOLTAGE_PU else self.continuous_hz
        if low < stage.level < high:
            raise GridCodeError(f"profile {self.name!r}, {stage.name}: level {stage.level} inside continuous operation")
        for region in self.ride_through:
            if region.quantity is not stage.quantity or region.operation is Operation.PERMISSIVE:
                continue
            # The value of the region that lies beyond the stage's level and must be ridden through longest.
            edges = (region.low, min(region.high, stage.level)) if stage.side is Side.BELOW else (
                max(region.low, stage.level), region.high)  # fmt: skip
            if edges[1] > edges[0] and max(map(region.until_s, edges)) > stage.clear_by_s + 1e-9:
                raise GridCodeError(
                    f"profile {self.name!r}, {stage.name}: clears by {stage.clear_by_s} s inside the region "
                    f"{region.low}-{region.high} that must be ridden through for {max(map(region.until_s, edges))} s"
                )

    def require_nominal(self, nominal_hz: float) -> None:
        """Raise WrongNominalFrequency when a site runs at another nominal frequency than the code."""
        if nominal_hz != self.nominal_hz:
            raise WrongNominalFrequency(
                f"grid code {self.name!r} is for {self.nominal_hz:g} Hz, the site is {nominal_hz:g} Hz"
            )

    def synchronism_for(self, rated_kva: float) -> SynchronismLimits:
        """Return the limits of the size class that a rating falls into."""
        return next(limits for limits in self.synchronism if rated_kva <= limits.up_to_kva)
