"""Settlement from metered data into the grid-support book, and its recalculation."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from support.metered import RATE_HZ, STARTS_AT, a_metered_site, gb_like_hz
from support.settled import AT, SECONDS, a_fleet, an_obligation, settle

from markets import queries
from markets.core import settlement
from markets.core.products import Basis, LiveSettlementRefused
from markets.core.settlement import ContractedShare
from markets.models import GridSupportEntry, Obligation
from markets.settling import NotSettleable
from sites.ledger.audit import books_audit
from sites.metering.models import HighRateRecord, MeterInterval
from sites.wire.records import pack_samples, unpack_samples

pytestmark = pytest.mark.django_db


def test_a_good_delivery_is_paid_in_full_and_the_book_adds_up():
    statement = settle(an_obligation(), a_fleet([60.0, 30.0, 10.0]))
    # 3.186 GBP/MW/h (2026-06) x 0.1 MW x 30 s
    assert statement.amount == Decimal("0.002655")
    assert (statement.currency, statement.k_factor, statement.entries) == ("GBP", Decimal(1), 3)
    assert Obligation.objects.get().status == "settled"
    balances = queries.account_balances(dispatch_id="DC-e1")
    assert balances == {
        "asset/site-1/availability": Decimal("0.001593"),
        "asset/site-2/availability": Decimal("0.000797"),
        "asset/site-3/availability": Decimal("0.000265"),
        "fleet/neso-dc-low/clearing": Decimal(0),
        "operator/VTN": Decimal("-0.002655"),
    }
    report = books_audit()
    assert report.verified, report.faults
    (book,) = [book for book in report.books if book.book == GridSupportEntry.book_name()]
    assert (book.entries, book.recalculated) == (4, 4)


def test_the_entry_says_what_it_was_computed_from():
    settle(an_obligation(), a_fleet([60.0, 40.0]))
    fleet = queries.fleet_entry_facts(dispatch_id="DC-e1")
    assert fleet["terms"]["basis"] == "demonstration"
    assert (fleet["terms"]["price_month"], fleet["terms"]["price_per_mw_h"]) == ("2026-06-01", "3.186")
    assert (fleet["terms"]["score_certainty"], fleet["terms"]["product_certainty"]) == ("U", "U")
    assert fleet["fleet"]["response_ms"] == pytest.approx(300, abs=10)
    assert Decimal(fleet["fleet"]["delivered_ratio"]) == pytest.approx(Decimal(1), abs=Decimal("0.001"))
    share = fleet["shares"][0]
    assert share["delivered_uwh"] == pytest.approx(share["service_into_uwh"], rel=1e-4)
    assert share["records"] == [[1, 4, 0]]
    assert share["intervals"] == [[1, 6, 0]]


def test_of_an_interval_counts_what_it_says_was_for_the_dispatch():
    obligation, shares = an_obligation(), a_fleet([100.0])
    first, second = MeterInterval.objects.order_by("number")[:2]
    others = {row.number: row.service_into_uwh for row in MeterInterval.objects.exclude(pk__in=[first.pk, second.pk])}
    # A regulation signal that swings around zero, and the minute in which another dispatch began.
    MeterInterval.objects.filter(pk=first.pk).update(
        service_into_uwh=500, service_from_uwh=500, services=[["DC-e1", 500, 500]]
    )
    MeterInterval.objects.filter(pk=second.pk).update(
        service_into_uwh=90, service_from_uwh=40, services=[["DC-e0", 70, 40], ["DC-e1", 20, 0]]
    )
    settle(obligation, shares)
    share = queries.fleet_entry_facts(dispatch_id="DC-e1")["shares"][0]
    assert (share["service_into_uwh"], share["service_from_uwh"]) == (520 + sum(others.values()), 500)
    assert books_audit().verified


class TestACurveBesideAStream:
    """The site gives the curve its due and lets its power swing by 20 kW around that for a stream."""

    def a_site(self) -> None:
        frequency_hz = gb_like_hz(SECONDS)
        share = np.interp(50.0 - frequency_hz, [0.015, 0.2, 0.5], [0.0, 0.05, 1.0])
        stream_kw = 20.0 * np.sign(np.sin(np.arange(share.size) / 50.0))
        a_metered_site(
            "site-1", starts_at=STARTS_AT, seconds=SECONDS, frequency_hz=frequency_hz, service_kw=share * 100.0,
            armed_kw=100.0, dispatch_id="DC-e1", stream_kw=stream_kw,
        )  # fmt: skip

    def test_is_settled_as_if_it_had_run_none(self):
        obligation = an_obligation()
        self.a_site()
        statement = settle(obligation, [ContractedShare("site-1", 100.0, 0.0, stream_kw=20.0)])
        assert (statement.amount, statement.k_factor) == (Decimal("0.002655"), Decimal(1))
        facts = queries.fleet_entry_facts(dispatch_id="DC-e1")
        share = facts["shares"][0]
        assert Decimal(facts["fleet"]["delivered_ratio"]) == pytest.approx(Decimal(1), abs=Decimal("0.001"))
        # Both registers tell the same of the curve, and nothing of the stream.
        assert share["delivered_uwh"] == pytest.approx(share["service_into_uwh"], rel=1e-4)
        assert share["service_from_uwh"] == 0
        assert share["stream_kw"] == "20.000"
        assert books_audit().verified

    def test_cannot_claim_for_a_stream_that_it_was_not_granted(self):
        obligation = an_obligation()
        self.a_site()
        settle(obligation, [ContractedShare("site-1", 100.0, 0.0)])
        facts = queries.fleet_entry_facts(dispatch_id="DC-e1")
        # The swing is held against the curve: 20 kW of 100 where 3 % are allowed.
        assert Decimal(facts["shares"][0]["k_factor"]) == 0
        assert "stream_kw" not in facts["shares"][0]
        assert books_audit().verified

    def test_a_record_of_an_earlier_site_says_that_there_was_none(self):
        obligation, shares = an_obligation(), a_fleet([100.0])
        for record in HighRateRecord.objects.all():
            samples = unpack_samples(bytes(record.samples), len(record.columns))
            record.columns, record.samples = record.columns[:-1], pack_samples(samples[:, :-1])
            record.save()
        assert settle(obligation, shares).amount == Decimal("0.002655")
        assert books_audit().verified


def test_a_share_that_moved_is_settled_by_what_it_was_at_each_time():
    """Site 1 has 60 kW for 10 s and 40 kW for 20 s, site 2 the rest: means of 46.667 and 53.333 kW."""
    obligation, frequency_hz = an_obligation(), gb_like_hz(SECONDS)
    share = np.interp(50.0 - frequency_hz, [0.015, 0.2, 0.5], [0.0, 0.05, 1.0])
    after_s = np.arange(share.size) / RATE_HZ - 2.0
    course_kw = np.where(after_s < 10.0, 60.0, 40.0)
    moved_at = STARTS_AT + timedelta(seconds=10)
    shares = []
    for site_id, kw, then_kw, own_kw in (("site-1", 60.0, 40.0, course_kw), ("site-2", 40.0, 60.0, 100.0 - course_kw)):
        a_metered_site(
            site_id, starts_at=STARTS_AT, seconds=SECONDS, frequency_hz=frequency_hz, service_kw=share * own_kw,
            armed_kw=60.0,
        )  # fmt: skip
        mean_kw, moves = settlement.share_over(
            obligation.window, [(STARTS_AT - timedelta(seconds=5), kw), (moved_at, then_kw)]
        )
        shares.append(ContractedShare(site_id, mean_kw, 0.0, moves))
    statement = settle(obligation, shares)
    assert (statement.amount, statement.k_factor) == (Decimal("0.002655"), Decimal(1))
    facts = queries.fleet_entry_facts(dispatch_id="DC-e1")["shares"]
    assert [share["contracted_kw"] for share in facts] == ["46.667", "53.333"]
    assert facts[0]["moves"] == [["2026-06-01T12:00:00.000000Z", "60.000"], ["2026-06-01T12:00:10.000000Z", "40.000"]]
    assert [Decimal(share["k_factor"]) for share in facts] == [Decimal(1)] * 2
    assert [Decimal(share["available_ratio"]) for share in facts] == [Decimal(1)] * 2
    # 0.002655 x 46.667 / 100, and the rest.
    balances = queries.account_balances(dispatch_id="DC-e1")
    assert balances["asset/site-1/availability"] == Decimal("0.001239")
    assert balances["asset/site-2/availability"] == Decimal("0.001416")
    assert books_audit().verified


def test_an_entry_of_the_first_form_is_still_computed_again(monkeypatch):
    """First entries told the net of the service only; they must not read as altered."""
    obligation, shares = an_obligation(), a_fleet([100.0])
    now = settlement.share_facts
    with monkeypatch.context() as patch:
        patch.setattr(settlement, "share_facts", lambda *x: settlement.in_form_of({"service_uwh": 0}, now(*x)))
        settle(obligation, shares)
    share = queries.fleet_entry_facts(dispatch_id="DC-e1")["shares"][0]
    assert share["service_uwh"] > 0
    assert "service_into_uwh" not in share
    assert books_audit().verified
    MeterInterval.objects.filter(number=4).update(service_from_uwh=1)
    assert not books_audit().verified


def test_settling_again_books_nothing_and_gives_the_same_statement():
    obligation, shares = an_obligation(), a_fleet([100.0])
    first = settle(obligation, shares)
    again = settle(obligation, shares, at=AT + timedelta(days=1))
    assert (again.pk, again.entry_hash) == (first.pk, first.entry_hash)
    assert GridSupportEntry.objects.count() == 2


def test_a_bad_delivery_is_paid_by_its_k():
    statement = settle(an_obligation(), a_fleet([100.0], gain=0.95))
    assert statement.k_factor == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))


def test_an_island_gives_no_service_and_gets_less():
    obligation, shares = an_obligation(), a_fleet([50.0, 50.0])
    for record in HighRateRecord.objects.filter(site__site_id="site-2", number__gte=3):
        samples = unpack_samples(bytes(record.samples), len(record.columns)).copy()
        samples[:, record.columns.index("switch_closed")] = 0.0
        record.samples = pack_samples(samples)
        record.save()
    settle(obligation, shares)
    fleet = queries.fleet_entry_facts(dispatch_id="DC-e1")
    assert Decimal(fleet["fleet"]["delivered_ratio"]) == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))
    own = {share["site_id"]: Decimal(share["available_ratio"]) for share in fleet["shares"]}
    assert own == {"site-1": Decimal(1), "site-2": Decimal("0.6")}
    assert Decimal(fleet["fleet"]["available_ratio"]) == Decimal("0.8")


class TestRefusals:
    def test_live_on_an_uncertain_row(self):
        with pytest.raises(LiveSettlementRefused):
            settle(an_obligation(), a_fleet([100.0]), basis=Basis.LIVE)
        assert GridSupportEntry.objects.count() == 0

    def test_before_its_end(self):
        with pytest.raises(NotSettleable, match="ends at"):
            settle(an_obligation(), a_fleet([100.0]), at=STARTS_AT)

    def test_without_a_share(self):
        with pytest.raises(NotSettleable, match="no acknowledged share"):
            settle(an_obligation(), [])

    @pytest.mark.parametrize(("model", "named"), [(HighRateRecord, "record covers"), (MeterInterval, "intervals thr")])
    def test_while_metering_is_missing_unless_gaps_are_accepted(self, model, named):
        obligation, shares = an_obligation(), a_fleet([50.0, 50.0])
        last = model.objects.filter(
            **{"site__site_id" if model is HighRateRecord else "asset__site__site_id": "site-2"}
        )
        last.order_by("number").last().delete()
        with pytest.raises(NotSettleable, match=f"site-2: {named}"):
            settle(obligation, shares)
        settle(obligation, shares, accept_gaps=True)
        assert books_audit().verified


class TestRecalculation:
    @pytest.mark.parametrize("number", [1, 3, 4])
    def test_a_record_that_arrives_after_the_settlement_does_not_change_it(self, number):
        obligation, shares = an_obligation(), a_fleet([50.0, 50.0])
        late = HighRateRecord.objects.get(site__site_id="site-2", number=number)
        samples, pk = late.samples, late.pk
        late.delete()
        settle(obligation, shares, accept_gaps=True)
        late.pk, late.samples = pk, samples
        late.save(force_insert=True)
        assert books_audit().verified

    def test_a_revision_that_arrives_after_the_settlement_does_not_change_it(self):
        settle(an_obligation(), a_fleet([50.0, 50.0]))
        revised = MeterInterval.objects.get(asset__site__site_id="site-1", number=4)
        revised.pk, revised.revision, revised.service_into_uwh = None, 1, 1
        revised.save(force_insert=True)
        assert books_audit().verified

    def test_a_site_without_any_metering_is_settled_with_nothing_when_gaps_are_accepted(self):
        obligation, shares = an_obligation(), a_fleet([50.0, 50.0])
        HighRateRecord.objects.filter(site__site_id="site-2").delete()
        MeterInterval.objects.filter(asset__site__site_id="site-2").delete()
        settle(obligation, shares, accept_gaps=True)
        assert queries.account_balances(dispatch_id="DC-e1")["asset/site-2/availability"] == 0
        assert books_audit().verified

    def test_a_changed_record_is_found_in_its_asset_s_and_the_fleet_s_entry(self):
        settle(an_obligation(), a_fleet([50.0, 50.0]))
        record = HighRateRecord.objects.get(site__site_id="site-2", number=3)
        samples = unpack_samples(bytes(record.samples), len(record.columns)).copy()
        samples[:, record.columns.index("battery_kw")] += 10.0
        HighRateRecord.objects.filter(pk=record.pk).update(samples=pack_samples(samples))
        chains = {fault.chain for fault in books_audit().faults}
        assert chains == {"site-2/battery", "fleet/neso-dc-low"}

    def test_a_changed_interval_is_found(self):
        settle(an_obligation(), a_fleet([50.0, 50.0]))
        MeterInterval.objects.filter(asset__site__site_id="site-1", number=4).update(service_into_uwh=1)
        assert "site-1/battery" in {fault.chain for fault in books_audit().faults}


class TestNonsenseInARecord:
    """What one site writes into its own record hits that site alone."""

    def test_a_record_without_the_columns_proves_nothing_and_stops_nobody(self):
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        HighRateRecord.objects.filter(site__site_id="site-2").update(columns=["a", "b", "c", "d", "e", "f"])
        settle(obligation, shares)
        ratios = {
            row["site_id"]: Decimal(row["available_ratio"])
            for row in json.loads(GridSupportEntry.objects.get(chain__startswith="fleet/").body)["facts"]["shares"]
        }
        assert ratios == {"site-1": 1, "site-2": 0}
        assert books_audit().verified

    @pytest.mark.parametrize("battery_kw", [3e38, -1e9, np.inf])
    def test_power_that_nothing_has_is_no_measurement(self, battery_kw):
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        for record in HighRateRecord.objects.filter(site__site_id="site-2"):
            samples = unpack_samples(bytes(record.samples), len(record.columns))
            samples[:, record.columns.index("battery_kw")] = battery_kw
            HighRateRecord.objects.filter(pk=record.pk).update(samples=pack_samples(samples))
        settle(obligation, shares)
        fleet = json.loads(GridSupportEntry.objects.get(chain__startswith="fleet/").body)["facts"]
        # Site 1 alone: 60 of the 100 kW.
        assert 55 < Decimal(fleet["fleet"]["worst_10s_delivered_kw"]) < 61
        assert {row["site_id"]: Decimal(row["available_ratio"]) for row in fleet["shares"]} == {
            "site-1": 1,
            "site-2": 0,
        }
        assert books_audit().verified
