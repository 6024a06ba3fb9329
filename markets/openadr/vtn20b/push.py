"""Pushes what waits to VENs that registered an address, and to no address that they should not name.

A VEN chooses where we connect to, so that address is foreign input: only HTTPS, only networks that are
allowed, the very address that was checked, no redirect, little time, little content.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.db import DatabaseError

from markets.openadr.addresses import AddressRefused, IpAddress, IpNetwork, judged
from markets.openadr.vtn20b import service
from markets.openadr.vtn20b.queries import KnownVen
from markets.openadr.vtn20b.server import Vtn

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.2
ANSWER_WITHIN_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 65_536
FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 300.0
TOGETHER: Final = 20
SETTING: Final = "VPP_OWN_VTN_PUSH_NETWORKS"


class PushFailed(Exception):
    """The VEN did not take what was pushed; worth trying again."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks beside the public internet that VENs may be in, such as ``10.20.0.0/16``."""

    allowed: tuple[IpNetwork, ...] = ()

    @classmethod
    def parsed(cls, text: str) -> Networks:
        """Read a list separated by commas; raises ValueError."""
        try:
            return cls(tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()))
        except ValueError as error:
            raise ValueError(f"{SETTING}: {error}, accepted: networks such as 10.20.0.0/16") from None

    def checked(self, text: str) -> IpAddress:
        """Return an address that may be connected to; raises AddressRefused."""
        return judged(text, self.allowed, SETTING)


class Pusher:
    """Posts to VENs that want it; a VEN that does not answer is tried again, ever more rarely."""

    def __init__(self, vtn: Vtn, networks: Networks) -> None:
        self._vtn = vtn
        self._networks = networks
        self._not_before: dict[int, float] = {}
        self._pauses: dict[int, float] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        limit = asyncio.Semaphore(TOGETHER)
        running: dict[int, asyncio.Task[None]] = {}
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = asyncio.get_running_loop().time()
            running = {ven_pk: task for ven_pk, task in running.items() if not task.done()}
            for ven in self._vtn.pushed_to:
                if ven.pk not in running and self._not_before.get(ven.pk, 0.0) <= now_s:
                    running[ven.pk] = asyncio.create_task(self._push(ven, limit))

    async def _push(self, ven: KnownVen, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self.push(ven)
            except (AddressRefused, PushFailed, TimeoutError, OSError, ValueError, DatabaseError) as error:
                pause_s = min(self._pauses.get(ven.pk, FIRST_PAUSE_S / 2) * 2.0, LAST_PAUSE_S)
                self._pauses[ven.pk] = pause_s
                self._not_before[ven.pk] = asyncio.get_running_loop().time() + pause_s
                log.warning("vtn20b.push_failed ven=%s retry_s=%g error=%s", ven.ven_name, pause_s, error)
            else:
                self._pauses.pop(ven.pk, None)

    async def push(self, ven: KnownVen) -> None:
        """Post what waits for one VEN; raises AddressRefused, or what the connection raises."""
        parts = urlsplit(ven.push_url)
        secure = self._vtn.door.is_secure
        if parts.scheme != ("https" if secure else "http") or not parts.hostname:
            raise AddressRefused(f"{ven.push_url!r}, accepted: {'https' if secure else 'http'}://host[:port][/path]")
        address = await self._address(parts.hostname, parts.port or (443 if secure else 80))
        at = datetime.now(UTC)
        content = await self._vtn.in_database(lambda: service.next_message(self._vtn.config, ven, "", at))
        named = service.service_of(content)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status = await self._post(ven, parts, address, named, self._vtn.payload(ven, content))
        if status != 200:
            raise PushFailed(f"HTTP status {status}")
        log.info("vtn20b.pushed ven=%s service=%s", ven.ven_name, named)

    async def _address(self, host: str, port: int) -> tuple[str, int]:
        """Resolve once and check every answer; what is returned is what is connected to."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        checked = [self._networks.checked(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
        return str(checked[0]), port

    async def _post(
        self, ven: KnownVen, parts: SplitResult, address: tuple[str, int], named: str, message: bytes
    ) -> int:
        # By hand: nothing is sent before the peer's certificate is known to be the VEN's own, no
        # redirect is followed, and of the answer only the status is read.
        context = self._context()
        reader, writer = await asyncio.open_connection(
            *address, ssl=context, server_hostname=parts.hostname if context else None, limit=MAX_ANSWER_BYTES
        )
        try:
            self._require_own_certificate(ven, writer)
            head = (
                f"POST {parts.path.rstrip('/')}/{named} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                f"Content-Type: application/xml\r\nContent-Length: {len(message)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("ascii") + message)
            await writer.drain()
            status = (await reader.readline()).split()
        finally:
            writer.close()
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
            raise PushFailed("the answer is no HTTP")
        return int(status[1])

    def _context(self) -> ssl.SSLContext | None:
        door = self._vtn.door
        if door.cert is None or door.key is None or door.ca is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(door.ca))
        # Whose certificate it is, its fingerprint tells.
        context.check_hostname = False
        context.load_cert_chain(door.cert, door.key)
        return context

    def _require_own_certificate(self, ven: KnownVen, writer: asyncio.StreamWriter) -> None:
        if not self._vtn.door.is_secure:
            return
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if self._vtn.owner(certificate) != ven:
            raise AddressRefused(f"{ven.push_url!r} is not served with the VEN's own certificate")
