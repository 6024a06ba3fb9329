"""5-in-10: the five highest of the ten last similar days, a same-day factor of at most 40 % (CAISO, residential)."""

from __future__ import annotations

from typing import Final

from markets.core.baselines.day_matching import DAYS_OFF, WEEKDAYS, AdjustmentRule, DayChoice, DayMatching
from markets.core.baselines.method import AdjustmentKind, Rule
from markets.core.product import Certainty

METHOD: Final = DayMatching(
    rule=Rule(
        name="5-in-10",
        title="CAISO residential 5-in-10 with capped same-day adjustment",
        text=(
            "Mean of the 5 days with the highest consumption in the event's hours among the 10 last non-event "
            "weekdays, or of the 3 highest among 5 days off, within 45 days; times the ratio of the event day to those "
            "days over the two hours from 4 h to 2 h before the event, held within 40 %."
        ),
        certainty=Certainty.MEMORY,
        source="from memory of the ISO's tariff for residential customers (M)",
        aliases=("caiso-5-in-10", "5-of-10"),
    ),
    choices=(DayChoice(WEEKDAYS, 10, 5), DayChoice(DAYS_OFF, 5, 3)),
    look_back_days=45,
    adjustment=AdjustmentRule(AdjustmentKind.RATIO, from_h=4.0, to_h=2.0, cap=0.40),
)
