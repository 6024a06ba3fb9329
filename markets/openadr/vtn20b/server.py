"""The HTTP side of our VTN: its own mutual TLS, limits, identity, signatures, replays; answers from service.

One process, one event loop, and one thread for the database. What a VEN is told was stored before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from asyncio import sslproto
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web
from django.db import DatabaseError, close_old_connections

from markets.openadr.vtn20b import operations, queries, service
from markets.openadr.vtn20b.models import DownstreamVen
from markets.openadr.vtn20b.queries import KnownVen
from markets.openadr.vtn20b.reading import MAX_MESSAGE_BYTES, Message, read, text
from markets.openadr.vtn20b.refusal import INVALID_ID, NOT_AUTHORIZED, Refused, ReregistrationWanted
from markets.openadr.vtn20b.service import VtnConfig
from markets.openadr.vtn20b.writing import response_object
from markets.openadr.vtn20b.xmldsig import Signed, Signer, fingerprint_of_der, unsigned_payload, verified

log = logging.getLogger(__name__)
logging.getLogger("openleadr").setLevel(logging.WARNING)
T = TypeVar("T")

PATH: Final = "/OpenADR2/Simple/2.0b"
REPLAY_WINDOW: Final = timedelta(seconds=5)
"""How far a message's timestamp may be from now; its nonce is kept as long."""
BODY_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.2
"""The database is asked so often for what other processes changed: events of the desk, VENs."""
NOTE_EVERY_S: Final = 5.0
PRUNE_EVERY_S: Final = 600.0
KEEP_VALUES: Final = timedelta(days=90)
TLS_BUFFER_BYTES: Final = 16 * 1024
"""A TLS record's greatest length; asyncio keeps 256 KiB for each connection."""


class ServerInvalid(ValueError):
    """Settings that nothing is served with; the message names the setting."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a VTN listens, and with which certificate; without one it is plain and on 127.0.0.1 alone."""

    host: str
    port: int
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def __post_init__(self) -> None:
        given = {"VPP_OWN_VTN_CERT": self.cert, "VPP_OWN_VTN_KEY": self.key, "VPP_OWN_VTN_CA": self.ca}
        if any(path is not None for path in given.values()):
            for name, path in given.items():
                if path is None or not path.is_file():
                    raise ServerInvalid(f"{name} is {str(path)!r}, accepted: a PEM file")
        elif self.host != "127.0.0.1":
            raise ServerInvalid(f"plain HTTP on {self.host}, accepted: 127.0.0.1 only")

    @property
    def is_secure(self) -> bool:
        """Tell whether it is mutual TLS."""
        return self.cert is not None

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context: a peer without a certificate of our authority gets no connection."""
        if self.cert is None or self.key is None or self.ca is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert, self.key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def spare_tls_buffers() -> None:
    """Let each TLS connection of this process keep 16 KiB for incoming data instead of 256 KiB.

    A process of its own calls it once, before it listens: asyncio has no setting for it.
    """
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES


class Nonces:
    """Signed messages taken within the window; each is in the database before its message counts."""

    def __init__(self, run: Callable[[Callable[[], None]], Any]) -> None:
        self._run = run
        self._seen: dict[str, float] = {}
        self._waiting: list[tuple[str, float, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._swept_s = 0.0

    def load(self, nonces: list[tuple[str, float]]) -> None:
        """Take over what a process before this one has seen."""
        self._seen.update(nonces)

    async def take(self, ven: KnownVen, signed: Signed, at: datetime) -> None:
        """Take a message's nonce; raises Refused for one outside the window or seen before.

        Messages that come together are written together: one transaction for as many as wait.
        """
        if abs(at - signed.signed_at) > REPLAY_WINDOW:
            off_s = (at - signed.signed_at).total_seconds()
            raise _replay("replay_outside_window", f"signed {off_s:.1f} s ago, accepted: 5 s; check the clock")
        digest = hashlib.sha256(f"{ven.fingerprint}|{signed.signed_at.isoformat()}|{signed.nonce}".encode()).hexdigest()
        if digest in self._seen:
            raise _replay("replay_repeated", "this message was taken before")
        expires_s = (signed.signed_at + REPLAY_WINDOW).timestamp() + 1.0
        self._seen[digest] = expires_s
        self._sweep(at.timestamp())
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, expires_s, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await stored

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            rows = [(digest, expires_s) for digest, expires_s, _ in batch]
            try:
                await self._run(lambda rows=rows: operations.use_nonces(nonces=rows))  # type: ignore[misc]
            # Whatever it was, these messages are not taken; their senders are told so.
            except Exception as error:  # noqa: BLE001
                for digest, _, stored in batch:
                    self._seen.pop(digest, None)
                    if not stored.done():
                        stored.set_exception(error)
            else:
                for _, _, stored in batch:
                    if not stored.done():
                        stored.set_result(None)

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s > 1.0:
            self._swept_s = now_s
            self._seen = {digest: expires_s for digest, expires_s in self._seen.items() if expires_s >= now_s}


class Vtn:
    """One VTN; several may live in one process, each with its own door, key and name."""

    def __init__(self, config: VtnConfig, door: Door, *, path: str = PATH) -> None:
        self.config = config
        self.door = door
        self.path = path
        self.fault = "not started yet"
        """Why the database could not be asked last; empty when all is well."""
        self._signer = None
        if door.cert is not None and door.key is not None:
            self._signer = Signer(key_pem=door.key.read_bytes(), certificate_pem=door.cert.read_bytes())
        self._database = ThreadPoolExecutor(1, thread_name_prefix="vtn-database")
        self._nonces = Nonces(self.in_database)
        self._by_fingerprint: dict[str, KnownVen] = {}
        self._by_id: dict[str, KnownVen] = {}
        self._by_name: dict[str, KnownVen] = {}
        self._mark: Any = None
        self.due: set[int] = set()
        self._heard: dict[int, datetime] = {}
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the state and listen."""
        self._nonces.load(await self.in_database(lambda: queries.used_nonces(at=_now())))
        await self._look()
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES, handler_args={"auto_decompress": False})
        app.router.add_post(f"{self.path}/{{service}}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.door.host, self.door.port, ssl_context=self.door.context())
        await site.start()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._keep_up())]
        log.info("vtn20b.ready vtn_id=%s url=%s vens=%d", self.config.vtn_id, self.url, len(self._by_id))

    @property
    def url(self) -> str:
        """What a VEN is given as the VTN's URL."""
        if self._runner is None:
            raise RuntimeError("the VTN is not started")
        host, port = self._runner.addresses[0][:2]
        return f"{'https' if self.door.is_secure else 'http'}://{host}:{port}{self.path}"

    async def stop(self) -> None:
        """Take no more messages and write what is held."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._note_heard()
        await self.in_database(close_old_connections)
        self._database.shutdown()

    async def in_database(self, work: Callable[[], T]) -> T:
        """Run in the database's thread, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._database, work)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except DatabaseError as error:
                self.fault = f"the database does not answer: {type(error).__name__}"
                log.warning("vtn20b.database_away error=%s", error)
                await self.in_database(close_old_connections)

    async def _look(self) -> None:
        mark = await self.in_database(queries.vens_mark)
        if mark != self._mark:
            self._learn(await self.in_database(queries.known_vens))
            self._mark = mark
        self.due = await self.in_database(lambda: queries.due_vens(at=_now()))
        self.fault = ""

    def _learn(self, vens: list[KnownVen]) -> None:
        self._by_fingerprint = {ven.fingerprint: ven for ven in vens if ven.fingerprint}
        self._by_id = {ven.ven_id: ven for ven in vens}
        self._by_name = {ven.ven_name: ven for ven in vens}

    @property
    def pushed_to(self) -> list[KnownVen]:
        """Registered VENs that something waits for and that want it pushed."""
        return [ven for ven in self._by_id.values() if ven.push_url and ven.registration_id and ven.pk in self.due]

    async def _keep_up(self) -> None:
        pruned_s = 0.0
        while True:
            await asyncio.sleep(NOTE_EVERY_S)
            try:
                await self._note_heard()
                if time.monotonic() - pruned_s > PRUNE_EVERY_S:
                    pruned_s = time.monotonic()
                    await self.in_database(lambda: operations.prune(at=_now(), keep_values=KEEP_VALUES))
            except DatabaseError as error:
                log.warning("vtn20b.database_away error=%s", error)

    async def _note_heard(self) -> None:
        heard, self._heard = self._heard, {}
        if heard:
            await self.in_database(lambda: operations.note_heard(heard=heard))

    # --- one message ------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.Response:
        at = _now()
        ven: KnownVen | None = None
        message: Message | None = None
        try:
            named = request.match_info["service"]
            if named not in service.SERVICES:
                raise Refused("wrong_endpoint", f"accepted: {', '.join(service.SERVICES)}", status=404)
            ven = self._peer(request)
            content = await _body(request)
            message = read(content)
            ven = await self._proven(ven, message, at)
            self._heard[ven.pk] = at
            if message.kind == "oadrPoll" and named == "OadrPoll" and ven.registration_id and ven.pk not in self.due:
                # Nothing waits for it: the index says so, a fifth of a second old at most.
                return self._sent(ven, service.nothing(ven))
            answered, changed = await self._answer(ven, message, named, at)
            if changed is not None:
                ven = changed
            return self._sent(ven, answered)
        except ReregistrationWanted as wanted:
            return self._sent(ven, service.reregistration(wanted.ven_id))
        except Refused as refused:
            log.warning(
                "vtn20b.refused name=%s ven=%s peer=%s detail=%s",
                refused.name, ven.ven_name if ven else "-", request.remote, refused.detail[:300],
            )  # fmt: skip
            return self._refusal(refused, ven, message)
        except DatabaseError as error:
            self.fault = f"the database does not answer: {type(error).__name__}"
            log.warning("vtn20b.database_away error=%s", error)
            await self.in_database(close_old_connections)
            return web.Response(status=503, text="not_stored: try again\n", headers={"Retry-After": "5"})

    def _peer(self, request: web.Request) -> KnownVen | None:
        """Return whose certificate the TLS connection has; None on a plain door."""
        if not self.door.is_secure:
            return None
        # From the connection itself and never from a header: there is no proxy to believe.
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if not certificate:
            raise Refused("certificate_missing", "accepted: mutual TLS", code=NOT_AUTHORIZED, status=403)
        ven = self.owner(certificate)
        if ven is None:
            detail = f"fingerprint {fingerprint_of_der(certificate)} is not registered with this VTN"
            raise Refused("certificate_unknown", detail, code=NOT_AUTHORIZED)
        return ven

    def owner(self, certificate: bytes) -> KnownVen | None:
        """Return the VEN that a certificate [DER] was registered for."""
        ven = self._by_fingerprint.get(fingerprint_of_der(certificate))
        if ven is None or ven.security == DownstreamVen.Security.OPEN:
            return None
        if ven.certificate_sha256 and hashlib.sha256(certificate).hexdigest() != ven.certificate_sha256:
            return None
        return ven

    async def _proven(self, peer: KnownVen | None, message: Message, at: datetime) -> KnownVen:
        """Return the VEN whose message it is; raises Refused when that is not proven."""
        if peer is None:
            return self._open_one(message)
        if message.payload[0] is not message.payload[-1]:
            signed = verified(message.payload)
            owner = self.owner(signed.certificate)
            if owner is None or owner.pk != peer.pk:
                detail = f"certificate {fingerprint_of_der(signed.certificate)} is not the one of the connection"
                raise Refused("signature_of_another", detail, code=NOT_AUTHORIZED)
            await self._nonces.take(peer, signed, at)
        elif peer.security == DownstreamVen.Security.SIGNED:
            raise Refused("signature_missing", "this VEN's messages are signed", code=NOT_AUTHORIZED)
        self._require_own_id(peer, message)
        return peer

    def _require_own_id(self, peer: KnownVen, message: Message) -> None:
        named = message.ven_id
        if not named or named == peer.ven_id or message.kind == "oadrCreatePartyRegistration":
            # A VEN that registers may still have the id of another time; it gets its own.
            if named in self._by_id and named != peer.ven_id:
                raise Refused("ven_id_not_yours", f"venID {named!r}", code=NOT_AUTHORIZED)
            return
        if named in self._by_id:
            raise Refused("ven_id_not_yours", f"venID {named!r}", code=NOT_AUTHORIZED)
        raise ReregistrationWanted(named)

    def _open_one(self, message: Message) -> KnownVen:
        """Return the VEN of a message on a plain door: only one that was set up for that."""
        if message.kind == "oadrCreatePartyRegistration":
            ven = self._by_name.get(text(message.body, "oadr:oadrVenName"))
        else:
            ven = self._by_id.get(message.ven_id)
            if message.kind == "oadrQueryRegistration":
                ven = _nobody()
        if ven is None and message.kind == "oadrCreatePartyRegistration":
            raise Refused("ven_unknown", "this oadrVenName is not registered with this VTN", code=INVALID_ID)
        if ven is None:
            raise ReregistrationWanted(message.ven_id)
        if ven.security != DownstreamVen.Security.OPEN:
            raise Refused(
                "certificate_missing", "this VEN has a certificate; accepted: mutual TLS", code=NOT_AUTHORIZED
            )
        return ven

    async def _answer(self, ven: KnownVen, message: Message, named: str, at: datetime) -> tuple[bytes, KnownVen | None]:
        def work() -> tuple[bytes, KnownVen | None, set[int]]:
            answered = service.answer(self.config, ven, message, named, at)
            changed = queries.known_ven(ven_pk=ven.pk) if named == "EiRegisterParty" else None
            return answered, changed, queries.due_vens(at=at)

        answered, changed, self.due = await self.in_database(work)
        if changed is not None:
            for index, key in ((self._by_id, changed.ven_id), (self._by_name, changed.ven_name)):
                index[key] = changed
            if changed.fingerprint:
                self._by_fingerprint[changed.fingerprint] = changed
        return answered, changed

    def _refusal(self, refused: Refused, ven: KnownVen | None, message: Message | None) -> web.Response:
        if refused.status != 200:
            return web.Response(status=refused.status, text=f"{refused}\n")
        answer = response_object(
            code=refused.code,
            description=_printable(str(refused))[:200],
            request_id=_request_id(message),
            ven_id=ven.ven_id if ven else "",
        )
        return self._sent(ven, answer)

    def _sent(self, ven: KnownVen | None, signed_object: bytes) -> web.Response:
        return web.Response(body=self.payload(ven, signed_object), content_type="application/xml")

    def payload(self, ven: KnownVen | None, signed_object: bytes) -> bytes:
        """Return the message for a VEN, signed where it wants that."""
        if self._signer is None or (ven is not None and ven.security != DownstreamVen.Security.SIGNED):
            return unsigned_payload(signed_object)
        return self._signer.signed_payload(signed_object, at=_now())


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/xml":
        raise Refused("content_type_refused", f"{request.content_type}, accepted: application/xml", status=415)
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused("content_encoding_refused", "accepted: none", status=415)
    if (request.content_length or 0) > MAX_MESSAGE_BYTES:
        raise Refused("message_too_large", f"accepted: {MAX_MESSAGE_BYTES} bytes", status=413)
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused("message_too_large", f"accepted: {MAX_MESSAGE_BYTES} bytes", status=413) from None
    except TimeoutError:
        raise Refused("message_too_slow", f"accepted: whole within {BODY_WITHIN_S:g} s", status=408) from None


def _request_id(message: Message | None) -> str:
    try:
        return message.request_id if message else ""
    except Refused:
        return ""


def _printable(value: str) -> str:
    return "".join(character if character.isprintable() else " " for character in value)


def _nobody() -> KnownVen:
    """The asker of a query on a plain door, who need not be registered and is told of no registration."""
    return KnownVen(0, "", "", DownstreamVen.Security.OPEN, None, "", "", "")


def _replay(name: str, detail: str) -> Refused:
    return Refused(name, detail, code=NOT_AUTHORIZED)


def _now() -> datetime:
    return datetime.now(UTC)
