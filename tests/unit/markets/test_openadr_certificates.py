"""Certificates for a loopback pair."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from openleadr.utils import certificate_fingerprint

from markets.openadr.certificates import make_openadr_certificates

AT = datetime(2026, 6, 1, tzinfo=UTC)


def test_keys_are_private_and_the_authority_s_is_never_written(tmp_path: Path):
    pair = make_openadr_certificates(tmp_path / "new", at=AT)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "ca.pem", "ven.key", "ven.pem", "vtn.key", "vtn.pem",
    ]  # fmt: skip
    for key in (pair.vtn.key, pair.ven.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_both_are_issued_by_the_authority_for_their_own_side(tmp_path: Path):
    pair = make_openadr_certificates(tmp_path, at=AT, ven_name="our-ven")
    authority = x509.load_pem_x509_certificate(pair.ca.read_bytes())
    usages = {}
    for name, credential in (("vtn", pair.vtn), ("ven", pair.ven)):
        certificate = x509.load_pem_x509_certificate(credential.cert.read_bytes())
        certificate.verify_directly_issued_by(authority)
        assert certificate.not_valid_before_utc < AT < certificate.not_valid_after_utc
        assert credential.fingerprint == certificate_fingerprint(credential.cert.read_text())
        usages[name] = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages["vtn"]) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert list(usages["ven"]) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_making_them_again_replaces_them(tmp_path: Path):
    first = make_openadr_certificates(tmp_path, at=AT)
    assert make_openadr_certificates(tmp_path, at=AT).ven.fingerprint != first.ven.fingerprint
