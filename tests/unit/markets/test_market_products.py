"""The catalogue: rows are whole and say where they come from, the day picks one, nothing doubtful is settled live."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.products import (
    PRODUCTS,
    ROWS,
    AvailabilityPrice,
    Basis,
    Certainty,
    Kind,
    LiveSettlementRefused,
    Product,
    ProductError,
    price_at,
    product_named,
    require_live,
)
from sites.core.curves import Direction

DC_LOW = product_named("neso-dc-low")
IN_JUNE = datetime(2026, 6, 15, 12, tzinfo=UTC)
GROUPS = tuple(DC_LOW.groups)
EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} {row.effective_from}")


def read_whole(row: Product, **doubtful: Certainty) -> Product:
    """Return a row as it would stand after reading its primary document, but for the groups named."""
    rules = {name: replace(rule, certainty=doubtful.get(name, Certainty.VERIFIED)) for name, rule in row.groups.items()}
    return replace(
        row,
        response=rules["response"],
        energy=rules["energy"],
        recovery=rules["recovery"],
        penalty=rules["penalty"],
        data=replace(row.data, rule=rules["data"]),
        score=replace(row.score, rule=rules["score"]),
        price=replace(row.price, rule=rules["price"]),
        size=replace(row.size, rule=rules["size"]),
        is_primary=True,
    )


PRIMARY = replace(
    read_whole(DC_LOW),
    prices=(AvailabilityPrice(date(2026, 6, 1), Decimal("3.186"), Certainty.VERIFIED, "the auction's own file"),),
)


class TestEveryRow:
    @EVERY
    def test_says_where_it_comes_from(self, row):
        assert row.source
        assert all(rule.text and rule.source for rule in row.groups.values())
        assert row.data.missing
        assert all(price.source for price in row.prices)

    @EVERY
    def test_has_figures_that_a_contract_can_have(self, row):
        assert row.full_within_s > 0.0
        assert row.sustain_s > 0.0
        assert row.data.rate_hz > 0.0
        assert row.price.settlement_period_s > 0.0
        assert row.size.power_kw > 0.0
        assert len(row.currency) == 3
        assert row.effective_to is None or row.effective_from is None or row.effective_from < row.effective_to

    @EVERY
    def test_follows_a_curve_exactly_when_it_is_of_that_kind(self, row):
        assert (row.curve_name is not None) == (row.kind is Kind.CURVE)
        if row.kind is Kind.CURVE:
            assert row.direction is row.curve.direction
            assert row.nominal_hz == row.curve.nominal_hz
        else:
            with pytest.raises(ProductError, match="follows no curve"):
                row.curve  # noqa: B018

    def test_no_two_rows_of_a_product_hold_on_the_same_day(self):
        for name in PRODUCTS:
            rows = [row for row in ROWS if row.name == name]
            edges = {edge for row in rows for edge in (row.effective_from, row.effective_to) if edge}
            for day in edges | {date(2000, 1, 1)}:
                assert sum(row.is_in_force(day) for row in rows) <= 1, (name, day)

    def test_the_markets_of_the_scope_are_all_there(self):
        assert {
            *(f"neso-{service}-{way}" for service in ("dc", "dm", "dr") for way in ("low", "high")),
            *(f"aemo-{way}{service}" for way in "rl" for service in ("1", "6", "60", "5")),
            "entsoe-fcr", "nordic-ffr", "nordic-ffr-49.6", "nordic-ffr-49.5", "fcr-d-up", "fcr-d-down", "fcr-n",
            "ercot-ffr", "ercot-pfr", "ercot-ers-10", "ercot-ers-30", "pjm-rega", "pjm-regd", "cn-primary",
            "cn-agc-south", "cn-agc-north", "energy-dispatch", "capacity-limit-import", "capacity-limit-export",
        } <= set(PRODUCTS)  # fmt: skip


class TestTheRowInForce:
    @pytest.mark.parametrize(
        ("name", "day", "full_within_s"),
        [
            ("fcr-d-up", date(2023, 8, 31), 30.0),
            ("fcr-d-up", date(2023, 9, 1), 7.5),
            ("fcr-d-up", None, 7.5),
            ("fcr-d-down", datetime(2023, 8, 31, 23, 59, tzinfo=UTC), 30.0),
        ],
    )
    def test_is_picked_by_the_day(self, name, day, full_within_s):
        assert product_named(name, at=day).full_within_s == full_within_s

    def test_a_product_that_has_ended_is_not_in_force(self):
        assert product_named("pjm-regd", at=date(2025, 9, 30)).name == "pjm-regd"
        with pytest.raises(ProductError, match=r"no row in force on 2025-10-01, accepted: 2012-10-01 to 2025-10-01"):
            product_named("pjm-regd", at=date(2025, 10, 1))

    def test_an_unknown_product_names_the_known_ones(self):
        with pytest.raises(ProductError, match="neso-dc-low"):
            product_named("nonsense")

    def test_high_is_its_own_direction(self):
        assert product_named("neso-dc-high").direction is Direction.HIGH


class TestLive:
    @EVERY
    def test_no_row_of_today_may_be_settled_live(self, row):
        doubtful = [name for name, rule in row.groups.items() if rule.certainty is not Certainty.VERIFIED]
        with pytest.raises(LiveSettlementRefused) as refused:
            price_at(row, IN_JUNE, Basis.LIVE)
        assert doubtful
        for name in doubtful:
            assert f"{name} is {row.groups[name].certainty.in_words}" in str(refused.value)
        assert "document was not read" in str(refused.value)
        assert "demonstration" in str(refused.value)

    @given(
        row=st.sampled_from(ROWS),
        certainties=st.dictionaries(st.sampled_from(GROUPS), st.sampled_from(Certainty)),
        is_primary=st.booleans(),
    )
    def test_one_doubtful_group_is_enough_in_any_row(self, row, certainties, is_primary):
        changed = replace(read_whole(row, **certainties), is_primary=is_primary)
        doubtful = {name for name, certainty in certainties.items() if certainty is not Certainty.VERIFIED}
        if is_primary and not doubtful:
            require_live(changed)
            assert changed.is_settled_live
        else:
            with pytest.raises(LiveSettlementRefused) as refused:
                require_live(changed)
            assert not changed.is_settled_live
            assert all(f"{name} is " in str(refused.value) for name in doubtful)

    def test_a_row_from_a_primary_document_may(self):
        assert price_at(PRIMARY, IN_JUNE, Basis.LIVE).price_per_mw_h == Decimal("3.186")

    @pytest.mark.parametrize(
        "changes",
        [
            {"prices": (replace(PRIMARY.prices[0], certainty=Certainty.MEMORY),)},
            {"prices": (replace(PRIMARY.prices[0], month=date(2026, 5, 1)),)},
        ],
    )
    def test_a_doubtful_price_is_enough_to_refuse(self, changes):
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
