"""Lines of every form: they add up, nothing gives nothing, parts of the assets are exact, prices are never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.catalogue import ROWS
from markets.core.lines import amounts_by_site, lines_of
from markets.core.payments import CATALOGUE_PRICE, PAYMENTS, Contract, lines_by
from markets.core.prices import Price, PriceInvalid, PriceMissing, PriceTable, price_of, table_of_facts
from markets.core.product import Certainty
from markets.core.program_seed import ProgramInvalid, program_seed
from markets.core.settled_periods import PeriodFigures
from markets.core.settlement import reversal_body
from sites.core.intervals import Interval
from sites.ledger.chain import canonical_json
from sites.ledger.postings import require_balanced

START = datetime(2026, 3, 2, tzinfo=UTC)
COUNTED = ("delivered_kwh", "required_kwh", "deviation_kwh", "excess_kwh", "mileage_mw", "k", "action_kwh")
FORMS = sorted(PAYMENTS)
small = st.decimals(-1000, 1000, places=6, allow_nan=False)
ratios = st.decimals(0, 1, places=6, allow_nan=False)


def hour(number: int) -> Interval:
    return Interval(START + timedelta(hours=number), START + timedelta(hours=number + 1))


@st.composite
def periods(draw: st.DrawFn) -> list[PeriodFigures]:
    def one(number: int) -> PeriodFigures:
        counted = {name: draw(small) for name in COUNTED}
        return PeriodFigures(hour(number), draw(ratios), draw(st.none() | ratios), counted)

    return [one(number) for number in range(draw(st.integers(1, 4)))]


@st.composite
def tables(draw: st.DrawFn, form: str) -> PriceTable:
    names = [price.name for price in PAYMENTS[form].prices]
    return PriceTable(
        Price(name, hour(number), draw(small), Certainty.UNSURE, "drawn") for name in names for number in range(4)
    )


def facts_of(form: str, rows: list[PeriodFigures], table: PriceTable, shares: list[dict[str, Any]]) -> dict[str, Any]:
    facts = {
        "terms": {"payment": form, "product": "x", "obligation_kw": "1000.000", "basis": "demonstration",
                  "product_certainty": "U", "program": "p", "vtn_id": "VTN", "currency": "EUR"},
        "fleet": {"periods": [row.facts() for row in rows]}, "prices": table.facts(), "shares": shares,
    }  # fmt: skip
    return facts | {"amount": str(sum((line.amount for line in lines_of(facts)), Decimal(0)))}


def a_share(site: str, weight: int, **counted: Decimal) -> dict[str, Any]:
    quantities = {name: str(counted.get(name, Decimal(0))) for name in COUNTED}
    return {"site_id": site, "contracted_kw": "10.000", "weight": weight, "quantities": quantities}


def test_every_row_has_a_form():
    assert {row.price.form for row in ROWS} == {*PAYMENTS, CATALOGUE_PRICE}
    assert all(bool(row.prices) == (row.price.form == CATALOGUE_PRICE) for row in ROWS)


@pytest.mark.parametrize("form", FORMS)
class TestEveryForm:
    @settings(max_examples=20)
    @given(st.data())
    def test_the_assets_parts_add_up_to_the_run_and_a_reversal_undoes_it(self, form, data):
        rows, table = data.draw(periods()), data.draw(tables(form))
        weights = data.draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
        shares = [
            a_share(f"s{n}", weight, **{name: data.draw(small) for name in COUNTED}) for n, weight in enumerate(weights)
        ]
        facts = facts_of(form, rows, table, shares)
        amounts = amounts_by_site(facts)
        assert sum(amounts.values()) == Decimal(facts["amount"])
        # The order of the sites does not matter.
        assert amounts_by_site({**facts, "shares": shares[::-1]}) == amounts
        body = {"facts": facts, "postings": [
            {"account": "a", "unit": "EUR", "amount": facts["amount"]},
            {"account": "b", "unit": "EUR", "amount": str(-Decimal(facts["amount"]))},
        ]}  # fmt: skip
        canonical_json(body)
        back = reversal_body(body=body, entry_hash="00", run=1)
        require_balanced(body, "run")
        require_balanced(back, "reversal")
        for row, undone in zip(body["postings"], back["postings"], strict=True):
            assert Decimal(row["amount"]) + Decimal(undone["amount"]) == 0

    @settings(max_examples=20)
    @given(st.data())
    def test_nothing_counted_is_nothing_paid(self, form, data):
        """Zero event, zero saving: energies, mileages and excesses of nothing come to nothing at any price."""
        rows = [PeriodFigures(hour(0), Decimal(0), None, dict.fromkeys(COUNTED, Decimal(0)))]
        lines = {
            line.name: line for line in lines_by(form, Contract("x", Decimal(1000)), rows, data.draw(tables(form)))
        }
        if form in ("capacity-factors", "limit") and "capacity" in lines:
            # Sold and not ready: all of it is taken back.
            assert lines["capacity"].amount + lines["penalty"].amount == 0
        for name, line in lines.items():
            assert name in ("capacity", "penalty") or line.amount == 0

    @settings(max_examples=20)
    @given(st.data())
    def test_what_is_booked_is_computed_again_from_its_own_text(self, form, data):
        rows, table = data.draw(periods()), data.draw(tables(form))
        facts = facts_of(form, rows, table, [a_share("s", 1)])
        direct = lines_by(form, Contract("x", Decimal(1000)), rows, table)
        assert [line.amount for line in lines_of(facts)] == [line.amount for line in direct]
        assert table_of_facts(table.facts()).facts() == table.facts()
        assert {line.basis for line in lines_of(facts)} == {"demonstration: row of certainty U"}

    def test_a_missing_price_names_product_and_period(self, form):
        rows = [PeriodFigures(hour(0), Decimal(1), Decimal(1), dict.fromkeys(COUNTED, Decimal(0)))]
        for price in PAYMENTS[form].prices:
            if price.is_optional:
                continue
            others = [
                Price(other.name, hour(0), Decimal(1), Certainty.UNSURE, "round")
                for other in PAYMENTS[form].prices
                if other.name != price.name
            ]
            # Also where nothing was counted: a price is never taken as zero.
            with pytest.raises(PriceMissing, match=rf"'the product' has no price '{price.name}' from 2026-03-02T00:00"):
                lines_by(form, Contract("the product", Decimal(1)), rows, PriceTable(others))

    def test_an_optional_price_for_a_part_is_missing_for_the_rest(self, form):
        rows = [PeriodFigures(hour(n), Decimal(1), Decimal(1), dict.fromkeys(COUNTED, Decimal(0))) for n in range(2)]
        for price in PAYMENTS[form].prices:
            if price.is_optional:
                table = PriceTable(
                    Price(each.name, hour(n), Decimal(1), Certainty.UNSURE, "round")
                    for each in PAYMENTS[form].prices
                    for n in range(2)
                    if each.name != price.name or n == 0
                )
                with pytest.raises(PriceMissing, match=f"{price.name}' from 2026-03-02T01"):
                    lines_by(form, Contract("x", Decimal(1)), rows, table)

    def test_a_price_that_it_does_not_read_is_refused(self, form):
        table = PriceTable([Price("balderdash", hour(0), Decimal(1), Certainty.UNSURE, "round")])
        with pytest.raises(PriceInvalid, match="does not read price balderdash, accepted: "):
            lines_by(form, Contract("x", Decimal(1)), [], table)


@pytest.mark.parametrize(
    ("name", "product", "said"),
    [
        ("mbma", "energy-dispatch", None),
        ("", "fcr-d-up", None),
        ("mbma", "fcr-d-up", "of kind curve, accepted: a product of kind instruction"),
        ("by-feeling", "ercot-ers-10", "is not known, accepted: "),
    ],
)
def test_a_program_names_a_known_method_for_a_product_that_is_paid_against_one(name, product, said):
    table = {
        "name": "p", "market_context": "http://operator.example/p", "product": product, "signal_sign": -1,
        "sign_note": "less is negative", "baseline_method": name,
    }  # fmt: skip
    if said is None:
        assert program_seed(table, "operator").baseline_method == name
    else:
        with pytest.raises(ProgramInvalid, match=said):
            program_seed(table, "operator")


def test_who_did_the_contrary_has_no_part_of_an_energy():
    row = PeriodFigures(hour(0), Decimal(1), Decimal(1), {"delivered_kwh": Decimal(90)})
    table = PriceTable([Price("energy", hour(0), Decimal(100), Certainty.UNSURE, "round")])
    shares = [a_share("a", 1, delivered_kwh=Decimal(100)), a_share("b", 1, delivered_kwh=Decimal(-10))]
    assert amounts_by_site(facts_of("energy", [row], table, shares)) == {"a": Decimal(9), "b": Decimal(0)}


class TestPrices:
    def test_of_one_name_at_one_time_are_refused(self):
        twice = [Price("capacity", hour(0), Decimal(1), Certainty.UNSURE, "round")] * 2
        with pytest.raises(PriceInvalid, match="given twice at 2026-03-02T00:00"):
            PriceTable(twice)

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "1e12"])
    def test_that_are_no_money_are_refused(self, value):
        with pytest.raises(PriceInvalid, match="accepted: a finite number"):
            Price("capacity", hour(0), Decimal(value), Certainty.UNSURE, "round")

    @pytest.mark.parametrize("text", ["capacity", "=3", "capacity=", "capacity=12,5", "capacity=nan"])
    def test_of_another_form_are_refused(self, text):
        with pytest.raises(PriceInvalid, match="accepted: "):
            price_of(text, hour(0), "round")

    def test_without_a_source_are_refused(self):
        with pytest.raises(PriceInvalid, match="has no source"):
            price_of("capacity=3", hour(0), " ")

    def test_hold_only_for_all_of_a_period(self):
        table = PriceTable([Price("capacity", hour(0), Decimal(3), Certainty.UNSURE, "round")])
        assert table.over("capacity", hour(0), "x") == 3
        with pytest.raises(PriceMissing):
            table.over("capacity", Interval(START, START + timedelta(hours=2)), "x")
