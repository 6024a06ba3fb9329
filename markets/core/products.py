"""The catalogue by name and day; what may be settled live, and on which price."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final

from markets.core.catalogue import ROWS
from markets.core.product import (
    AvailabilityPrice,
    Certainty,
    DataDuty,
    Kind,
    MinimumSize,
    PriceRule,
    Product,
    ProductError,
    Rule,
    ScoreRule,
)

__all__ = [
    "PRODUCTS",
    "ROWS",
    "AvailabilityPrice",
    "Basis",
    "Certainty",
    "DataDuty",
    "Kind",
    "LiveSettlementRefused",
    "MinimumSize",
    "PriceRule",
    "Product",
    "ProductError",
    "Rule",
    "ScoreRule",
    "price_at",
    "product_named",
    "require_live",
]


class LiveSettlementRefused(ProductError):
    """A row that was not read in a primary document must not be settled for real money."""


class Basis(StrEnum):
    """What a settlement is for; the entry carries it."""

    LIVE = "live"
    DEMONSTRATION = "demonstration"
    """Computed by the real rules on rows that are not certain enough for real money."""


def _since(row: Product) -> date:
    return row.effective_from or date.min


PRODUCTS: Final[dict[str, Product]] = {row.name: row for row in sorted(ROWS, key=_since)}
"""The newest row of each product."""


def product_named(name: str, at: date | None = None) -> Product:
    """Return the row of a product that is in force on a day; without a day, the newest.

    Raises ProductError naming what is known, or from when on there is a row.
    """
    if name not in PRODUCTS:
        known = ", ".join(sorted(PRODUCTS))
        raise ProductError(f"product {name!r} is not in the catalogue, accepted: {known}")
    if at is None:
        return PRODUCTS[name]
    day = at.date() if isinstance(at, datetime) else at
    rows = [row for row in ROWS if row.name == name]
    for row in rows:
        if row.is_in_force(day):
            return row
    spans = ", ".join(
        f"{row.effective_from or 'the beginning'} to {row.effective_to or 'now'}" for row in sorted(rows, key=_since)
    )
    raise ProductError(f"product {name!r} has no row in force on {day}, accepted: {spans}")


def price_at(product: Product, starts_at: datetime, basis: Basis) -> AvailabilityPrice:
    """Return the price that a delivery starting at an instant is settled on.

    Live settlement takes the price of that month and no other. A demonstration takes the newest
    month that is not later, or the oldest one known when the delivery lies before the table; the
    month it used goes into the entry.

    Raises LiveSettlementRefused when the product or the price was not read in a primary document,
    ProductError when there is no price.
    """
    if basis is Basis.LIVE:
        require_live(product)
    if not product.prices:
        raise ProductError(f"product {product.name!r} holds no price")
    month = starts_at.date().replace(day=1)
    if basis is Basis.LIVE:
        for price in product.prices:
            if price.month == month and price.certainty is Certainty.VERIFIED:
                return price
        raise LiveSettlementRefused(
            f"product {product.name!r} has no price of {month:%Y-%m} read in a primary document; "
            f"accepted: basis {Basis.DEMONSTRATION.value!r}"
        )
    known = [price for price in product.prices if price.month <= month]
    return max(known, key=lambda p: p.month) if known else min(product.prices, key=lambda p: p.month)


def require_live(product: Product) -> None:
    """Raise LiveSettlementRefused, saying why, unless every group of the row is V from a primary document."""
    doubtful = [
        f"{name} is {rule.certainty.in_words} ({rule.source})"
        for name, rule in product.groups.items()
        if rule.certainty is not Certainty.VERIFIED
    ]
    if not product.is_primary:
        doubtful.append("the operator's own document was not read")
    if doubtful:
        raise LiveSettlementRefused(
            f"product {product.name!r} may not be settled live: {'; '.join(doubtful)}. Accepted: every group V from "
            f"the primary document; a demonstration run asks for basis {Basis.DEMONSTRATION.value!r}"
        )
