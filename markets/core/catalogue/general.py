"""What every market knows: energy to a plan, and limits of the connection."""

from __future__ import annotations

from typing import Final

from markets.core.product import (
    DataDuty,
    Kind,
    MinimumSize,
    PriceRule,
    Product,
    ScoreRule,
    unsure,
)
from sites.core.curves import Direction

_AGREED: Final = "to be agreed with the operator; no binding document"


def _limit(name: str, title: str, direction: Direction) -> Product:
    return Product(
        name=name,
        title=title,
        kind=Kind.LIMIT,
        nominal_hz=None,
        direction=direction,
        curve_name=None,
        signal_period_s=None,
        full_within_s=300.0,
        sustain_s=86_400.0,
        response=unsure(
            f"the power {title.split(' ')[-1]} stays within the contract, or within signal x contract", _AGREED
        ),
        energy=unsure("none", _AGREED),
        recovery=unsure("none", _AGREED),
        data=DataDuty(1.0 / 300.0, "a missing instant counts as a breach", unsure("5 min or finer", _AGREED)),
        score=ScoreRule("power-limit", unsure("share of the time within the limit", _AGREED), {}),
        price=PriceRule("EUR", 900.0, unsure("none", _AGREED), "limit"),
        penalty=unsure("by the connection agreement", _AGREED),
        size=MinimumSize(1.0, unsure("1 kW", _AGREED)),
        dispatch_prefix="LIM",
        source="OpenADR 3: IMPORT_CAPACITY_LIMIT and EXPORT_CAPACITY_LIMIT; terms by agreement",
    )


ROWS: Final = (
    Product(
        name="energy-dispatch",
        title="Energy dispatch to a plan",
        kind=Kind.INSTRUCTION,
        nominal_hz=None,
        direction=Direction.BOTH,
        curve_name=None,
        signal_period_s=300.0,
        full_within_s=300.0,
        sustain_s=3600.0,
        response=unsure("follows signal x contract", _AGREED),
        energy=unsure("the plan's own", _AGREED),
        recovery=unsure("inside the plan", _AGREED),
        data=DataDuty(
            1.0 / 300.0, "a settlement period of 15 min with a gap scores 0", unsure("5 min or finer", _AGREED)
        ),
        score=ScoreRule(
            "setpoint-tracking",
            unsure("1 minus the mean deviation from the plan over the mean plan, in each 15 min", _AGREED),
            {},
        ),
        price=PriceRule("EUR", 900.0, unsure("energy at the day-ahead or imbalance price", _AGREED), "energy"),
        penalty=unsure("imbalance price on the deviation", _AGREED),
        size=MinimumSize(1.0, unsure("1 kW", _AGREED)),
        dispatch_prefix="EN",
        source="OpenADR 2.0b LOAD_DISPATCH and OpenADR 3 DISPATCH_SETPOINT; terms by agreement",
    ),
    _limit("capacity-limit-import", "Limit of the power imported", Direction.HIGH),
    _limit("capacity-limit-export", "Limit of the power exported", Direction.LOW),
)
