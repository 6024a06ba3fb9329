"""Enrolment over the API and the page: who may do what, what is refused, how much is taken."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from support.manifests import a_manifest

from sites.core.certificates import key_fingerprint, make_request, new_key, read_certificate, sign_renewal
from sites.identity.authority import Authority
from sites.identity.models import CertificateRequest, CloneAlarm, IdentityEvent, SiteCertificate
from sites.identity.operations import raise_clone_alarm
from sites.registry.models import Site
from sites.registry.operations import enrol_sites, grant_ownership

pytestmark = pytest.mark.django_db
ENROL, RENEW = "/api/v1/enrolment/", "/api/v1/enrolment/renewals/"
REQUESTS = "/api/v1/enrolment/requests/"


@pytest.fixture(autouse=True)
def _platform(db: None, settings: Any, tmp_path: Path) -> None:
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=timezone.now())
    files = tmp_path / "site-ca.pem", tmp_path / "site-ca.key"
    Authority.create("sites", at=timezone.now()).save(*files)
    settings.SITE_CA_CERT, settings.SITE_CA_KEY = map(str, files)
    settings.BROKER_CA = str(files[0])
    return


def a_person(role: str, *owned: str) -> Client:
    user = User.objects.create_user(f"{role}-{User.objects.count()}")
    user.groups.add(Group.objects.get(name=role))
    if owned:
        grant_ownership(user, Site.objects.filter(site_id__in=owned))
    client = Client()
    client.force_login(user)
    return client


def post(client: Client, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(path, json.dumps(body), content_type="application/json")
    return answer.status_code, answer.json() if answer.content else {}


def a_token(site_id: str = "site-0001") -> str:
    return str(post(a_person("dispatcher"), f"/api/v1/sites/{site_id}/enrolment-token/")[1]["token"])


def test_from_token_to_renewed_certificate() -> None:
    dispatcher, key, site = a_person("dispatcher"), new_key(), Client()
    question = {"site_id": "site-0001", "token": a_token(), "csr": make_request(key, "site-0001").decode()}
    code, answer = post(site, ENROL, **question)
    assert (code, answer["status"], "certificate" in answer) == (200, "pending", False)
    (waiting,) = dispatcher.get(REQUESTS).json()["results"]
    assert (waiting["site_id"], waiting["fingerprint"]) == ("site-0001", key_fingerprint(key.public_key()))
    approve = f"{REQUESTS}{waiting['id']}/approve/"
    assert post(dispatcher, approve, fingerprint="00000000")[1]["error"] == "fingerprint_differs"
    code, decided = post(dispatcher, approve, fingerprint=waiting["fingerprint"][:8])
    assert (code, decided["status"]) == (200, "issued")
    _, answer = post(site, ENROL, **question)
    assert answer["client_id"].startswith("site-0001-")
    made = SiteCertificate.objects.get()
    assert read_certificate(answer["certificate"].encode()).serial_number == int(made.serial, 16)

    SiteCertificate.objects.update(issued_at=timezone.now() - timedelta(days=40))
    new = new_key()
    fingerprint = key_fingerprint(new.public_key())
    word = sign_renewal(key, site_id="site-0001", serial=made.serial, fingerprint=fingerprint)
    renewal = {
        "site_id": "site-0001", "serial": made.serial, "csr": make_request(new, "site-0001").decode(),
        "signature": base64.b64encode(word).decode(),
    }  # fmt: skip
    code, renewed = post(site, RENEW, **renewal)
    assert (code, renewed["status"], renewed["client_id"]) == (200, "issued", answer["client_id"])
    assert read_certificate(renewed["certificate"].encode()).public_key() == new.public_key()


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        ({}, 409, "request_malformed"),
        ({"site_id": "site-0001", "token": "x", "csr": 1}, 409, "request_malformed"),
        ({"site_id": "site-0001", "token": "x\x00", "csr": "x"}, 409, "request_malformed"),
        ({"site_id": "site-0001", "token": "x", "csr": "x", "extra": "x"}, 409, "request_malformed"),
        ({"site_id": "site-0001", "token": "x", "csr": "x"}, 403, "token_unknown"),
        ({"site_id": "site-0001", "token": "x", "csr": "x" * 20_000}, 413, "request_too_large"),
    ],
)
def test_a_faulty_question_is_answered_by_name(body: dict[str, Any], code: int, name: str) -> None:
    assert post(Client(), ENROL, **body)[0] == code
    assert post(Client(), ENROL, **body)[1]["error"] == name


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"\xff\xfe", b'"text"', b"[" * 10_000])
def test_no_body_breaks_the_page(body: bytes) -> None:
    assert 400 <= Client().post(ENROL, body, content_type="application/json").status_code < 500


def test_whoever_is_refused_too_often_waits() -> None:
    for _ in range(30):
        code, _ = post(Client(), ENROL, site_id="site-0001", token="x", csr="x")
        assert code == 403
    code, answer = post(Client(), ENROL, site_id="site-0001", token="x", csr="x")
    assert (code, answer["error"]) == (429, "too_many_requests")
    assert not IdentityEvent.objects.exists()


class TestRights:
    def test_an_owner_hands_out_tokens_for_the_own_sites_alone(self) -> None:
        owner = a_person("owner", "site-0001")
        assert post(owner, "/api/v1/sites/site-0001/enrolment-token/")[0] == 201
        assert post(owner, "/api/v1/sites/site-0002/enrolment-token/")[0] == 404
        assert post(a_person("auditor"), "/api/v1/sites/site-0001/enrolment-token/")[0] == 403
        assert post(Client(), "/api/v1/sites/site-0001/enrolment-token/")[0] == 403

    @pytest.mark.parametrize(("role", "code"), [("owner", 403), ("auditor", 403), ("dispatcher", 200)])
    def test_dispatchers_alone_decide_and_revoke(self, role: str, code: int) -> None:
        csr = make_request(new_key(), "site-0001").decode()
        post(Client(), ENROL, site_id="site-0001", token=a_token(), csr=csr)
        request = CertificateRequest.objects.get()
        person = a_person(role, *(["site-0001"] if role == "owner" else []))
        said = {"fingerprint": request.fingerprint}
        assert post(person, f"{REQUESTS}{request.pk}/approve/", **said)[0] == code
        assert post(person, "/api/v1/sites/site-0001/revocation/", reason="stolen")[0] == code
        assert SiteCertificate.objects.filter(revoked_at__isnull=False).count() == (code == 200)

    def test_an_owner_sees_the_own_sites_requests_alarms_and_audit(self) -> None:
        for site in Site.objects.all():
            csr = make_request(new_key(), site.site_id).decode()
            post(Client(), ENROL, site_id=site.site_id, token=a_token(site.site_id), csr=csr)
            raise_clone_alarm(site_id=site.site_id, at=timezone.now(), evidence="births in turn")
        owner = a_person("owner", "site-0001")
        for path in (REQUESTS, "/api/v1/enrolment/alarms/"):
            assert [row["site_id"] for row in owner.get(path).json()["results"]] == ["site-0001"]
        assert owner.get("/api/v1/sites/site-0001/enrolment-events/").json()["results"]
        assert owner.get("/api/v1/sites/site-0002/enrolment-events/").status_code == 404
        assert owner.get("/enrolment/").status_code == 403

    def test_an_alarm_is_closed_by_a_dispatcher(self) -> None:
        raise_clone_alarm(site_id="site-0001", at=timezone.now(), evidence="births in turn")
        path = f"/api/v1/enrolment/alarms/{CloneAlarm.objects.get().pk}/close/"
        assert post(a_person("auditor"), path)[0] == 403
        assert post(a_person("dispatcher"), path)[0] == 204
        assert CloneAlarm.objects.get().closed_at is not None


class TestPage:
    def test_approves_and_shows_what_happened(self) -> None:
        csr = make_request(new_key(), "site-0001").decode()
        post(Client(), ENROL, site_id="site-0001", token=a_token(), csr=csr)
        request, dispatcher = CertificateRequest.objects.get(), a_person("dispatcher")
        page = dispatcher.get("/enrolment/").content.decode()
        assert request.fingerprint[:8] in page
        address = f"/enrolment/requests/{request.pk}/"
        assert dispatcher.post(address, {"decision": "approve", "fingerprint": "12345678"}).status_code == 409
        answer = dispatcher.post(address, {"decision": "approve", "fingerprint": request.fingerprint[:8]})
        assert answer.status_code == 302
        page = dispatcher.get("/enrolment/").content.decode()
        assert SiteCertificate.objects.get().serial in page
        assert "certificate issued" in page
        auditor = a_person("auditor").get("/enrolment/").content.decode()
        assert ("valid" in auditor, "Approve" in auditor) == (True, False)

    def test_a_token_is_shown_once(self) -> None:
        owner = a_person("owner", "site-0001")
        answer = owner.post("/sites/site-0001/enrolment-token/")
        assert "no-store" in answer.headers["Cache-Control"]
        assert 'class="token"' in answer.content.decode()
        assert owner.get("/sites/site-0001/enrolment-token/").status_code == 405
        assert owner.post("/sites/site-0002/enrolment-token/").status_code == 404

    def test_a_site_shows_its_alarm_and_its_certificate(self) -> None:
        raise_clone_alarm(site_id="site-0001", at=timezone.now(), evidence="births in turn")
        page = a_person("owner", "site-0001").get("/sites/site-0001/").content.decode()
        assert "Clone suspected 1 time" in page
        assert "Revoke" not in page

    def test_without_the_authoritys_key_an_approved_request_waits(self, settings: Any) -> None:
        settings.SITE_CA_KEY = ""
        csr = make_request(new_key(), "site-0001").decode()
        post(Client(), ENROL, site_id="site-0001", token=a_token(), csr=csr)
        request = CertificateRequest.objects.get()
        code, answer = post(a_person("dispatcher"), f"{REQUESTS}{request.pk}/approve/", fingerprint=request.fingerprint)
        assert (code, answer["status"]) == (200, "approved")
