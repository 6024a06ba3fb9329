"""10-in-10: the mean of the ten last similar days with a same-day factor of at most 20 % (CAISO)."""

from __future__ import annotations

from typing import Final

from markets.core.baselines.day_matching import DAYS_OFF, WEEKDAYS, AdjustmentRule, DayChoice, DayMatching
from markets.core.baselines.method import AdjustmentKind, Rule
from markets.core.product import Certainty

METHOD: Final = DayMatching(
    rule=Rule(
        name="10-in-10",
        title="CAISO 10-in-10 with capped same-day adjustment",
        text=(
            "Mean of the 10 last non-event weekdays, or of the 4 last days off for an event on one, within 45 days; "
            "times the ratio of the event day to those days over the three hours from 4 h to 1 h before the event, "
            "held within 20 %."
        ),
        certainty=Certainty.MEMORY,
        source=(
            "10 days and 20 %: California ISO baseline accuracy work group, 2017, a cited page (V); 4 days off, 45 "
            "days and the window from memory of the ISO's tariff (M)"
        ),
        aliases=("caiso-10-in-10", "10-of-10"),
    ),
    choices=(DayChoice(WEEKDAYS, 10, 10), DayChoice(DAYS_OFF, 4, 4)),
    look_back_days=45,
    adjustment=AdjustmentRule(AdjustmentKind.RATIO, from_h=4.0, to_h=1.0, cap=0.20),
)
