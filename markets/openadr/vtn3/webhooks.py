"""One webhook call, to nobody but a host on the public Internet or in a network that the settings name.

A name is resolved once, every address of it is judged, and the connection goes to a judged address: what the name
resolves to a moment later does not matter. Redirects are not followed; answer and time are bounded.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from django.conf import settings

from markets.openadr.addresses import AddressRefused, IpAddress, IpNetwork, is_named, judged

CONNECT_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 10.0
"""From the first byte sent to the last one read."""
MAX_ANSWER_BYTES: Final = 16_384

Resolver = Callable[[str, int], list[str]]
SETTING: Final = "VPP_VTN_WEBHOOK_NETWORKS"


class CallFailed(Exception):
    """The client did not take it; told why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call goes: the address that was judged, and the name for TLS and the Host header."""

    parts: SplitResult
    host: str
    port: int
    address: str


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name as the machine's resolver tells them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CallFailed(f"{host} is not resolved: {error}") from None
    return [str(row[4][0]).partition("%")[0] for row in found]


def _networks() -> list[IpNetwork]:
    return [ipaddress.ip_network(text) for text in settings.VTN_WEBHOOK_NETWORKS]


def _is_named(address: IpAddress) -> bool:
    return is_named(address, _networks())


def judge(text: str) -> IpAddress:
    """Return an address that webhooks may go to; raise AddressRefused for any other."""
    return judged(text, _networks(), SETTING)


def _split(url: str) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressRefused(f"no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise AddressRefused("accepted: https://host[:port]/path, without a user")
    return parts, host, port or (443 if parts.scheme == "https" else 80)


def require_reachable(url: str) -> None:
    """Raise AddressRefused for an address that can be seen to be wrong without asking for its name."""
    parts, host, port = _split(url)
    try:
        # Numbers in every form that the resolver takes: 2130706433, 0x7f.1, 127.1.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        if host == "localhost" or host.endswith(".localhost"):
            raise AddressRefused("localhost is no public address") from None
        if parts.scheme == "http" and not settings.VTN_WEBHOOK_NETWORKS:
            raise AddressRefused("accepted: https") from None
        return
    for row in found:
        address = judge(str(row[4][0]).partition("%")[0])
        if parts.scheme == "http" and not _is_named(address):
            raise AddressRefused("accepted: https")


def place_of(url: str, resolver: Resolver = resolve) -> Place:
    """Return where a call to an address goes; raise AddressRefused when any address of its name is refused."""
    parts, host, port = _split(url)
    addresses = [judge(text) for text in resolver(host, port)]
    if not addresses:
        raise CallFailed(f"{host} has no address")
    if parts.scheme == "http" and not all(_is_named(address) for address in addresses):
        raise AddressRefused("accepted: https, or http within VPP_VTN_WEBHOOK_NETWORKS")
    return Place(parts, host, port, str(addresses[0]))


class _PinnedHttp(http.client.HTTPConnection):
    def __init__(self, place: Place, context: ssl.SSLContext | None) -> None:
        super().__init__(place.host, place.port, timeout=CONNECT_WITHIN_S)
        self._place = place
        self._context = context
        self.opened: socket.socket | None = None
        """The connection's socket for as long as the answer is read; ``sock`` goes once its header is there."""
        self.was_cut = False

    def connect(self) -> None:
        self.sock = socket.create_connection((self._place.address, self._place.port), timeout=CONNECT_WITHIN_S)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._place.host)
        self.opened = self.sock


def call(url: str, *, body: str = "", echo: str = "", bearer: str | None = None, resolver: Resolver = resolve) -> None:
    """Post a notification, or ask for the echo of a word; raise CallFailed or AddressRefused when it is not taken."""
    place = place_of(url, resolver)
    context = ssl.create_default_context() if place.parts.scheme == "https" else None
    connection = _PinnedHttp(place, context)
    headers = {"Content-Type": "application/json", "User-Agent": "open-vpp", "Connection": "close"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    path = place.parts.path or "/"
    query = [part for part in (place.parts.query, urlencode({"echo": echo}) if echo else "") if part]
    path += f"?{'&'.join(query)}" if query else ""
    # A client that sends a byte now and then would keep each read within its own time for ever.
    ending = threading.Timer(ANSWER_WITHIN_S, _cut, [connection])
    ending.daemon = True
    ending.start()
    try:
        connection.request("GET" if echo else "POST", path, None if echo else body.encode(), headers)
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CallFailed(f"{type(error).__name__}: {str(error)[:120]}") from None
    finally:
        ending.cancel()
        connection.close()
    if connection.was_cut:
        raise CallFailed(f"no whole answer within {ANSWER_WITHIN_S:g} s")
    if not 200 <= answer.status < 300:
        raise CallFailed(f"answered {answer.status}")
    if echo and (answer.status != 200 or echo.encode() not in text):
        raise CallFailed("the address did not echo the word")


def _cut(connection: _PinnedHttp) -> None:
    connection.was_cut = True
    if connection.opened is not None:
        with contextlib.suppress(OSError):
            connection.opened.shutdown(socket.SHUT_RDWR)
