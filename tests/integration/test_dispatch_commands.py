"""Requests to sites: who may ask what of which site, one at a time, and what the trail keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.test import Client
from support.manifests import a_manifest

from sites.core.commands import command_from_bytes
from sites.core.requests import SiteRequest
from sites.registry.models import Site
from sites.registry.operations import enrol_sites, grant_ownership
from sites.registry.permissions import AUDITOR, DISPATCHER, OWNER
from vpp.dispatch import commands
from vpp.dispatch.models import SiteCommand
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=0)
OWN, OTHERS = "site-0001", "site-0002"
OPERATION = [request for request in SiteRequest if not request.value.startswith("maintenance")]
WORK = [SiteRequest.MAINTENANCE_ON, SiteRequest.MAINTENANCE_OFF]


@pytest.fixture(autouse=True)
def people() -> dict[str, Any]:
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=NOW)
    made = {}
    for role in (DISPATCHER, OWNER, AUDITOR):
        made[role] = get_user_model()._default_manager.create_user(username=role)
        made[role].groups.add(Group.objects.get_or_create(name=role)[0])
    grant_ownership(made[OWNER], Site.objects.filter(site_id=OWN))
    made["nobody"] = get_user_model()._default_manager.create_user(username="nobody")
    return made


def ask(user: Any, request: SiteRequest, site_id: str = OWN, at: datetime = NOW) -> SiteCommand:
    return commands.issue_command(site=Site.objects.get(site_id=site_id), request=request, user=user, at=at)


def a_report(command: SiteCommand, *, site_id: str = OWN, answer: str = "accepted", error: str = "") -> SiteReport:
    return SiteReport(
        site_id=site_id, received_at=NOW + timedelta(seconds=1), answer=answer,
        answer_hash=command.content_hash, answer_sequence=command.sequence, answer_error=error,
    )  # fmt: skip


@pytest.mark.parametrize("request_", SiteRequest)
@pytest.mark.parametrize("role", [DISPATCHER, OWNER, AUDITOR, "nobody"])
@pytest.mark.parametrize("site_id", [OWN, OTHERS])
def test_dispatchers_operate_and_owners_work_at_their_own_sites(
    people: dict[str, Any], role: str, site_id: str, request_: SiteRequest
) -> None:
    allowed = (role == DISPATCHER and request_ in OPERATION) or (role == OWNER and site_id == OWN and request_ in WORK)
    if allowed:
        assert ask(people[role], request_, site_id).issued_as == role
    else:
        with pytest.raises(PermissionDenied):
            ask(people[role], request_, site_id)
        assert not SiteCommand.objects.exists()


def test_what_is_signed_says_what_the_trail_says(people: dict[str, Any]) -> None:
    row = ask(people[DISPATCHER], SiteRequest.ISLAND)
    signed = command_from_bytes(bytes(row.body))
    assert (signed.site_id, signed.sequence, signed.request) == (OWN, 1, SiteRequest.ISLAND)
    assert (signed.issued_by, signed.issued_at, signed.expires_at) == (DISPATCHER, NOW, row.expires_at)
    assert signed.content_hash == row.content_hash
    assert [found.assignment_pk for found in commands.command_rows(at=NOW)] == [row.pk]


def test_one_at_a_time_until_it_is_answered_or_has_expired(people: dict[str, Any]) -> None:
    first = ask(people[DISPATCHER], SiteRequest.ISLAND)
    with pytest.raises(commands.CommandPending, match="island"):
        ask(people[OWNER], SiteRequest.MAINTENANCE_ON)
    commands.record_answers(reports=[a_report(first)])
    second = ask(people[OWNER], SiteRequest.MAINTENANCE_ON)
    assert second.sequence == 2
    later = second.expires_at
    assert commands.state_of(second, at=later) == "unanswered"
    assert commands.command_rows(at=later) == []
    assert ask(people[DISPATCHER], SiteRequest.RECONNECT, at=later).sequence == 3


def test_the_first_answer_stays_and_a_late_one_still_counts(people: dict[str, Any]) -> None:
    row = ask(people[DISPATCHER], SiteRequest.BLACK_START)
    commands.record_commands_sent(sendings=[Sending(row.pk, NOW), Sending(row.pk, NOW + timedelta(seconds=1))])
    # Another site's answer with our hash answers nothing, nor does a site that says nothing.
    commands.record_answers(reports=[a_report(row, site_id=OTHERS), a_report(row, answer="none")])
    row.refresh_from_db()
    assert (row.sends, row.answered_at) == (2, None)
    commands.record_answers(reports=[a_report(row, answer="refused", error="latched")])
    commands.record_answers(reports=[a_report(row)])
    row.refresh_from_db()
    assert (row.answer, row.error, row.answered_at) == ("refused", "latched", NOW + timedelta(seconds=1))


def test_a_database_from_a_backup_goes_on_above_what_the_site_has_answered(people: dict[str, Any]) -> None:
    row = ask(people[DISPATCHER], SiteRequest.ISLAND)
    report = a_report(row, answer="refused", error="stale")
    commands.record_answers(
        reports=[SiteReport(**{name: getattr(report, name) for name in report.__slots__} | {"answer_sequence": 41})]
    )
    assert ask(people[DISPATCHER], SiteRequest.ISLAND).sequence == 42


class TestApi:
    def post(self, user: Any, site_id: str = OWN, **body: Any) -> Any:
        client = Client()
        client.force_login(user)
        return client.post(f"/api/v1/sites/{site_id}/commands/", body, content_type="application/json")

    def test_a_command_is_issued_and_shown_with_its_answer(self, people: dict[str, Any]) -> None:
        answer = self.post(people[DISPATCHER], request="island")
        assert answer.status_code == 201
        assert (answer.json()["request"], answer.json()["issued_by_name"], answer.json()["answer"]) == (
            "island", "dispatcher", "",
        )  # fmt: skip
        assert "body" not in answer.json()
        commands.record_answers(reports=[a_report(SiteCommand.objects.get())])
        client = Client()
        client.force_login(people[AUDITOR])
        (row,) = client.get(f"/api/v1/sites/{OWN}/commands/").json()["results"]
        assert (row["answer"], row["issued_as"]) == ("accepted", DISPATCHER)

    def test_refusals_have_their_status(self, people: dict[str, Any]) -> None:
        assert self.post(people[OWNER], request="island").status_code == 403
        assert self.post(people[AUDITOR], request="island").status_code == 403
        assert self.post(people[OWNER], OTHERS, request="maintenance_on").status_code == 404
        assert self.post(people[DISPATCHER], request="explode").status_code == 400
        assert self.post(people[DISPATCHER]).status_code == 400
        assert not SiteCommand.objects.exists()
        assert self.post(people[DISPATCHER], request="island").status_code == 201
        pending = self.post(people[DISPATCHER], request="reconnect")
        assert (pending.status_code, pending.json()["error"]) == (409, "command_pending")

    def test_a_form_without_its_token_is_refused(self, people: dict[str, Any]) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(people[DISPATCHER])
        for address in (f"/api/v1/sites/{OWN}/commands/", f"/sites/{OWN}/requests/island/"):
            assert client.post(address, {"request": "island"}).status_code == 403
        assert not SiteCommand.objects.exists()


class TestPage:
    def test_a_request_is_confirmed_before_it_goes(self, people: dict[str, Any]) -> None:
        client = Client()
        client.force_login(people[DISPATCHER])
        page = client.get(f"/sites/{OWN}/").content.decode()
        assert f"/sites/{OWN}/requests/island/" in page
        assert "maintenance_on" not in page
        assert "clear_lockout" not in page
        confirm = client.get(f"/sites/{OWN}/requests/island/")
        assert "stays alone until it is asked back" in confirm.content.decode()
        assert not SiteCommand.objects.exists()
        sent = client.post(f"/sites/{OWN}/requests/island/")
        assert (sent.status_code, sent["Location"]) == (302, f"/sites/{OWN}/#requests")
        assert "waiting for the site" in client.get(f"/sites/{OWN}/").content.decode()
        again = client.post(f"/sites/{OWN}/requests/reconnect/")
        assert again.status_code == 409
        assert "has not answered island" in again.content.decode()

    def test_an_owner_s_page_offers_maintenance_and_an_auditor_s_nothing(self, people: dict[str, Any]) -> None:
        client = Client()
        client.force_login(people[OWNER])
        assert "requests/maintenance_on/" in client.get(f"/sites/{OWN}/").content.decode()
        client.force_login(people[AUDITOR])
        assert "/requests/" not in client.get(f"/sites/{OWN}/").content.decode()
