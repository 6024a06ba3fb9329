"""High 4 of 5: the four highest of the last five days, shifted by how the event day began (PJM economic load)."""

from __future__ import annotations

from typing import Final

from markets.core.baselines.day_matching import WEEKDAYS, AdjustmentRule, DayChoice, DayMatching
from markets.core.baselines.local_days import DayKind
from markets.core.baselines.method import AdjustmentKind, Rule
from markets.core.product import Certainty

METHOD: Final = DayMatching(
    rule=Rule(
        name="high-4-of-5",
        title="PJM economic customer baseline load: high 4 of 5 with symmetric additive adjustment",
        text=(
            "Mean of the 4 days with the highest consumption in the event's hours among the last 5 non-event weekdays "
            "(2 of 3 Saturdays, 2 of 3 Sundays or holidays) within 45 days, days under 25 % of their mean replaced; "
            "plus the difference between the event day and those days over the three hours from 4 h to 1 h before the "
            "event, upward or downward, not capped."
        ),
        certainty=Certainty.MEMORY,
        source="from memory of PJM's manual on energy market operations (M)",
        aliases=("pjm-high-4-of-5", "pjm-cbl"),
    ),
    choices=(
        DayChoice(WEEKDAYS, 5, 4),
        DayChoice(frozenset({DayKind.SATURDAY}), 3, 2),
        DayChoice(frozenset({DayKind.SUNDAY, DayKind.HOLIDAY}), 3, 2),
    ),
    look_back_days=45,
    adjustment=AdjustmentRule(AdjustmentKind.ADDITIVE, from_h=4.0, to_h=1.0, cap=None),
    low_usage_ratio=0.25,
)
