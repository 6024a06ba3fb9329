"""The market's API: who reads what, down to the rows of a line, and its schema."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from support.settled import a_fleet, an_obligation, settle

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
