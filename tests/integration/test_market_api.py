"""The market's API: who reads what, down to the rows of a line, and its schema."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from support.metered import STARTS_AT
from support.settled import AT, a_fleet, an_obligation, revise, settle

from sites.metering.models import HighRateRecord
from sites.registry.models import Membership, Site

pytestmark = pytest.mark.django_db
RUN = "/api/v1/market/obligations/DC-e1/runs/1/"


def client_of(role: str, *site_ids: str) -> Client:
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    for site in Site.objects.filter(site_id__in=site_ids):
        Membership.objects.create(user=user, site=site)
    client = Client()
    client.force_login(user)
    return client


def test_a_line_is_traced_down_to_its_rows() -> None:
    settle(an_obligation(), a_fleet([60.0, 40.0]))
    client = client_of("auditor")
    (obligation,) = client.get("/api/v1/market/obligations/").json()["results"]
    assert (obligation["dispatch_id"], obligation["status"]) == ("DC-e1", "settled")
    (run,) = client.get("/api/v1/market/obligations/DC-e1/runs/").json()
    assert (run["run"], run["amount"], run["difference"]) == (1, "0.002655", "0.002655")
    lines = client.get(f"{RUN}lines/").json()
    assert [line["name"] for line in lines] == ["capacity", "energy", "penalty"]
    assert sum(Decimal(line["amount"]) for line in lines) == Decimal(run["amount"])
    shares = client.get(f"{RUN}shares/").json()
    assert sum(Decimal(part["amount"]) for share in shares for part in share["parts"]) == Decimal(run["amount"])
    (first, last, revision) = shares[0]["records"][0]
    rows = HighRateRecord.objects.filter(site__site_id="site-1", number__range=(first, last), revision=revision)
    assert rows.count() == last - first + 1 == 4


def test_an_owner_reads_the_own_assets_parts_and_nothing_of_the_fleet() -> None:
    settle(an_obligation(), a_fleet([60.0, 40.0]))
    client = client_of("owner", "site-2")
    assert [share["site_id"] for share in client.get(f"{RUN}shares/").json()] == ["site-2"]
    for path in ("/api/v1/market/obligations/", "/api/v1/market/obligations/DC-e1/runs/", f"{RUN}lines/"):
        assert client.get(path).status_code == 403
    assert client.get("/api/v1/market/products/").status_code == 200
    Membership.objects.all().delete()
    assert client.get(f"{RUN}shares/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "obligations/DC-9/runs/",
        "obligations/DC-9/runs/1/lines/",
        "obligations/DC-9/runs/0/shares/",
        "obligations/DC-9/runs/99999999999999999999999/lines/",
    ],
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert client_of("dispatcher").get(f"/api/v1/market/{path}").status_code == 404


def test_who_is_not_signed_in_reads_nothing() -> None:
    for path in ("/api/v1/market/products/", f"{RUN}shares/", "/api/schema/"):
        assert Client().get(path).status_code == 403


def test_events_come_with_their_answers_and_runs_with_their_differences() -> None:
    obligation = an_obligation()
    fleet = a_fleet([60.0, 40.0])
    settle(obligation, fleet)
    client = client_of("desk")
    (event,) = client.get("/api/v1/market/events/").json()["results"]
    assert (event["event_id"], event["opt_type"], event["reason"]) == ("e1", "optIn", "accepted")
    assert event["dispatch_ids"] == ["DC-e1"]
    assert client.get(f"/api/v1/market/events/{event['id']}/").json() == event
    assert client.get(f"{RUN}difference/").status_code == 404
    revise("site-2")
    settle(obligation, fleet, run=2, at=AT + timedelta(hours=2))
    found = client.get("/api/v1/market/obligations/DC-e1/runs/2/difference/").json()
    assert Decimal(found["difference"]) == sum(Decimal(line["difference"]) for line in found["lines"]) != 0
    (revised,) = [asset for asset in found["assets"] if asset["rows"]]
    assert revised["site_id"] == "site-2"
    assert [(row["kind"], row["first"], row["revision_now"]) for row in revised["rows"]] == [
        ("records", 4, 1),
        ("intervals", 5, 1),
    ]
    for path in ("events/99/", "events/99999999999999999999/", "obligations/DC-9/runs/2/difference/"):
        assert client.get(f"/api/v1/market/{path}").status_code == 404


def test_a_months_statement_is_for_the_sites_owner_and_who_reads_the_market() -> None:
    settle(an_obligation(), a_fleet([60.0, 40.0]))
    month = f"{STARTS_AT:%Y-%m}"
    owner, desk, stranger = client_of("owner", "site-2"), client_of("desk"), client_of("nobody")
    path = "/api/v1/market/sites/site-2/statements/"
    assert owner.get(path).json() == {"site_id": "site-2", "months": [month]}
    found = owner.get(f"{path}{month}/").json()
    (total,) = found["totals"]
    assert total["is_real_money"] is False
    assert Decimal(total["amount"]) == sum(Decimal(entry["amount"]) for entry in found["entries"]) > 0
    assert desk.get(f"{path}{month}/").json()["totals"] == found["totals"]
    assert owner.get("/api/v1/market/sites/site-1/statements/").status_code == 404
    assert owner.get(f"{path}2026-13/").status_code == 404
    assert stranger.get(path).status_code == 403
    assert owner.get("/api/v1/market/events/").status_code == 403
