"""What a fleet that was asked for shares may hold now, at least and at most: pure.

A site that is silent still responds with what it holds, and a message on its way may arrive late or never. So each
site has two bounds, over everything that it may hold at this instant; what it really holds lies between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from markets.core.products import PRODUCTS
from markets.core.scores import neso
from sites.core.curves import CATALOGUE
from sites.core.streams import STREAM_PRODUCTS

STATED_OVER_DELIVERY_SHARE: Final = 0.10
"""Taken where a product publishes no limit on over-delivery [share of the obligation]: five dropout margins, and
less than what a grid operator would see as another unit. A choice of this project, no rule (certainty U)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One assignment that a site was asked to hold and that it may hold still."""

    site: int
    """The site's key; rows come sorted by it, and by sequence within a site."""
    sequence: int
    power_kw: float
    """Of the share [kW, >= 0]; 0 disarms."""
    is_ours: bool
    """It serves the dispatch that is asked about; one of another dispatch counts as no power here."""
    ends_at: datetime
    is_acknowledged: bool
    is_refused: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and most power that one site may hold for a dispatch now [kW]."""

    low_kw: float
    high_kw: float


@dataclass(frozen=True, slots=True)
class OverDelivery:
    """How much more than promised a product bears, and how certain that is."""

    share: float
    """Of the obligation [-]."""
    source: str
    certainty: str
    is_published: bool


def over_delivery_of(product: str) -> OverDelivery:
    """Return a product's limit on over-delivery; this project's stated one where none is published."""
    curve = CATALOGUE.get(product)
    if product in STREAM_PRODUCTS:
        source = "no limit is published for this regulation product; a choice of this project"
        return OverDelivery(STATED_OVER_DELIVERY_SHARE, source, "U", False)
    if curve is None:
        return OverDelivery(0.0, f"product {product!r} is not in the catalogue any more", "U", False)
    row = PRODUCTS.get(product)
    if row is not None and row.score.name == neso.RULE_NAME:
        source = f"the score pays in full up to this error, above what is due as below it: {row.score.rule.source}"
        return OverDelivery(neso.FULL_PAY_ERROR, source, row.score.rule.certainty.value, True)
    if curve.over_delivery_share is None:
        source = "no limit is published for this product; a choice of this project"
        return OverDelivery(STATED_OVER_DELIVERY_SHARE, source, "U", False)
    return OverDelivery(curve.over_delivery_share, curve.source, curve.certainty, True)


def bounds_of(asked: Iterable[Asked], *, at: datetime) -> dict[int, Bounds]:
    """Return what each site may hold now, from all that it was asked and did not replace since.

    What a site took last it holds until it takes something newer; everything newer may have reached it. Sendings are
    recorded after they went out, so that a row counts from the moment it is decided, also one that a newer row has
    superseded. A refused one is not held, and one that has lapsed is no power.
    """
    found: dict[int, Bounds] = {}
    for site, rows in groupby(asked, key=lambda row: row.site):
        known = list(rows)
        taken = max((row.sequence for row in known if row.is_acknowledged), default=0)
        possible = [
            row.power_kw if row.is_ours and row.ends_at > at else 0.0
            for row in known
            if row.sequence >= taken and not row.is_refused
        ]
        if taken == 0:
            # It never said that it took anything: it may hold nothing.
            possible.append(0.0)
        found[site] = Bounds(min(possible), max(possible))
    return found


def upper_kw(bounds: Mapping[int, Bounds]) -> float:
    """Return the most that all sites together may hold [kW]."""
    return float(sum(bound.high_kw for bound in bounds.values()))
