"""The lines of a settlement: what each price of a booked run came to, and each asset's part of them.

They are computed from the texts of the fleet's entry alone, so that a line is as fixed as its entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from markets.core.payments import BY_WEIGHT, Contract, Line, lines_by
from markets.core.prices import table_of_facts
from markets.core.settled_periods import QUANTUM, figures_of_facts
from markets.core.settlement import amounts_of, apportion, payment, require_one_share

__all__ = ["Line", "amounts_by_site", "line_parts", "lines_of"]


def lines_of(facts: Mapping[str, Any]) -> list[Line]:
    """Return the lines of a run from its fleet entry's facts; they add up to its amount."""
    terms = facts["terms"]
    if "payment" in terms:
        contract = Contract(terms["product"], Decimal(terms["obligation_kw"]))
        periods = [figures_of_facts(row) for row in facts["fleet"]["periods"]]
        lines = lines_by(terms["payment"], contract, periods, table_of_facts(facts.get("prices", ())))
    else:
        lines = _catalogue_price_lines(facts)
    return [replace(line, basis=_basis(terms)) for line in lines]


def amounts_by_site(facts: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return each asset's part of a run; each line is shared by what it counts, and every part adds up exactly."""
    shares = facts["shares"]
    if "payment" not in facts["terms"]:
        return amounts_of(Decimal(facts["amount"]), shares)
    parts = {share["site_id"]: Decimal(0) for share in shares}
    for _, of_line in line_parts(facts):
        for site_id, part in of_line.items():
            parts[site_id] += part
    return parts


def line_parts(facts: Mapping[str, Any]) -> list[tuple[Line, dict[str, Decimal]]]:
    """Return each line of a run on prices from outside with the assets' parts of it, which add up to it exactly."""
    shares = facts["shares"]
    require_one_share(shares)
    by_contract = {share["site_id"]: int(Decimal(share["contracted_kw"]) * 1000) for share in shares}
    found = []
    for line in lines_of(facts):
        weights = {share["site_id"]: _weight(share, line) for share in shares}
        # Nobody did any of it: then by what was contracted.
        found.append((line, apportion(line.amount, weights if any(weights.values()) else by_contract)))
    return found


def _weight(share: Mapping[str, Any], line: Line) -> int:
    if line.shared_by == BY_WEIGHT:
        return int(share["weight"])
    # Who did the contrary of what the line counts has no part in it.
    own = Decimal(share["quantities"][line.shared_by])
    return max(0, int((own if line.quantity >= 0 else -own) / QUANTUM))


def _basis(terms: Mapping[str, Any]) -> str:
    basis = str(terms.get("basis", ""))
    return basis if basis != "demonstration" else f"demonstration: row of certainty {terms.get('product_certainty')}"


def _catalogue_price_lines(facts: Mapping[str, Any]) -> list[Line]:
    """Return the lines of a run on a price of the catalogue.

    Capacity is what would be owed at K = 1, rounded once; the penalty takes the rest off, so that both add up to the
    booked amount; energy is told and paid nothing: no such row pays for energy beside its availability.
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
