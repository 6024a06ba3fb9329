"""Between OpenADR 3's events and our events; pure. Takes what ``reading`` has normalized."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from markets.core.events import Event, EventInterval, EventInvalid, EventSignal, EventStatus
from markets.core.obligations import Decision
from markets.openadr.mapping import number
from markets.openadr.ven3.reading import FOREVER, duration, instant, target_names, whole

MAX_ID_LENGTH: Final = 128
MAX_INTERVALS: Final = 10_000
MAX_TYPES: Final = 32
SIGNAL_TYPES: Final = {
    "DISPATCH_SETPOINT": "setpoint",
    "DISPATCH_SETPOINT_RELATIVE": "delta",
    "CONTROL_SETPOINT": "setpoint",
    "CHARGE_STATE_SETPOINT": "setpoint",
    "DISPATCH_INSTRUCTION": "instruction",
    "SIMPLE": "level",
    "CURVE": "curve",
    "IMPORT_CAPACITY_LIMIT": "limit",
    "EXPORT_CAPACITY_LIMIT": "limit",
    "PRICE": "price",
    "EXPORT_PRICE": "price",
}
"""What a payload type says of its values, in the words of 2.0b's signal types where it has one; ALERT_*: ``alert``."""
_UNITS: Final = {"W": ("W", "none"), "KW": ("W", "k"), "MW": ("W", "M"), "GW": ("W", "G")}
TARGET_KINDS: Final = frozenset(
    {"VEN_NAME", "RESOURCE_NAME", "GROUP", "GROUP_NAME", "SERVICE_AREA", "PROGRAM_NAME", "EVENT_NAME"}
)
ANSWER_TYPE: Final = "OPT"
"""Payload type of a report that answers an event: OpenADR 3 has no opt, and leaves private types to who uses them."""


def event_of(
    raw: Mapping[str, Any], *, operator: str, program: Mapping[str, Any] | None, modification_number: int = 0
) -> Event:
    """Read an event; what is missing or nonsense stays for the decision to name.

    The market context is the program's name, its id where the VTN shows no such program. OpenADR 3
    numbers no versions: ``modification_number`` is the reader's count. A start that is missing or in
    year 1 means now, the instant of the event's creation. Raises EventInvalid without a usable id.
    """
    program = program or {}
    created_at = instant(raw.get("createdDateTime")) or instant(raw.get("modificationDateTime"))
    period = _mapping(raw.get("intervalPeriod"))
    steps = [_mapping(step) for step in _list(raw.get("intervals"))[:MAX_INTERVALS]]
    own_starts = [instant(_mapping(step.get("intervalPeriod")).get("start")) for step in steps]
    starts_at = _begun(instant(period.get("start")) or next(iter(own_starts), None), created_at)
    lengths = [
        duration(_mapping(step.get("intervalPeriod")).get("duration")) or duration(period.get("duration"))
        for step in steps
    ]
    return Event(
        operator=operator,
        # The protocol has no name for a VTN; there is one for each operator.
        vtn_id=operator,
        event_id=event_id_of(raw),
        modification_number=modification_number,
        status=EventStatus.NONE,
        market_context=str(program.get("programName") or raw.get("programID") or "")[:255],
        starts_at=starts_at,
        duration=_whole_duration(raw, period, starts_at, own_starts, lengths),
        signals=_signals(raw, program, steps, own_starts, lengths),
        priority=_priority(raw.get("priority")),
        targets=tuple(_target(name) for name in target_names(raw.get("targets"))[:MAX_INTERVALS]),
    )


def event_id_of(raw: Mapping[str, Any]) -> str:
    """Return an event's id; raises EventInvalid."""
    value = raw.get("id")
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 1 <= len(text) <= MAX_ID_LENGTH or not text.isprintable():
        raise EventInvalid(f"id is {str(value)[:40]!r}, accepted: 1 to {MAX_ID_LENGTH} printable characters")
    return text


def is_for_us(
    raw: Mapping[str, Any], program: Mapping[str, Any] | None, *, ven_name: str, targets: Iterable[str]
) -> bool:
    """Tell whether an event means us: it and its program have no target, or one of ours.

    A VTN of 3.0.1 shows every event to everybody and leaves it to VENs to find theirs.
    """
    wanted = target_names(raw.get("targets")) or target_names((program or {}).get("targets"))
    ours = {ven_name, f"VEN_NAME:{ven_name}", *targets}
    return not wanted or not ours.isdisjoint(wanted)


def canonical(raw: Mapping[str, Any]) -> bytes:
    """Return an event's own object as JSON in one form, for evidence and to see whether it changed."""
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def answer_of(raw: Mapping[str, Any], decision: Decision, *, ven_name: str, version: str) -> dict[str, Any]:
    """Return the report that tells what was decided on an event."""
    return opt_report(
        raw, decision.opt.value, decision.reason.value, decision.power_kw, ven_name=ven_name, version=version
    )


def opt_report(
    raw: Mapping[str, Any], opt_type: str, reason: str, power_kw: float, *, ven_name: str, version: str
) -> dict[str, Any]:
    """Return a report with our answer to an event: optIn or optOut, the reason's name, the size owed [kW, >= 0]."""
    payload = {"type": ANSWER_TYPE, "values": [opt_type, reason, power_kw]}
    body: dict[str, Any] = {
        "eventID": str(raw["id"]),
        "clientName": ven_name,
        "reportName": ANSWER_TYPE,
        "resources": [{"resourceName": ven_name, "intervals": [{"id": 0, "payloads": [payload]}]}],
    }
    if version == "3.0.1":
        body["programID"] = str(raw.get("programID") or "")
    return body


def _begun(starts_at: datetime | None, created_at: datetime | None) -> datetime | None:
    return created_at if starts_at is None or starts_at.year <= 1 else starts_at


def _whole_duration(
    raw: Mapping[str, Any],
    period: Mapping[str, Any],
    starts_at: datetime | None,
    own_starts: list[datetime | None],
    lengths: list[timedelta | None],
) -> timedelta | None:
    # 3.1's own field takes the place of the intervals' sum.
    if raw.get("duration") is not None:
        return duration(raw["duration"])
    if not lengths:
        return duration(period.get("duration"))
    if starts_at is None:
        return None
    lasted = timedelta(0)
    for own_start, length in zip(own_starts, lengths, strict=True):
        if length is None:
            return None
        begins = lasted
        if own_start is not None and own_start.year > 1:
            begins = own_start - starts_at
        lasted = max(lasted, min(begins + length, FOREVER))
    return lasted


def _signals(
    raw: Mapping[str, Any],
    program: Mapping[str, Any],
    steps: list[Mapping[str, Any]],
    own_starts: list[datetime | None],
    lengths: list[timedelta | None],
) -> tuple[EventSignal, ...]:
    found: dict[str, list[EventInterval]] = {}
    for step, own_start, length in zip(steps, own_starts, lengths, strict=True):
        for payload in _list(step.get("payloads")):
            kind = str(_mapping(payload).get("type") or "").strip().upper()[:64]
            at = own_start if own_start is not None and own_start.year > 1 else None
            if kind in found or len(found) < MAX_TYPES:
                found.setdefault(kind, []).append(EventInterval(at, length, _value(_mapping(payload).get("values"))))
    units = {**_units(program), **_units(raw)}
    return tuple(
        EventSignal(
            name=kind,
            type="alert" if kind.startswith("ALERT_") else SIGNAL_TYPES.get(kind, ""),
            intervals=tuple(intervals),
            unit=units[kind][0] if kind in units else None,
            scale=units[kind][1] if kind in units else None,
        )
        for kind, intervals in found.items()
    )


def _units(held: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return unit and scale of the payload types whose descriptor names one, in 2.0b's words."""
    found = {}
    for descriptor in _list(held.get("payloadDescriptors")):
        kind = str(_mapping(descriptor).get("payloadType") or "").strip().upper()
        unit = _mapping(descriptor).get("units")
        if kind and isinstance(unit, str) and unit:
            found[kind] = _UNITS.get(unit.upper(), (unit[:32], "none"))
    return found


def _value(values: object) -> float | None:
    """Return the one number of a payload; None where there is none, or more than one to choose from."""
    held = values if isinstance(values, list) else [values]
    return number(held[0]) if len(held) == 1 else None


def _target(name: str) -> tuple[str, str]:
    """Return (kind, name): 3.0.1 types its targets, 3.1 has plain names that may hold a colon of their own."""
    kind, _, rest = name.partition(":")
    return (kind.lower(), rest[:MAX_ID_LENGTH]) if rest and kind in TARGET_KINDS else ("", name[:MAX_ID_LENGTH])


def _priority(value: object) -> int:
    # There 0 is the highest and none the lowest; here 1 is the highest and 0 is none.
    found = whole(value)
    return 0 if found is None or found < 0 else found + 1


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
