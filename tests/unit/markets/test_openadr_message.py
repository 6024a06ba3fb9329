"""Messages of the VTN that are refused by name before anything of them is used."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime

import pytest
from lxml import etree
from openleadr.messaging import create_message

from markets.openadr.certificates import make_openadr_certificates
from markets.openadr.ven20b import MAX_MESSAGE_BYTES, MessageRefused, read_message

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><l>&c;</l>'
)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (BOMB, "xml_forbidden"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "xml_forbidden"),
        (b"", "xml_malformed"),
        (b"not xml", "xml_malformed"),
        (b"<open>", "xml_malformed"),
        (b"<x>\xff</x>", "xml_malformed"),
        (b'<?xml version="1.0" encoding="no-such-code"?><x/>', "xml_malformed"),
        (b"<x/>", "message_unreadable"),
        (b"<x>" + b" " * MAX_MESSAGE_BYTES + b"</x>", "message_too_large"),
    ],
    ids=["bomb", "external", "empty", "text", "open", "bytes", "encoding", "foreign", "large"],
)
def test_a_message_that_is_none_is_refused_by_name(content, name):
    with pytest.raises(MessageRefused) as refused:
        read_message(content)
    assert refused.value.name == name
    assert refused.value.raw == content


def test_an_unsigned_message_is_refused_where_signatures_are_due():
    with pytest.raises(MessageRefused) as refused:
        read_message(b"<x/>", vtn_fingerprint="00:11")
    assert refused.value.name == "signature_invalid"


class TestSigned:
    @pytest.fixture
    def signed(self, tmp_path):
        """Return a message that the VTN signed, and the VTN's fingerprint."""
        vtn = make_openadr_certificates(tmp_path, at=datetime.now(UTC)).vtn
        message = create_message(
            "oadrResponse", cert=vtn.cert.read_bytes(), key=vtn.key.read_bytes(),
            response={"response_code": 200, "response_description": "OK", "request_id": "r"}, ven_id="v",
        )  # fmt: skip
        return message.encode(), vtn.fingerprint

    def test_as_sent_it_is_read(self, signed):
        content, fingerprint = signed
        assert read_message(content, vtn_fingerprint=fingerprint)[0] == "oadrResponse"

    def test_sent_again_it_is_refused(self, signed):
        content, fingerprint = signed
        read_message(content, vtn_fingerprint=fingerprint)
        with pytest.raises(MessageRefused, match="already used"):
            read_message(content, vtn_fingerprint=fingerprint)

    def test_with_one_letter_changed_it_is_refused(self, signed):
        content, fingerprint = signed
        with pytest.raises(MessageRefused, match="signature_invalid"):
            read_message(content.replace(b">OK<", b">KO<"), vtn_fingerprint=fingerprint)

    def test_with_the_signature_taken_off_it_is_refused(self, signed):
        content, fingerprint = signed
        tree = etree.fromstring(content)
        tree.remove(tree.find("{http://www.w3.org/2000/09/xmldsig#}Signature"))
        with pytest.raises(MessageRefused, match="signature_invalid"):
            read_message(etree.tostring(tree), vtn_fingerprint=fingerprint)

    def test_with_a_signature_outside_its_schema_it_is_refused(self, signed):
        content, fingerprint = signed
        tree = etree.fromstring(content)
        etree.SubElement(tree.find("{http://www.w3.org/2000/09/xmldsig#}Signature"), "Object")
        with pytest.raises(MessageRefused, match="signature_invalid"):
            read_message(etree.tostring(tree), vtn_fingerprint=fingerprint)

    def test_with_another_object_beside_the_signed_one_it_is_refused(self, signed):
        content, fingerprint = signed
        tree = etree.fromstring(content)
        genuine = next(element for element in tree if element.tag.endswith("}oadrSignedObject"))
        forged = deepcopy(genuine)
        forged.attrib.clear()
        forged.find(".//{*}responseDescription").text = "forged"
        tree.append(forged)
        with pytest.raises(MessageRefused, match="2 elements oadrSignedObject, accepted: one"):
            read_message(etree.tostring(tree), vtn_fingerprint=fingerprint)
