"""XML signatures of OpenADR 2.0b: detached, P-256 or RSA with SHA-256, keys parsed once.

What is signed is the message's oadrSignedObject and a ReplayProtect (timestamp and nonce). openleadr does
the same through signxml, which parses the PEM key twice for each message; this one writes the canonical
form itself and checks others' signatures against a short list of what is accepted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree

from markets.openadr.vtn20b.refusal import NOT_AUTHORIZED, Refused

OADR: Final = "http://openadr.org/oadr-2.0b/2012/07"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
DSP: Final = "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties"
EXCLUSIVE_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_IS_EXCLUSIVE: Final = {
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": False,
    # Differs from 1.0 only in xml: attributes, which no OpenADR message has.
    "http://www.w3.org/2006/12/xml-c14n11": False,
    EXCLUSIVE_C14N: True,
}
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
ECDSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
MIN_RSA_BITS: Final = 2048
_HEAD: Final = f'<?xml version="1.0" encoding="utf-8"?>\n<oadr:oadrPayload xmlns:oadr="{OADR}">'
_COORDINATE_BYTES: Final = 32
_KEPT_CERTIFICATES: Final = 10_000
_BLANK: Final = re.compile(r"\s+")

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature says."""

    certificate: bytes
    """DER of the certificate whose key signed; whose it is must be checked by the reader."""
    signed_at: datetime
    nonce: str


class KeyInvalid(ValueError):
    """A key or certificate that nothing is signed with; the message says what is accepted."""


class Signer:
    """Signs messages with one key, which is parsed once."""

    def __init__(self, *, key_pem: bytes, certificate_pem: bytes) -> None:
        try:
            key = serialization.load_pem_private_key(key_pem, None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except (ValueError, TypeError) as error:
            raise KeyInvalid(f"key or certificate: {error}, accepted: PEM without passphrase") from None
        _require_accepted(certificate.public_key())
        self._key: Any = key
        if key.public_key() != certificate.public_key():
            raise KeyInvalid("the key is not the one of the certificate")
        is_ec = isinstance(key, ec.EllipticCurvePrivateKey)
        self._sign = self._sign_ecdsa if is_ec else self._sign_rsa
        der = certificate.public_bytes(serialization.Encoding.DER)
        transform = f'<ds:Transform Algorithm="{EXCLUSIVE_C14N}"></ds:Transform>'
        reference = (
            '<ds:Reference URI="#{}">'
            f"<ds:Transforms>{transform}</ds:Transforms>"
            f'<ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
            "<ds:DigestValue>%s</ds:DigestValue></ds:Reference>"
        )
        # Written in canonical form, so that what is hashed is what is sent, byte for byte.
        self._signed_info = (
            f'<ds:SignedInfo xmlns:ds="{DS}">'
            f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{ECDSA_SHA256 if is_ec else RSA_SHA256}"></ds:SignatureMethod>'
            f"{reference.format('oadrSignedObject')}{reference.format('prop')}</ds:SignedInfo>"
        )
        self._head = f'{_HEAD}<ds:Signature xmlns:ds="{DS}">'
        self._key_info = (
            "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
            f"{base64.b64encode(der).decode()}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        )

    def signed_payload(self, signed_object: bytes, *, at: datetime) -> bytes:
        """Return the whole message for an oadrSignedObject in exclusive canonical form."""
        properties = (
            f'<ds:Object xmlns:ds="{DS}" Id="prop"><ds:SignatureProperties>'
            '<ds:SignatureProperty Id="myid" Target="#mytarget">'
            f'<dsp:ReplayProtect xmlns:dsp="{DSP}"><dsp:timestamp>{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'
            f"</dsp:timestamp><dsp:nonce>{secrets.token_hex(16)}</dsp:nonce></dsp:ReplayProtect>"
            "</ds:SignatureProperty></ds:SignatureProperties></ds:Object>"
        )
        signed_info = self._signed_info % (_digest(signed_object), _digest(properties.encode()))
        value = base64.b64encode(self._sign(signed_info.encode())).decode()
        signature = (
            f"{self._head}{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue>{self._key_info}{properties}"
            "</ds:Signature>"
        )
        return signature.encode() + signed_object + b"</oadr:oadrPayload>"

    def _sign_ecdsa(self, content: bytes) -> bytes:
        # XML signatures carry the two numbers side by side and not in ASN.1.
        r, s = decode_dss_signature(self._key.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def _sign_rsa(self, content: bytes) -> bytes:
        signature: bytes = self._key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        return signature


def unsigned_payload(signed_object: bytes) -> bytes:
    """Return the message for an oadrSignedObject without a signature."""
    return _HEAD.encode() + signed_object + b"</oadr:oadrPayload>"


def verified(payload: Any) -> Signed:
    """Check the signature of an oadrPayload element; raises Refused by name.

    Accepted is exactly: one Signature beside one oadrSignedObject, two references (that very object, and
    the ReplayProtect inside the signature), each canonicalised without comments and hashed with SHA-256.
    The element is compared by identity and not by its id: an object of the same id elsewhere is refused.
    """
    children = [child for child in payload if isinstance(child.tag, str)]
    if [child.tag for child in children] != [f"{{{DS}}}Signature", f"{{{OADR}}}oadrSignedObject"]:
        raise _invalid("signature_missing", "accepted: one Signature before one oadrSignedObject")
    signature, signed_object = children
    for tag in (f"{{{DS}}}Signature", f"{{{OADR}}}oadrSignedObject", f"{{{OADR}}}oadrPayload"):
        if sum(1 for _ in payload.iter(tag)) != 1:
            raise _invalid("signature_wrapped", f"more than one {tag.partition('}')[2]}")
    info = _one(signature, "SignedInfo")
    identified = _by_id(payload)
    references = [(one, _target(one, identified)) for one in info.iterfind(f"{{{DS}}}Reference")]
    others = [target for _, target in references if target is not signed_object]
    if len(references) != 2 or len(others) != 1:
        raise _invalid("signature_wrapped", "accepted: one reference to the signed object and one to its ReplayProtect")
    properties = others[0]
    if properties.getparent() is not signature or properties.tag != f"{{{DS}}}Object":
        raise _invalid("signature_wrapped", "a reference points to something else than this message's own parts")
    for reference, target in references:
        wanted = _base64(_text(_one(reference, "DigestValue")))
        if hashlib.sha256(_canonical(target, _transform(reference))).digest() != wanted:
            raise _invalid("signature_tampered", "what was signed is not what was sent")
    certificate = _base64(
        _text(_one(_one(_one(signature, "KeyInfo"), "X509Data", first=True), "X509Certificate", first=True))
    )
    method = _one(info, "SignatureMethod").get("Algorithm")
    content = _canonical(info, _algorithm(_one(info, "CanonicalizationMethod")))
    _check_value(certificate, method, content, _base64(_text(_one(signature, "SignatureValue"))))
    signed_at, nonce = _replay_protect(properties)
    return Signed(certificate, signed_at, nonce)


def fingerprint_of_der(certificate: bytes) -> str:
    """Return the OpenADR fingerprint: the last 10 bytes of the SHA-256 over the DER form."""
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(certificate).digest()[-10:])


@lru_cache(maxsize=_KEPT_CERTIFICATES)
def _public_key(certificate: bytes) -> PublicKey:
    try:
        return _require_accepted(x509.load_der_x509_certificate(certificate).public_key())
    except ValueError as error:
        raise _invalid("signature_certificate_invalid", str(error)) from None


def _require_accepted(key: Any) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise KeyInvalid(f"key is a {type(key).__name__}, accepted: P-256, or RSA of {MIN_RSA_BITS} bits and more")


def _check_value(certificate: bytes, method: str | None, content: bytes, value: bytes) -> None:
    key = _public_key(certificate)
    try:
        if isinstance(key, rsa.RSAPublicKey) and method == RSA_SHA256:
            key.verify(value, content, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and method == ECDSA_SHA256:
            if len(value) != 2 * _COORDINATE_BYTES:
                raise InvalidSignature
            r, s = (int.from_bytes(half, "big") for half in (value[:_COORDINATE_BYTES], value[_COORDINATE_BYTES:]))
            key.verify(encode_dss_signature(r, s), content, ec.ECDSA(hashes.SHA256()))
        else:
            raise _invalid("signature_method_refused", f"{method} with a {type(key).__name__}")
    except InvalidSignature:
        raise _invalid("signature_tampered", "its value does not belong to this content and certificate") from None


def _by_id(payload: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for element in payload.iter("{*}*"):
        for name, value in element.attrib.items():
            if name.rpartition("}")[2].lower() == "id":
                found.setdefault(value, []).append(element)
    return found


def _target(reference: Any, identified: dict[str, list[Any]]) -> Any:
    uri = reference.get("URI") or ""
    named = identified.get(uri[1:], []) if uri.startswith("#") else []
    if len(named) != 1:
        raise _invalid(
            "signature_wrapped", f"reference {uri!r} names {len(named)} elements, accepted: one of this message"
        )
    return named[0]


def _transform(reference: Any) -> bool:
    """Return whether the reference's one canonicalization is exclusive."""
    if _one(reference, "DigestMethod").get("Algorithm") != SHA256:
        raise _invalid("signature_method_refused", "digest, accepted: SHA-256")
    transforms = reference.findall(f"{{{DS}}}Transforms/{{{DS}}}Transform")
    if len(transforms) > 1:
        raise _invalid("signature_transform_refused", f"{len(transforms)} transforms, accepted: one canonicalization")
    # Without one the standard says: Canonical XML 1.0.
    return _algorithm(transforms[0]) if transforms else False


def _algorithm(element: Any) -> bool:
    name = element.get("Algorithm")
    if name not in _IS_EXCLUSIVE or len(element):
        raise _invalid("signature_transform_refused", f"{name}, accepted: canonicalization without comments or lists")
    return _IS_EXCLUSIVE[name]


def _canonical(element: Any, exclusive: bool) -> bytes:
    content: bytes = etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)
    return content


def _replay_protect(properties: Any) -> tuple[datetime, str]:
    found = list(properties.iter(f"{{{DSP}}}ReplayProtect"))
    if len(found) == 1:
        timestamp, nonce = found[0].find(f"{{{DSP}}}timestamp"), found[0].find(f"{{{DSP}}}nonce")
        if timestamp is not None and nonce is not None and 0 < len(_text(nonce)) <= 128:
            try:
                signed_at = datetime.fromisoformat(_text(timestamp))
            except ValueError:
                raise _invalid("replay_protect_invalid", f"timestamp {_text(timestamp)[:40]!r}") from None
            return (signed_at if signed_at.tzinfo else signed_at.replace(tzinfo=UTC)), _text(nonce)
    raise _invalid("replay_protect_missing", "accepted: one ReplayProtect with timestamp and nonce")


def _one(parent: Any, name: str, *, first: bool = False) -> Any:
    found: list[Any] = parent.findall(f"{{{DS}}}{name}")
    if len(found) != 1 and not (first and found):
        raise _invalid("signature_incomplete", f"{len(found)} elements {name}, accepted: one")
    return found[0]


def _text(element: Any) -> str:
    parts: Iterator[str] = element.itertext()
    return "".join(parts).strip()


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(_BLANK.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("signature_incomplete", "base64 is not readable") from None


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _invalid(name: str, detail: str) -> Refused:
    return Refused(name, detail, code=NOT_AUTHORIZED)
