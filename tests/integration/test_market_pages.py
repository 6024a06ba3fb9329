"""The market's pages and the owner's money: what a desk sees of events and runs, and what an owner is told."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from support import offered
from support.metered import STARTS_AT
from support.settled import AT, a_fleet, an_obligation, revise, settle

from markets import owner_statements
from markets.models import MarketEvent, Statement
from markets.owner_statements import Holder
from markets.owners import agree_shares
from sites.registry.models import Membership, Site

pytestmark = pytest.mark.django_db
MONTH = f"{STARTS_AT:%Y-%m}"


def client_of(role: str, *site_ids: str) -> tuple[Client, User]:
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    for site in Site.objects.filter(site_id__in=site_ids):
        Membership.objects.create(user=user, site=site)
    client = Client()
    client.force_login(user)
    return client, user


def settled_twice() -> None:
    obligation, fleet = an_obligation(), a_fleet([60.0, 40.0])
    settle(obligation, fleet)
    revise("site-2")
    settle(obligation, fleet, run=2, at=AT + timedelta(hours=2))
    assert Statement.objects.count() == 2


class TestDesk:
    def test_the_first_page_tells_what_came_and_why_it_was_answered_so(self) -> None:
        obligation = an_obligation()
        client, _ = client_of("desk")
        assert client.get("/")["Location"] == "/market/"
        page = client.get("/market/").content.decode()
        event = obligation.event
        assert event.reason_text in page
        assert "100.0 kW" in page
        assert "accepted" in page
        detail = client.get(f"/market/events/{event.pk}/").content.decode()
        assert "&lt;raw/&gt;" in detail
        assert f"/market/obligations/{obligation.dispatch_id}/" in detail

    def test_a_message_is_shown_as_text_and_never_as_markup(self) -> None:
        event = an_obligation().event
        MarketEvent.objects.filter(pk=event.pk).update(raw=b"<script>alert(1)</script>" + bytes(range(256)) * 200)
        page = client_of("desk")[0].get(f"/market/events/{event.pk}/").content
        assert b"<script>alert" not in page
        assert b"Cut here" in page

    def test_runs_stand_beside_each_other_with_the_revised_rows(self) -> None:
        settled_twice()
        client, _ = client_of("desk")
        page = client.get("/market/obligations/DC-e1/").content.decode()
        second = Statement.objects.get(run=2)
        assert second.difference != 0
        assert f"{second.difference:+,.6f} GBP".replace("-", "−") in page
        assert "high-rate record 4: revision 0 → 1" in page
        assert "meter intervals 5: revision 0 → 1" in page
        assert "may not be settled live" in page
        assert client.get("/market/settlements/").content.count(b"<tr>") == 3

    def test_a_line_leads_to_the_very_rows(self) -> None:
        settled_twice()
        client, _ = client_of("desk")
        run = client.get("/market/obligations/DC-e1/runs/2/").content.decode()
        assert "/market/obligations/DC-e1/runs/2/rows/site-2/" in run
        assert "Nobody owes this money" in run
        rows = client.get("/market/obligations/DC-e1/runs/2/rows/site-2/").content.decode()
        assert rows.count('data-label="Revision">1<') == 2
        before = client.get("/market/obligations/DC-e1/runs/1/rows/site-2/").content.decode()
        assert before.count('data-label="Revision">1<') == 0
        assert before.count('data-label="Revision">0<') == 6 + 4
        for path in ("runs/3/", "runs/0/", "runs/1/rows/site-9/"):
            assert client.get(f"/market/obligations/DC-e1/{path}").status_code == 404

    def test_an_offer_shows_both_sums_and_what_was_taken(self) -> None:
        offer = offered.an_offer(offered.a_unit(*(offered.a_site(number) for number in (1, 2))), 1_500.0)
        offered.an_award(offer, 1_000.0)
        page = client_of("desk")[0].get("/market/offers/").content.decode()
        assert f"{offer.gross_kw:,.1f} kW less {offer.margin:.1%}" in page
        assert f"{offer.net_kw:,.1f} kW" in page
        assert "1,000.0 kW at 2.5000 GBP/MW/h" in page
        offer.refresh_from_db()
        assert f"/market/obligations/{offer.obligation.dispatch_id}/" in page

    def test_it_arms_nothing_and_reads_no_site(self) -> None:
        settle(an_obligation(), a_fleet([60.0]))
        client, _ = client_of("desk")
        for path in ("/sites/", "/books/", "/enrolment/", "/sites/site-1/", "/my-sites/"):
            assert client.get(path).status_code == 403
        assert client.get("/api/v1/sites/site-1/").status_code == 404
        assert client.get("/api/v1/dispatches/DC-e1/assignments/").status_code == 403
        asked = client.post("/api/v1/sites/site-1/commands/", {"request": "island"}, "application/json")
        assert asked.status_code == 404
        assert client.post("/sites/site-1/requests/island/").status_code == 403
        assert client.post("/market/").status_code == 200  # a page that only reads

    def test_the_catalogue_says_why_live_settlement_is_refused(self) -> None:
        client, _ = client_of("desk")
        assert client.get("/market/products/").content.count(b"refused</td>") > 30
        page = client.get("/market/products/fcr-d-up/").content.decode()
        assert "Live settlement is refused" in page
        assert "from memory" in page
        assert page.count('class="rows stacked rules"') == 2


class TestOwner:
    def test_parts_add_up_and_a_later_run_stands_beside_what_it_takes_back(self) -> None:
        obligation, fleet = an_obligation(), a_fleet([60.0, 40.0])
        client, owner = client_of("owner", "site-2")
        agree_shares(site=Site.objects.get(site_id="site-2"), shares_ppm={owner.pk: 800_000}, starts_at=STARTS_AT)
        settle(obligation, fleet)
        revise("site-2")
        settle(obligation, fleet, run=2, at=AT + timedelta(hours=2))
        month = owner_statements.month_of(MONTH)
        entries = list(
            owner_statements.entries_of(sites=Site.objects.filter(site_id="site-2"), month=month, owner_pk=owner.pk)
        )
        assert [(row.run, row.is_reversal) for row in entries] == [(1, False), (1, True), (2, False)]
        assert entries[0].amount == -entries[1].amount
        for row, lines in zip(entries, owner_statements.lines_of_entries(entries), strict=True):
            assert sum(row.parts.values()) == row.amount == sum(line.amount for line in lines)
            assert abs(row.parts[Holder.YOU] - row.amount * Decimal("0.8")) <= Decimal("0.000001")
            assert not row.is_real_money
        (total,) = owner_statements.totals_of(entries)
        assert total.amount == entries[2].amount
        page = client.get(f"/my-sites/money/{MONTH}/").content.decode()
        assert "80 %" in page
        assert "Nobody owes this money" in page
        assert "run 1 taken back" in page
        assert f"{total.parts[Holder.YOU]:,.6f} GBP" in page
        assert "site-1" not in page

    def test_the_csv_holds_the_same_figures_and_says_what_is_no_money(self) -> None:
        settle(an_obligation(), a_fleet([60.0, 40.0]))
        client, owner = client_of("owner", "site-2")
        answer = client.get(f"/my-sites/money/{MONTH}/grid-support.csv")
        assert answer["Content-Disposition"] == f'attachment; filename="grid-support-{MONTH}-demonstration.csv"'
        (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
        (entry,) = owner_statements.entries_of(sites=Site.objects.filter(site_id="site-2"), owner_pk=owner.pk)
        assert Decimal(row["amount"]) == entry.amount == Decimal(row["not_split"])
        assert (row["is_real_money"], row["basis"]) == ("no", "demonstration, no money is owed")
        assert row["entry_hash"] == entry.entry_hash

    def test_only_the_own_sites_rows_are_opened(self) -> None:
        settle(an_obligation(), a_fleet([60.0, 40.0]))
        client, _ = client_of("owner", "site-2")
        assert client.get("/market/obligations/DC-e1/runs/1/rows/site-2/").status_code == 200
        assert client.get("/market/obligations/DC-e1/runs/1/rows/site-1/").status_code == 404
        assert client.get("/my-sites/money/")["Location"] == f"/my-sites/money/{MONTH}/"

    def test_the_card_never_shows_a_demonstration_as_earned_money(self) -> None:
        settle(an_obligation(), a_fleet([60.0, 40.0]))
        client, _ = client_of("owner", "site-1")
        page = client.get("/my-sites/").content.decode()
        amount = next(iter(owner_statements.entries_of(sites=Site.objects.all()))).amount
        assert amount > 0
        assert f"{amount} GBP</strong>" in page
        assert '<span class="tag" data-basis="demonstration">' in page


def test_a_month_is_the_calendars_in_utc() -> None:
    month = owner_statements.month_of("2026-12")
    assert (month.starts_at.isoformat(), month.ends_at.isoformat()) == (
        "2026-12-01T00:00:00+00:00",
        "2027-01-01T00:00:00+00:00",
    )
    for text in ("2026-13", "2026-1", "1999-12", "2026-06\n", "", "x" * 100):
        with pytest.raises(owner_statements.MonthInvalid, match="accepted: YYYY-MM"):
            owner_statements.month_of(text)
