"""Meter before, meter after: what the meter showed just before the event; our default for short events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np

from markets.core.baselines.meter import BaselineError
from markets.core.baselines.method import (
    Baseline,
    Inputs,
    Rule,
    event_intervals,
    require_coverage,
    require_terms,
)
from markets.core.product import Certainty
from sites.core.intervals import Interval


@dataclass(frozen=True, slots=True)
class MeterBeforeAfter:
    """The reading just before the event, or the mean of several, held through the event."""

    rule: Rule
    reads: frozenset[str] = field(default=frozenset({"readings_before"}))

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the level before the event; raise BaselineError when no reading shows it."""
        require_terms(self, inputs.terms.given())
        count = 1 if inputs.terms.readings_before is None else inputs.terms.readings_before
        if not 1 <= count <= inputs.meter.consumption_kw.size:
            raise BaselineError(f"readings_before is {count}, accepted: 1 to {inputs.meter.consumption_kw.size}")
        start = inputs.event.starts_at
        before = Interval(start - timedelta(seconds=count * inputs.meter.resolution_s), start)
        readings_kw = inputs.meter.readings_kw(before)
        require_coverage(readings_kw, inputs.max_gap_share, f"the readings just before the event, {count} of them")
        level_kw = float(readings_kw[np.isfinite(readings_kw)].mean())
        intervals = event_intervals(inputs, np.full(inputs.measured_kw.size, level_kw))
        return Baseline(
            self.rule,
            intervals,
            notes=(f"level before the event: mean of {count} reading(s) from {before.starts_at.isoformat()}",),
        )


METHOD: Final = MeterBeforeAfter(
    Rule(
        name="meter-before-meter-after",
        title="Meter before, meter after",
        text=(
            "The reading just before the event, or the mean of several, less each reading during it. For events of "
            "seconds to minutes; over hours it knows nothing of the day's course."
        ),
        certainty=Certainty.MEMORY,
        source="NAESB wholesale electric quadrant, demand response measurement types, from memory (M)",
        aliases=("mbma", "meter-before-after"),
    )
)
