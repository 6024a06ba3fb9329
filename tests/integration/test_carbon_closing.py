"""Periods closed from the meter book into the carbon book, and what refuses to be closed."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import transaction
from support.carbon_book import (
    AT,
    KWH,
    MINUTE,
    STARTS_AT,
    a_metered_site,
    a_period,
    a_site,
    close,
    meter,
)

from carbon.meters import MetersUnclear
from carbon.models import CarbonEntry
from carbon.operations import MeteringGaps, PeriodNotOver, PeriodOverlaps
from carbon.queries import period_totals
from markets.models import GridSupportEntry
from sites.core.intervals import Interval
from sites.ledger.audit import books_audit
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.operations import EntryConflict, append_entry
from sites.ledger.postings import posting
from sites.ledger.queries import book_root
from sites.metering import audit
from sites.metering.models import MeterInterval, Reading, ReadingShape
from sites.registry.models import Site

pytestmark = pytest.mark.django_db


class TestClosePeriod:
    def test_books_both_scopes_by_hand(self) -> None:
        a_metered_site()
        facts = close().statement.facts()
        # Net imports: 0.9 kWh, none while exporting or islanded; 0.310 l of mineral diesel.
        assert facts["scope2_location_ug"] == round(0.9 * KWH * 20707 / 100_000)
        assert facts["scope1_ug"] == 310 * 2_659_370
        assert facts["fuel_ul"] == 310_000
        assert facts["import_uwh"] == 900_000_000
        assert facts["export_uwh"] == 100_000_000

    def test_every_entry_balances_and_the_bus_is_passed_through(self) -> None:
        a_metered_site()
        closed = close()
        by_account: dict[str, int] = {}
        for entry in closed.entries:
            assert sum(row["amount"] for row in entry.content()["postings"]) == 0
            for row in entry.content()["postings"]:
                by_account[row["account"]] = by_account.get(row["account"], 0) + row["amount"]
        assert by_account.pop("bus/site-0001") == 0
        assert {row["account"]: row["amount"] for row in closed.statement.content()["postings"]} == {
            account: amount for account, amount in by_account.items() if amount
        }
        assert closed.statement.facts()["bus_residual_ug"] == 0

    def test_the_service_takes_its_stock_over_from_own_use(self) -> None:
        a_metered_site()
        close()
        facts = CarbonEntry.objects.get(kind="inventory").facts()
        assert facts["service_out_uwh"] == 700_000_000
        assert facts["discharge_own_uwh"] == 800_000_000
        # 0.7 kWh at the terminals take 0.7 / 0.95 kWh from store.
        assert facts["transfer_uwh"] == round(0.7 * KWH * 100 / 95)
        assert facts["closing_service"] == {"carbon_ug": 0, "energy_uwh": 0, "green_uwh": 0}
        assert facts["service_out_ug"] > 0

    def test_the_first_stock_is_opened_from_the_read_state_of_charge(self) -> None:
        site = a_metered_site()
        shape = ReadingShape.objects.create(names="power_kw,soc_ratio")
        Reading.objects.create(
            site=site, asset="battery", shape=shape, measured_at=STARTS_AT - MINUTE, received_at=AT, values=(1.0, 0.5)
        )
        close()
        facts = CarbonEntry.objects.get(kind="opening").facts()
        assert facts["closing_own"]["energy_uwh"] == 50 * KWH
        assert facts["energy_basis"] == "read state of charge 0.5"
        assert books_audit([CarbonEntry]).verified

    def test_again_returns_the_same_entries(self) -> None:
        a_metered_site()
        first = close()
        again = close(at=AT + timedelta(hours=1))
        assert again.statement.entry_hash == first.statement.entry_hash
        assert [entry.pk for entry in again.entries] == [entry.pk for entry in first.entries]
        assert len(first.entries) == 5

    def test_again_over_corrected_meters_is_a_conflict(self) -> None:
        site = a_metered_site()
        close()
        meter(site, 0, revision=1, pcc=901, pv=100, load=-800, battery=-200)
        with pytest.raises(EntryConflict, match="scope2_location"):
            close()

    def test_the_next_period_takes_the_stock_over(self) -> None:
        site = a_metered_site()
        close()
        for minute in range(4, 8):
            meter(site, minute, pcc=500, load=-600, battery=100)
        close(period=a_period(1), dispatch_id="")
        first, second = CarbonEntry.objects.filter(kind="inventory").order_by("position")
        assert second.facts()["opening_own"] == first.facts()["closing_own"]
        assert books_audit([CarbonEntry]).verified
        # The first closing stays idempotent with a later one behind it.
        close()
        assert CarbonEntry.objects.filter(kind="inventory").count() == 2

    def test_a_hole_refuses_the_period_and_is_named(self) -> None:
        site = a_site()
        for minute in range(4):
            meter(site, minute, pcc=800, load=-800, without=("load",) if minute == 2 else ())
        with pytest.raises(
            MeteringGaps, match=r"site-0001/load 2026-11-20T12:02:00\+00:00 to 2026-11-20T12:03"
        ) as caught:
            close()
        assert [(hole.asset, hole.period) for hole in caught.value.holes] == [
            ("load", Interval(STARTS_AT + 2 * MINUTE, STARTS_AT + 3 * MINUTE))
        ]
        assert CarbonEntry.objects.count() == 0

    def test_an_allowed_hole_is_written_into_the_entries(self) -> None:
        site = a_site()
        for minute in range(3):
            meter(site, minute, pcc=800, load=-800)
        facts = close(allow_gaps=True).statement.facts()
        assert (facts["hole_s"], facts["gaps_allowed"]) == (5 * 60, True)
        assert books_audit([CarbonEntry]).verified

    def test_a_part_of_a_closed_period_is_refused(self) -> None:
        a_metered_site()
        close()
        with pytest.raises(PeriodOverlaps, match="is closed already as statement 1 'DC-1'"):
            close(dispatch_id="DC-2")

    def test_time_left_out_since_the_last_closing_is_refused(self) -> None:
        site = a_metered_site()
        close()
        for minute in range(8, 12):
            meter(site, minute, pcc=800, load=-800)
        with pytest.raises(MeteringGaps, match=r"not closed before: 2026-11-20T12:04"):
            close(period=a_period(2))
        assert close(period=a_period(2), allow_gaps=True).statement.facts()["unbooked_before_s"] == 240

    def test_a_running_period_is_refused(self) -> None:
        with pytest.raises(PeriodNotOver):
            close(at=STARTS_AT)

    def test_totals_are_read_back_from_the_statement(self) -> None:
        a_metered_site()
        closed = close()
        totals = period_totals(a_period(), dispatch_id="DC-1")
        assert totals.entry_hash == closed.statement.entry_hash
        assert totals.merkle_root == merkle_root_of_hashes([entry.entry_hash for entry in closed.entries])
        assert totals.scope2_location_kg == pytest.approx(0.9 * 0.20707)
        assert period_totals(a_period(1)).statements == 0

    def test_an_old_vintage_is_noted_in_the_entries_that_use_it(self) -> None:
        a_metered_site()
        close()
        notes = {entry.kind: entry.facts().get("factor_vintage_note") for entry in CarbonEntry.objects.all()}
        assert notes["scope2_location"] == notes["scope1"] == "vintage 2023 used for activity of 2026"
        assert notes["load"] is None

    def test_a_hundred_sites_make_the_sum_of_each(self) -> None:
        for index in range(20):
            a_metered_site(f"site-{index:04d}", genset=index % 2 == 0)
        closed = close()
        facts = closed.statement.facts()
        assert facts["sites"] == 20
        assert facts["scope1_ug"] == 10 * 310 * 2_659_370
        assert facts["import_uwh"] == 10 * 900_000_000 + 10 * 1_700_000_000
        assert books_audit([CarbonEntry]).verified


class TestAClockThatWasSetBack:
    """The site's third and fourth minute come under instants that its first two had already; register by register."""

    def set_back(self, site: Site, *, lost_uwh: int = 0) -> None:
        registers: dict[int, list[int]] = {}
        at_minutes = (0, 1, 0, 1, 2, 3)
        for number, minute in enumerate(at_minutes, 1):
            for asset in site.assets.all():
                into = {"pcc": 800, "load": 0}.get(asset.name, 0) * 1_000_000
                out = 800_000_000 if asset.name == "load" else 0
                register = registers.setdefault(asset.pk, [0, 0])
                register[0] += into
                register[1] += out
                if number == 3 and asset.name == "load":
                    register[1] -= lost_uwh
                starts_at = STARTS_AT + minute * MINUTE
                MeterInterval.objects.create(
                    asset=asset, number=number, starts_at=starts_at, ends_at=starts_at + MINUTE, received_at=AT,
                    into_bus_uwh=into, from_bus_uwh=out, service_into_uwh=0, service_from_uwh=0,
                    register_into_uwh=register[0], register_from_uwh=register[1], time_quality="stepped",
                )  # fmt: skip

    def test_all_its_energy_is_booked_and_the_doubled_time_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        self.set_back(a_site(genset=False))
        with caplog.at_level("WARNING"):
            closed = close()
        facts = closed.statement.facts()
        # Six minutes were metered inside four.
        assert facts["import_uwh"] == facts["load_uwh"] == 6 * 800_000_000
        assert "left_out" not in facts
        scope2 = CarbonEntry.objects.get(kind="scope2_location").facts()
        assert scope2["overlaps_s"] == {"battery": 120, "load": 120, "pcc": 120, "pv": 120}
        assert "carbon.overlap site_id=site-0001 asset=pcc overlap_s=120" in caplog.text
        assert books_audit([CarbonEntry]).verified
        assert audit.conservation(period=a_period()) == []

    def test_registers_that_do_not_go_on_leave_that_site_out_by_name_and_nobody_else(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.set_back(a_site("site-0002", genset=False), lost_uwh=1)
        a_metered_site()
        out, err = StringIO(), StringIO()
        call_command(
            "close_carbon",
            "--from", "2026-11-20T12:00:00Z", "--to", "2026-11-20T12:04:00Z",
            "--allow-older-vintage", stdout=out, stderr=err,
        )  # fmt: skip
        assert "5 entries of 1 sites" in out.getvalue()
        assert "left out: site-0002/load has intervals that overlap for 120 s" in err.getvalue()
        assert "carbon.left_out site_id=site-0002" in caplog.text
        facts = CarbonEntry.objects.get(kind="statement").facts()
        assert facts["import_uwh"] == 900_000_000
        assert [reason[:14] for reason in facts["left_out"]] == ["site-0002/load"]
        assert not CarbonEntry.objects.filter(chain__startswith="site-0002").exists()
        assert books_audit([CarbonEntry]).verified
        # Closed again it is the same statement.
        assert close(dispatch_id="").statement.facts() == facts

    def test_a_fleet_of_which_nobody_is_clear_is_not_closed(self) -> None:
        self.set_back(a_site(genset=False), lost_uwh=1)
        with pytest.raises(MetersUnclear, match="site-0001/load"):
            close()
        assert CarbonEntry.objects.count() == 0

    def test_diesel_without_metered_fuel_leaves_its_site_out(self) -> None:
        site = a_site("site-0002")
        for minute in range(4):
            meter(site, minute, genset=800, load=-800)
        a_metered_site()
        facts = close().statement.facts()
        assert facts["sites"] == 1
        assert "site-0002/genset generated 800000000 uWh" in facts["left_out"][0]


class TestBooksNeverMix:
    def carbon_root(self, *, price: str, load_wh: int = -800) -> str:
        """Close a world that differs in a price or in a load, and forget it again."""
        point = transaction.savepoint()
        site = a_site()
        for minute in range(4):
            meter(site, minute, pcc=-load_wh - 100, load=load_wh, battery=100, service=100)
        append_entry(
            GridSupportEntry,
            chain="site-0001/battery",
            kind="settlement",
            period=a_period(),
            dispatch_id="DC-1",
            body={"postings": [posting("revenue", "GBP", f"-{price}"), posting("due", "GBP", price)], "facts": {}},
            at=AT,
        )
        close()
        root = book_root(CarbonEntry)
        transaction.savepoint_rollback(point)
        return root

    def test_a_price_does_not_move_the_carbon_root_and_a_kilowatt_hour_does(self) -> None:
        root = self.carbon_root(price="1.00")
        assert self.carbon_root(price="999.00") == root
        assert self.carbon_root(price="1.00", load_wh=-801) != root


class TestCloseCarbon:
    def test_prints_the_totals(self) -> None:
        a_metered_site()
        out = StringIO()
        call_command(
            "close_carbon",
            "--from", "2026-11-20T12:00:00Z", "--to", "2026-11-20T12:04:00Z",
            "--allow-older-vintage", stdout=out,
        )  # fmt: skip
        assert "5 entries of 1 sites" in out.getvalue()
