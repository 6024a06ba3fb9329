"""The catalogue: what it holds, and that it is not settled live."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from markets.core.products import (
    PRODUCTS,
    AvailabilityPrice,
    Basis,
    Certainty,
    LiveSettlementRefused,
    ProductError,
    price_at,
    product_named,
)
from sites.core.curves import Direction

DC_LOW = product_named("neso-dc-low")
IN_JUNE = datetime(2026, 6, 15, 12, tzinfo=UTC)
# A row as it would stand after reading the primary document.
PRIMARY = replace(
    DC_LOW,
    certainty=Certainty.VERIFIED,
    is_primary=True,
    prices=(AvailabilityPrice(date(2026, 6, 1), Decimal("3.186"), Certainty.VERIFIED, "the auction's own file"),),
)


def test_every_row_says_where_it_comes_from():
    for name, product in PRODUCTS.items():
        assert product.curve.name == name
        assert product.source
        assert all(price.source for price in product.prices)
    assert product_named("neso-dc-high").direction is Direction.HIGH


def test_an_unknown_product_names_the_known_ones():
    with pytest.raises(ProductError, match="neso-dc-low"):
        product_named("nonsense")


@pytest.mark.parametrize("product", list(PRODUCTS.values()), ids=list(PRODUCTS))
def test_no_row_of_today_may_be_settled_live(product):
    with pytest.raises(LiveSettlementRefused, match="demonstration"):
        price_at(product, IN_JUNE, Basis.LIVE)


def test_a_row_from_a_primary_document_may():
    assert price_at(PRIMARY, IN_JUNE, Basis.LIVE).price_per_mw_h == Decimal("3.186")


@pytest.mark.parametrize(
    "changes",
    [
        {"is_primary": False},
        {"certainty": Certainty.MEMORY},
        {"prices": (replace(PRIMARY.prices[0], certainty=Certainty.MEMORY),)},
        {"prices": (replace(PRIMARY.prices[0], month=date(2026, 5, 1)),)},
    ],
)
def test_one_uncertain_part_is_enough_to_refuse(changes):
    with pytest.raises(LiveSettlementRefused):
        price_at(replace(PRIMARY, **changes), IN_JUNE, Basis.LIVE)


@pytest.mark.parametrize(
    ("at", "price"),
    [
        (IN_JUNE, "3.186"),
        (datetime(2026, 6, 1, tzinfo=UTC), "3.186"),
        (datetime(2026, 5, 31, 23, 59, tzinfo=UTC), "1.846"),
        (datetime(2031, 1, 1, tzinfo=UTC), "5.334"),
        (datetime(2019, 8, 9, tzinfo=UTC), "4.206"),
    ],
)
def test_a_demonstration_takes_the_newest_month_that_is_not_later(at, price):
    assert price_at(DC_LOW, at, Basis.DEMONSTRATION).price_per_mw_h == Decimal(price)


def test_a_product_without_a_price_is_named():
    with pytest.raises(ProductError, match="no price"):
        price_at(replace(DC_LOW, prices=()), IN_JUNE, Basis.DEMONSTRATION)
