"""MISO's default: the ten last non-event weekdays; a factor of at most 20 % where the contract asks for it."""

from __future__ import annotations

from typing import Final

from markets.core.baselines.day_matching import WEEKDAYS, AdjustmentRule, DayChoice, DayMatching
from markets.core.baselines.method import AdjustmentKind, Rule
from markets.core.product import Certainty

METHOD: Final = DayMatching(
    rule=Rule(
        name="miso-default",
        title="MISO default: ten days",
        text=(
            "Mean of the 10 last days that are no weekend, no holiday and no event; where the contract asks for it, "
            "times the ratio of the event day to those days over the three hours before the event, held within 20 %."
        ),
        certainty=Certainty.MEMORY,
        source=(
            "days, cap and window: a Michigan utility's demand response agreement that quotes MISO's default method, a "
            "cited page (V); it names no look-back, so 45 days is ours (M), and no rule for an event on a day off, so "
            "one is refused"
        ),
        aliases=("miso", "miso-10-day"),
    ),
    choices=(DayChoice(WEEKDAYS, 10, 10),),
    look_back_days=45,
    adjustment=AdjustmentRule(AdjustmentKind.RATIO, from_h=3.0, to_h=0.0, cap=0.20, is_usual=False),
)
