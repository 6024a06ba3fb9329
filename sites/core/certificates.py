"""Certificates as both ends read them: keys, signing requests and what a renewal signs; P-256 throughout. No I/O."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MAX_REQUEST_BYTES: Final = 4_096
"""A P-256 request has about 400 bytes."""
MAX_CERTIFICATE_BYTES: Final = 16_384
RENEWAL_CONTEXT: Final = b"vpp-renewal-1"
_ONE_REQUEST: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*\Z"
)
_UNREADABLE: Final = (
    ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""All that `cryptography` raises over bytes that are not what they should be."""
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CertificateError(ValueError):
    """A request, key or certificate that is not taken; ``name`` says which rule, the message what is accepted."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a site asks to have certified; the request proved that its sender holds the key."""

    site_id: str
    public_key: ec.EllipticCurvePublicKey

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, 64 hexadecimal digits: compared by people on both ends."""
        return key_fingerprint(self.public_key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS 8; whoever writes it keeps others from reading it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key; raise CertificateError ``key_refused`` for anything but an unencrypted P-256 key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("key_refused", "key is not readable, accepted: an unencrypted P-256 key (PEM)") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("key_refused", f"key is {type(key).__name__}, accepted: P-256")
    return key


def key_fingerprint(public_key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo), 64 hexadecimal digits."""
    spki = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def make_request(key: ec.EllipticCurvePrivateKey, site_id: str) -> bytes:
    """Return a signing request (PEM) for a site's own key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def read_request(pem: bytes, *, site_id: str) -> SigningRequest:
    """Read a site's signing request.

    Raises CertificateError: ``request_too_large``, ``request_malformed``, ``key_refused`` (not P-256),
    ``signature_invalid`` (not signed by its own key), ``name_refused`` (its only name must be the site's
    id as CN), ``extension_refused`` (the platform alone decides what a certificate may do).
    """
    if len(pem) > MAX_REQUEST_BYTES:
        raise CertificateError(
            "request_too_large", f"request has {len(pem)} bytes, accepted: up to {MAX_REQUEST_BYTES}"
        )
    if _ONE_REQUEST.match(pem) is None:
        raise CertificateError("request_malformed", "request is not one PEM block CERTIFICATE REQUEST")
    try:
        request = x509.load_pem_x509_csr(pem)
        public_key = request.public_key()
        is_signed = request.is_signature_valid
        algorithm = request.signature_hash_algorithm
        subject = list(request.subject)
        extensions, attributes = list(request.extensions), list(request.attributes)
    except _UNREADABLE as error:
        raise CertificateError("request_malformed", f"request cannot be read ({error})"[:200]) from None
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        held = getattr(getattr(public_key, "curve", None), "name", type(public_key).__name__)
        raise CertificateError("key_refused", f"request's key is {held}, accepted: P-256 (secp256r1)")
    if not is_signed or not isinstance(algorithm, _HASHES):
        raise CertificateError("signature_invalid", "request is not signed by its own key with SHA-256 or better")
    if len(subject) != 1 or subject[0].oid != NameOID.COMMON_NAME or subject[0].value != site_id:
        shown = request.subject.rfc4514_string()[:100]
        raise CertificateError("name_refused", f"request's name is {shown!r}, accepted: CN={site_id} alone")
    if extensions or attributes:
        raise CertificateError("extension_refused", "request asks for extensions, accepted: a name and a key alone")
    return SigningRequest(site_id, public_key)


def read_certificate(pem: bytes) -> x509.Certificate:
    """Read one certificate; raise CertificateError ``certificate_malformed`` for anything else."""
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise CertificateError(
            "certificate_malformed", f"certificate has {len(pem)} bytes, accepted: up to {MAX_CERTIFICATE_BYTES}"
        )
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.public_key()
    except _UNREADABLE as error:
        raise CertificateError("certificate_malformed", f"certificate cannot be read ({error})"[:200]) from None
    return certificate


def serial_text(certificate: x509.Certificate) -> str:
    """Return a certificate's serial number as lower-case hexadecimal digits."""
    return f"{certificate.serial_number:x}"


def sign_renewal(present_key: ec.EllipticCurvePrivateKey, *, site_id: str, serial: str, fingerprint: str) -> bytes:
    """Return the present key's word (ECDSA, SHA-256, DER) for the new key with this fingerprint."""
    return present_key.sign(_renewal_bytes(site_id, serial, fingerprint), ec.ECDSA(hashes.SHA256()))


def verify_renewal(present: x509.Certificate, signature: bytes, *, site_id: str, serial: str, fingerprint: str) -> None:
    """Raise CertificateError ``signature_invalid`` unless the present key signed for exactly this new key."""
    present_key = present.public_key()
    if not isinstance(present_key, ec.EllipticCurvePublicKey):
        raise CertificateError("key_refused", f"certificate {serial} has no P-256 key")
    try:
        present_key.verify(signature, _renewal_bytes(site_id, serial, fingerprint), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        message = f"renewal of {site_id} is not signed by the key of certificate {serial}"
        raise CertificateError("signature_invalid", message) from None


def _renewal_bytes(site_id: str, serial: str, fingerprint: str) -> bytes:
    # The new key is named under the signature: a captured renewal renews to the same key again, to no other.
    return b"\n".join((RENEWAL_CONTEXT, site_id.encode(), serial.encode(), fingerprint.encode()))
