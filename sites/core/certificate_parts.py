"""The parts that every certificate of ours has, whoever signs it: names, validity, usage of its key. No clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_SINCE: Final = timedelta(minutes=5)
"""A clock a little behind must not refuse a certificate made a moment ago."""


def begun_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    at: datetime,
    valid_for: timedelta,
) -> x509.CertificateBuilder:
    """Return a certificate to be extended and signed: random serial number, valid from ``at`` less VALID_SINCE."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - VALID_SINCE)
        .not_valid_after(at + valid_for)
    )


def named(common_name: str) -> x509.Name:
    """Return a subject or issuer with a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*, signs: bool) -> x509.KeyUsage:
    """Return what a key is for: to sign certificates and revocation lists, or to prove who one is."""
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
