"""Each asset's part of a run's lines, so that an owner can be told what the own money is for.

An asset's part of a line follows the weight by which the run was shared (contracted power x availability x own K), or
what the line counts. The lines of an asset add up to its amount, and the assets' parts of a line to the line, both
exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from markets.core.lines import Line, line_parts, lines_of
from markets.core.settlement import amounts_of


def asset_lines(facts: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Return the lines of each asset by site, from the facts of a run's fleet entry.

    Quantities are the fleet's: what is split is the money. The last line takes what rounding leaves, at most one
    quantum of 0.000001 for each line before it.
    """
    if "payment" in facts["terms"]:
        own_lines: dict[str, list[Line]] = {}
        for line, parts_of_line in line_parts(facts):
            for site_id, part in parts_of_line.items():
                own_lines.setdefault(site_id, []).append(replace(line, amount=part))
        return own_lines
    lines = lines_of(facts)
    shares: Sequence[Mapping[str, Any]] = facts["shares"]
    amounts = amounts_of(Decimal(facts["amount"]), shares)
    parts = [amounts_of(line.amount, shares) for line in lines[:-1]]
    found: dict[str, list[Line]] = {}
    for site_id, amount in amounts.items():
        own = [replace(line, amount=part[site_id]) for line, part in zip(lines, parts, strict=False)]
        rest = amount - sum((line.amount for line in own), Decimal(0))
        found[site_id] = [*own, replace(lines[-1], amount=rest)]
    return found
