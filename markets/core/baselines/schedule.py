"""A power plan declared before the gate, step by step; positive into the bus."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from markets.core.baselines.meter import BaselineError
from sites.core.curves import FloatArray
from sites.core.intervals import Interval, require_aware
from sites.core.units import UWH_PER_KWH


@dataclass(frozen=True, slots=True)
class ScheduleStep:
    """From an instant on, the declared power."""

    starts_at: datetime
    power_kw: float
    """Positive into the bus [kW]."""


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """A power plan locked before the gate: what frequency products measure against (NESO, FCR).

    Each step holds until the next one, the last without end.
    """

    steps: tuple[ScheduleStep, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise BaselineError("the schedule has no step, accepted: one or more")
        for before, after in pairwise(self.steps):
            if after.starts_at <= before.starts_at:
                raise BaselineError(
                    f"step at {after.starts_at.isoformat()} follows {before.starts_at.isoformat()}, "
                    "accepted: rising instants"
                )
        require_aware(self.steps[0].starts_at, "starts_at")

    def power_kw(self, at: datetime) -> float:
        """Return the declared power at an instant [kW]; raise BaselineError before the first step."""
        index = bisect_right([step.starts_at for step in self.steps], at) - 1
        if index < 0:
            raise BaselineError(
                f"no power is declared at {at.isoformat()}, accepted: from {self.steps[0].starts_at.isoformat()} on"
            )
        return self.steps[index].power_kw

    def samples_kw(self, starts_at: datetime, rate_hz: float, count: int) -> FloatArray:
        """Return the declared power at each sample instant [kW], shape ``(count,)``."""
        result = np.full(count, self.power_kw(starts_at), dtype=np.float64)
        for step in self.steps:
            offset_s = (step.starts_at - starts_at).total_seconds()
            if offset_s > 0.0:
                # A sample exactly on the step's instant already belongs to the step.
                result[int(np.ceil(offset_s * rate_hz - 1e-9)) :] = step.power_kw
        return result

    def energy_uwh(self, period: Interval) -> int:
        """Return the declared energy over a period [uWh], positive into the bus, rounded half to even."""
        energy_kwh = 0.0
        edges = [period.starts_at, *(s.starts_at for s in self.steps if s.starts_at in period), period.ends_at]
        for start, end in pairwise(edges):
            energy_kwh += self.power_kw(start) * (end - start).total_seconds() / 3600.0
        return round(energy_kwh * UWH_PER_KWH)


def constant_schedule(starts_at: datetime, power_kw: float) -> DeclaredSchedule:
    """Return the plan that holds one power from an instant on."""
    return DeclaredSchedule((ScheduleStep(starts_at, power_kw),))
