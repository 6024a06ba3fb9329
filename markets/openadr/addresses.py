"""Where a peer may have us connect to: one judgment for pushes and webhooks of both protocols (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_EMBEDDING: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible (RFC 4291), withdrawn
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # NAT64 of a network's own (RFC 8215)
        "2001::/32",  # Teredo (RFC 4380)
        "2002::/16",  # 6to4 (RFC 3056)
    )
)
"""Addresses of IPv6 that lead to one of IPv4 behind a translator or tunnel: which, its operator decides."""


class AddressRefused(ValueError):
    """An address that nothing is sent to; the message says why."""


def judged(text: str, allowed: Iterable[IpNetwork], setting: str) -> IpAddress:
    """Return an address that may be connected to; raises AddressRefused.

    Private, loopback, link-local (cloud metadata), shared, reserved and multicast addresses are
    refused, and all that embed another in IPv6, unless a network of ``allowed`` (from ``setting``,
    which the message names) holds them. An IPv4 address mapped into IPv6 is that IPv4 address: there
    the machine itself is the translator.
    """
    address: IpAddress = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if is_named(address, allowed):
        return address
    embeds = any(address in network for network in _EMBEDDING if address.version == network.version)
    if not address.is_global or address.is_multicast or address.is_reserved or embeds:
        raise AddressRefused(f"{address} is no public address, and none of {setting}")
    return address


def is_named(address: IpAddress, allowed: Iterable[IpNetwork]) -> bool:
    """Tell whether one of the networks holds an address."""
    return any(address.version == network.version and address in network for network in allowed)
