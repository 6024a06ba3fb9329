"""Query parameters of lists: what each version takes, read strictly, and as the OpenAPI tells them."""

from __future__ import annotations

import re
from typing import Any, Final

from django.http import QueryDict
from rest_framework.exceptions import ParseError

from markets.openadr.vtn3.kinds import EVENT, PROGRAM, REPORT, RESOURCE, SUBSCRIPTION, VEN, Kind, Version
from markets.openadr.vtn3.queries import MAX_PAGE, Filter
from markets.openadr.vtn3.schemas import INT32, NAME, OBJECT_ID
from markets.openadr.vtn3.targets import MAX_TARGETS, joined

_ID: Final = re.compile(str(OBJECT_ID["pattern"]).removesuffix("$") + r"\Z")
_NAME_TYPES: Final = {PROGRAM: "PROGRAM_NAME", EVENT: "PROGRAM_NAME", VEN: "VEN_NAME", RESOURCE: "RESOURCE_NAME"}
"""3.0.1's target types that mean an object's own name (an event: its program's)."""


def parameters_of(version: Version, kind: Kind) -> dict[str, dict[str, Any]]:
    """Return the schemas of a list's parameters by name."""
    names = {"type": "array", "items": NAME, "maxItems": MAX_TARGETS}
    found: dict[str, dict[str, Any]] = {
        "skip": {"type": "integer", "minimum": 0, "maximum": INT32},
        "limit": {"type": "integer", "minimum": 0, "maximum": MAX_PAGE},
    }
    if kind in (EVENT, REPORT, SUBSCRIPTION):
        found["programID"] = OBJECT_ID
    if kind is REPORT:
        found["eventID"] = OBJECT_ID
    if kind in (REPORT, SUBSCRIPTION):
        found["clientName"] = NAME
    if kind is SUBSCRIPTION:
        words = {"type": "string", "enum": ["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]}
        found["objects"] = {"type": "array", "items": words, "maxItems": 6}
    if kind in (VEN, RESOURCE):
        found[kind.name_field] = NAME
    if version is Version.V310:
        if kind is RESOURCE:
            found["venID"] = OBJECT_ID
        if kind is EVENT:
            found["active"] = {"type": "boolean"}
        if kind in (PROGRAM, EVENT, VEN, RESOURCE):
            found["targets"] = names
    elif kind is not REPORT:
        found["targetType"] = NAME
        found["targetValues"] = names
    return found


def filter_of(version: Version, kind: Kind, query: QueryDict, *, ven_id: str | None = None) -> Filter:
    """Return what a list is narrowed to; raise ParseError naming the parameter that is wrong."""
    taken = parameters_of(version, kind)
    held: dict[str, Any] = {}
    for name, schema in taken.items():
        if name in query:
            reader = _READERS[schema["type"]]
            held[name] = reader(name, schema, query)
    narrowed: dict[str, Any] = {name: held[name] for name in ("skip", "limit", "active") if name in held}
    for name, field in (("programID", "program_id"), ("eventID", "event_id"), ("clientName", "client_name")):
        if name in held:
            narrowed[field] = held[name]
    if kind.name_field in held:
        narrowed["names"] = (held[kind.name_field],)
    narrowed["ven_id"] = ven_id or held.get("venID")
    if "objects" in held:
        narrowed["objects"] = frozenset(held["objects"])
    if "targets" in held:
        narrowed["targets"] = frozenset(held["targets"])
    if "targetType" in held or "targetValues" in held:
        narrowed |= _targeted(kind, held.get("targetType"), held.get("targetValues"))
    return Filter(**narrowed)


def _targeted(kind: Kind, target_type: str | None, values: list[str] | None) -> dict[str, Any]:
    if target_type is None or values is None:
        raise ParseError("targetType and targetValues are given together")
    if _NAME_TYPES.get(kind) == target_type:
        return {"program_names" if kind is EVENT else "names": tuple(values)}
    return {"targets": frozenset(joined(target_type, value) for value in values)}


def _whole(name: str, schema: dict[str, Any], query: QueryDict) -> int:
    text = _one(name, query)
    found = int(text) if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) else -1
    if not schema["minimum"] <= found <= schema["maximum"]:
        raise ParseError(f"{name} is {text[:40]!r}, accepted: a whole number to {schema['maximum']}")
    return found


def _flag(name: str, schema: dict[str, Any], query: QueryDict) -> bool:
    text = _one(name, query)
    if text not in {"true", "false"}:
        raise ParseError(f"{name} is {text[:40]!r}, accepted: true, false")
    return text == "true"


def _word(name: str, schema: dict[str, Any], query: QueryDict) -> str:
    return _checked(name, schema, _one(name, query))


def _words(name: str, schema: dict[str, Any], query: QueryDict) -> list[str]:
    found = [_checked(name, schema["items"], text) for text in query.getlist(name)]
    if len(found) > schema["maxItems"]:
        raise ParseError(f"{name} is given {len(found)} times, accepted: {schema['maxItems']}")
    return found


def _one(name: str, query: QueryDict) -> str:
    texts = query.getlist(name)
    if len(texts) != 1:
        raise ParseError(f"{name} is given {len(texts)} times, accepted: once")
    return str(texts[0])


def _checked(name: str, schema: dict[str, Any], text: str) -> str:
    if "enum" in schema:
        if text not in schema["enum"]:
            raise ParseError(f"{name} is {text[:40]!r}, accepted: {', '.join(schema['enum'])}")
        return text
    is_right = schema["minLength"] <= len(text) <= schema["maxLength"] and "\x00" not in text
    if not is_right or ("pattern" in schema and not _ID.match(text)):
        raise ParseError(
            f"{name} is {text[:40]!r}, accepted: {schema['minLength']} to {schema['maxLength']} characters"
        )
    return text


_READERS: Final = {"integer": _whole, "boolean": _flag, "string": _word, "array": _words}
