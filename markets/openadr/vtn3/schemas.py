"""JSON Schemas of what goes in and out, by version: they check the bodies, and they are what the OpenAPI serves (pure).

Facts of the protocol's own OpenAPI 3.0.1 and 3.1.0. Narrower here: every list and text has a bound, durations have a
sign only where the protocol means an offset, targets of 3.0.1 are texts with a type in capitals.
"""

from __future__ import annotations

from typing import Any, Final

from markets.openadr.vtn3.kinds import KIND_OF, KINDS, Kind, Version
from markets.openadr.vtn3.spans import DURATION_PATTERN, MAX_DURATION_CHARACTERS, OFFSET_PATTERN
from markets.openadr.vtn3.targets import MAX_TARGETS, TYPE

Schema = dict[str, Any]

MAX_INTERVALS: Final = 2_000
MAX_NUMBER: Final = 1e15
INT32: Final = 2_147_483_647


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def _text(most: int, least: int = 0, **more: Any) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most, **more}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": most}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _whole(least: int = -INT32, most: int = INT32) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


NAME: Final = _text(128, 1)
NUMBER: Final = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
CALLBACK: Final = _text(2_000, 10, pattern=r"^https?://[A-Za-z0-9.\[\]:-]{1,255}(/[!-~]*)?$")
OBJECT_ID: Final = _text(128, 1, pattern="^[a-zA-Z0-9_-]+$")

_SHARED: Final[dict[str, Schema]] = {
    "objectID": OBJECT_ID,
    "dateTime": _text(40, 20, format="date-time"),
    "duration": _text(MAX_DURATION_CHARACTERS, 2, pattern=DURATION_PATTERN),
    "objectTypes": {"type": "string", "enum": [kind.name for kind in KINDS]},
    "valuesMap": _object(
        ("type", "values"),
        type=NAME,
        values=_list(
            {
                "type": ["number", "string", "boolean", "object"],
                "minimum": -MAX_NUMBER,
                "maximum": MAX_NUMBER,
                "maxLength": 8_000,
                "properties": {"x": NUMBER, "y": NUMBER},
                "required": ["x", "y"],
            },
            1_000,
        ),
    ),
    "interval": _object(
        ("id", "payloads"),
        id=_whole(),
        intervalPeriod=_or_null(ref("intervalPeriod")),
        payloads=_list(ref("valuesMap"), 100),
    ),
    "reportResource": _object(
        ("resourceName", "intervals"),
        resourceName=NAME,
        intervalPeriod=_or_null(ref("intervalPeriod")),
        intervals=_list(ref("interval"), MAX_INTERVALS),
    ),
    "objectOperation": _object(
        ("objects", "operations", "callbackUrl"),
        objects=_list(ref("objectTypes"), 6),
        operations=_list(ref("operation"), 4),
        callbackUrl=CALLBACK,
        bearerToken=_or_null(_text(4_096, pattern="^[!-~]*$")),
    ),
    "clientCredentialResponse": _object(
        ("access_token", "token_type"),
        access_token=_text(4_096, 1),
        token_type={"type": "string", "enum": ["Bearer"]},
        expires_in={"type": "integer"},
        scope=_text(4_096),
    ),
    "authError": _object(("error",), error=_text(100, 1), error_description=_text(1_000)),
    "authServerInfo": _object(("tokenURL",), tokenURL=_text(2_000, 2, format="uri")),
    "problem": _object(
        ("type", "title", "status"),
        type=_text(2_000, 2),
        title=_text(200, 1),
        status=_whole(100, 599),
        detail=_text(4_000),
        instance=_text(8_000),
    ),
}


def _descriptors(is_310: bool) -> dict[str, Schema]:
    required = ("objectType", "payloadType") if is_310 else ("payloadType",)
    words = _or_null(_text(128, 1))
    report = {
        "payloadType": NAME,
        "readingType": words,
        "units": words,
    }
    asked = {"aggregate": {"type": "boolean"}, "historical": {"type": "boolean"}}
    counted = {name: _whole() for name in ("startInterval", "numIntervals", "frequency", "repeat")}
    newer: dict[str, Schema] = {
        "reportIntervals": {"type": "string", "enum": ["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"]}
    }
    return {
        "eventPayloadDescriptor": _object(
            required,
            objectType={"type": "string", "enum": ["EVENT_PAYLOAD_DESCRIPTOR"]},
            payloadType=NAME,
            units=words,
            currency=_or_null(_text(16)),
        ),
        "reportPayloadDescriptor": _object(
            required,
            objectType={"type": "string", "enum": ["REPORT_PAYLOAD_DESCRIPTOR"]},
            **report,
            accuracy=_or_null(NUMBER),
            confidence=_or_null(_whole(0, 100)),
        ),
        "reportDescriptor": _object(
            ("payloadType",), **report, targets=_TARGETS, **asked, **counted, **(newer if is_310 else {})
        ),
    }


_TARGETS: Final = _or_null(_list(ref("target"), MAX_TARGETS))
_ATTRIBUTES: Final = _or_null(_list(ref("valuesMap"), 100))
_PERIOD: Final = _or_null(ref("intervalPeriod"))


def _bodies(is_310: bool) -> dict[str, Schema]:
    """Return the properties that a client writes, by kind, each with those that must be there."""
    descriptions = _or_null(_list(_object(("URL",), URL=_text(2_000, 2)), 20))
    descriptors = _or_null(_list({"anyOf": [ref("eventPayloadDescriptor"), ref("reportPayloadDescriptor")]}, 50))
    long_text = _or_null(_text(1_000))
    if is_310:
        of_program: dict[str, Schema] = {"attributes": _ATTRIBUTES}
    else:
        texts = (
            "programLongName", "retailerName", "retailerLongName", "programType", "country", "principalSubdivision",
        )  # fmt: skip
        of_program = dict.fromkeys(texts, long_text)
        of_program["timeZoneOffset"] = _or_null(_text(MAX_DURATION_CHARACTERS, 2, pattern=OFFSET_PATTERN))
        of_program |= {name: {"type": ["boolean", "null"]} for name in ("bindingEvents", "localPrice")}
    of_report = {} if is_310 else {"programID": ref("objectID")}
    return {
        "PROGRAM": _object(
            ("programName",),
            programName=NAME,
            intervalPeriod=_PERIOD,
            programDescriptions=descriptions,
            payloadDescriptors=descriptors,
            targets=_TARGETS,
            **of_program,
        ),
        "EVENT": _object(
            ("programID",) if is_310 else ("programID", "intervals"),
            programID=ref("objectID"),
            eventName=_or_null(_text(128)),
            priority=_or_null(_whole(0)),
            targets=_TARGETS,
            reportDescriptors=_or_null(_list(ref("reportDescriptor"), 50)),
            payloadDescriptors=_or_null(_list(ref("eventPayloadDescriptor"), 50)),
            intervalPeriod=_PERIOD,
            intervals=_list(ref("interval"), MAX_INTERVALS),
            **({"duration": ref("duration")} if is_310 else {}),
        ),
        "REPORT": _object(
            ("eventID", "clientName", "resources") if is_310 else ("programID", "eventID", "clientName", "resources"),
            eventID=ref("objectID"),
            clientName=NAME,
            reportName=_or_null(_text(128)),
            payloadDescriptors=_or_null(_list(ref("reportPayloadDescriptor"), 50)),
            resources=_list(ref("reportResource"), 500),
            **of_report,
        ),
        "SUBSCRIPTION": _object(
            ("clientName", "objectOperations") if is_310 else ("clientName", "programID", "objectOperations"),
            clientName=NAME,
            programID=_or_null(ref("objectID")) if is_310 else ref("objectID"),
            objectOperations=_list(ref("objectOperation"), 20),
            targets=_TARGETS,
        ),
        "VEN": _object(("venName",), venName=NAME, attributes=_ATTRIBUTES),
        "RESOURCE": _object(("resourceName",), resourceName=NAME, attributes=_ATTRIBUTES),
    }


def _requests(kind: Kind, body: Schema, is_310: bool) -> dict[str, Schema]:
    """Return what a client may send for a kind: 3.1 has two forms of vens and resources."""
    request = f"{kind.name.lower()}Request"
    if kind.name not in {"VEN", "RESOURCE"}:
        return {request: body}
    properties = body["properties"]
    if not is_310:
        return {request: {**body, "properties": {**properties, "targets": _TARGETS}}}
    parent: dict[str, Schema] = {"venID": ref("objectID")} if kind.name == "RESOURCE" else {}
    forms = {}
    for who, more in (("VEN", {}), ("BL", {"clientID": NAME, "targets": _TARGETS})):
        tag = {"objectType": {"type": "string", "enum": [f"{who}_{kind.name}_REQUEST"]}}
        needed = [*body["required"], "objectType", *parent, *(["clientID"] if more else [])]
        forms[f"{who.title()}{kind.name.title()}Request"] = {
            "type": "object",
            "properties": {**tag, **properties, **parent, **more},
            "required": needed,
        }
    return {**forms, request: {"oneOf": [ref(name) for name in forms]}}


def _answer(kind: Kind, body: Schema, is_310: bool) -> Schema:
    more: dict[str, Schema] = {
        "id": ref("objectID"),
        "createdDateTime": ref("dateTime"),
        "modificationDateTime": ref("dateTime"),
        "objectType": {"type": "string", "enum": [kind.name]},
    }
    required = [*more, *body["required"]]
    if kind.name in {"VEN", "RESOURCE"}:
        more["targets"] = _TARGETS
    if kind.name == "RESOURCE":
        more["venID"] = ref("objectID")
        required.append("venID")
    if is_310 and kind.name in {"REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"}:
        more["clientID"] = _text(255)
        required.append("clientID")
    if not is_310 and kind.name == "VEN":
        more["resources"] = _list(ref("resource"), 1_000)
    return {"type": "object", "properties": {**body["properties"], **more}, "required": required}


def _components(version: Version) -> dict[str, Schema]:
    is_310 = version is Version.V310
    target = NAME if is_310 else _object(
        ("type", "values"), type=_text(32, 1, pattern=f"^{TYPE}$"), values=_list(_text(90, 1), MAX_TARGETS)
    )  # fmt: skip
    words = ["READ", "CREATE", "UPDATE", "DELETE"] if is_310 else ["GET", "POST", "PUT", "DELETE"]
    found = {
        **_SHARED,
        "target": target,
        "operation": {"type": "string", "enum": words},
        "intervalPeriod": _object(
            () if is_310 else ("start",),
            start=ref("dateTime"),
            duration=_or_null(ref("duration")),
            randomizeStart=_or_null(ref("duration")),
        ),
        **_descriptors(is_310),
    }
    for name, body in _bodies(is_310).items():
        kind = KIND_OF[name]
        found |= _requests(kind, body, is_310)
        found[name.lower()] = _answer(kind, body, is_310)
    if is_310:
        topics = {name: _text(300, 1) for name in ("CREATE", "UPDATE", "DELETE", "ALL")}
        found["notifierTopicsResponse"] = _object(("topics",), topics=_object(("UPDATE", "DELETE"), **topics))
        found["notifiersResponse"] = _object(
            ("WEBHOOK",),
            WEBHOOK={"type": "boolean"},
            MQTT=_object(
                ("URIS", "serialization", "authentication"),
                URIS=_list(_text(2_000, 1), 20),
                serialization={"type": "string", "enum": ["JSON"]},
                authentication=_object(("method",), method={"type": "string"}),
            ),
        )
    return found


COMPONENTS: Final = {version: _components(version) for version in Version}
"""The components of each version, by name."""


def written_fields(version: Version, kind: Kind) -> frozenset[str]:
    """Return the properties of a kind that a client of the version writes and reads, but for targets."""
    return frozenset(_bodies(version is Version.V310)[kind.name]["properties"]) - {"targets"}
