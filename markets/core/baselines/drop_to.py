"""Drop-to: consumption has to come under a firm level, whatever it was before (firm service level)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from markets.core.baselines.meter import BaselineError
from markets.core.baselines.method import Baseline, Inputs, Rule, event_intervals, require_terms
from markets.core.product import Certainty


@dataclass(frozen=True, slots=True)
class DropTo:
    """A reference that the reduction is counted from, and the level to stay under."""

    rule: Rule
    reads: frozenset[str] = field(default=frozenset({"firm_kw", "reference_kw"}))

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the reference as baseline, and the firm level as each reading's limit."""
        require_terms(self, inputs.terms.given(), "firm_kw", "reference_kw")
        firm_kw, reference_kw = inputs.terms.firm_kw, inputs.terms.reference_kw
        if firm_kw is None or reference_kw is None or not (math.isfinite(firm_kw) and math.isfinite(reference_kw)):
            raise BaselineError(f"firm_kw is {firm_kw} and reference_kw {reference_kw}, accepted: finite powers in kW")
        if firm_kw > reference_kw:
            raise BaselineError(f"firm_kw is {firm_kw:g}, accepted: the reference of {reference_kw:g} kW or less")
        intervals = event_intervals(inputs, np.full(inputs.measured_kw.size, reference_kw), limit_kw=firm_kw)
        over = [row.measured_kw - firm_kw for row in intervals if row.is_kept is False and row.measured_kw is not None]
        said = f"{len(over)} of {len(intervals)} readings over the firm level of {firm_kw:g} kW"
        notes = (f"{said}, by {max(over):.3f} kW at most" if over else said,)
        return Baseline(self.rule, intervals, notes=notes)


METHOD: Final = DropTo(
    Rule(
        name="drop-to",
        title="Drop-to: firm service level",
        text=(
            "No baseline of days: the consumption has to stay under the firm level through the event; what counts as "
            "given is the contract's reference (such as a peak load contribution) less each reading."
        ),
        certainty=Certainty.MEMORY,
        source="firm service level as a program tells customers, a cited page (V); the reference from memory (M)",
        aliases=("firm-service-level", "fsl"),
    )
)
