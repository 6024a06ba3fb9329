"""Metering that comes after a book was closed: which entries and figures it touches, by hand, in both books."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from support.carbon_book import AT, KWH, MINUTE, STARTS_AT, a_metered_site, a_period, close
from support.metered import STARTS_AT as DISPATCHED_AT
from support.settled import a_fleet, an_obligation, settle

from carbon.late import late_closings
from carbon.models import CarbonEntry
from markets.late import late_settlements
from markets.models import GridSupportEntry
from sites.core.intervals import Interval
from sites.ledger.touched import Touched
from sites.metering.models import HighRateRecord, MeterInterval

pytestmark = pytest.mark.django_db
LATER = AT + timedelta(days=2)
DAY = Interval(STARTS_AT - timedelta(hours=1), STARTS_AT + timedelta(days=1))
DISPATCH = Interval(DISPATCHED_AT - timedelta(hours=1), DISPATCHED_AT + timedelta(hours=1))


def revise(row: MeterInterval, *, received_at: datetime = LATER, **content: Any) -> MeterInterval:
    row.pk, row.revision, row.received_at = None, row.revision + 1, received_at
    for name, value in content.items():
        setattr(row, name, value)
    row.save(force_insert=True)
    return row


def the_row(asset: str, number: int, site_id: str = "site-0001") -> MeterInterval:
    return MeterInterval.objects.get(asset__site__site_id=site_id, asset__name=asset, number=number)


def a_user(role: str) -> User:
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


def figures(touched: tuple[Touched, ...]) -> dict[str, dict[str, tuple[Any, Any]]]:
    return {
        f"{row.entry.chain} {row.entry.kind}": {figure.name: (figure.booked, figure.now) for figure in row.figures}
        for row in touched
    }


class TestCarbon:
    def test_a_revised_import_names_the_interval_and_every_figure_it_touches(self) -> None:
        a_metered_site()
        a_metered_site("site-0002")
        close()
        # Minute 0 imported 0.9 kWh as booked; the meter now says 1.0.
        revise(the_row("pcc", 1), into_bus_uwh=KWH)
        (late,) = late_closings(period=DAY)
        (row,) = late.intervals
        assert (row.site_id, row.asset, row.number, row.starts_at) == ("site-0001", "pcc", 1, STARTS_AT)
        assert (row.before_revision, row.revision) == (0, 1)
        assert row.before is not None
        assert (row.before["into_bus_uwh"], row.now["into_bus_uwh"]) == (900_000_000, KWH)
        touched = figures(late.touched)
        scope2 = touched["site-0001/pcc scope2_location"]
        assert scope2["import_uwh"] == (900_000_000, KWH)
        assert scope2["scope2_location_ug"] == (round(0.9 * KWH * 20707 / 100_000), round(KWH * 20707 / 100_000))
        assert not [chain for chain in touched if chain.startswith("site-0002")]
        # The fleet's sum holds both sites: 1.8 kWh, now 1.9.
        assert touched["fleet/carbon statement"]["import_uwh"] == (1_800_000_000, 1_900_000_000)
        entry = CarbonEntry.objects.get(chain="site-0001/pcc")
        assert entry.entry_hash in {row.entry.entry_hash for row in late.touched}
        assert entry.facts()["import_uwh"] == 900_000_000

    def test_a_revision_from_before_the_closing_was_used_and_touches_nothing(self) -> None:
        a_metered_site()
        revise(the_row("pcc", 1), received_at=AT, into_bus_uwh=KWH)
        close()
        assert late_closings(period=DAY) == []

    def test_a_row_that_was_on_its_way_when_the_period_was_closed_is_found(self) -> None:
        a_metered_site()
        close()
        revise(the_row("pcc", 1), received_at=AT - timedelta(seconds=30), into_bus_uwh=KWH)
        (late,) = late_closings(period=DAY)
        assert [row.number for row in late.intervals] == [1]

    def test_a_revision_that_says_the_same_touches_nothing(self) -> None:
        a_metered_site()
        close()
        revise(the_row("pcc", 1), register_into_uwh=7)
        assert late_closings(period=DAY) == []

    def test_what_fills_a_hole_that_was_allowed_touches_the_closing(self) -> None:
        a_metered_site()
        missing = the_row("load", 2)
        missing.delete()
        close(allow_gaps=True)
        missing.pk, missing.received_at = None, LATER
        missing.save(force_insert=True)
        (late,) = late_closings(period=DAY)
        assert [(row.asset, row.number, row.before) for row in late.intervals] == [("load", 2, None)]
        assert "load_uwh" in figures(late.touched)["site-0001/load load"]

    def test_another_time_is_not_looked_at(self) -> None:
        a_metered_site()
        close()
        revise(the_row("pcc", 1), into_bus_uwh=KWH)
        assert late_closings(period=Interval(a_period().ends_at, a_period().ends_at + MINUTE)) == []


class TestGridSupport:
    def test_a_revised_service_names_the_share_that_was_settled_with_the_old_one(self) -> None:
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        settle(obligation, shares)
        row = the_row("battery", 4, "site-2")
        was = row.service_into_uwh
        revise(row, service_into_uwh=was + 1_000)
        (late,) = late_settlements(period=DISPATCH)
        assert [(r.site_id, r.number, r.before_revision, r.revision) for r in late.intervals] == [("site-2", 4, 0, 1)]
        touched = figures(late.touched)
        asset = touched["site-2/battery settlement"]
        booked, now = asset["service_into_uwh"]
        assert now - booked == 1_000
        # The service's energy is told beside the record, which alone decides the money.
        assert set(asset) == {"service_into_uwh"}
        assert touched["fleet/neso-dc-low statement"] == {"site-2.service_into_uwh": (booked, now)}

    def test_a_late_piece_of_the_record_says_whose_money_moves(self) -> None:
        obligation, shares = an_obligation(), a_fleet([2.0, 98.0])
        chunk = HighRateRecord.objects.get(site__site_id="site-1", number=3)
        chunk.delete()
        settle(obligation, shares, accept_gaps=True)
        assert late_settlements(period=DISPATCH) == []
        chunk.pk = None
        chunk.received_at = LATER
        chunk.save(force_insert=True)
        (late,) = late_settlements(period=DISPATCH)
        assert late.records == (("site-1", 3),)
        touched = figures(late.touched)
        gained = touched["site-1/battery settlement"]["amount"]
        lost = touched["site-2/battery settlement"]["amount"]
        assert Decimal(gained[1]) - Decimal(gained[0]) == Decimal(lost[0]) - Decimal(lost[1]) > 0
        assert Decimal(touched["site-1/battery settlement"]["available_ratio"][1]) == 1

    def test_pins_decide_whatever_was_received_when(self) -> None:
        obligation, shares = an_obligation(), a_fleet([100.0])
        revise(the_row("battery", 4, "site-1"), received_at=DISPATCHED_AT + timedelta(hours=1, minutes=55))
        settle(obligation, shares)
        assert late_settlements(period=DISPATCH) == []
        assert GridSupportEntry.objects.count() == 2


class TestTelling:
    def late(self) -> None:
        a_metered_site()
        close()
        revise(the_row("pcc", 1), into_bus_uwh=KWH)

    def command(self) -> tuple[str, int]:
        out = StringIO()
        try:
            call_command(
                "audit_late_data", "--from", DAY.starts_at.isoformat(), "--to", DAY.ends_at.isoformat(), stdout=out
            )
        except SystemExit as end:
            return out.getvalue(), int(str(end.code))
        return out.getvalue(), 0

    def test_the_command_prints_it_and_fails(self) -> None:
        assert self.command() == ("no closed figure is touched\n", 0)
        self.late()
        text, code = self.command()
        assert code == 1
        row = (
            "site-0001/pcc number 1 of 2026-11-20T12:00:00+00:00: revision 0 -> revision 1, into_bus_uwh 900000000 -> "
        )
        assert row in text
        entry = CarbonEntry.objects.get(chain="site-0001/pcc")
        assert f"site-0001/pcc #1 scope2_location {entry.entry_hash[:12]}: import_uwh 900000000 -> 1000000000" in text

    def test_page_and_api_are_for_those_who_read_the_books(self, client: Client) -> None:
        self.late()
        asked = {"from": DAY.starts_at.isoformat(), "to": DAY.ends_at.isoformat()}
        for role, status in (("owner", 403), ("auditor", 200)):
            client.force_login(a_user(role))
            assert client.get("/api/v1/late-data/", asked).status_code == status
            assert client.get("/books/late/", asked).status_code == status
        (found,) = client.get("/api/v1/late-data/", asked).json()["results"]
        assert found["intervals"][0]["booked"]["into_bus_uwh"] == 900_000_000
        assert {entry["chain"] for entry in found["entries"]} >= {"site-0001/pcc", "fleet/carbon"}
        page = client.get("/books/late/", asked).content.decode()
        assert "into_bus_uwh 900,000,000" in page
        assert "import_uwh" in page

    @pytest.mark.parametrize(
        "asked", [{"from": "x"}, {"from": "2026-01-01T00:00:00+00:00", "to": "2026-06-01T00:00:00+00:00"}]
    )
    def test_a_period_that_cannot_be_looked_through_is_refused(self, client: Client, asked: dict[str, str]) -> None:
        client.force_login(a_user("auditor"))
        for path in ("/api/v1/late-data/", "/books/late/"):
            answer = client.get(path, asked)
            assert answer.status_code == 400
            assert b"accepted" in answer.content
