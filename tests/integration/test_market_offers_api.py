"""The API of offers and owners' windows: who may what, and what a hostile client gets."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from support.offered import a_site, a_unit

from markets import operations as market_operations
from markets.models import Obligation
from markets.offers.models import Award, BaselineSubmission, Offer
from sites.metering.models import LiveState
from sites.registry.models import Membership, Site
from sites.registry.windows import SiteWindow, WindowAct

pytestmark = pytest.mark.django_db
API = "/api/v1/market/"


def client_of(role: str, *site_ids: str) -> Client:
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    for site in Site.objects.filter(site_id__in=site_ids):
        Membership.objects.create(user=user, site=site)
    client = Client()
    client.force_login(user)
    return client


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(f"{API}{path}", json.dumps(body), content_type="application/json")


def ahead(minutes: float) -> str:
    return (timezone.now() + timedelta(minutes=minutes)).isoformat()


@pytest.fixture(autouse=True)
def _fleet() -> None:
    """Two sites of 1000 kW, measured now."""
    a_site(1), a_site(2)
    LiveState.objects.update(measured_at=timezone.now(), received_at=timezone.now())
    market_operations.ensure_programs()


UNIT = {"name": "gb-low", "program": "neso-dc-low", "grid_zone": "GB", "sites": ["site-0001", "site-0002"]}


def an_offer_body(**changes: Any) -> dict[str, Any]:
    return {
        "unit": "gb-low", "starts_at": ahead(10), "ends_at": ahead(40), "price": "2.50", "basis": "demonstration",
    } | changes  # fmt: skip


def test_from_a_unit_to_what_is_owed_and_declared_anew() -> None:
    desk, owner = client_of("desk"), client_of("owner", "site-0002")
    assert post(desk, "units/", UNIT).status_code == 201
    (unit,) = desk.get(f"{API}units/").json()
    assert (unit["least_kw"], unit["sites"]) == (1_000.0, UNIT["sites"])
    window = {"starts_at": ahead(10), "ends_at": ahead(40)}
    found = desk.get(f"{API}units/gb-low/headroom/", window).json()
    assert (found["gross_kw"], found["net_kw"], found["margin"], found["forecast"]) == (2_000.0, 1_960.0, 0.02, "live")
    later = {"starts_at": ahead(120), "ends_at": ahead(150)}
    nothing = desk.get(f"{API}units/gb-low/headroom/", later).json()
    assert (nothing["gross_kw"], nothing["forecast"]) == (0.0, "roll-ups")
    assert nothing["causes"]["site-0001"] == "0 days with data in these hours, accepted: 3 or more"
    answer = post(desk, "offers/", an_offer_body(quantity_kw=1_500))
    assert answer.status_code == 201, answer.content
    offer = answer.json()
    assert (offer["gross_kw"], offer["net_kw"], offer["status"], offer["owed_kw"]) == (2_000.0, 1_960.0, "open", None)
    award = post(desk, f"offers/{offer['id']}/awards/", {"award_id": "A1", "quantity_kw": 1_200, "price": "2.40"})
    assert award.status_code == 201, award.content
    assert award.json()["terms"]["recovery"]["per_period_kwh"] == "60.000"
    held = desk.get(f"{API}offers/{offer['id']}/").json()
    assert (held["status"], held["dispatch_id"], held["owed_kw"]) == ("awarded", "DC-A1", 1_200.0)
    # The owner's opt-out comes first; it is declared anew in the same request.
    body = {"site_id": "site-0002", "kind": "opt_out", "starts_at": ahead(-5), "ends_at": ahead(60)}
    set_window = post(owner, "windows/", body)
    assert (set_window.status_code, set_window.json()["redeclared"]) == (201, 1)
    (row,) = desk.get(f"{API}redeclarations/").json()["results"]
    assert (row["previous_kw"], row["quantity_kw"], row["causes"]) == (1_200.0, 980.0, {"site-0002": "opt_out"})
    assert row["told"][-1] == "owner owner"
    back = post(owner, f"windows/{set_window.json()['window']['id']}/withdraw/", {})
    assert (back.status_code, back.json()["redeclared"]) == (200, 1)
    assert desk.get(f"{API}offers/").json()["results"][0]["owed_kw"] == 1_200.0
    assert list(WindowAct.objects.values_list("act", "by__username")) == [("added", "owner"), ("withdrawn", "owner")]


def test_a_baseline_is_taken_until_the_gate() -> None:
    desk = client_of("desk")
    post(desk, "units/", UNIT)
    starts_at, ends_at = ahead(90), ahead(120)
    body = {"starts_at": starts_at, "ends_at": ends_at, "points": [{"at": starts_at, "power_kw": -100.0}]}
    answer = post(desk, "units/gb-low/baselines/", body)
    assert (answer.status_code, answer.json()["version"], len(answer.json()["content_hash"])) == (201, 1, 64)
    assert post(desk, "units/gb-low/baselines/", body).json()["version"] == 1
    late = {"starts_at": ahead(30), "ends_at": ahead(60)}
    late["points"] = [{"at": late["starts_at"], "power_kw": -100.0}]
    refused = post(desk, "units/gb-low/baselines/", late)
    assert (refused.status_code, "the gate closed" in refused.json()["detail"]) == (409, True)
    assert BaselineSubmission.objects.count() == 1


def test_evidence_is_a_settled_dispatch_and_nothing_typed_in() -> None:
    desk = client_of("desk")
    post(desk, "units/", UNIT)
    refused = post(desk, "units/gb-low/qualifications/", {"dispatch_id": "DC-9", "score": "1.0"})
    assert (refused.status_code, "is not settled" in refused.json()["detail"]) == (409, True)
    live = post(desk, "offers/", an_offer_body(basis="live"))
    assert (live.status_code, "no test record" in live.json()["detail"]) == (409, True)
    assert desk.get(f"{API}units/gb-low/qualifications/").json() == []


def test_the_rules_are_data_with_their_certainty() -> None:
    rules = client_of("auditor").get(f"{API}rules/").json()
    genset = next(row for row in rules["eligibility"] if (row["asset_kind"], row["products"]) == ("genset", "pjm-*"))
    assert (genset["is_let_in"], genset["rule"]["certainty"]) == (False, "V")
    assert rules["stacking"][0]["stacking"] == "excludes"


READS = ["units/", "offers/", "redeclarations/", "rules/", "units/gb-low/qualifications/", "units/gb-low/baselines/"]
WRITES = ["units/", "offers/", "units/gb-low/baselines/", "offers/1/close/", "offers/1/awards/"]


def test_an_owner_reads_no_offers_and_an_auditor_writes_none() -> None:
    a_unit(*Site.objects.all())
    owner, auditor = client_of("owner", "site-0001"), client_of("auditor")
    assert {path: owner.get(f"{API}{path}").status_code for path in READS} == dict.fromkeys(READS, 403)
    assert {path: auditor.get(f"{API}{path}").status_code for path in READS} == dict.fromkeys(READS, 200)
    assert {path: post(auditor, path, {}).status_code for path in WRITES} == dict.fromkeys(WRITES, 403)
    assert {path: Client().get(f"{API}{path}").status_code for path in READS} == dict.fromkeys(READS, 403)


def test_nobody_keeps_out_a_site_of_others() -> None:
    owner, auditor, desk = client_of("owner", "site-0001"), client_of("auditor"), client_of("desk")
    body = {"site_id": "site-0002", "kind": "opt_out", "starts_at": ahead(1), "ends_at": ahead(60)}
    assert [post(who, "windows/", body).status_code for who in (owner, auditor, desk, Client())] == [404, 403, 404, 403]
    theirs = post(client_of("dispatcher"), "windows/", body).json()["window"]["id"]
    assert post(owner, f"windows/{theirs}/withdraw/", {}).status_code == 404
    assert owner.get(f"{API}windows/").json()["results"] == []
    assert SiteWindow.objects.get().withdrawn_at is None


HOSTILE = [
    {}, [], "x", None, {"starts_at": "yesterday"}, {"starts_at": "0001-01-01T00:00:00Z"},
    {"starts_at": "9999-12-31T23:00:00Z", "ends_at": "9999-12-31T23:59:59Z"}, {"quantity_kw": "NaN"},
    {"quantity_kw": 1e308}, {"quantity_kw": "Infinity"}, {"quantity_kw": -5}, {"price": "NaN"}, {"price": "1e30"},
    {"price": "1.23456"}, {"basis": "real"}, {"unit": "\x00"}, {"unit": "x" * 100_000}, {"unit": ["gb-low"]},
    {"forecast": "sun"}, {"starts_at": None}, {"ends_at": "2020-01-01T00:00:00Z"},
]  # fmt: skip


def test_a_hostile_offer_is_answered_and_offers_nothing() -> None:
    a_unit(*Site.objects.all())
    dispatcher = client_of("dispatcher")
    for change in HOSTILE:
        whole = change if not isinstance(change, dict) or not change else an_offer_body(**change)
        answer = post(dispatcher, "offers/", whole)
        assert answer.status_code in {400, 409}, (change, answer.content)
    assert Offer.objects.count() == 0


def test_a_hostile_award_owes_nothing() -> None:
    a_unit(*Site.objects.all())
    dispatcher = client_of("dispatcher")
    offer = post(dispatcher, "offers/", an_offer_body()).json()["id"]
    changes: list[dict[str, Any]] = [
        {"quantity_kw": "NaN"}, {"quantity_kw": 0}, {"quantity_kw": -1}, {"quantity_kw": 1e300}, {"award_id": "a b"},
        {"award_id": "x" * 65}, {"award_id": ""}, {"award_id": "'; DROP TABLE"}, {"price": "Infinity"}, {"price": {}},
    ]  # fmt: skip
    for change in changes:
        body = {"award_id": "A1", "quantity_kw": 1_000, "price": "2.40"} | change
        assert post(dispatcher, f"offers/{offer}/awards/", body).status_code in {400, 409}, change
    assert (Award.objects.count(), Obligation.objects.count()) == (0, 0)


def test_what_is_not_there_is_not_found() -> None:
    auditor = client_of("auditor")
    for path in ("offers/99/", "offers/99999999999999999999999/", "units/nobody/headroom/"):
        assert auditor.get(f"{API}{path}").status_code == 404, path


def test_hostile_windows_are_answered() -> None:
    dispatcher = client_of("dispatcher")
    whole = {"site_id": "site-0001", "kind": "opt_out", "starts_at": ahead(1), "ends_at": ahead(60)}
    changes: list[dict[str, Any]] = [
        {"kind": "holiday"}, {"ends_at": "9999-12-31T00:00:00Z"}, {"starts_at": "0001-01-01T00:00:00Z"},
        {"reserve_kwh": "NaN"}, {"kind": "reserve"}, {"kind": "reserve", "reserve_kwh": "Infinity"},
        {"note": "x" * 201}, {"ends_at": ahead(-9)}, {"starts_at": ahead(61)}, {"site_id": "site-9"},
    ]  # fmt: skip
    answers = [post(dispatcher, "windows/", whole | change).status_code for change in changes]
    assert set(answers) <= {400, 404, 409}, list(itertools.zip_longest(changes, answers))
    assert SiteWindow.objects.count() == 0
