"""Continental Europe: frequency containment reserve of the FCR cooperation."""

from __future__ import annotations

from datetime import date
from typing import Final

from markets.core.product import (
    DataDuty,
    Kind,
    MinimumSize,
    PriceRule,
    Product,
    ScoreRule,
    curve_words,
    remembered,
    unsure,
)
from sites.core.curves import Direction

_ANNEX: Final = "(EU) 2017/1485 Annex V, as reprinted on gesetze.legal"

ROWS: Final = (
    Product(
        name="entsoe-fcr",
        title="FCR, Continental Europe",
        kind=Kind.CURVE,
        nominal_hz=50.0,
        direction=Direction.BOTH,
        curve_name="entsoe-fcr",
        signal_period_s=None,
        full_within_s=30.0,
        sustain_s=1800.0,
        response=remembered(
            f"{curve_words('entsoe-fcr')}; insensitivity and measurement error up to 10 mHz each",
            f"start from memory; the rest: {_ANNEX}",
        ),
        energy=remembered(
            "an energy for less than 2 h is limited (LER): full power for 15 to 30 min from the alert state on (30 min "
            "taken), about 1.25 times the power behind it",
            "limit of 2 h read in the annex's network code, the times from memory",
        ),
        recovery=remembered("full reservoir again within 2 h after the alert state; zero-mean mode near exhaustion"),
        data=DataDuty(1.0, "a missing instant counts as not delivered", remembered("1 Hz or more, archived")),
        score=ScoreRule(
            "two-step-envelope",
            unsure(
                "share of the time inside the envelope: half of what is due within 15 s, all of it within 30 s, minus "
                "5 % of contract (10 mHz of insensitivity), plus 5 % of contract and 20 % of what is due",
                "50 % in 15 s and the 20 % from memory; the share as a score is our reading",
            ),
            {"half_within_s": 15.0, "tolerance_share": 0.05, "over_share": 0.2},
        ),
        price=PriceRule(
            "EUR", 14_400.0, remembered("capacity, EUR per MW and 4 h block, marginal price; energy unpaid"), "capacity"
        ),
        penalty=remembered("what was not kept ready is paid back; exclusion when it happens again"),
        size=MinimumSize(1000.0, remembered("1 MW, symmetric, steps of 1 MW")),
        dispatch_prefix="FCR",
        source=f"{_ANNEX}; market rules from memory",
        effective_from=date(2017, 9, 14),
    ),
)
