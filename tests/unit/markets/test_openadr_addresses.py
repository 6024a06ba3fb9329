"""Where peers may have us connect to: public addresses in no disguise, and networks that are named."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.openadr.addresses import AddressRefused, judged

PRIVATE = [ipaddress.ip_network(text) for text in ("10.20.0.0/16", "fd12::/16")]


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_a_public_address_is_taken_and_a_mapped_one_is_that_of_ipv4(address):
    assert str(judged(address, [], "SETTING")) == address.removeprefix("::ffff:")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fe80::1", "fd00::1", "100.64.0.1", "0.0.0.0",  # noqa: S104
        "224.0.0.1", "ff02::1", "240.0.0.1", "::ffff:127.0.0.1", "::",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused_and_the_setting_named(address):
    with pytest.raises(AddressRefused, match="none of SETTING"):
        judged(address, PRIVATE, "SETTING")


@given(st.ip_addresses(v=4))
def test_no_address_of_ipv4_passes_inside_one_of_ipv6(inner):
    """Whatever it leads to, public or not: who translates it decides where it goes."""
    number = int(inner)
    for disguise in (
        number,
        (0xFFFF << 48) + number,
        (0x64FF9B << 96) + number,
        (0x64FF9B0001 << 80) + number,
        (0x20010000 << 96) + (number ^ 0xFFFFFFFF),
        (0x2002 << 112) + (number << 80),
    ):
        with pytest.raises(AddressRefused):
            judged(str(ipaddress.IPv6Address(disguise)), [], "SETTING")


def test_a_named_network_is_taken_and_its_neighbor_is_not():
    assert str(judged("10.20.3.4", PRIVATE, "SETTING")) == "10.20.3.4"
    assert str(judged("::ffff:10.20.3.4", PRIVATE, "SETTING")) == "10.20.3.4"
    assert str(judged("fd12::7", PRIVATE, "SETTING")) == "fd12::7"
    with pytest.raises(AddressRefused):
        judged("10.21.3.4", PRIVATE, "SETTING")
