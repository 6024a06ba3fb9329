"""Between openleadr's event dicts and our events; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from markets.core.events import DEFAULT_OPERATOR, Event, EventInterval, EventInvalid, EventSignal
from markets.core.obligations import Decision, Reason

RESPONSE_OK: Final = 200
SIGNAL_NOT_SUPPORTED: Final = 460
MAX_ID_LENGTH: Final = 128
MAX_SIGNALS: Final = 32
MAX_TARGETS: Final = 10_000
MAX_INTERVALS: Final = 10_000
MAX_MODIFICATION: Final = 2**32 - 1


def event_of(raw: Mapping[str, Any], vtn_id: str, operator: str = DEFAULT_OPERATOR) -> Event:
    """Read an event from openleadr's dict.

    What is missing or nonsense inside the event stays as None or as received, for the decision to
    name. Raises EventInvalid only when the event cannot be answered at all: no readable id or
    modification number.
    """
    if not isinstance(raw, Mapping):
        raise EventInvalid(f"event is a {type(raw).__name__}, accepted: an object")
    descriptor = _mapping(raw.get("event_descriptor"))
    period = _mapping(raw.get("active_period"))
    return Event(
        operator=operator,
        vtn_id=_identifier(vtn_id, "vtn_id"),
        event_id=_identifier(descriptor.get("event_id"), "event_id"),
        modification_number=_modification(descriptor.get("modification_number")),
        status=str(descriptor.get("event_status", "")),
        market_context=str(descriptor.get("market_context", "")),
        starts_at=_instant(period.get("dtstart")),
        duration=_duration(period.get("duration")),
        signals=tuple(_signal(signal) for signal in _list(raw.get("event_signals"), "event_signals")[:MAX_SIGNALS]),
        is_test=_truth(descriptor.get("test_event")),
        response_required=raw.get("response_required", "always") != "never",
        priority=_whole(descriptor.get("priority")),
        targets=_targets(raw.get("targets")),
        start_after=_duration(_mapping(_mapping(period.get("tolerance")).get("tolerate")).get("startafter")),
    )


def response_of(event: Event, decision: Decision, request_id: str) -> dict[str, Any]:
    """Return the event response for an oadrCreatedEvent; the description names our reason."""
    unsupported = decision.reason in (Reason.SIGNAL_UNKNOWN, Reason.SIGNAL_TYPE_UNSUPPORTED)
    return {
        "response_code": SIGNAL_NOT_SUPPORTED if unsupported else RESPONSE_OK,
        "response_description": decision.reason.value,
        "opt_type": decision.opt.value,
        "request_id": request_id,
        "event_id": event.event_id,
        "modification_number": event.modification_number,
    }


def _targets(raw: object) -> tuple[tuple[str, str], ...]:
    """Return (kind, name) of each target; openleadr gives one dict a target, with one key that is set."""
    return tuple(
        (str(kind)[:MAX_ID_LENGTH], name[:MAX_ID_LENGTH])
        for target in _list(raw, "targets")[:MAX_TARGETS]
        for kind, value in _mapping(target).items()
        for name in (value if isinstance(value, list | tuple) else [value])
        if isinstance(name, str) and name
    )


def _signal(raw: object) -> EventSignal:
    signal = _mapping(raw)
    measurement = _mapping(signal.get("measurement"))
    unit = measurement.get("unit")
    return EventSignal(
        name=str(signal.get("signal_name", "")),
        type=str(signal.get("signal_type", "")),
        intervals=tuple(_interval(step) for step in _list(signal.get("intervals"), "intervals")[:MAX_INTERVALS]),
        # A measurement without a unit is not "no measurement": the decision must refuse it.
        unit=str(unit or "") if measurement else None,
        scale=str(measurement.get("scale") or "none") if measurement else None,
    )


def _interval(raw: object) -> EventInterval:
    step = _mapping(raw)
    return EventInterval(
        starts_at=_instant(step.get("dtstart")),
        duration=_duration(step.get("duration")),
        value=number(step.get("signal_payload")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object, name: str) -> list[Any]:
    # openleadr leaves a lone child as a dict under the plural, the singular, or by itself.
    if isinstance(value, Mapping):
        for key in (name, name.removesuffix("s")):
            if key in value:
                return _list(value[key], name)
        return [value] if value else []
    return list(value) if isinstance(value, list | tuple) else []


def _identifier(value: object, name: str) -> str:
    text = str(value).strip() if value is not None else ""
    if not 1 <= len(text) <= MAX_ID_LENGTH or not text.isprintable():
        raise EventInvalid(f"{name} is {text[:40]!r}, accepted: 1 to {MAX_ID_LENGTH} printable characters")
    return text


def _modification(value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= MAX_MODIFICATION:
        raise EventInvalid(f"modification_number is {str(value)[:40]!r}, accepted: 0 to {MAX_MODIFICATION}")
    return number


def _whole(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def number(value: object) -> float | None:
    """Return a number, out of a text too; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _instant(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return None


def _duration(value: object) -> timedelta | None:
    return value if isinstance(value, timedelta) else None


def _truth(value: object) -> bool:
    # OpenADR 2.0b: anything but "false" is a test event.
    return value not in (None, False, "false", "")
