"""P-256 certificates for a loopback OpenADR pair: an authority, a VTN and a VEN."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sites.core.certificate_parts import begun_certificate, key_usage, named

VALID_FOR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Credential:
    """One party's certificate and key, with its OpenADR fingerprint."""

    cert: Path
    key: Path
    fingerprint: str
    """Last 10 bytes of the certificate's SHA-256, as OpenADR 2.0b writes it."""


@dataclass(frozen=True, slots=True)
class OpenAdrPair:
    """What both ends of a connection need."""

    ca: Path
    vtn: Credential
    ven: Credential


def make_openadr_certificates(folder: Path, *, at: datetime, ven_name: str = "open-vpp") -> OpenAdrPair:
    """Write an authority's certificate and both parties' credentials into a folder (keys mode 0600).

    The authority's key is never written: nobody can issue a third certificate. Existing files are
    replaced.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = named("Open VPP OpenADR authority")
    ca_cert = (
        begun_certificate(ca_name, ca_name, ca_key.public_key(), at=at, valid_for=VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_path = folder / "ca.pem"
    ca_path.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))
    vtn = _credential(folder, "vtn", "grid-operator", ca_name, ca_key, at, ExtendedKeyUsageOID.SERVER_AUTH)
    ven = _credential(folder, "ven", ven_name, ca_name, ca_key, at, ExtendedKeyUsageOID.CLIENT_AUTH)
    return OpenAdrPair(ca_path, vtn, ven)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return the OpenADR fingerprint: the last 10 bytes of the SHA-256 over the DER form."""
    digest = certificate.fingerprint(hashes.SHA256())
    return ":".join(f"{byte:02X}" for byte in digest[-10:])


def _credential(
    folder: Path,
    stem: str,
    common_name: str,
    ca_name: x509.Name,
    ca_key: ec.EllipticCurvePrivateKey,
    at: datetime,
    usage: x509.ObjectIdentifier,
) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    certificate = (
        begun_certificate(named(common_name), ca_name, key.public_key(), at=at, valid_for=VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    cert_path, key_path = folder / f"{stem}.pem", folder / f"{stem}.key"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.unlink(missing_ok=True)
    # Created with its mode: a key must not be readable for the moment before a chmod.
    with os.fdopen(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return Credential(cert_path, key_path, fingerprint_of(certificate))
