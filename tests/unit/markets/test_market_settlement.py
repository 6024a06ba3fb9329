"""Money: rounded once, shared exactly, the same for any order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.settlement import (
    QUANTUM,
    ContractedShare,
    FleetFigures,
    SettlementError,
    SiteFigures,
    amounts_of,
    apportion,
    asset_body,
    fleet_body,
    payment,
    share_facts,
    share_from_facts,
)
from sites.ledger.chain import canonical_json
from sites.ledger.postings import require_balanced

TERMS = {"program": "neso-dc-low", "vtn_id": "VTN", "currency": "GBP", "dispatch_id": "DC-1"}
totals = st.integers(-(10**15), 10**15).map(lambda quanta: quanta * QUANTUM)
weights = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 10**18), min_size=1, max_size=40)


def some_figures(**changes: Any) -> SiteFigures:
    values: dict[str, Any] = {
        "available_ratio": Decimal("1.000000"), "worst_error_ratio": Decimal("0.010000"),
        "k_factor": Decimal("1.000000"), "response_ms": 320, "response_missed": False,
        "required_uwh": 10, "delivered_uwh": 9,
        "service_into_uwh": 9, "service_from_uwh": 2, "records": ((1, 6, 0),), "intervals": ((3, 5, 0),),
    }  # fmt: skip
    return SiteFigures(**{**values, **changes})


class TestPayment:
    @pytest.mark.parametrize(
        ("ratio", "k_factor", "amount"),
        [("1", "1", "8.000000"), ("1", "0.5", "4.000000"), ("0.5", "1", "4.000000"), ("1", "0", "0.000000")],
    )
    def test_price_times_power_times_hours_times_availability_times_k(self, ratio, k_factor, amount):
        paid = payment(
            price_per_mw_h=Decimal("2"),
            power_kw=Decimal("1000"),
            duration_s=Decimal(4 * 3600),
            available_ratio=Decimal(ratio),
            k_factor=Decimal(k_factor),
        )
        assert paid == Decimal(amount)
        assert str(paid) == amount

    @pytest.mark.parametrize("name", ["available_ratio", "k_factor"])
    @pytest.mark.parametrize("value", ["-0.1", "1.000001"])
    def test_a_ratio_out_of_range_is_refused(self, name, value):
        figures = {
            "price_per_mw_h": Decimal(1), "power_kw": Decimal(1), "duration_s": Decimal(1),
            "available_ratio": Decimal(1), "k_factor": Decimal(1), name: Decimal(value),
        }  # fmt: skip
        with pytest.raises(SettlementError, match=name):
            payment(**figures)


class TestApportion:
    @given(totals, weights)
    def test_the_parts_add_up_exactly(self, total, weights):
        if sum(weights.values()) == 0 and total:
            with pytest.raises(SettlementError, match="nobody"):
                apportion(total, weights)
        else:
            assert sum(apportion(total, weights).values()) == total

    @given(totals, weights, st.randoms(use_true_random=False))
    def test_the_order_does_not_matter(self, total, weights, random):
        if sum(weights.values()) == 0:
            return
        keys = list(weights)
        random.shuffle(keys)
        assert apportion(total, {key: weights[key] for key in keys}) == apportion(total, weights)

    @given(totals, weights)
    def test_no_part_is_off_by_a_whole_quantum_and_none_has_the_wrong_sign(self, total, weights):
        whole = sum(weights.values())
        if whole == 0:
            return
        for key, part in apportion(total, weights).items():
            assert abs(part / QUANTUM * whole - total / QUANTUM * weights[key]) < whole
            assert part * total >= 0

    @given(totals, weights)
    def test_the_negative_total_is_shared_as_its_mirror(self, total, weights):
        if sum(weights.values()) == 0:
            return
        mirrored = {key: -part for key, part in apportion(-total, weights).items()}
        assert apportion(total, weights) == mirrored

    def test_what_is_left_over_goes_to_the_largest_remainders(self):
        parts = apportion(10 * QUANTUM, {"a": 1, "b": 1, "c": 1})
        assert parts == {"a": 4 * QUANTUM, "b": 3 * QUANTUM, "c": 3 * QUANTUM}

    def test_a_negative_weight_is_refused(self):
        with pytest.raises(SettlementError, match="accepted: 0 or more"):
            apportion(QUANTUM, {"a": -1, "b": 2})

    def test_a_total_finer_than_the_book_is_refused(self):
        with pytest.raises(SettlementError, match="whole multiples"):
            apportion(Decimal("0.0000001"), {"a": 1})


class TestAmounts:
    def test_a_site_that_gave_nothing_gets_nothing(self):
        shares = [
            share_facts(ContractedShare("a", 10.0, 0.0), some_figures()),
            share_facts(ContractedShare("b", 10.0, 0.0), some_figures(k_factor=Decimal("0.000000"))),
            share_facts(ContractedShare("c", 10.0, 0.0), some_figures(available_ratio=Decimal("0.500000"))),
        ]
        amounts = amounts_of(Decimal("3.000000"), shares)
        assert amounts == {"a": Decimal("2.000000"), "b": Decimal(0), "c": Decimal("1.000000")}

    def test_by_contract_when_none_of_them_scored(self):
        nothing = some_figures(k_factor=Decimal("0.000000"))
        shares = [share_facts(ContractedShare(site, kw, 0.0), nothing) for site, kw in (("a", 30.0), ("b", 10.0))]
        assert amounts_of(Decimal("4.000000"), shares) == {"a": Decimal(3), "b": Decimal(1)}

    def test_two_shares_of_one_site_are_refused(self):
        share = share_facts(ContractedShare("a", 10.0, 0.0), some_figures())
        with pytest.raises(SettlementError, match="more than one share"):
            amounts_of(Decimal(1), [share, share])


class TestBodies:
    def test_both_bodies_balance_and_are_exact(self):
        facts = share_facts(ContractedShare("site-1", 12.3456, -1.0), some_figures(worst_error_ratio=None))
        fleet = FleetFigures(
            available_ratio=Decimal(1), worst_error_ratio=None, k_factor=Decimal(0), worst_10s_due_kw=None,
            worst_10s_delivered_kw=None, delivered_ratio=None, response_ms=None, response_missed=False,
            required_uwh=0, delivered_uwh=0,
        )  # fmt: skip
        amount = Decimal("-0.000003")
        for body in (
            asset_body(TERMS, facts, amount),
            fleet_body(TERMS, fleet, [facts], amount=amount, merkle_root="00"),
        ):
            require_balanced(body, "test")
            canonical_json(body)

    def test_over_a_dispatch_the_clearing_account_is_left_at_zero(self):
        shares = [share_facts(ContractedShare(f"s{n}", 10.0 + n, 0.0), some_figures()) for n in range(7)]
        total = Decimal("1.234567")
        amounts = amounts_of(total, shares)
        fleet = FleetFigures(Decimal(1), None, Decimal(1), None, None, None, None, False, 0, 0)
        postings = fleet_body(TERMS, fleet, shares, amount=total, merkle_root="")["postings"]
        for share in shares:
            postings += asset_body(TERMS, share, amounts[share["site_id"]])["postings"]
        accounts: dict[str, Decimal] = {}
        for posting in postings:
            accounts[posting["account"]] = accounts.get(posting["account"], Decimal(0)) + Decimal(posting["amount"])
        assert accounts["fleet/neso-dc-low/clearing"] == 0
        assert accounts["operator/VTN"] == -total

    @given(st.floats(0.001, 1e5), st.floats(-1e5, 1e5))
    def test_a_share_comes_back_from_its_own_text(self, contracted_kw, baseline_kw):
        once = share_from_facts(share_facts(ContractedShare("s", contracted_kw, baseline_kw), some_figures()))
        assert share_from_facts(share_facts(once, some_figures())) == once
