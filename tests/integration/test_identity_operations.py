"""Enrolment in the database: each rule by its name, each step in the audit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.db import DatabaseError, transaction
from support.manifests import a_manifest
from support.meters import START

from sites.core.certificates import key_fingerprint, make_request, new_key, sign_renewal
from sites.identity import operations, queries
from sites.identity.authority import Authority
from sites.identity.models import CertificateRequest, CloneAlarm, EnrolmentToken, IdentityEvent, SiteCertificate
from sites.identity.operations import EnrolmentRefused
from sites.identity.rights import LiveSite
from sites.registry.models import Site
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db
LIFE = timedelta(days=30)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _sites(db: None) -> None:
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=START)


@pytest.fixture
def authority() -> Authority:
    return Authority.create("sites", at=START)


def the_site(number: int = 1) -> Site:
    return Site.objects.get(site_id=f"site-{number:04d}")


def a_token(number: int = 1, at=START) -> str:
    return operations.issue_token(site=the_site(number), by="ann", at=at, valid_for=HOUR)


def submit(
    token: str, *, site_id: str = "site-0001", key: ec.EllipticCurvePrivateKey | None = None, at=START, csr=None
):
    csr = csr or make_request(key or new_key(), site_id)
    return operations.submit_request(site_id=site_id, token=token, csr=csr, address="10.0.0.9", at=at)


def enrolled(authority: Authority, key: ec.EllipticCurvePrivateKey, at=START, number: int = 1) -> SiteCertificate:
    request = submit(a_token(number, at), site_id=f"site-{number:04d}", key=key, at=at)
    operations.approve(request=request, by="bob", at=at)
    return operations.issue_approved(authority=authority, at=at, valid_for=LIFE)[0]


def renew(held: SiteCertificate, key: ec.EllipticCurvePrivateKey, new: ec.EllipticCurvePrivateKey, at, **said: str):
    site_id, serial = said.get("site_id", "site-0001"), said.get("serial", held.serial)
    word = sign_renewal(key, site_id=site_id, serial=serial, fingerprint=key_fingerprint(new.public_key()))
    csr = make_request(new, site_id)
    return operations.submit_renewal(site_id=site_id, serial=serial, csr=csr, signature=word, address="10.0.0.9", at=at)


def refused(name: str):
    return pytest.raises(EnrolmentRefused, check=lambda error: error.name == name)


class TestTokens:
    def test_only_its_hash_is_kept(self) -> None:
        token = a_token()
        assert len(token) >= 43
        assert token not in str(list(EnrolmentToken.objects.values()))
        assert token not in str(list(IdentityEvent.objects.values()))

    def test_a_token_works_once(self) -> None:
        token, key = a_token(), new_key()
        first = submit(token, key=key)
        with refused("token_used"):
            submit(token)
        # The same question again is no second use: an answer may have been lost.
        assert submit(token, key=key) == first
        assert CertificateRequest.objects.count() == 1

    def test_an_expired_token_is_refused(self) -> None:
        token = a_token()
        with refused("token_expired"):
            submit(token, at=START + HOUR)

    def test_a_newer_token_withdraws_the_older(self) -> None:
        older, newer = a_token(), a_token()
        with refused("token_withdrawn"):
            submit(older)
        assert submit(newer).status == "pending"

    def test_another_sites_token_is_refused_and_noted_at_its_own_site(self) -> None:
        token = a_token(2)
        with refused("foreign_site"):
            submit(token)
        event = IdentityEvent.objects.filter(action="request_refused").get()
        assert (event.site.site_id, event.address) == ("site-0002", "10.0.0.9")
        assert submit(token, site_id="site-0002").status == "pending"

    @pytest.mark.parametrize("token", ["", "x", "x" * 10_000])
    def test_an_unknown_token_leaves_no_row(self, token: str) -> None:
        with refused("token_unknown"):
            submit(token)
        assert not IdentityEvent.objects.exists()

    def test_a_faulty_request_does_not_burn_the_token(self) -> None:
        token = a_token()
        with refused("name_refused"):
            submit(token, csr=make_request(new_key(), "site-0002"))
        with refused("key_refused"):
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site-0001")])
            key = ec.generate_private_key(ec.SECP384R1())
            from cryptography.hazmat.primitives import hashes, serialization

            csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
            submit(token, csr=csr.public_bytes(serialization.Encoding.PEM))
        assert submit(token).status == "pending"

    def test_a_key_is_certified_once(self, authority: Authority) -> None:
        key = new_key()
        submit(a_token(), key=key)
        token = a_token(2)
        with refused("key_reused"):
            submit(token, site_id="site-0002", key=key)
        assert submit(token, site_id="site-0002").status == "pending"


class TestDecisions:
    def test_nothing_is_signed_before_the_approval(self, authority: Authority) -> None:
        request = submit(a_token())
        assert operations.issue_approved(authority=authority, at=START, valid_for=LIFE) == []
        operations.approve(request=request, by="bob", at=START)
        issued = operations.issue_approved(authority=authority, at=START, valid_for=LIFE)
        assert [row.identity.site.site_id for row in issued] == ["site-0001"]
        assert operations.issue_approved(authority=authority, at=START, valid_for=LIFE) == []

    def test_a_decision_stands(self) -> None:
        request = submit(a_token())
        operations.refuse(request=request, by="bob", reason="not ours", at=START)
        with refused("not_pending"):
            operations.approve(request=request, by="bob", at=START)

    def test_every_step_is_in_the_audit_and_stays(self, authority: Authority) -> None:
        held = enrolled(authority, new_key())
        operations.revoke_site(site=the_site(), by="bob", reason="stolen", at=START + HOUR)
        rows = IdentityEvent.objects.order_by("pk").values_list("action", "actor")
        assert list(rows) == [
            ("token_issued", "ann"), ("certificate_requested", "site"), ("request_approved", "bob"),
            ("certificate_issued", "bob"), ("certificate_revoked", "bob"),
        ]  # fmt: skip
        assert held.serial in IdentityEvent.objects.get(action="certificate_revoked").detail
        for change in (lambda: IdentityEvent.objects.update(actor="x"), lambda: IdentityEvent.objects.all().delete()):
            with pytest.raises(DatabaseError, match="audit row stands"), transaction.atomic():
                change()

    def test_a_new_device_takes_the_place_of_the_old_one(self, authority: Authority) -> None:
        first = enrolled(authority, new_key())
        second = enrolled(authority, new_key(), at=START + HOUR)
        first.refresh_from_db()
        assert first.revoked_at == START + HOUR
        live = queries.live_sites(at=START + HOUR)
        assert live == [LiveSite("site-0001", second.identity.identity)]
        assert first.identity.client_suffix != second.identity.client_suffix


class TestRenewal:
    key, new = new_key(), new_key()
    DUE = START + LIFE * 0.7

    def test_the_present_key_vouches_for_the_new_one(self, authority: Authority) -> None:
        held = enrolled(authority, self.key)
        request = renew(held, self.key, self.new, self.DUE)
        assert request.status == "approved"
        made = operations.issue_approved(authority=authority, at=self.DUE, valid_for=LIFE)[0]
        held.refresh_from_db()
        assert (made.identity, held.superseded_at, held.revoked_at) == (held.identity, self.DUE, None)
        # Asked again, as after a lost answer: the same request.
        assert renew(held, self.key, self.new, self.DUE).certificate == made
        listed = queries.revoked_certificates(at=self.DUE + queries.CHANGE_OVER)
        assert [(row.serial, row.is_superseded) for row in listed] == [(held.serial, True)]
        assert queries.revoked_certificates(at=self.DUE + HOUR) == []

    def test_another_key_for_a_superseded_certificate_raises_the_alarm(self, authority: Authority) -> None:
        held = enrolled(authority, self.key)
        renew(held, self.key, self.new, self.DUE)
        with refused("certificate_superseded"):
            renew(held, self.key, new_key(), self.DUE)
        alarm = CloneAlarm.objects.get()
        assert (alarm.site, alarm.times, "10.0.0.9" in alarm.evidence) == (the_site(), 1, True)

    def test_refused_by_name(self, authority: Authority) -> None:
        held = enrolled(authority, self.key)
        with refused("too_early"):
            renew(held, self.key, self.new, START + HOUR)
        with refused("signature_invalid"):
            renew(held, new_key(), self.new, self.DUE)
        with refused("certificate_unknown"):
            renew(held, self.key, self.new, self.DUE, serial="ab12")
        with refused("foreign_site"):
            renew(held, self.key, self.new, self.DUE, site_id="site-0002")
        with refused("certificate_expired"):
            renew(held, self.key, self.new, START + LIFE)
        operations.revoke_site(site=the_site(), by="bob", reason="stolen", at=self.DUE)
        with refused("certificate_revoked"):
            renew(held, self.key, self.new, self.DUE)

    def test_a_revocation_between_question_and_signature_wins(self, authority: Authority) -> None:
        held = enrolled(authority, self.key)
        renew(held, self.key, self.new, self.DUE)
        operations.revoke_site(site=the_site(), by="bob", reason="stolen", at=self.DUE)
        assert operations.issue_approved(authority=authority, at=self.DUE, valid_for=LIFE) == []
        assert queries.live_sites(at=self.DUE) == []


class TestRevocation:
    def test_ends_everything_of_the_site_and_nothing_of_others(self, authority: Authority) -> None:
        held, other = enrolled(authority, new_key()), enrolled(authority, new_key(), number=2)
        waiting = a_token()
        assert operations.revoke_site(site=the_site(), by="bob", reason="stolen", at=START + HOUR / 2) == 1
        assert [row.serial for row in queries.revoked_certificates(at=START + HOUR / 2)] == [held.serial]
        assert [row.site_id for row in queries.live_sites(at=START + HOUR / 2)] == ["site-0002"]
        assert other.identity.ended_at is None
        with refused("token_withdrawn"):
            submit(waiting, at=START + HOUR / 2)

    def test_an_alarm_counts_until_it_is_closed(self) -> None:
        for seconds in range(3):
            operations.raise_clone_alarm(
                site_id="site-0001", at=START + timedelta(seconds=seconds), evidence=f"birth {seconds}"
            )
        alarm = CloneAlarm.objects.get()
        assert (alarm.times, alarm.evidence, alarm.first_at) == (3, "birth 2", START)
        operations.close_alarm(alarm=alarm, by="bob", at=START + HOUR)
        operations.raise_clone_alarm(site_id="site-0001", at=START + HOUR, evidence="again")
        assert CloneAlarm.objects.count() == 2
