"""Signatures of our VTN against openleadr's, and against who would wrap or change them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from openleadr.messaging import create_message, validate_xml_schema, validate_xml_signature

from markets.openadr.certificates import make_openadr_certificates
from markets.openadr.vtn20b.refusal import Refused
from markets.openadr.vtn20b.xmldsig import (
    OADR,
    KeyInvalid,
    Signer,
    fingerprint_of_der,
    unsigned_payload,
    verified,
)
from sites.core.certificate_parts import begun_certificate, named

AT = datetime.now(UTC)
POLL = (
    f'<oadr:oadrSignedObject xmlns:oadr="{OADR}" oadr:Id="oadrSignedObject"><oadr:oadrPoll '
    'xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110" ei:schemaVersion="2.0b">'
    "<ei:venID>v1</ei:venID></oadr:oadrPoll></oadr:oadrSignedObject>"
).encode()


@cache
def p256() -> tuple[bytes, bytes]:
    ven = make_openadr_certificates(Path(mkdtemp()), at=AT).ven
    return ven.key.read_bytes(), ven.cert.read_bytes()


def credential(key) -> tuple[bytes, bytes]:
    name = named("v")
    certificate = begun_certificate(name, name, key.public_key(), at=AT, valid_for=timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, certificate.public_bytes(serialization.Encoding.PEM)


@cache
def rsa_2048() -> tuple[bytes, bytes]:
    return credential(rsa.generate_private_key(65537, 2048))


KINDS = pytest.mark.parametrize("kind", [p256, rsa_2048], ids=["P-256", "RSA"])


def fingerprint(pem: bytes) -> str:
    return fingerprint_of_der(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER))


def ours(kind=p256) -> bytes:
    key, certificate = kind()
    return Signer(key_pem=key, certificate_pem=certificate).signed_payload(POLL, at=datetime.now(UTC))


def theirs(kind=p256) -> bytes:
    key, certificate = kind()
    return create_message("oadrPoll", cert=certificate, key=key, ven_id="v1").encode()


def refused(message: bytes) -> str:
    with pytest.raises(Refused) as caught:
        verified(etree.fromstring(message))
    return caught.value.name


class TestWithOpenleadr:
    @KINDS
    def test_reads_ours(self, kind):
        validate_xml_signature(validate_xml_schema(ours(kind)), cert_fingerprint=fingerprint(kind()[1]))

    @KINDS
    def test_ours_reads_theirs(self, kind):
        signed = verified(etree.fromstring(theirs(kind)))
        assert fingerprint_of_der(signed.certificate) == fingerprint(kind()[1])
        assert abs(datetime.now(UTC) - signed.signed_at) < timedelta(seconds=30)
        assert re.fullmatch("[0-9a-f]{32}", signed.nonce)

    @KINDS
    def test_ours_reads_ours(self, kind):
        assert verified(etree.fromstring(ours(kind))).nonce


class TestRefuses:
    """Each with its name; what was sent is openleadr's own message, changed."""

    def test_a_changed_message(self):
        assert refused(theirs().replace(b"<ei:venID>v1<", b"<ei:venID>v2<")) == "signature_tampered"

    def test_a_changed_timestamp(self):
        changed = re.sub(rb"timestamp>20\d\d", b"timestamp>2039", theirs(), count=1)
        assert refused(changed) == "signature_tampered"

    def test_a_changed_signature_value(self):
        message = theirs()
        start = message.index(b"<ds:SignatureValue>") + 19
        swapped = message[start : start + 43] + (b"A" if message[start + 43 : start + 44] != b"A" else b"B")
        assert refused(message[:start] + swapped + message[start + 44 :]) == "signature_tampered"

    def test_no_signature(self):
        assert refused(unsigned_payload(POLL)) == "signature_missing"

    def test_anothers_certificate_over_the_same_signature(self):
        mine = etree.fromstring(theirs())
        path = ".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate"
        other = etree.fromstring(
            create_message(
                "oadrPoll", cert=credential(ec.generate_private_key(ec.SECP256R1()))[1], key=p256()[0], ven_id="v1"
            ).encode()
        )
        mine.find(path).text = other.find(path).text
        assert refused(etree.tostring(mine)) == "signature_tampered"

    def test_a_second_object_beside_the_signed_one(self):
        forged = POLL.replace(b"v1", b"v2")
        assert refused(theirs().replace(b"</oadr:oadrPayload>", forged + b"</oadr:oadrPayload>")) == "signature_missing"

    def test_the_signed_object_moved_into_the_signature(self):
        """The classic wrapping: the signed bytes stay in the message, and another object is read."""
        tree = etree.fromstring(theirs())
        signature, signed_object = tree
        holder = etree.SubElement(signature, "{http://www.w3.org/2000/09/xmldsig#}Object")
        holder.append(signed_object)
        tree.append(etree.fromstring(POLL.replace(b"v1", b"v2").replace(b'oadrSignedObject"', b'other"')))
        assert refused(etree.tostring(tree)) == "signature_wrapped"

    def test_two_elements_of_the_same_id(self):
        tree = etree.fromstring(theirs())
        tree[0].set("Id", "oadrSignedObject")
        assert refused(etree.tostring(tree)) == "signature_wrapped"

    @pytest.mark.parametrize(
        ("old", "new", "name"),
        [
            (b'URI="#oadrSignedObject"', b'URI=""', "signature_wrapped"),
            (b'URI="#oadrSignedObject"', b'URI="http://elsewhere.example/x"', "signature_wrapped"),
            (b'URI="#oadrSignedObject"', b'URI="#prop"', "signature_wrapped"),
            (
                b'<ds:Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>',
                b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>',
                "signature_transform_refused",
            ),
            (
                b'<ds:Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>',
                b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"/>',
                "signature_transform_refused",
            ),
            (b"xmlenc#sha256", b"xmldsig#sha1", "signature_method_refused"),
            (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#rsa-sha256", "signature_method_refused"),
            (b"dsp:ReplayProtect", b"dsp:Other", "signature_tampered"),
            (b"<ds:SignatureValue>", b"<ds:SignatureValue>!", "signature_incomplete"),
        ],
    )
    def test_what_is_not_on_the_list(self, old, new, name):
        message = theirs()
        assert old in message
        assert refused(message.replace(old, new)) == name

    def test_a_key_that_is_too_weak(self):
        key, certificate = credential(rsa.generate_private_key(65537, 1024))  # noqa: S505
        with pytest.raises(KeyInvalid, match="accepted: P-256"):
            Signer(key_pem=key, certificate_pem=certificate)

    def test_a_key_of_another_certificate(self):
        with pytest.raises(KeyInvalid, match="not the one"):
            Signer(key_pem=p256()[0], certificate_pem=rsa_2048()[1])


class TestParsesOnce:
    def test_an_rsa_key_is_not_parsed_for_each_message(self, monkeypatch):
        """openleadr parses the PEM twice for each message: 71 ms."""
        key, certificate = rsa_2048()
        signer = Signer(key_pem=key, certificate_pem=certificate)
        message = etree.fromstring(signer.signed_payload(POLL, at=AT))
        verified(message)

        def parsed_again(*_):
            raise AssertionError("parsed again")

        monkeypatch.setattr(serialization, "load_pem_private_key", parsed_again)
        monkeypatch.setattr(x509, "load_der_x509_certificate", parsed_again)
        signer.signed_payload(POLL, at=AT)
        assert verified(message).nonce
