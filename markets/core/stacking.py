"""Which products may share a site's kW and kWh in the same time: rules as data, each with how certain it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from markets.core.product import Kind, Product, Rule, cited, remembered, unsure


class Stacking(StrEnum):
    """What a site may do for two products at once."""

    ADDS = "adds"
    """Both, each with kW and kWh of its own: no kW is sold twice."""
    SHARES = "shares"
    """Both with the same kW and kWh."""
    EXCLUDES = "excludes"
    """Only one of them."""


@dataclass(frozen=True, slots=True)
class StackingRule:
    """What holds for two products, in either order."""

    first: str
    """Name of a product, or a pattern of names such as ``neso-*``."""
    second: str
    stacking: Stacking
    rule: Rule


RULES: Final = (
    StackingRule(
        "neso-d*",
        "neso-d*",
        Stacking.ADDS,
        remembered("DC, DM and DR may be split at one unit, each with power of its own; no MW is paid twice"),
    ),
    StackingRule(
        "ercot-ers-*",
        "ercot-*",
        Stacking.EXCLUDES,
        remembered("a resource in ERS is obligated to no ancillary service in the same hours"),
    ),
    StackingRule(
        "fcr-n",
        "fcr-d-*",
        Stacking.ADDS,
        remembered("FCR-N and FCR-D may come from one unit, their powers add up"),
    ),
    StackingRule(
        "nordic-ffr*",
        "fcr-*",
        Stacking.ADDS,
        remembered("FFR beside FCR takes power of its own"),
    ),
    StackingRule(
        "aemo-*",
        "aemo-*",
        Stacking.ADDS,
        unsure(
            "the same MW may be enabled in services of several speeds; not used here: a site holds one curve",
            "from memory; the limits of each service's trapezium were not read",
        ),
    ),
)
"""The first that fits counts."""

ONE_CURVE: Final = StackingRule(
    "*",
    "*",
    Stacking.EXCLUDES,
    cited("a site holds one armed curve at a time, and one setpoint stream", "docs/fleet.md of this project"),
)
"""What this platform can do stands before what a market would allow."""
APART: Final = StackingRule(
    "*", "*", Stacking.ADDS, unsure("no rule was read: each product takes kW and kWh of its own, the safe reading")
)


def relation(first: Product, second: Product) -> StackingRule:
    """Return the rule for two products at one site in the same time; the same either way round.

    Two that are both followed by an armed curve, or both by a stream or an order, exclude each other at a site,
    unless a market's own rule says so first with its own source.
    """
    found = _market_rule(first.name, second.name)
    if found.stacking is Stacking.EXCLUDES:
        return found
    return ONE_CURVE if (first.kind is Kind.CURVE) == (second.kind is Kind.CURVE) else found


def _market_rule(first: str, second: str) -> StackingRule:
    for rule in RULES:
        if _fits(rule, first, second) or _fits(rule, second, first):
            return rule
    return APART


def _fits(rule: StackingRule, first: str, second: str) -> bool:
    return fnmatchcase(first, rule.first) and fnmatchcase(second, rule.second)
