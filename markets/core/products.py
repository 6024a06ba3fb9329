"""The catalogue of products: price basis, certainty, source; what may be settled live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sites.core.curves import CATALOGUE, Direction, ResponseCurve, curve_named


class ProductError(ValueError):
    """A product that the catalogue does not hold, or that holds no price."""


class LiveSettlementRefused(ProductError):
    """A row that was not read in a primary document must not be settled for real money."""


class Certainty(StrEnum):
    """How a row came into the catalogue."""

    VERIFIED = "V"
    """Read in a primary or cited page, or measured."""
    MEMORY = "M"
    """From memory of the primary document, or copied second-hand from it."""
    UNSURE = "U"


class Basis(StrEnum):
    """What a settlement is for; the entry carries it."""

    LIVE = "live"
    DEMONSTRATION = "demonstration"
    """Computed by the real rules on rows that are not certain enough for real money."""


@dataclass(frozen=True, slots=True)
class AvailabilityPrice:
    """A published clearing price of one month."""

    month: date
    """First day of the month."""
    price_per_mw_h: Decimal
    """Availability price [currency/MW/h]; negative prices occur in some products."""
    certainty: Certainty
    source: str


@dataclass(frozen=True, slots=True)
class Product:
    """What a grid operator buys, as far as settlement needs it; the curve stands in sites.core."""

    name: str
    curve_name: str
    dispatch_prefix: str
    """Starts the dispatch ids that join the books, such as ``DC``."""
    currency: str
    price_basis: str
    score_certainty: Certainty
    """Certainty of the performance rule (K factor)."""
    certainty: Certainty
    """Certainty of the row as a whole: that of its least certain rule."""
    is_primary: bool
    """The row was read in the operator's own binding document."""
    source: str
    effective_from: date
    prices: tuple[AvailabilityPrice, ...]

    @property
    def curve(self) -> ResponseCurve:
        """The technical response."""
        return curve_named(self.curve_name)

    @property
    def direction(self) -> Direction:
        """Which deviation it answers."""
        return self.curve.direction


EAC_SOURCE: Final = (
    "NESO Enduring Auction Capability results, monthly time average of the 4 h clearing prices "
    "(NESO Open Data Licence), transcribed by hand from a second-hand table and rounded"
)

# (month, DC low, DC high) [GBP/MW/h]
_EAC_MONTHS: Final = (
    ("2025-10-01", "4.206", "2.372"),
    ("2025-11-01", "3.180", "2.189"),
    ("2025-12-01", "1.865", "1.455"),
    ("2026-01-01", "2.309", "1.105"),
    ("2026-02-01", "1.710", "0.655"),
    ("2026-03-01", "2.893", "1.121"),
    ("2026-04-01", "2.766", "1.881"),
    ("2026-05-01", "1.846", "1.139"),
    ("2026-06-01", "3.186", "2.498"),
    ("2026-07-01", "3.181", "2.253"),
    ("2026-08-01", "3.453", "2.241"),
    ("2026-09-01", "5.334", "3.215"),
)


def _prices(column: int) -> tuple[AvailabilityPrice, ...]:
    return tuple(
        AvailabilityPrice(date.fromisoformat(row[0]), Decimal(row[column]), Certainty.MEMORY, EAC_SOURCE)
        for row in _EAC_MONTHS
    )


_DC_SOURCE: Final = (
    "NESO Dynamic Containment: curve, speed and 15 min read in a field firmware and on cited pages; payment "
    "availability x price x K, pay-as-clear per 4 h EFA block, from memory of the service terms; "
    "K limits 3 % and 7 % unsure"
)

PRODUCTS: Final[dict[str, Product]] = {
    name: Product(
        name=name,
        curve_name=name,
        dispatch_prefix="DC",
        currency="GBP",
        price_basis="availability, GBP per MW and hour, times K",
        score_certainty=Certainty.UNSURE,
        certainty=Certainty.UNSURE,
        is_primary=False,
        source=_DC_SOURCE,
        effective_from=date(2023, 11, 2),
        prices=_prices(column),
    )
    for name, column in (("neso-dc-low", 1), ("neso-dc-high", 2))
    if name in CATALOGUE
}


def product_named(name: str) -> Product:
    """Return a row of the catalogue; raise ProductError naming what is known otherwise."""
    try:
        return PRODUCTS[name]
    except KeyError:
        known = ", ".join(sorted(PRODUCTS))
        raise ProductError(f"product {name!r} is not in the catalogue, accepted: {known}") from None


def price_at(product: Product, starts_at: datetime, basis: Basis) -> AvailabilityPrice:
    """Return the price that a delivery starting at an instant is settled on.

    Live settlement takes the price of that month and no other. A demonstration takes the newest
    month that is not later, or the oldest one known when the delivery lies before the table; the
    month it used goes into the entry.

    Raises LiveSettlementRefused when the product or the price was not read in a primary document,
    ProductError when there is no price.
    """
    if not product.prices:
        raise ProductError(f"product {product.name!r} holds no price")
    month = starts_at.date().replace(day=1)
    if basis is Basis.LIVE:
        require_live(product)
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
    """Raise LiveSettlementRefused unless the row is V and from a primary document."""
    if product.certainty is not Certainty.VERIFIED or not product.is_primary:
        raise LiveSettlementRefused(
            f"product {product.name!r} is certain to degree {product.certainty.value} "
            f"({'primary' if product.is_primary else 'no primary'} document); "
            f"live settlement accepts V from a primary document; a demonstration run asks for basis "
            f"{Basis.DEMONSTRATION.value!r}"
        )
