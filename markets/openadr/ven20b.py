"""Our OpenADR 2.0b VEN: polls one VTN, hands every event to the operation, answers what was decided.

openleadr gives the messages, schema, signatures and session; the transport step is our own, because
its one drops errors, reads without limit and opts a whole batch out when one event fails.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError
from defusedxml.ElementTree import fromstring as parse_defused
from lxml import etree
from openleadr import OpenADRClient
from openleadr.messaging import parse_message, validate_xml_schema, validate_xml_signature

from sites.core import observe
from sites.observability import metrics

log = logging.getLogger(__name__)
# Set to INFO by openleadr's import, where it writes whole payloads.
logging.getLogger("openleadr").setLevel(logging.WARNING)

MAX_MESSAGE_BYTES: Final = 1_000_000
FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 60.0
RESYNC_EVERY: Final = 60
"""Polls between two full lists: a poll's answer that got lost is never sent again by the VTN."""


class ConfigurationInvalid(ValueError):
    """Settings that no connection can be made from; the message names the setting."""


class VtnUnreachable(Exception):
    """The VTN did not answer, or not as a VTN; worth trying again later."""


class MessageRefused(Exception):
    """A message of the VTN that we do not read."""

    def __init__(self, name: str, detail: str, raw: bytes) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.raw = raw


@dataclass(frozen=True, slots=True)
class VenConfig:
    """How to reach one VTN; checked when made."""

    vtn_url: str
    ven_name: str
    cert: str = ""
    key: str = ""
    ca: str = ""
    vtn_fingerprint: str = ""
    poll_s: float = 1.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.vtn_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationInvalid(f"VPP_VTN_URL is {self.vtn_url!r}, accepted: https://host:port/path")
        if parts.scheme == "http" and parts.hostname != "127.0.0.1":
            raise ConfigurationInvalid(f"VPP_VTN_URL is plain HTTP to {parts.hostname}, accepted: 127.0.0.1 only")
        if parts.scheme == "https":
            for name, value in (("VPP_VEN_CERT", self.cert), ("VPP_VEN_KEY", self.key), ("VPP_VEN_CA", self.ca)):
                if not Path(value).is_file():
                    raise ConfigurationInvalid(f"{name} is {value!r}, accepted: a PEM file, needed for https")
            if not self.vtn_fingerprint:
                raise ConfigurationInvalid("VPP_VTN_FINGERPRINT is not set; https needs it to check signatures")

    @property
    def is_secure(self) -> bool:
        """Tell whether the connection is mutual TLS with signed messages."""
        return self.vtn_url.startswith("https:")


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
            vtn_url=config.vtn_url,
            cert=config.cert if config.is_secure else None,
            key=config.key if config.is_secure else None,
            ca_file=config.ca if config.is_secure else None,
            vtn_fingerprint=config.vtn_fingerprint if config.is_secure else None,
            show_fingerprint=False,
        )
        self.last_raw = b""

    async def _perform_request(self, service: str, message: str) -> tuple[str | None, dict[str, Any]]:
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
        message = self._create_message(
            "oadrCreatedEvent",
            response={"response_code": 200, "response_description": "OK", "request_id": request_id},
            event_responses=responses,
            ven_id=ven_id,
        )
        await self._perform_request("EiEvent", message)


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


class VenLoop:
    """Register, list, poll, answer; away means retry with backoff, and then list everything again."""

    def __init__(self, config: VenConfig, callbacks: VenCallbacks, standing: Standing | None) -> None:
        self.config = config
        self.callbacks = callbacks
        self.standing = standing
        self._polls_since_list = RESYNC_EVERY
        self.fault = "not asked yet"
        """Why the last exchange with the VTN failed; empty when it went well."""

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set; a failure of the VTN or of our database never ends it."""
        client = VenClient(self.config)
        backoff_s, is_up = FIRST_BACKOFF_S, False
        try:
            while not stop.is_set():
                try:
                    await self.step(client)
                except MessageRefused as refused:
                    await self._refused(refused)
                    self._ended("refused", f"its message was refused: {refused.name}")
                    wait_s = self._wait_s()
                except VtnUnreachable as error:
                    log.warning(
                        "%s vtn=%s retry_s=%.1f error=%s", observe.LINK_DOWN, self.config.vtn_url, backoff_s, error
                    )
                    self._polls_since_list, is_up = RESYNC_EVERY, False
                    self._ended("unreachable", "the VTN does not answer")
                    # Spread, so that a thousand VENs do not come back in the same second.
                    wait_s = backoff_s * random.uniform(0.75, 1.25)  # noqa: S311
                    backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)
                # A decision that was not stored must not be answered: list and try again.
                except Exception:
                    log.exception("openadr.step_failed vtn=%s retry_s=%.1f", self.config.vtn_url, backoff_s)
                    self._polls_since_list = RESYNC_EVERY
                    self._ended("failed", "its answer could not be worked off; see the log")
                    wait_s = backoff_s
                    backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)
                else:
                    if not is_up:
                        log.info("%s vtn=%s", observe.LINK_UP, self.config.vtn_url)
                    is_up, backoff_s, wait_s = True, FIRST_BACKOFF_S, self._wait_s()
                    self._ended("good", "")
                await _wait(stop, wait_s)
        finally:
            await client.close()

    async def step(self, client: VenClient) -> None:
        """Do one exchange: register when unknown, ask for the whole list when due, else poll."""
        if self.standing is None:
            await self._register(client)
        if self.standing is None:
            raise VtnUnreachable(f"the VTN does not register {self.config.ven_name!r}")
        client.ven_id, client.registration_id = self.standing.ven_id, self.standing.registration_id
        if self._polls_since_list >= RESYNC_EVERY:
            # Counted as done only after the answers are out.
            kind, payload = await client.request_event()
        else:
            self._polls_since_list += 1
            kind, payload = await client.poll()
        if kind == "oadrRequestReregistration":
            log.warning("openadr.reregistration vtn=%s", self.config.vtn_url)
            self.standing, self._polls_since_list = None, RESYNC_EVERY
            await self._register(client)
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
            log.warning("openadr.message_ignored kind=%s", kind)
        if self._polls_since_list >= RESYNC_EVERY:
            self._polls_since_list = 0

    def _ended(self, outcome: str, fault: str) -> None:
        self.fault = fault
        metrics.OPENADR_EXCHANGES.labels(outcome).inc()
        metrics.OPENADR_REGISTERED.set(self.standing is not None)

    async def _register(self, client: VenClient) -> None:
        # A VTN that does not know us any more refuses the id that it once gave.
        client.ven_id, client.registration_id = None, None
        await client.create_party_registration(ven_id=None)
        if client.registration_id is None or client.ven_id is None:
            return
        asked_s = client.poll_frequency.total_seconds() if client.poll_frequency else 0.0
        self.standing = Standing(str(client.ven_id), str(client.registration_id), asked_s)
        await self.callbacks.keep_standing(self.standing)
        log.info("openadr.registered vtn=%s ven_id=%s poll_s=%g", self.config.vtn_url, client.ven_id, self._wait_s())

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


async def _wait(stop: asyncio.Event, wait_s: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), wait_s)
    except TimeoutError:
        return
