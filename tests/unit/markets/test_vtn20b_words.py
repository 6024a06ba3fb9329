"""What our VTN writes, reads and connects to, without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from markets.openadr.addresses import AddressRefused
from markets.openadr.vtn20b.push import Networks
from markets.openadr.vtn20b.reading import duration_of
from markets.openadr.vtn20b.refusal import Refused
from markets.openadr.vtn20b.server import Door, ServerInvalid
from markets.openadr.vtn20b.service import VtnConfig
from markets.openadr.vtn20b.writing import MessageInvalid, duration_text, signed_object

MARKUP = "A&B <x> \"'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "PT1S"), (1.0, "PT1S"), (1.5, "PT2S"), (10.0, "PT10S"), (90.0, "PT1M30S"), (86_400.0, "P1D"), (0.0, "PT0S")],
)
def test_a_duration_is_whole_and_never_shorter(seconds: float, text: str):
    """openleadr writes P for 0.5 s, which no schema takes, and PT1S for 1.5 s."""
    assert duration_text(timedelta(seconds=seconds)) == text
    message = signed_object(
        "oadrCreatedPartyRegistration",
        response={"response_code": 200, "response_description": "OK", "request_id": "r"},
        vtn_id="V", profiles=[{"profile_name": "2.0b", "transports": [{"transport_name": "simpleHttp"}]}],
        requested_oadr_poll_freq=timedelta(seconds=seconds),
    )  # fmt: skip
    assert f">{text}</duration>".encode() in message


@pytest.mark.parametrize("raw", ["", "P", "-PT1S", "PT1.5S", "P9999Y", "PT99999999999S", "1 s"])
def test_a_duration_that_is_none_is_refused(raw: str):
    with pytest.raises(Refused, match="duration_invalid"):
        duration_of(raw)


def test_values_are_escaped():
    message = signed_object("oadrRequestReregistration", ven_id=MARKUP)
    assert b"A&amp;B &lt;x&gt;" in message


def test_what_no_xml_can_carry_is_told():
    with pytest.raises(MessageInvalid, match="oadrRequestReregistration"):
        signed_object("oadrRequestReregistration", ven_id="a\x00b")


def test_a_vtn_id_in_lower_case_is_refused():
    with pytest.raises(ValueError, match="VPP_OWN_VTN_ID is 'my-vtn'"):
        VtnConfig(vtn_id="my-vtn")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
def test_plain_is_for_loopback_alone(host: str):
    with pytest.raises(ServerInvalid, match=r"127\.0\.0\.1 only"):
        Door(host, 0)


class TestNetworks:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
            "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
            "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
        ],
    )  # fmt: skip
    def test_addresses_within_are_refused(self, address: str):
        with pytest.raises(AddressRefused):
            Networks().checked(address)

    def test_public_addresses_are_accepted(self):
        assert str(Networks().checked("93.184.216.34")) == "93.184.216.34"

    def test_a_named_network_is_accepted_and_no_other(self):
        networks = Networks.parsed("10.20.0.0/16, fd12::/16")
        assert str(networks.checked("10.20.3.4")) == "10.20.3.4"
        with pytest.raises(AddressRefused):
            networks.checked("10.21.0.1")

    def test_nonsense_is_told(self):
        with pytest.raises(ValueError, match="VPP_OWN_VTN_PUSH_NETWORKS"):
            Networks.parsed("10.0.0.0/33")
