"""The lines of a settlement: what the capacity, the energy and the penalty of a booked run came to.

They are computed from the texts of the fleet's entry alone, so that a line is as fixed as its entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from markets.core.settlement import QUANTUM, payment


@dataclass(frozen=True, slots=True)
class Line:
    """One line; the lines of a run add up to its amount exactly."""

    name: str
    """``capacity``, ``energy`` or ``penalty``."""
    quantity: Decimal
    unit: str
    amount: Decimal
    """In the run's currency; a penalty is negative."""
    rule: str


def lines_of(facts: Mapping[str, Any]) -> list[Line]:
    """Return the lines of a run from its fleet entry's facts.

    Capacity is what would be owed at K = 1, rounded once; the penalty takes the rest off, so that both add up to the
    booked amount; energy is told and paid nothing: no settled row pays for energy beside its availability.
    """
    terms, fleet, amount = facts["terms"], facts["fleet"], Decimal(facts["amount"])
    power_kw, duration_s = Decimal(terms["obligation_kw"]), Decimal(terms["duration_s"])
    ratio = Decimal(fleet["available_ratio"])
    capacity = payment(
        price_per_mw_h=Decimal(terms["price_per_mw_h"]),
        power_kw=power_kw,
        duration_s=duration_s,
        available_ratio=ratio,
        k_factor=Decimal(1),
    )
    available_kw_h = (power_kw * duration_s * ratio / 3600).quantize(QUANTUM)
    delivered_kwh = (Decimal(fleet["delivered_uwh"]) / 10**9).quantize(QUANTUM)
    return [
        Line("capacity", available_kw_h, "kW h", capacity, "price x power x time x availability"),
        Line("energy", delivered_kwh, "kWh", Decimal(0).quantize(QUANTUM), "not paid beside availability"),
        Line("penalty", Decimal(fleet["k_factor"]), "K", amount - capacity, "capacity x (K - 1)"),
    ]
