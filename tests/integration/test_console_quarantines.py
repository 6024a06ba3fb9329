"""Who sees which site cut off, and who may end it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client
from support import console_event
from support.console_event import a_fleet

from sites.metering.models import Quarantine
from sites.metering.quarantine import Shut, note_quarantines
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWN, OTHERS, STRANGER = "site-0001", "site-0002", "nobody-7"


@pytest.fixture(autouse=True)
def cut_off() -> None:
    enrol_sites(manifest=a_fleet(2), program="neso-dc-low", at=NOW)
    shut = [Shut(site_id, "messages") for site_id in (OWN, OTHERS, STRANGER, "")]
    note_quarantines(shut=shut, quiet=[], dropped={OWN: 5}, at=NOW)


def signed_in(role: str) -> Client:
    client = Client()
    client.force_login(console_event.a_person(role, owns=[OWN]))
    return client


@pytest.mark.parametrize(
    ("role", "seen"),
    [("dispatcher", {OWN, OTHERS, STRANGER, ""}), ("auditor", {OWN, OTHERS, STRANGER, ""}), ("owner", {OWN})],
)
def test_each_role_sees_the_sites_that_it_may_see(role: str, seen: set[str]) -> None:
    answer = signed_in(role).get("/api/v1/quarantines/").json()["results"]
    assert {row["site_id"] for row in answer} == seen


@pytest.mark.parametrize("role", ["auditor", "owner", "nobody"])
def test_only_a_dispatcher_ends_one(role: str) -> None:
    row = Quarantine.objects.get(site_id=OWN)
    client = signed_in(role)
    assert client.post(f"/api/v1/quarantines/{row.pk}/release/").status_code == 403
    assert client.post(f"/quarantines/{row.pk}/release/").status_code == 403
    row.refresh_from_db()
    assert row.ended_at is None


def test_a_dispatcher_ends_it_on_the_page_and_the_ingest_is_told() -> None:
    row = Quarantine.objects.get(site_id=OWN)
    client = signed_in("dispatcher")
    page = client.get("/sites/").content.decode()
    assert "Cut off" in page
    assert f"/quarantines/{row.pk}/release/" in page
    assert client.get(f"/quarantines/{row.pk}/release/").status_code == 405
    assert client.post(f"/quarantines/{row.pk}/release/").status_code == 302
    row.refresh_from_db()
    assert (row.ended_by != "", row.dropped) == (True, 5)
    assert note_quarantines(shut=[], quiet=[], dropped={OWN: 1, OTHERS: 2}, at=NOW) == {OTHERS}
    assert client.post("/api/v1/quarantines/999999/release/").status_code == 404


def test_a_site_is_cut_off_once_at_a_time_and_may_be_again() -> None:
    assert note_quarantines(shut=[Shut(OWN, "births")], quiet=[], dropped={}, at=NOW) == {OWN}
    assert Quarantine.objects.filter(site_id=OWN).count() == 1
    assert note_quarantines(shut=[], quiet=[OWN], dropped={OWN: 0}, at=NOW) == set()
    assert Quarantine.objects.get(site_id=OWN).ended_by == "quiet"
    note_quarantines(shut=[Shut(OWN, "births")], quiet=[], dropped={}, at=NOW)
    assert list(Quarantine.objects.filter(site_id=OWN).order_by("pk").values_list("reason", flat=True)) == [
        "messages", "births",
    ]  # fmt: skip
