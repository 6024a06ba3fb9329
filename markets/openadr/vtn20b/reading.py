"""Reads a VEN's message: limits first, then XML without document types, then the schema, then its fields."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lxml import etree
from openleadr.messaging import XML_SCHEMA

from markets.openadr.vtn20b.refusal import Refused
from markets.openadr.vtn20b.xmldsig import OADR

EI: Final = "http://docs.oasis-open.org/ns/energyinterop/201110"
PYLD: Final = "http://docs.oasis-open.org/ns/energyinterop/201110/payloads"
EMIX: Final = "http://docs.oasis-open.org/ns/emix/2011/06"
POWER: Final = "http://docs.oasis-open.org/ns/emix/2011/06/power"
SCALE: Final = "http://docs.oasis-open.org/ns/emix/2011/06/siscale"
XCAL: Final = "urn:ietf:params:xml:ns:icalendar-2.0"
_NAMES: Final = {"oadr": OADR, "ei": EI, "pyld": PYLD, "emix": EMIX, "power": POWER, "scale": SCALE, "xcal": XCAL}

MAX_MESSAGE_BYTES: Final = 1_000_000
MAX_TEXT: Final = 255
MAX_DURATION: Final = timedelta(days=366)
_DURATION: Final = re.compile(
    r"([+-])?P(?:(\d+)W|(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?)\Z"
)
_SECONDS: Final = (7 * 86_400, 365 * 86_400, 30 * 86_400, 86_400, 3_600, 60, 1)
"""Of a week, year, month, day, hour, minute, second; a year has 365 days and a month 30, as openleadr reads them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as read; its fields are asked for by path."""

    kind: str
    """Such as ``oadrPoll``."""
    payload: Any
    """The oadrPayload element."""
    body: Any
    """The element of that kind, inside THE oadrSignedObject beside the signature."""

    @property
    def ven_id(self) -> str:
        """The venID that the message names; empty when none."""
        path = {"oadrRequestEvent": "pyld:eiRequestEvent/", "oadrCreatedEvent": "pyld:eiCreatedEvent/"}
        return text(self.body, path.get(self.kind, "") + "ei:venID")

    @property
    def request_id(self) -> str:
        """The requestID that its answer repeats; empty when none."""
        path = {"oadrRequestEvent": "pyld:eiRequestEvent/"}
        return text(self.body, path.get(self.kind, "") + "pyld:requestID")


def read(content: bytes) -> Message:
    """Return a message; raises Refused by name.

    No document type is accepted, so there is no entity to expand, and the parser's own limits of
    depth and size stay on.
    """
    if len(content) > MAX_MESSAGE_BYTES:
        raise Refused("message_too_large", f"{len(content)} bytes, accepted: {MAX_MESSAGE_BYTES}", status=413)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise Refused("xml_forbidden", "a document type, accepted: none", status=400)
    try:
        payload = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused("xml_malformed", str(error)[:MAX_TEXT], status=400) from None
    # Again on what was read: another encoding than UTF-8 hides it from the search above.
    if payload.getroottree().docinfo.internalDTD is not None:
        raise Refused("xml_forbidden", "a document type, accepted: none", status=400)
    if not XML_SCHEMA.validate(payload):
        errors = XML_SCHEMA.error_log
        raise Refused("schema_violated", str(errors[0].message if errors else "")[:MAX_TEXT], status=400)
    if payload.tag != f"{{{OADR}}}oadrPayload":
        raise Refused("schema_violated", f"root is {payload.tag}, accepted: oadrPayload", status=400)
    body = payload[-1][0]
    return Message(etree.QName(body).localname, payload, body)


def text(element: Any, path: str) -> str:
    """Return the text at a path, stripped; empty when the element is missing; raises Refused when too long."""
    found = element.find(path, _NAMES)
    return own_text(found) if found is not None else ""


def own_text(element: Any) -> str:
    """Return an element's text, at most MAX_TEXT characters."""
    value = "".join(element.itertext()).strip()
    if len(value) > MAX_TEXT:
        raise Refused(
            "text_too_long", f"{etree.QName(element).localname}: {len(value)} characters, accepted: {MAX_TEXT}"
        )
    return value


def each(element: Any, path: str) -> Iterator[Any]:
    """Return the elements at a path."""
    found: Iterator[Any] = element.iterfind(path, _NAMES)
    return found


def number(element: Any, path: str, *, default: float | None = None) -> float:
    """Return a finite number; raises Refused."""
    raw = text(element, path)
    if not raw and default is not None:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refused("number_invalid", f"{path} is {raw!r}, accepted: a finite number")
    return value


def whole(element: Any, path: str, *, default: int | None = None) -> int:
    """Return a whole number that a database column holds; raises Refused."""
    value = number(element, path, default=default)
    if value != int(value) or not 0 <= value < 2**31:
        raise Refused("number_invalid", f"{path} is {value}, accepted: 0 to 2147483647")
    return int(value)


def instant(element: Any, path: str) -> datetime | None:
    """Return an aware instant (UTC when it names no zone); None when missing; raises Refused."""
    raw = text(element, path)
    if not raw:
        return None
    try:
        value = datetime.fromisoformat(raw)
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused("instant_invalid", f"{path} is {raw!r}, accepted: an ISO 8601 instant") from None


def duration(element: Any, path: str) -> timedelta | None:
    """Return a duration of at most MAX_DURATION; None when missing; raises Refused."""
    raw = text(element, path)
    return duration_of(raw) if raw else None


def duration_of(raw: str) -> timedelta:
    """Return an RFC 5545 duration; raises Refused.

    >>> duration_of("PT1M30S").total_seconds()
    90.0
    """
    match = _DURATION.match(raw)
    parts = match.groups()[1:] if match else ()
    if match is None or match.group(1) == "-" or not any(parts) or any(len(part or "") > 9 for part in parts):
        raise Refused("duration_invalid", f"{raw[:40]!r}, accepted: an RFC 5545 duration that is not negative")
    seconds = sum(int(part or 0) * unit for part, unit in zip(parts, _SECONDS, strict=True))
    if seconds > MAX_DURATION.total_seconds():
        raise Refused("duration_invalid", f"{raw!r}, accepted: up to {MAX_DURATION.days} days")
    return timedelta(seconds=seconds)


def truth(element: Any, path: str) -> bool:
    """Return an xs:boolean."""
    return text(element, path) in ("true", "1")
