"""The site's identity on disk: its key, which never leaves, its certificate, and whom it trusts as broker."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sites.core.certificates import (
    CertificateError,
    key_fingerprint,
    key_pem,
    make_request,
    new_key,
    read_certificate,
    read_key,
)
from sites.mqtt.address import BrokerAddress, TlsFiles

PAIR: Final = "identity.pem"
"""Key and certificate in one file, so that one rename changes both."""
BROKER_CA: Final = "broker-ca.pem"
PLATFORM_CA: Final = "platform-ca.pem"
PENDING_KEY: Final = "pending.key"
ABOUT: Final = "enrolment.json"


class IdentityError(Exception):
    """An identity that cannot be used; the message names the file and what is accepted."""

    name = "identity_invalid"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the platform said beside the certificate."""

    url: str
    """The platform's pages, where renewals are asked for."""
    client_id: str


class IdentityFolder:
    """A folder that only the edge's user may enter."""

    def __init__(self, path: Path, site_id: str) -> None:
        self.path = path
        self.site_id = site_id

    # --- asking for a certificate ----------------------------------------------------------------

    def pending_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key that waits for its certificate: the same one after a restart, else a new one."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.path / PENDING_KEY
        if not path.exists():
            self._write(PENDING_KEY, key_pem(new_key()))
        return self._read_key(path)

    def pending_request(self) -> tuple[bytes, str]:
        """Return a signing request for the pending key, and the key's fingerprint."""
        key = self.pending_key()
        return make_request(key, self.site_id), key_fingerprint(key.public_key())

    def keep_platform_ca(self, pem: bytes) -> Path:
        """Keep who signed the platform's own certificate, for later renewals; return the file."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(PLATFORM_CA, pem)
        return self.path / PLATFORM_CA

    @property
    def platform_ca(self) -> Path | None:
        """Who signed the platform's certificate; None: the machine's own list says."""
        path = self.path / PLATFORM_CA
        return path if path.exists() else None

    def install(self, *, certificate_pem: str, broker_ca_pem: str, url: str, client_id: str) -> None:
        """Take the certificate of the pending key into use, in one rename.

        Raises IdentityError when it is not this site's or not for this key.
        """
        key = self.pending_key()
        certificate = self._checked(certificate_pem.encode(), key)
        try:
            read_certificate(broker_ca_pem.encode())
        except CertificateError as error:
            raise IdentityError(f"the broker's authority as the platform sent it: {error}") from None
        self._write(BROKER_CA, broker_ca_pem.encode())
        about = {"site_id": self.site_id, "url": url, "client_id": client_id}
        self._write(ABOUT, json.dumps(about, indent=1).encode() + b"\n")
        self._write(PAIR, key_pem(key) + certificate.public_bytes(Encoding.PEM))
        (self.path / PENDING_KEY).unlink(missing_ok=True)

    # --- using it --------------------------------------------------------------------------------

    @property
    def is_enrolled(self) -> bool:
        """Whether key and certificate are there; whether they are good `certificate` says."""
        return (self.path / PAIR).exists()

    def certificate(self) -> x509.Certificate:
        """Return the present certificate; raise IdentityError when the site is not enrolled."""
        return self._checked(self._read(PAIR), self.key())

    def stamp(self) -> tuple[int, int]:
        """Return what changes when the pair on disk is replaced; raise IdentityError when there is none."""
        try:
            found = (self.path / PAIR).stat()
        except OSError as error:
            raise IdentityError(f"{self.path / PAIR}: {error.strerror}, accepted: an enrolled site") from None
        return found.st_ino, found.st_mtime_ns

    def key(self) -> ec.EllipticCurvePrivateKey:
        """Return the present key."""
        return self._read_key(self.path / PAIR)

    def enrolment(self) -> Enrolment:
        """Return what the platform said beside the certificate."""
        try:
            about: Any = json.loads(self._read(ABOUT))
            return Enrolment(url=str(about["url"]), client_id=str(about["client_id"]))
        except (ValueError, TypeError, KeyError):
            raise IdentityError(f"{self.path / ABOUT} cannot be read, accepted: as `vpp-edge enrol` wrote it") from None

    def address(self, broker: BrokerAddress) -> BrokerAddress:
        """Return a broker's address as this site asks it: by certificate, with the client id of its enrolment.

        An address without TLS, or with a certificate of its own, stays as it is.
        """
        if broker.tls is None or not broker.asks_certificate:
            return broker
        self.certificate()
        tls = TlsFiles(broker.tls.ca or self.path / BROKER_CA, self.path / PAIR)
        return replace(broker, tls=tls, client_id=self.enrolment().client_id)

    # --- inside ----------------------------------------------------------------------------------

    def _checked(self, pem: bytes, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        try:
            certificate = read_certificate(pem)
        except CertificateError as error:
            raise IdentityError(f"certificate of {self.site_id}: {error}") from None
        public_key = certificate.public_key()
        names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [self.site_id]:
            raise IdentityError(f"certificate is {names}'s, accepted: {self.site_id}'s")
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or (
            key_fingerprint(public_key) != key_fingerprint(key.public_key())
        ):
            raise IdentityError(f"certificate of {self.site_id} is for another key")
        return certificate

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise IdentityError(
                f"{self.path / name}: {error.strerror}, accepted: an enrolled site; `vpp-edge enrol` enrols it"
            ) from None

    def _read_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        try:
            return read_key(self._read(path.name))
        except CertificateError as error:
            raise IdentityError(f"{path}: {error}") from None

    def _write(self, name: str, data: bytes) -> None:
        path = self.path / name
        draft = path.with_name(f".{name}.new")
        draft.unlink(missing_ok=True)
        # Created with its mode: the key must not be readable for the moment before a chmod.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def life_over(certificate: x509.Certificate, *, at: datetime) -> float:
    """Return which share of a certificate's life is over; 1 or more: it has expired."""
    starts_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (at - starts_at) / (ends_at - starts_at)
