"""What the authority signs may do what it should and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sites.core.certificates import new_key, serial_text
from sites.identity.authority import Authority, AuthorityError, Revoked

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_site_certificate(authority: Authority) -> x509.Certificate:
    return authority.site_certificate(
        new_key().public_key(), site_id="site-1", identity="ab" * 16, at=AT, valid_for=timedelta(days=30)
    )


def test_a_sites_certificate_is_a_short_lived_client_alone() -> None:
    authority = Authority.create("sites", at=AT)
    made = a_site_certificate(authority)
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
    assert made.subject.rfc4514_string() == "CN=site-1"
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (AT - timedelta(minutes=5), AT + timedelta(days=30))
    value = made.extensions.get_extension_for_class
    assert list(value(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert value(x509.BasicConstraints).value.ca is False
    assert value(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [
        f"{'ab' * 16}.sites.vpp.invalid"
    ]
    usage = value(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)


def test_the_authority_signs_end_certificates_and_lists_alone() -> None:
    made = x509.load_pem_x509_certificate(Authority.create("sites", at=AT).pem)
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


def test_a_list_names_what_is_revoked_and_is_signed() -> None:
    authority = Authority.create("sites", at=AT)
    made = a_site_certificate(authority)
    listed = x509.load_pem_x509_crl(authority.revocation_list([Revoked(serial_text(made), AT)], at=AT))
    assert [row.serial_number for row in listed] == [made.serial_number]
    public_key = x509.load_pem_x509_certificate(authority.pem).public_key()
    assert listed.is_signature_valid(public_key)  # type: ignore[arg-type]
    assert listed.next_update_utc == AT + timedelta(days=30)


def test_an_authority_is_read_back_from_its_files_and_never_written_over(tmp_path: Path) -> None:
    files = tmp_path / "ca.pem", tmp_path / "ca.key"
    Authority.create("sites", at=AT).save(*files)
    assert files[1].stat().st_mode & 0o777 == 0o600
    a_site_certificate(Authority.load(*files)).verify_directly_issued_by(
        x509.load_pem_x509_certificate(files[0].read_bytes())
    )
    with pytest.raises(AuthorityError, match="never written over"):
        Authority.create("sites", at=AT).save(*files)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    files = tmp_path / "ca.pem", tmp_path / "ca.key"
    Authority.create("sites", at=AT).save(*files)
    files[1].chmod(0o640)
    with pytest.raises(AuthorityError, match="mode 0640, accepted: 0600"):
        Authority.load(*files)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    for stem in ("one", "two"):
        Authority.create(stem, at=AT).save(tmp_path / f"{stem}.pem", tmp_path / f"{stem}.key")
    with pytest.raises(AuthorityError, match=r"two\.key is not the key of .*one\.pem"):
        Authority.load(tmp_path / "one.pem", tmp_path / "two.key")


@pytest.mark.parametrize("missing", ["ca.pem", "ca.key"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    Authority.create("sites", at=AT).save(tmp_path / "ca.pem", tmp_path / "ca.key")
    (tmp_path / missing).unlink()
    with pytest.raises(AuthorityError, match=missing):
        Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key")
