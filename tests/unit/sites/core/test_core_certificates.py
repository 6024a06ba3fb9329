"""Signing requests are taken as the contract has them, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sites.core.certificates import (
    MAX_REQUEST_BYTES,
    CertificateError,
    key_fingerprint,
    make_request,
    new_key,
    read_certificate,
    read_request,
    sign_renewal,
    verify_renewal,
)
from sites.identity.authority import Authority

SITE = "site-1"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_request(names: list[tuple[x509.ObjectIdentifier, str]], key: object = None, *extensions: object) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)  # type: ignore[arg-type]
    private = key or new_key()
    algorithm = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(private, algorithm).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def test_a_sites_own_request_is_taken() -> None:
    key = new_key()
    request = read_request(make_request(key, SITE), site_id=SITE)
    assert request.fingerprint == key_fingerprint(key.public_key())
    assert len(request.fingerprint) == 64


CN = [(NameOID.COMMON_NAME, SITE)]
BAD: list[tuple[str, Callable[[], bytes]]] = [
    ("name_refused", lambda: make_request(new_key(), "site-2")),
    ("name_refused", lambda: a_request([*CN, (NameOID.ORGANIZATION_NAME, "x")])),
    ("name_refused", lambda: a_request([(NameOID.COMMON_NAME, SITE), (NameOID.COMMON_NAME, "site-2")])),
    ("name_refused", lambda: a_request([(NameOID.ORGANIZATION_NAME, SITE)])),
    ("name_refused", lambda: a_request([])),
    ("key_refused", lambda: a_request(CN, rsa.generate_private_key(65537, 2048))),
    ("key_refused", lambda: a_request(CN, ec.generate_private_key(ec.SECP384R1()))),
    ("key_refused", lambda: a_request(CN, ed25519.Ed25519PrivateKey.generate())),
    ("extension_refused", lambda: a_request(CN, None, x509.BasicConstraints(ca=True, path_length=None))),
    ("extension_refused", lambda: a_request(CN, None, x509.SubjectAlternativeName([x509.DNSName("a.example")]))),
    ("request_too_large", lambda: b"x" * (MAX_REQUEST_BYTES + 1)),
    ("request_malformed", lambda: b""),
    ("request_malformed", lambda: make_request(new_key(), SITE) * 2),
    ("request_malformed", lambda: make_request(new_key(), SITE)[:200]),
    ("request_malformed", lambda: make_request(new_key(), SITE).replace(b"REQUEST-----\nMI", b"REQUEST-----\nNI")),
]


@pytest.mark.parametrize(("name", "make"), BAD)
def test_another_request_is_refused_by_name(name: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(CertificateError) as caught:
        read_request(make(), site_id=SITE)
    assert caught.value.name == name


def test_a_request_signed_by_another_key_is_refused() -> None:
    der = x509.load_pem_x509_csr(make_request(new_key(), SITE)).public_bytes(serialization.Encoding.DER)
    forged = der[:-4] + bytes(4)
    with pytest.raises(CertificateError) as caught:
        read_request(pem_of(forged), site_id=SITE)
    assert caught.value.name in {"signature_invalid", "request_malformed"}


def pem_of(der: bytes) -> bytes:
    import base64

    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"


GOOD = x509.load_pem_x509_csr(make_request(new_key(), SITE)).public_bytes(serialization.Encoding.DER)


@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(1, 255))
def test_no_altered_request_is_taken(position: int, byte: int) -> None:
    altered = bytearray(GOOD)
    altered[position] ^= byte
    with pytest.raises(CertificateError):
        read_request(pem_of(bytes(altered)), site_id=SITE)


class TestRenewal:
    key = new_key()
    made = Authority.create("sites", at=AT).site_certificate(
        key.public_key(), site_id=SITE, identity="a" * 32, at=AT, valid_for=timedelta(days=1)
    )

    def test_holds_for_exactly_what_was_signed(self) -> None:
        word = sign_renewal(self.key, site_id=SITE, serial="1f", fingerprint="ab")
        verify_renewal(self.made, word, site_id=SITE, serial="1f", fingerprint="ab")

    @pytest.mark.parametrize("changed", [{"site_id": "site-2"}, {"serial": "2f"}, {"fingerprint": "ac"}])
    def test_holds_for_nothing_else(self, changed: dict[str, str]) -> None:
        said = {"site_id": SITE, "serial": "1f", "fingerprint": "ab"}
        word = sign_renewal(self.key, **said)
        with pytest.raises(CertificateError) as caught:
            verify_renewal(self.made, word, **(said | changed))
        assert caught.value.name == "signature_invalid"


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 20_000])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(CertificateError) as caught:
        read_certificate(pem)
    assert caught.value.name == "certificate_malformed"
