"""From offer to award on a real database: what is sold, what is refused, what is declared anew and to whom."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from support.offered import NOW, WINDOW, a_site, a_unit, an_award, an_offer

from markets.capacity_limits import CapacityLimit
from markets.core.offering import OfferRefused
from markets.core.products import Basis, LiveSettlementRefused
from markets.models import MarketEvent, Obligation
from markets.offers import operations, queries
from markets.offers.models import Award, Offer, Redeclaration
from sites.core.intervals import Interval
from sites.metering.models import LiveState
from sites.registry.models import Asset, FeederGroup, Membership
from sites.registry.windows import SiteWindow, WindowAct, WindowRefused

pytestmark = pytest.mark.django_db


def sold_kw() -> float:
    return Obligation.objects.get().power_kw


class TestOffering:
    def test_both_sums_stand_on_the_offer(self) -> None:
        unit = a_unit(a_site(1), a_site(2, usable_energy_kwh=100.0))
        # 1000 kW, and 100 kWh for 15 min = 400 kW; less 2 %.
        offer = an_offer(unit)
        assert (offer.gross_kw, offer.net_kw, offer.quantity_kw) == (1_400.0, pytest.approx(1_372.0), 1_372.0)
        assert offer.shares == {"site-0001": 1_000.0, "site-0002": 400.0}
        assert (offer.forecast, offer.currency) == ("live", "GBP")

    @pytest.mark.parametrize(
        ("pcc_kw", "service_kw", "export_kw", "expected_kw"),
        [
            (100.0, 0.0, 0.0, 100.0),  # no export agreed: as much as the own load takes
            (-50.0, 0.0, 300.0, 250.0),  # exports 50 already
            (-200.0, 250.0, 300.0, 350.0),  # exports 200 only because it serves 250 now
            (None, 0.0, 300.0, 0.0),  # tells nothing of its connection
        ],
    )
    def test_the_connection_and_the_load_bound_it(self, pcc_kw, service_kw, export_kw, expected_kw) -> None:
        unit = a_unit(a_site(1, pcc_kw=pcc_kw, service_kw=service_kw))
        Asset.objects.filter(kind="pcc").update(export_limit_kw=export_kw)
        assert queries.headroom(unit=unit, window=WINDOW, at=NOW).gross_kw == expected_kw

    def test_a_feeder_bounds_its_sites_together(self) -> None:
        sites = [a_site(1), a_site(2, usable_energy_kwh=125.0), a_site(3)]
        group = FeederGroup.objects.create(name="feeder-7", up_kw=900.0, down_kw=100.0)
        for site in sites[:2]:
            site.feeder = group
            site.save()
        found = queries.headroom(unit=a_unit(*sites), window=WINDOW, at=NOW)
        assert found.shares == pytest.approx({"site-0001": 600.0, "site-0002": 300.0, "site-0003": 1_000.0})

    def test_less_than_the_products_least_is_refused(self) -> None:
        unit = a_unit(a_site(1, discharge_kw=999.0))
        with pytest.raises(OfferRefused, match="979 kW offered, accepted for neso-dc-low: 1000 kW or more"):
            an_offer(unit)

    def test_more_than_can_be_sold_is_refused(self) -> None:
        unit = a_unit(a_site(1), a_site(2))
        with pytest.raises(OfferRefused, match=r"1961 kW offered, accepted: up to the 1960\.000 kW"):
            an_offer(unit, 1_961.0)

    def test_what_is_offered_is_not_offered_again(self) -> None:
        unit = a_unit(a_site(1), a_site(2))
        an_offer(unit)
        with pytest.raises(OfferRefused, match="0 kW offered"):
            an_offer(unit)
        Offer.objects.all().update(status=Offer.Status.WITHDRAWN)
        assert an_offer(unit).quantity_kw == 1_960.0

    def test_no_live_offer_without_evidence_nor_on_an_unread_row(self) -> None:
        unit = a_unit(a_site(1), a_site(2))
        with pytest.raises(OfferRefused, match="no test record for the window"):
            an_offer(unit, basis=Basis.LIVE)
        tested = {"record": b"t_s,power_kw\n", "contract_kw": 2_000.0, "tested_at": NOW - timedelta(days=9)}
        poor = {"score": Decimal("0.94"), **tested, "record": b"other"}
        operations.qualify_by_record(unit=unit, by=None, at=NOW, **poor)
        with pytest.raises(OfferRefused, match=r"scored 0\.940000, accepted for neso-dc-low: 0\.95 or more"):
            an_offer(unit, basis=Basis.LIVE)
        operations.qualify_by_record(unit=unit, score=Decimal("0.97"), by=None, at=NOW, **tested)
        with pytest.raises(LiveSettlementRefused, match="may not be settled live"):
            an_offer(unit, basis=Basis.LIVE)
        assert Offer.objects.count() == 0

    def test_a_running_generator_keeps_its_site_out(self) -> None:
        unit = a_unit(a_site(1), a_site(2, genset_running=True))
        found = queries.headroom(unit=unit, window=WINDOW, at=NOW)
        assert found.shares == {"site-0001": 1_000.0}
        assert found.causes == {"site-0002": "its generator runs, which is not eligible"}

    def test_a_unit_takes_only_enrolled_sites_of_its_zone(self) -> None:
        unit = a_unit(a_site(1))
        a_site(2, zone="FR")
        with pytest.raises(OfferRefused, match="site-0002: not in zone GB"):
            operations.create_unit(
                name="two", program=unit.program, grid_zone="GB", site_ids=["site-0001", "site-0002"], at=NOW
            )


class TestAwards:
    def test_a_part_is_owed_and_a_further_one_adds_to_it(self) -> None:
        offer = an_offer(a_unit(a_site(1), a_site(2)))
        award = an_award(offer, 1_000.0)
        assert (sold_kw(), Obligation.objects.get().dispatch_id) == (1_000.0, "DC-A1")
        assert an_award(offer, 1_000.0).pk == award.pk
        an_award(offer, 500.0, "A2")
        obligation = Obligation.objects.get()
        assert (obligation.power_kw, obligation.revision, obligation.event.modification_number) == (1_500.0, 2, 1)
        assert set(MarketEvent.objects.values_list("status", flat=True)) == {"superseded", "decided"}
        with pytest.raises(OfferRefused, match="2000 kW awarded in all, accepted: up to the 1960 kW"):
            an_award(offer, 500.0, "A3")
        with pytest.raises(OfferRefused, match="accepted: the same"):
            an_award(offer, 400.0, "A2")

    def test_its_terms_are_numbers_with_their_certainty(self) -> None:
        # 1000 kW for 15 min: 250 kWh; 20 % of them a half-hour: 50 kWh, 5 periods; 5 % a minute: 50 kW.
        terms = an_award(an_offer(a_unit(a_site(1), a_site(2))), 1_000.0).terms
        recovery = terms["recovery"]
        assert (terms["response_kwh"], recovery["per_period_kwh"], recovery["periods_to_full"]) == (
            "250.000",
            "50.000",
            5,
        )
        assert (recovery["ramp_kw_per_min"], recovery["certainty"]) == ("50.000", "M")
        assert terms["imbalance"]["worst_kwh_per_period"] == "250.000"
        assert terms["imbalance"]["certainty"] == "U"

    def test_what_can_no_longer_be_kept_is_not_owed(self) -> None:
        offer = an_offer(a_unit(a_site(1), a_site(2)))
        LiveState.objects.filter(site__site_id="site-0002").update(mode="islanded")
        with pytest.raises(OfferRefused, match=r"1500 kW would be owed, accepted: up to the 980\.000 kW"):
            an_award(offer, 1_500.0)
        assert (Award.objects.count(), Obligation.objects.count()) == (0, 0)

    def test_two_units_never_sell_the_same_power(self) -> None:
        sites = a_site(1), a_site(2)
        first, other = an_offer(a_unit(*sites)), a_unit(*sites, name="again")
        # Offered while the first was thought to be withdrawn.
        Offer.objects.update(status=Offer.Status.WITHDRAWN)
        second = an_offer(other, 1_100.0)
        Offer.objects.update(status=Offer.Status.OPEN)
        an_award(first, 1_200.0)
        with pytest.raises(OfferRefused, match=r"1100 kW would be owed, accepted: up to the 0\.000 kW"):
            an_award(second, 1_100.0, "A2")

    def test_an_awards_row_cannot_be_changed(self) -> None:
        award = an_award(an_offer(a_unit(a_site(1), a_site(2))), 1_000.0)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Award.objects.filter(pk=award.pk).update(quantity_kw=1.0)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            award.delete()


class TestBaselines:
    def test_the_last_one_before_the_gate_is_locked(self) -> None:
        unit = a_unit(a_site(1))
        window = Interval(NOW + timedelta(hours=2), NOW + timedelta(hours=3))
        points = [(window.starts_at, -100.0), (window.starts_at + timedelta(minutes=30), -120.0)]
        first = operations.submit_baseline(unit=unit, window=window, points=points, by=None, at=NOW)
        again = operations.submit_baseline(unit=unit, window=window, points=points, by=None, at=NOW)
        assert (again.pk, first.version) == (first.pk, 1)
        second = operations.submit_baseline(unit=unit, window=window, points=points[:1], by=None, at=NOW)
        assert (second.version, second.content_hash != first.content_hash) == (2, True)
        gate = NOW + timedelta(hours=1)
        assert queries.locked_baseline(unit=unit, window=window, at=gate - timedelta(seconds=1)) is None
        with pytest.raises(OfferRefused, match="the gate closed at 2026-03-01T13:00:00"):
            operations.submit_baseline(unit=unit, window=window, points=points, by=None, at=gate)
        assert queries.locked_baseline(unit=unit, window=window, at=gate) == second
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            type(second).objects.filter(pk=second.pk).update(body="{}")

    @pytest.mark.parametrize(
        ("offsets", "power_kw", "told"),
        [([], 0.0, "0 points"), ([60], 0.0, "the first point"), ([0, 0], 0.0, "point 2 is at"),
         ([0, 3600], 0.0, "point 2 is at"), ([0], float("nan"), "point 1 is nan kW"), ([0], 2_001.0, "2001.0 kW")],
    )  # fmt: skip
    def test_a_schedule_that_is_none_is_refused(self, offsets, power_kw, told) -> None:
        unit = a_unit(a_site(1))
        window = Interval(NOW + timedelta(hours=2), NOW + timedelta(hours=3))
        points = [(window.starts_at + timedelta(seconds=s), power_kw) for s in offsets]
        with pytest.raises(OfferRefused, match=told):
            operations.submit_baseline(unit=unit, window=window, points=points, by=None, at=NOW)


class TestRedeclaring:
    @pytest.fixture
    def sold(self) -> Offer:
        sites = a_site(1), a_site(2)
        Membership.objects.create(user=User.objects.create_user("ann"), site=sites[1])
        offer = an_offer(a_unit(*sites))
        an_award(offer, 1_960.0)
        return offer

    def test_nothing_is_declared_while_all_can_be_kept(self, sold: Offer) -> None:
        assert operations.redeclare(at=NOW) == []
        LiveState.objects.update(discharge_kw=995.0)
        assert operations.redeclare(at=NOW) == []

    def test_a_site_that_drops(self, sold: Offer) -> None:
        LiveState.objects.filter(site__site_id="site-0002").update(mode="islanded")
        (row,) = operations.redeclare(at=NOW)
        assert (row.previous_kw, row.quantity_kw, sold_kw()) == (1_960.0, 980.0, 980.0)
        assert row.causes == {"site-0002": "no fresh data, or not on the grid"}
        assert row.told == ["dispatcher", f"operator {sold.unit.program.market_context}", "owner ann"]
        assert "980 kW can be kept of 1960 kW owed" in row.reason
        assert operations.redeclare(at=NOW) == []
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Redeclaration.objects.update(quantity_kw=1.0)
        # It comes back before the window begins: owed again, never more than was awarded.
        LiveState.objects.update(mode="grid_tied", discharge_kw=5_000.0)
        (again,) = operations.redeclare(at=NOW)
        assert (again.number, again.quantity_kw, sold_kw()) == (2, 1_960.0, 1_960.0)

    def test_a_higher_reserve_under_a_sold_window(self, sold: Offer) -> None:
        owner, site = User.objects.get(username="ann"), sold.unit.sites.get(site_id="site-0002")
        # 500 kWh stand as reserve by enrolment; 1400 asked keeps 900 of the 1000 kWh: 100 kWh for 15 min = 400 kW.
        window, rows = operations.keep_site_out(
            site=site, kind="reserve", window=WINDOW, reserve_kwh=1_400.0, by=owner, at=NOW, note="storm"
        )
        assert [row.quantity_kw for row in rows] == [pytest.approx(1_372.0)]
        assert rows[0].causes == {"site-0002": "reserve"}
        _, rows = operations.let_site_back(pk=window.pk, by=owner, at=NOW)
        assert [row.quantity_kw for row in rows] == [1_960.0]
        assert list(WindowAct.objects.values_list("act", "by__username")) == [("added", "ann"), ("withdrawn", "ann")]
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            WindowAct.objects.update(by=None)

    @pytest.mark.parametrize("kind", ["opt_out", "maintenance"])
    def test_an_owners_window_comes_first(self, sold: Offer, kind: str) -> None:
        site = sold.unit.sites.get(site_id="site-0002")
        late = Interval(WINDOW.ends_at - timedelta(minutes=1), WINDOW.ends_at + timedelta(hours=1))
        _, rows = operations.keep_site_out(site=site, kind=kind, window=late, by=None, at=NOW)
        assert [(row.quantity_kw, row.causes) for row in rows] == [(980.0, {"site-0002": kind})]

    def test_one_beside_the_window_changes_nothing(self, sold: Offer) -> None:
        site = sold.unit.sites.get(site_id="site-0002")
        after = Interval(WINDOW.ends_at, WINDOW.ends_at + timedelta(hours=1))
        assert operations.keep_site_out(site=site, kind="opt_out", window=after, by=None, at=NOW)[1] == []

    def test_what_nobody_can_keep_is_owed_no_more(self, sold: Offer) -> None:
        LiveState.objects.update(mode="islanded")
        (row,) = operations.redeclare(at=NOW)
        assert (row.quantity_kw, Obligation.objects.get().status) == (0.0, "cancelled")
        assert operations.redeclare(at=NOW) == []

    def test_in_its_window_only_what_is_left_needs_energy(self, sold: Offer) -> None:
        at = WINDOW.ends_at - timedelta(minutes=5)
        LiveState.objects.update(measured_at=at, received_at=at, usable_energy_kwh=84.0)
        # 84 kWh for the last 5 min are 1008 kW.
        assert operations.redeclare(at=at) == []
        LiveState.objects.update(usable_energy_kwh=50.0)
        assert [row.quantity_kw for row in operations.redeclare(at=at)] == [pytest.approx(1_176.0)]


class TestWindows:
    @pytest.mark.parametrize(
        ("kind", "hours", "reserve_kwh", "told"),
        [("holiday", (1, 2), None, "kind is 'holiday'"), ("opt_out", (-2, -1), None, "the window ended"),
         ("opt_out", (1, 9_000), None, "up to 366 days"), ("reserve", (1, 2), None, "only with a reserve"),
         ("opt_out", (1, 2), 5.0, "only with a reserve"), ("reserve", (1, 2), 2_001.0, "up to the battery's"),
         ("reserve", (1, 2), float("nan"), "more than 0")],
    )  # fmt: skip
    def test_one_that_cannot_stand_is_refused(self, kind, hours, reserve_kwh, told) -> None:
        window = Interval(*(NOW + timedelta(hours=h) for h in hours))
        with pytest.raises(WindowRefused, match=told):
            operations.keep_site_out(site=a_site(1), kind=kind, window=window, reserve_kwh=reserve_kwh, by=None, at=NOW)
        assert SiteWindow.objects.count() == 0


class TestUnderCapacityLimits:
    def test_an_operators_limit_bounds_what_is_sold(self) -> None:
        unit = a_unit(a_site(1), a_site(2))
        # Each imports 100 kW on its own: 1000 kW of export leave 1200 kW of service, shared by headroom.
        program = unit.program
        event = MarketEvent.objects.create(
            vtn_id="vtn", event_id="L1", modification_number=0, program=program, raw=b"", content_hash="L1",
            operator_status="far", received_at=NOW, decided_at=NOW, opt_type="optIn", reason="limit_kept",
            reason_text="", available_kw=0.0,
        )  # fmt: skip
        limit = CapacityLimit.objects.create(
            program=program, event=event, is_import=False, scope="zone", names=["GB"], power_kw=1_000.0,
            steps=[[WINDOW.starts_at.isoformat(), 1_000.0]], starts_at=WINDOW.starts_at, ends_at=WINDOW.ends_at,
            created_at=NOW, changed_at=NOW,
        )  # fmt: skip
        found = queries.headroom(unit=unit, window=WINDOW, at=NOW)
        assert found.shares == pytest.approx({"site-0001": 600.0, "site-0002": 600.0})
        offer = an_offer(unit)
        an_award(offer, 1_176.0)
        # A lower one under a sold window is declared anew.
        CapacityLimit.objects.filter(pk=limit.pk).update(steps=[[WINDOW.starts_at.isoformat(), 500.0]])
        assert [row.quantity_kw for row in operations.redeclare(at=NOW)] == [pytest.approx(686.0)]
