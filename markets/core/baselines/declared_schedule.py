"""Declared schedule: the power plan locked before the gate is the baseline (frequency products)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np

from markets.core.baselines.meter import BaselineError
from markets.core.baselines.method import Baseline, Inputs, Rule, event_intervals, require_terms
from markets.core.product import Certainty
from sites.core.units import kwh_from_uwh


@dataclass(frozen=True, slots=True)
class DeclaredScheduleMethod:
    """What was declared, reading by reading."""

    rule: Rule
    reads: frozenset[str] = field(default=frozenset({"schedule"}))

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the plan's mean over each reading; raise BaselineError where nothing is declared."""
        require_terms(self, inputs.terms.given(), "schedule")
        plan = inputs.terms.schedule
        if plan is None:
            raise BaselineError(f"method {self.rule.name!r} needs schedule")
        sign = inputs.meter.place.bus_sign
        periods = inputs.event.split(timedelta(seconds=inputs.meter.resolution_s))
        # A step inside a reading counts with its part of it.
        plan_kw = np.array([sign * kwh_from_uwh(plan.energy_uwh(period)) / period.duration_h for period in periods])
        return Baseline(self.rule, event_intervals(inputs, plan_kw))


METHOD: Final = DeclaredScheduleMethod(
    Rule(
        name="declared-schedule",
        title="Declared schedule",
        text="The power plan locked before the gate, less each reading; a plan is written into the bus positive.",
        certainty=Certainty.MEMORY,
        source="NESO dynamic services and Nordic FCR: as submitted, locked about an hour ahead, from memory (M)",
        aliases=("schedule",),
    )
)
