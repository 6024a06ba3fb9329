"""Messages of the VTN that are refused by name before anything of them is used."""

from __future__ import annotations

import pytest

from markets.openadr.ven20b import (
    MAX_MESSAGE_BYTES,
    ConfigurationInvalid,
    MessageRefused,
    VenConfig,
    read_message,
)

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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vtn_url": ""}, "VPP_VTN_URL"),
        ({"vtn_url": "ftp://x"}, "VPP_VTN_URL"),
        ({"vtn_url": "http://grid.example/OpenADR2"}, "VPP_VTN_URL"),
        ({"vtn_url": "https://grid.example/OpenADR2"}, "VPP_VEN_CERT"),
        ({"vtn_url": "https://grid.example/OpenADR2", "cert": __file__, "key": __file__}, "VPP_VEN_CA"),
        (
            {"vtn_url": "https://grid.example/OpenADR2", "cert": __file__, "key": __file__, "ca": __file__},
            "VPP_VTN_FINGERPRINT",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_named(changes, named):
    with pytest.raises(ConfigurationInvalid, match=named):
        VenConfig(**{"vtn_url": "http://127.0.0.1:1/x", "ven_name": "v", **changes})
