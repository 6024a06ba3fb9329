"""Which kinds of assets may serve which products: a table, each row with its source and how certain it is.

What the table does not let in is kept out, and what is kept out is never counted in a headroom.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from markets.core.product import Rule, cited, unsure


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What holds for one kind of asset in some products."""

    asset_kind: str
    """Kind in the registry: battery, pv, genset, load."""
    products: str
    """Name of a product, or a pattern of names such as ``pjm-*``."""
    is_let_in: bool
    rule: Rule


_EPA: Final = (
    "40 CFR 63.6640(f) and 60.4211(f) as amended by 87 FR 48603 of 10 August 2022 (govinfo.gov, 2022-17060), after "
    "785 F.3d 1 (D.C. Cir. 2015)"
)
_GB: Final = "legislation.gov.uk, uksi/2016/1154, Schedule 25B, paragraph 2"

ROWS: Final = (
    Eligibility("battery", "*", True, unsure("a battery with converter; no program was read that keeps it out")),
    *(
        Eligibility(
            "genset",
            products,
            False,
            cited(
                "an emergency engine may run for emergencies, tests and maintenance; since the court's decision not "
                "for demand response nor for deviations of voltage or frequency",
                _EPA,
            ),
        )
        for products in ("ercot-*", "pjm-*")
    ),
    Eligibility(
        "genset",
        "neso-*",
        False,
        cited(
            "a generator that provides balancing services is a specified generator and needs a permit; only a back-up "
            "that is tested for at most 50 hours a year is excluded from that",
            _GB,
        ),
    ),
    Eligibility("genset", "*", False, unsure("an emergency set is kept out until the rule of the place is read")),
    Eligibility("pv", "*", False, unsure("the sun cannot be promised: not counted in a headroom", "this project")),
    Eligibility("load", "*", False, unsure("sites tell no headroom of their loads yet: not counted", "this project")),
)
"""The first row that fits counts."""

KEPT_OUT: Final = Eligibility("*", "*", False, unsure("no row lets it in"))


def eligibility(asset_kind: str, product: str) -> Eligibility:
    """Return the row for a kind of asset in a product; what no row names is kept out."""
    for row in ROWS:
        if row.asset_kind == asset_kind and fnmatchcase(product, row.products):
            return row
    return KEPT_OUT


def counted_kinds(product: str) -> frozenset[str]:
    """Return the kinds of assets that a headroom for a product may come from."""
    kinds = {row.asset_kind for row in ROWS}
    return frozenset(kind for kind in kinds if eligibility(kind, product).is_let_in)
