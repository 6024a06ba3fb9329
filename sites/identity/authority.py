"""The private certificate authority: signs sites and services, lists what it revoked. Its clock is an argument."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sites.core.certificate_parts import VALID_SINCE, begun_certificate, key_usage, named
from sites.core.certificates import CertificateError, key_fingerprint, key_pem, new_key, read_certificate, read_key
from sites.identity.files import write_private, write_public

CA_VALID_FOR: Final = timedelta(days=3650)
SERVICE_VALID_FOR: Final = timedelta(days=397)
LIST_VALID_FOR: Final = timedelta(days=30)
"""A broker refuses everybody once its revocation list is older than this."""
IDENTITY_DOMAIN: Final = "sites.vpp.invalid"
"""Identities are names under a domain that can never exist (RFC 2606): NATS maps users by them."""


class AuthorityError(Exception):
    """An authority that cannot be used; the message names the file and what is accepted."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One line of a revocation list."""

    serial: str
    at: datetime
    is_superseded: bool = False


class Authority:
    """A CA certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, name: str, *, at: datetime) -> Authority:
        """Make a new one that may sign end certificates only."""
        key = new_key()
        subject = named(name)
        certificate = (
            begun_certificate(subject, subject, key.public_key(), at=at, valid_for=CA_VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_path: Path, key_path: Path) -> Authority:
        """Read one from its files; a key that others can read is refused.

        Raises AuthorityError naming the file.
        """
        try:
            mode = key_path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise AuthorityError(f"{key_path} has mode {mode & 0o777:04o}, accepted: 0600 or less")
            key = read_key(key_path.read_bytes())
            certificate = read_certificate(certificate_path.read_bytes())
        except OSError as error:
            raise AuthorityError(f"{error.filename}: {error.strerror}, accepted: a readable file") from None
        except CertificateError as error:
            raise AuthorityError(f"{certificate_path}, {key_path}: {error}") from None
        public_key = certificate.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or key_fingerprint(public_key) != key_fingerprint(
            key.public_key()
        ):
            raise AuthorityError(f"{key_path} is not the key of {certificate_path}")
        return cls(certificate, key)

    def save(self, certificate_path: Path, key_path: Path) -> None:
        """Write both files; never over existing ones, for every certificate below would be worthless."""
        for path in (certificate_path, key_path):
            if path.exists():
                raise AuthorityError(f"{path} exists, accepted: a new name; an authority is never written over")
        write_private(key_path, key_pem(self._key))
        write_public(certificate_path, self.pem)

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def site_certificate(
        self, public_key: ec.EllipticCurvePublicKey, *, site_id: str, identity: str, at: datetime, valid_for: timedelta
    ) -> x509.Certificate:
        """Sign a site's key: CN is the site's id, the alternative name its present identity, clients only."""
        names = [x509.DNSName(identity_name(identity))]
        return self._sign(public_key, site_id, names, ExtendedKeyUsageOID.CLIENT_AUTH, at, valid_for)

    def service_certificate(
        self, public_key: ec.EllipticCurvePublicKey, *, name: str, at: datetime
    ) -> x509.Certificate:
        """Sign the key of one of the platform's own services, a client of the broker."""
        names = [x509.DNSName(service_name(name))]
        return self._sign(public_key, name, names, ExtendedKeyUsageOID.CLIENT_AUTH, at, SERVICE_VALID_FOR)

    def broker_certificate(
        self, public_key: ec.EllipticCurvePublicKey, *, hosts: Sequence[str], at: datetime
    ) -> x509.Certificate:
        """Sign the broker's key for the host names and addresses under which clients reach it."""
        names = [_host_name(host) for host in hosts]
        return self._sign(public_key, hosts[0], names, ExtendedKeyUsageOID.SERVER_AUTH, at, SERVICE_VALID_FOR)

    def revocation_list(self, revoked: Iterable[Revoked], *, at: datetime) -> bytes:
        """Return the signed list (PEM) of certificates that are not to be accepted any more."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(at - VALID_SINCE)
            .next_update(at + LIST_VALID_FOR)
            .add_extension(x509.CRLNumber(int(at.timestamp() * 1_000_000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for row in revoked:
            reason = x509.ReasonFlags.superseded if row.is_superseded else x509.ReasonFlags.privilege_withdrawn
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(row.serial, 16))
                .revocation_date(row.at)
                .add_extension(x509.CRLReason(reason), critical=False)
                .build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        public_key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        at: datetime,
        valid_for: timedelta,
    ) -> x509.Certificate:
        return (
            begun_certificate(named(common_name), self._certificate.subject, public_key, at=at, valid_for=valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def identity_name(identity: str) -> str:
    """Return the name by which NATS knows a site's present identity."""
    return f"{identity}.{IDENTITY_DOMAIN}"


def service_name(name: str) -> str:
    """Return the name by which NATS knows one of the platform's services, such as ``vpp.ingest``."""
    return f"{name}.services.vpp.invalid"


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
