"""Writes our messages from openleadr's templates, with every value escaped and durations as the schema has them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from xml.sax.saxutils import escape

from jinja2 import Environment, PackageLoader
from lxml import etree
from openleadr.messaging import XML_SCHEMA

_OADR: Final = "http://openadr.org/oadr-2.0b/2012/07"
_EI: Final = "http://docs.oasis-open.org/ns/energyinterop/201110"
_PYLD: Final = "http://docs.oasis-open.org/ns/energyinterop/201110/payloads"

_BLANKLESS: Final = etree.XMLParser(remove_blank_text=True, resolve_entities=False, no_network=True)
_RESPONSE: Final = (
    f'<oadr:oadrSignedObject xmlns:oadr="{_OADR}" oadr:Id="oadrSignedObject">'
    f'<oadr:oadrResponse xmlns:ei="{_EI}" ei:schemaVersion="2.0b"><ei:eiResponse>'
    "<ei:responseCode>%d</ei:responseCode><ei:responseDescription>%s</ei:responseDescription>"
    f'<requestID xmlns="{_PYLD}">%s</requestID></ei:eiResponse><ei:venID>%s</ei:venID>'
    "</oadr:oadrResponse></oadr:oadrSignedObject>"
)


class MessageInvalid(ValueError):
    """What was to be sent does not fit the schema; the message says where."""


def duration_text(value: timedelta | str) -> str:
    """Return a duration as OpenADR's schema accepts it: whole seconds, rounded up.

    The schema knows no fractions; rounded down, a poll period of 1.5 s would be asked for as 1 s and
    one of 0.5 s as none at all.

    >>> duration_text(timedelta(seconds=0.5)), duration_text(timedelta(seconds=1.5)), duration_text(timedelta(0))
    ('PT1S', 'PT2S', 'PT0S')
    >>> duration_text(timedelta(days=1, minutes=2))
    'P1DT2M'
    """
    if isinstance(value, str):
        return value
    seconds = math.ceil(value.total_seconds())
    if seconds <= 0:
        return "PT0S"
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    time_part = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count)
    return "P" + (f"{days}D" if days else "") + (f"T{time_part}" if time_part else "")


def instant_text(value: datetime) -> str:
    """Return an instant in UTC with microseconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def signed_object(kind: str, **content: Any) -> bytes:
    """Return the oadrSignedObject of a message in exclusive canonical form; raises MessageInvalid."""
    rendered = _template(kind).render(**content)
    try:
        root = etree.fromstring(rendered, _BLANKLESS)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MessageInvalid(f"{kind}: {error}") from None
    return canonical_object(root, kind)


def canonical_object(root: Any, kind: str) -> bytes:
    """Return an oadrSignedObject element in exclusive canonical form; raises MessageInvalid outside the schema."""
    payload = etree.Element(f"{{{_OADR}}}oadrPayload", nsmap={"oadr": _OADR})
    payload.append(root)
    if not XML_SCHEMA.validate(payload):
        raise MessageInvalid(f"{kind}: {XML_SCHEMA.error_log[0].message}")
    canonical: bytes = etree.tostring(root, method="c14n", exclusive=True, with_comments=False)
    return canonical


def response_object(*, code: int, description: str, request_id: str, ven_id: str) -> bytes:
    """Return an oadrResponse, the answer to nearly every poll, without a template."""
    return (_RESPONSE % (code, _escaped(description), _escaped(request_id), _escaped(ven_id))).encode()


def _escaped(value: str) -> str:
    # As canonical XML has it: a carriage return as a reference, quotation marks as they are.
    return escape(value, {"\r": "&#xD;"})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("openleadr", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["datetimeformat"] = lambda value: value if isinstance(value, str) else instant_text(value)
    environment.filters["timedeltaformat"] = duration_text
    environment.filters["booleanformat"] = lambda value: "true" if value else "false"
    return environment


@cache
def _template(kind: str) -> Any:
    return _environment().get_template(f"{kind}.xml")
