"""The rules of offers: who is let in, what shares a site, which evidence counts, what an award says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from markets.core import eligibility, offering, stacking
from markets.core.offering import Evidence, OfferRefused, award_terms, require_offer, terms_of
from markets.core.product import Certainty, Rule
from markets.core.products import PRODUCTS, Basis, LiveSettlementRefused, product_named
from markets.core.stacking import Stacking, relation
from sites.core.intervals import Interval

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Interval(NOW + timedelta(hours=1), NOW + timedelta(hours=2))
DC = product_named("neso-dc-low")


def a_test(score: str = "0.97", *, kw: float = 2_000.0, age_d: float = 10.0, valid_d: float = 365.0) -> Evidence:
    tested_at = NOW - timedelta(days=age_d)
    return Evidence(Decimal(score), kw, tested_at, tested_at + timedelta(days=valid_d))


def read_row():
    """The product as it will stand once its document is read."""
    read = {name: Rule(rule.text, Certainty.VERIFIED, "the operator's document") for name, rule in DC.groups.items()}
    return replace(
        DC, is_primary=True, response=read["response"], energy=read["energy"], recovery=read["recovery"],
        data=replace(DC.data, rule=read["data"]), score=replace(DC.score, rule=read["score"]),
        price=replace(DC.price, rule=read["price"]), penalty=read["penalty"], size=replace(DC.size, rule=read["size"]),
    )  # fmt: skip


def offer(product=DC, *, basis: Basis = Basis.LIVE, kw: float = 1_500.0, evidence=(), window=WINDOW) -> None:
    require_offer(product, basis=basis, window=window, quantity_kw=kw, net_kw=1_800.0, evidence=evidence, at=NOW)


class TestEvidence:
    @pytest.mark.parametrize(
        ("evidence", "told"),
        [([], "no test record"), ([a_test("0.949999")], "scored 0.949999"), ([a_test(kw=1_499.0)], "up to the 1499 kW"),
         ([a_test(age_d=366)], "the last expired"), ([a_test(age_d=-1)], "no test record"),
         ([a_test(valid_d=10 + 1.5 / 24)], "no test record")],
    )  # fmt: skip
    def test_what_proves_nothing_for_the_window(self, evidence, told):
        with pytest.raises(OfferRefused, match=told):
            offer(read_row(), evidence=evidence)

    def test_a_row_that_was_read_and_a_test_that_holds_may_be_offered_live(self):
        offer(read_row(), evidence=[a_test("0.5"), a_test("0.95")])

    def test_an_unread_row_is_not_offered_live_with_any_evidence(self):
        with pytest.raises(LiveSettlementRefused):
            offer(evidence=[a_test("1.0")])

    def test_a_demonstration_needs_neither(self):
        offer(basis=Basis.DEMONSTRATION)

    @pytest.mark.parametrize(("kw", "told"), [(999.0, "1000 kW or more"), (1_801.0, "up to the 1800.000 kW")])
    def test_but_keeps_to_size_and_headroom(self, kw, told):
        with pytest.raises(OfferRefused, match=told):
            offer(basis=Basis.DEMONSTRATION, kw=kw)

    def test_a_window_that_has_begun_is_not_offered(self):
        with pytest.raises(OfferRefused, match="later than"):
            offer(basis=Basis.DEMONSTRATION, window=Interval(NOW, NOW + timedelta(hours=1)))


class TestEligibility:
    @pytest.mark.parametrize("product", sorted(PRODUCTS))
    def test_only_batteries_count_in_any_headroom(self, product):
        assert eligibility.counted_kinds(product) == {"battery"}

    def test_an_emergency_set_is_kept_out_by_what_was_read(self):
        for product, source in (("ercot-ers-10", "40 CFR"), ("pjm-reg", "40 CFR"), ("neso-dr-low", "Schedule 25B")):
            row = eligibility.eligibility("genset", product)
            assert (row.is_let_in, row.rule.certainty) == (False, Certainty.VERIFIED)
            assert source in row.rule.source

    def test_what_no_row_names_is_kept_out(self):
        assert eligibility.eligibility("flywheel", "neso-dc-low") == eligibility.KEPT_OUT


class TestStacking:
    def test_it_is_the_same_either_way_round(self):
        for first, second in itertools.combinations_with_replacement(PRODUCTS.values(), 2):
            assert relation(first, second) == relation(second, first)

    def test_two_curves_exclude_each_other_at_a_site_whatever_a_market_allows(self):
        assert relation(DC, product_named("neso-dm-low")) == stacking.ONE_CURVE

    def test_a_stream_stands_beside_a_curve_with_power_of_its_own(self):
        rule = relation(product_named("ercot-reg-up"), product_named("ercot-ffr"))
        assert rule.stacking is Stacking.ADDS

    def test_a_markets_own_exclusion_is_told_with_its_source(self):
        rule = relation(product_named("ercot-ers-10"), product_named("ercot-ffr"))
        assert (rule.stacking, rule.rule.certainty) == (Stacking.EXCLUDES, Certainty.MEMORY)


class TestTerms:
    def test_every_product_has_them(self):
        for name in PRODUCTS:
            assert terms_of(name).gate_s > 0.0

    def test_pjm_qualifies_from_three_quarters(self):
        assert terms_of("pjm-regd").least_score == Decimal("0.75")

    def test_an_awards_numbers_are_exact(self):
        # 1234.5 kW of DR for 60 min: 1234.5 kWh; 20 % a half-hour: 246.9; at most half of it falls in a half-hour.
        terms = award_terms(product_named("neso-dr-low"), 1_234.5)
        assert terms["response_kwh"] == "1234.500"
        assert terms["recovery"]["per_period_kwh"] == "246.900"
        assert terms["recovery"]["ramp_kw_per_min"] == "61.725"
        assert terms["imbalance"]["worst_kwh_per_period"] == "617.250"

    def test_one_baseline_has_one_text(self):
        points = [(WINDOW.starts_at, -5.0)]
        body = offering.baseline_body(points, WINDOW, limit_kw=10.0)
        assert body == offering.baseline_body([(WINDOW.starts_at, -5)], WINDOW, limit_kw=10.0)
        assert '"points":[["2026-03-01T13:00:00+00:00","-5.0"]]' in body
