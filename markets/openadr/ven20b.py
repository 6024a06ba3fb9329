"""Our OpenADR 2.0b VEN at one operator's VTN: polls it, hands every event to the operation, answers what was decided.

openleadr gives the messages' words, the schema and the check of signatures; writing, signing and the
transport step are our own, because its ones do not escape, parse the key for each message, drop errors,
read without limit and opt a whole batch out when one event fails.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError
from defusedxml.ElementTree import fromstring as parse_defused
from lxml import etree
from openleadr import OpenADRClient
from openleadr.messaging import parse_message, validate_xml_schema, validate_xml_signature
from openleadr.preflight import preflight_message

from markets.openadr.operators import VenConfig
from markets.openadr.ven_session import (
    FIRST_BACKOFF_S,
    LAST_BACKOFF_S,
    MessageRefused,
    VtnUnreachable,
    kept_running,
    wait_for_stop,
)
from markets.openadr.vtn20b.writing import signed_object
from markets.openadr.vtn20b.xmldsig import Signer, unsigned_payload
from sites.core import observe
from sites.observability import metrics

log = logging.getLogger(__name__)
# Set to INFO by openleadr's import, where it writes whole payloads.
logging.getLogger("openleadr").setLevel(logging.WARNING)

MAX_MESSAGE_BYTES: Final = 1_000_000
INVALID_ID: Final = 452
RESYNC_EVERY: Final = 60
"""Polls between two full lists: a poll's answer that got lost is never sent again by the VTN."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a registration gave us."""

    ven_id: str
    registration_id: str
    poll_s: float


@dataclass(frozen=True, slots=True)
class EventList:
    """One oadrDistributeEvent: the VTN's whole list of events."""

    vtn_id: str
    request_id: str
    events: list[dict[str, Any]]
    raw: bytes
    """The message as it came over the wire."""


class VenClient(OpenADRClient):  # type: ignore[misc]
    """openleadr's client with a transport step that limits, checks and never hides a failure."""

    client_session: Any

    def __init__(self, config: VenConfig) -> None:
        super().__init__(
            ven_name=config.ven_name,
            vtn_url=config.url,
            cert=config.cert if config.is_secure else None,
            key=config.key if config.is_secure else None,
            ca_file=config.ca if config.is_secure else None,
            vtn_fingerprint=config.vtn_fingerprint if config.is_secure else None,
            show_fingerprint=False,
        )
        self.last_raw = b""
        self.registered = asyncio.Event()
        """Set while the VTN knows us; services wait for it."""
        self._signer: Signer | None = None
        if config.is_secure:
            self._signer = Signer(key_pem=Path(config.key).read_bytes(), certificate_pem=Path(config.cert).read_bytes())
        self._create_message = self._written

    def _written(self, kind: str, **content: Any) -> bytes:
        """Return a whole message: values escaped, held against the schema, signed where that is due."""
        return self._sealed(signed_object(kind, **preflight_message(kind, content)))

    def _sealed(self, content: bytes) -> bytes:
        if self._signer is None:
            return unsigned_payload(content)
        return self._signer.signed_payload(content, at=datetime.now(UTC))

    async def exchange(self, service: str, kind: str, **content: Any) -> tuple[str | None, dict[str, Any]]:
        """Send a message of openleadr's words in our name and return type and payload of the answer.

        Raises VtnUnreachable, MessageRefused for an answer that is not read, MessageInvalid for a
        message outside the schema.
        """
        return await self._perform_request(service, self._written(kind, **{"ven_id": self.ven_id, **content}))

    async def exchange_object(self, service: str, content: bytes) -> tuple[str | None, dict[str, Any]]:
        """Send an oadrSignedObject in exclusive canonical form; otherwise as ``exchange``."""
        return await self._perform_request(service, self._sealed(content))

    async def _perform_request(self, service: str, message: bytes) -> tuple[str | None, dict[str, Any]]:
        await self._ensure_client_session()
        try:
            async with self.client_session.post(f"{self.vtn_url}/{service}", data=message) as response:
                content = await _limited(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise VtnUnreachable(f"{service}: {type(error).__name__}: {error}") from None
        if status != 200:
            raise VtnUnreachable(f"{service}: HTTP status {status}: {content[:200].decode(errors='replace')}")
        self.last_raw = content
        if not content:
            return None, {}
        return read_message(content, vtn_fingerprint=self.vtn_fingerprint)

    async def close(self) -> None:
        """Close the connection."""
        if self.client_session is not None:
            await self.client_session.close()
            self.client_session = None

    async def answer(self, ven_id: str, request_id: str, responses: list[dict[str, Any]]) -> None:
        """Send one oadrCreatedEvent for a list of events."""
        await self.exchange(
            "EiEvent",
            "oadrCreatedEvent",
            response={"response_code": 200, "response_description": "OK", "request_id": request_id},
            event_responses=responses,
            ven_id=ven_id,
        )


def read_message(content: bytes, *, vtn_fingerprint: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return type and payload of an OpenADR message; raises MessageRefused by name.

    No document type is accepted, so no entity is ever expanded. A message outside the schema is
    read all the same when its parts can be made out (VTNs in the field send such): the decision
    then names what is wrong with the event, and one bad event does not hold up the others.
    """
    if len(content) > MAX_MESSAGE_BYTES:
        raise MessageRefused("message_too_large", f"more than {MAX_MESSAGE_BYTES} bytes", content)
    try:
        parse_defused(content, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise MessageRefused("xml_forbidden", type(error).__name__, content) from None
    except (ParseError, ValueError, LookupError) as error:
        raise MessageRefused("xml_malformed", str(error), content) from None
    try:
        tree = validate_xml_schema(content)
    except etree.XMLSyntaxError as error:
        log.warning("openadr.schema_violated detail=%s", str(error)[:300])
        try:
            tree = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError as again:
            raise MessageRefused("xml_malformed", str(again), content) from None
    if vtn_fingerprint:
        try:
            validate_xml_signature(tree, cert_fingerprint=vtn_fingerprint)
            _require_one_signed_object(tree)
        # Schema, certificate and digest of foreign content fail in many ways; none of them is a signature.
        except Exception as error:  # noqa: BLE001
            raise MessageRefused("signature_invalid", f"{type(error).__name__}: {error}", content) from None
    try:
        kind, payload = parse_message(content)
    # The parser walks foreign content with no promise of what it raises; all of it is the message's fault.
    except Exception as error:  # noqa: BLE001
        raise MessageRefused("message_unreadable", f"{type(error).__name__}: {error}", content) from None
    if not isinstance(payload, dict):
        raise MessageRefused("message_unreadable", f"payload is a {type(payload).__name__}", content)
    return kind, payload


def _require_one_signed_object(tree: Any) -> None:
    """Raise ValueError unless what was signed is what will be read.

    The signature names its object by an id, the parser takes it by its place and local name: a message
    with a second object beside a signed one that was moved away would pass the one and feed the other.
    """
    names = [etree.QName(element).localname for element in tree.iter("{*}*")]
    for name in ("oadrPayload", "oadrSignedObject", "Signature"):
        if names.count(name) != 1:
            raise ValueError(f"{names.count(name)} elements {name}, accepted: one")


@dataclass
class VenCallbacks:
    """What the shell around the loop does; each is awaited."""

    decide: Callable[[EventList], Awaitable[list[dict[str, Any]]]]
    """Store and decide all events; returns the responses to send."""
    keep_standing: Callable[[Standing], Awaitable[None]]
    refuse: Callable[[MessageRefused], Awaitable[None]]
    """Keep a message that could not be read."""


class VenService(Protocol):
    """What is spoken with the VTN beside events over the same session: reports, opt schedules."""

    kinds: frozenset[str]
    """Messages that come with a poll and are this service's."""

    async def take(self, client: VenClient, kind: str, payload: dict[str, Any]) -> None:
        """Work off one of these messages."""

    async def run(self, client: VenClient, stop: asyncio.Event) -> None:
        """Send what is due until ``stop`` is set, whenever ``client.registered`` is; started again when it fails."""


class VenLoop:
    """Register, list, poll, answer; away means retry with backoff, and then list everything again."""

    def __init__(
        self,
        config: VenConfig,
        callbacks: VenCallbacks,
        standing: Standing | None,
        services: Sequence[VenService] = (),
    ) -> None:
        self.config = config
        self.callbacks = callbacks
        self.standing = standing
        self.services = services
        self._polls_since_list = RESYNC_EVERY
        self.fault = "not asked yet"
        """Why the last exchange with the VTN failed; empty when it went well."""

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set; a failure of the VTN or of our database never ends it."""
        client = VenClient(self.config)
        beside = [
            asyncio.create_task(kept_running(self.config.operator, service, client, stop)) for service in self.services
        ]
        try:
            await self._exchange_until(stop, client)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await client.close()

    async def _exchange_until(self, stop: asyncio.Event, client: VenClient) -> None:
        backoff_s, is_up = FIRST_BACKOFF_S, False
        while not stop.is_set():
            try:
                await self.step(client)
            except MessageRefused as refused:
                await self._refused(refused)
                self._ended("refused", f"its message was refused: {refused.name}")
                wait_s = self._wait_s()
            except VtnUnreachable as error:
                log.warning("%s %s retry_s=%.1f error=%s", observe.LINK_DOWN, self._where, backoff_s, error)
                self._polls_since_list, is_up = RESYNC_EVERY, False
                self._ended("unreachable", "the VTN does not answer")
                # Spread, so that a thousand VENs do not come back in the same second.
                wait_s = backoff_s * random.uniform(0.75, 1.25)  # noqa: S311
                backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)
            # A decision that was not stored must not be answered: list and try again.
            except Exception:
                log.exception("openadr.step_failed %s retry_s=%.1f", self._where, backoff_s)
                self._polls_since_list = RESYNC_EVERY
                self._ended("failed", "its answer could not be worked off; see the log")
                wait_s = backoff_s
                backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)
            else:
                if not is_up:
                    log.info("%s %s", observe.LINK_UP, self._where)
                is_up, backoff_s, wait_s = True, FIRST_BACKOFF_S, self._wait_s()
                self._ended("good", "")
            if self.standing is None:
                client.registered.clear()
            await wait_for_stop(stop, wait_s)

    async def step(self, client: VenClient) -> None:
        """Do one exchange: register when unknown, ask for the whole list when due, else poll."""
        if self.standing is None:
            await self._register(client)
        if self.standing is None:
            raise VtnUnreachable(f"the VTN does not register {self.config.ven_name!r}")
        client.ven_id, client.registration_id = self.standing.ven_id, self.standing.registration_id
        client.registered.set()
        if self._polls_since_list >= RESYNC_EVERY:
            # Counted as done only after the answers are out.
            kind, payload = await client.request_event()
        else:
            self._polls_since_list += 1
            kind, payload = await client.poll()
        if kind == "oadrRequestReregistration":
            log.warning("openadr.reregistration %s", self._where)
            await self._register_anew(client)
            return
        if kind == "oadrCancelPartyRegistration":
            await self._end_registration(client, self.standing, payload)
            return
        if kind == "oadrDistributeEvent":
            raw = client.last_raw
            listed = EventList(
                vtn_id=str(payload.get("vtn_id") or ""),
                request_id=str(payload.get("request_id") or ""),
                events=_events(payload),
                raw=raw,
            )
            responses = await self.callbacks.decide(listed)
            if responses:
                await client.answer(self.standing.ven_id, listed.request_id, responses)
        elif kind not in ("oadrResponse", None):
            await self._hand_over(client, kind, payload)
        if self._polls_since_list >= RESYNC_EVERY:
            self._polls_since_list = 0

    def _ended(self, outcome: str, fault: str) -> None:
        self.fault = fault
        metrics.OPENADR_EXCHANGES.labels(self.config.operator, outcome).inc()
        metrics.OPENADR_REGISTERED.labels(self.config.operator).set(self.standing is not None)

    @property
    def _where(self) -> str:
        return f"operator={self.config.operator} vtn={self.config.url}"

    async def _hand_over(self, client: VenClient, kind: str, payload: dict[str, Any]) -> None:
        for service in self.services:
            if kind in service.kinds:
                await service.take(client, kind, payload)
                return
        log.warning("openadr.message_ignored %s kind=%s", self._where, kind)

    async def _register_anew(self, client: VenClient) -> None:
        self.standing, self._polls_since_list = None, RESYNC_EVERY
        client.registered.clear()
        await self._register(client)

    async def _end_registration(self, client: VenClient, standing: Standing, payload: dict[str, Any]) -> None:
        """Answer the VTN that ends our registration; another's id is answered 452 and changes nothing."""
        named = payload.get("registration_id")
        is_ours = named in (None, standing.registration_id)
        log.warning("openadr.registration_ended %s is_ours=%s", self._where, is_ours)
        await client.exchange(
            "EiRegisterParty",
            "oadrCanceledPartyRegistration",
            response={
                "response_code": 200 if is_ours else INVALID_ID,
                "response_description": "OK" if is_ours else "registration_unknown",
                "request_id": str(payload.get("request_id") or ""),
            },
            registration_id=standing.registration_id,
        )
        if is_ours:
            await self._register_anew(client)

    async def _register(self, client: VenClient) -> None:
        # A VTN that does not know us any more refuses the id that it once gave.
        client.ven_id, client.registration_id = None, None
        await client.create_party_registration(ven_id=None)
        if client.registration_id is None or client.ven_id is None:
            return
        asked_s = client.poll_frequency.total_seconds() if client.poll_frequency else 0.0
        self.standing = Standing(str(client.ven_id), str(client.registration_id), asked_s)
        await self.callbacks.keep_standing(self.standing)
        log.info("openadr.registered %s ven_id=%s poll_s=%g", self._where, client.ven_id, self._wait_s())

    async def _refused(self, refused: MessageRefused) -> None:
        self._polls_since_list = min(self._polls_since_list + 1, RESYNC_EVERY - 1)
        await self.callbacks.refuse(refused)

    def _wait_s(self) -> float:
        # Not more often than the VTN asked for.
        return max(self.config.poll_s, self.standing.poll_s if self.standing else 0.0)


def _events(payload: dict[str, Any]) -> list[dict[str, Any]]:
    events = payload.get("events")
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        content += chunk
        if len(content) > MAX_MESSAGE_BYTES:
            response.close()
            raise MessageRefused("message_too_large", f"more than {MAX_MESSAGE_BYTES} bytes", bytes(content))
    return bytes(content)
