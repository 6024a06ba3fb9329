"""The decision on an event: accept whole, part or none, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from markets.core.events import Event, EventSignal, EventStatus, OptType


class Reason(StrEnum):
    """Named reason of a decision; stored with the event."""

    ACCEPTED = "accepted"
    ACCEPTED_PART = "accepted_part"
    TEST_EVENT = "test_event"
    """Answered, never acted on."""
    CANCELLED = "cancelled"
    """The operator took the event back; acknowledged, nothing is owed any more."""
    NOT_AVAILABLE = "not_available"
    MARKET_CONTEXT_UNKNOWN = "market_context_unknown"
    STATUS_UNKNOWN = "status_unknown"
    WINDOW_MISSING = "window_missing"
    WINDOW_PAST = "window_past"
    NOTICE_TOO_SHORT = "notice_too_short"
    WINDOW_TOO_FAR = "window_too_far"
    DURATION_OUT_OF_RANGE = "duration_out_of_range"
    SIGNAL_MISSING = "signal_missing"
    SIGNAL_UNKNOWN = "signal_unknown"
    SIGNALS_AMBIGUOUS = "signals_ambiguous"
    SIGNAL_TYPE_UNSUPPORTED = "signal_type_unsupported"
    UNIT_UNKNOWN = "unit_unknown"
    INTERVALS_MISSING = "intervals_missing"
    INTERVALS_INCONSISTENT = "intervals_inconsistent"
    INTERVALS_VARY = "intervals_vary"
    VALUE_MISSING = "value_missing"
    VALUE_NOT_FINITE = "value_not_finite"
    VALUE_ZERO = "value_zero"
    VALUE_WRONG_SIGN = "value_wrong_sign"
    VALUE_TOO_SMALL = "value_too_small"
    VALUE_ABSURD = "value_absurd"
    MODIFICATION_STALE = "modification_stale"
    """A lower modification number than the one held: ignored."""
    WITHDRAWN = "withdrawn"
    """The operator's list no longer holds the event: an implied cancellation."""
    MODIFICATION_REPEATED = "modification_repeated"
    """The held modification number again, but with other content."""


MAX_POWER_KW: Final = 10_000_000.0
"""Ten gigawatt: no event for one aggregator is larger; a wrong unit is likelier."""
MAX_DURATION: Final = timedelta(hours=24)
MAX_AHEAD: Final = timedelta(days=60)
_SCALES_KW: Final = {"none": 1e-3, "k": 1.0, "M": 1e3, "G": 1e6}


@dataclass(frozen=True, slots=True)
class ProgramTerms:
    """What was agreed with an operator about one program."""

    name: str
    market_context: str
    product: str
    dispatch_prefix: str
    signal_name: str
    signal_type: str
    signal_sign: int
    """Service [kW] = signal_sign x payload. −1 for LOAD_DISPATCH delta of an upward service: less
    consumption is negative there and power into the grid, positive, with us. +1 for a downward one,
    whose service is told as a positive size in its product's direction."""
    unit_kw: float
    """What one unit of a payload without its own unit means [kW]."""
    allows_part: bool
    min_power_kw: float
    """Smallest power worth accepting, whole or in part [kW, > 0]."""
    min_notice_s: float
    """Shortest time from decision to start [s] in which the fleet can be armed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an event, and what is owed when it is yes."""

    opt: OptType
    reason: Reason
    text: str
    """One sentence with the numbers, for people."""
    requested_kw: float | None = None
    """Size of the service asked for [kW, > 0]; None when the event does not tell it."""
    power_kw: float = 0.0
    """Size accepted [kW, >= 0] in the product's direction; 0: nothing is owed."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @property
    def is_obligation(self) -> bool:
        """Tell whether something is owed."""
        return self.opt is OptType.OPT_IN and self.power_kw > 0.0


class _Refusal(Exception):
    """A step's result; never leaves this module."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def decide(event: Event, program: ProgramTerms | None, available_kw: float, at: datetime) -> Decision:
    """Decide on one event.

    ``available_kw`` is the power [kW, >= 0] that the fleet can keep up for the product's whole
    duration at that instant, less its drop-out margin. Nothing raises: every fault of the event is
    an opt-out with a named reason.
    """
    try:
        return _decide(event, program, available_kw, at)
    except _Refusal as refusal:
        return Decision(OptType.OPT_OUT, refusal.reason, refusal.text)


def _decide(event: Event, program: ProgramTerms | None, available_kw: float, at: datetime) -> Decision:
    if event.status == EventStatus.CANCELLED:
        return Decision(OptType.OPT_IN, Reason.CANCELLED, "the operator cancelled the event; nothing is owed")
    if event.status not in set(EventStatus):
        accepted = ", ".join(status.value for status in EventStatus)
        raise _Refusal(Reason.STATUS_UNKNOWN, f"event status is {event.status!r}, accepted: {accepted}")
    if program is None:
        raise _Refusal(
            Reason.MARKET_CONTEXT_UNKNOWN, f"market context {event.market_context!r} belongs to no program of ours"
        )
    starts_at, ends_at = _window(event, program, at)
    requested_kw = _requested_kw(event, program)
    if event.is_test:
        return Decision(
            OptType.OPT_IN,
            Reason.TEST_EVENT,
            f"test event of {requested_kw:g} kW, answered, not acted on",
            requested_kw,
        )
    usable_kw = available_kw if math.isfinite(available_kw) else 0.0
    if usable_kw >= requested_kw:
        return Decision(
            OptType.OPT_IN,
            Reason.ACCEPTED,
            f"{requested_kw:g} kW asked, {usable_kw:.1f} kW available",
            requested_kw,
            requested_kw,
            starts_at,
            ends_at,
        )
    # Whole kilowatts downwards: a part is a promise, not an estimate.
    part_kw = float(math.floor(max(usable_kw, 0.0)))
    if program.allows_part and part_kw >= max(program.min_power_kw, 1.0):
        return Decision(
            OptType.OPT_IN,
            Reason.ACCEPTED_PART,
            f"{requested_kw:g} kW asked, {usable_kw:.1f} kW available, {part_kw:g} kW accepted",
            requested_kw,
            part_kw,
            starts_at,
            ends_at,
        )
    rule = "no part worth it" if program.allows_part else "the program allows no part"
    return Decision(
        OptType.OPT_OUT,
        Reason.NOT_AVAILABLE,
        f"{requested_kw:g} kW asked, {usable_kw:.1f} kW available, {rule}",
        requested_kw,
    )


def _window(event: Event, program: ProgramTerms, at: datetime) -> tuple[datetime, datetime]:
    if event.starts_at is None or event.duration is None:
        raise _Refusal(Reason.WINDOW_MISSING, "the event has no readable start or duration")
    if not timedelta(0) < event.duration <= MAX_DURATION:
        raise _Refusal(
            Reason.DURATION_OUT_OF_RANGE,
            f"duration is {event.duration.total_seconds():g} s, "
            f"accepted: more than 0 up to {MAX_DURATION.total_seconds():g} s",
        )
    try:
        ends_at = event.starts_at + event.duration
    except OverflowError:
        raise _Refusal(Reason.WINDOW_TOO_FAR, f"the event starts at {event.starts_at}") from None
    if ends_at <= at or event.status == EventStatus.COMPLETED:
        raise _Refusal(Reason.WINDOW_PAST, f"the event ended at {ends_at.isoformat()}, it is {at.isoformat()}")
    notice_s = (event.starts_at - at).total_seconds()
    if notice_s < program.min_notice_s:
        raise _Refusal(
            Reason.NOTICE_TOO_SHORT,
            f"the event starts {notice_s:.3f} s from the decision, accepted: {program.min_notice_s:g} s or more",
        )
    if event.starts_at - at > MAX_AHEAD:
        raise _Refusal(
            Reason.WINDOW_TOO_FAR,
            f"the event starts at {event.starts_at.isoformat()}, accepted: up to {MAX_AHEAD.days} days ahead",
        )
    return event.starts_at, ends_at


def _requested_kw(event: Event, program: ProgramTerms) -> float:
    signal = _signal(event, program)
    if signal.type != program.signal_type:
        raise _Refusal(
            Reason.SIGNAL_TYPE_UNSUPPORTED,
            f"signal {signal.name} has type {signal.type!r}, accepted: {program.signal_type}",
        )
    unit_kw = _unit_kw(signal, program)
    values = _values(event, signal)
    if len(set(values)) > 1:
        raise _Refusal(
            Reason.INTERVALS_VARY,
            f"intervals ask for {min(values):g} to {max(values):g}, accepted: one power for the whole event",
        )
    if values[0] == 0.0:
        raise _Refusal(Reason.VALUE_ZERO, "the signal asks for zero power")
    requested_kw = values[0] * unit_kw * program.signal_sign
    if abs(requested_kw) > MAX_POWER_KW:
        raise _Refusal(
            Reason.VALUE_ABSURD, f"the signal asks for {requested_kw:g} kW, accepted: up to {MAX_POWER_KW:g} kW"
        )
    if requested_kw < 0.0:
        accepted = "negative" if program.signal_sign < 0 else "positive"
        raise _Refusal(
            Reason.VALUE_WRONG_SIGN,
            f"the signal's value is {values[0]:g}, accepted in program {program.name}: {accepted}",
        )
    if requested_kw < program.min_power_kw:
        raise _Refusal(
            Reason.VALUE_TOO_SMALL,
            f"the signal asks for {requested_kw:g} kW, "
            f"accepted in program {program.name}: {program.min_power_kw:g} kW or more",
        )
    return requested_kw


def _signal(event: Event, program: ProgramTerms) -> EventSignal:
    if not event.signals:
        raise _Refusal(Reason.SIGNAL_MISSING, "the event has no signal")
    unknown = sorted({signal.name for signal in event.signals if signal.name != program.signal_name})
    if unknown:
        raise _Refusal(
            Reason.SIGNAL_UNKNOWN,
            f"signal {', '.join(unknown)[:80]}, accepted in program {program.name}: {program.signal_name}",
        )
    if len(event.signals) > 1:
        raise _Refusal(Reason.SIGNALS_AMBIGUOUS, f"{len(event.signals)} signals {program.signal_name}, accepted: 1")
    return event.signals[0]


def _unit_kw(signal: EventSignal, program: ProgramTerms) -> float:
    if signal.unit is None:
        return program.unit_kw
    scale_kw = _SCALES_KW.get(signal.scale or "none")
    if signal.unit != "W" or scale_kw is None:
        raise _Refusal(
            Reason.UNIT_UNKNOWN,
            f"the signal's unit is {signal.unit!r} at scale {signal.scale!r}, "
            f"accepted: W at scale {', '.join(_SCALES_KW)}",
        )
    return scale_kw


def _values(event: Event, signal: EventSignal) -> list[float]:
    if not signal.intervals:
        raise _Refusal(Reason.INTERVALS_MISSING, f"signal {signal.name} has no interval")
    values: list[float] = []
    expected_at = event.starts_at
    for number, interval in enumerate(signal.intervals, 1):
        if interval.value is None:
            raise _Refusal(Reason.VALUE_MISSING, f"interval {number} holds no number")
        if not math.isfinite(interval.value):
            raise _Refusal(Reason.VALUE_NOT_FINITE, f"interval {number} holds {interval.value}")
        if interval.duration is None or interval.duration <= timedelta(0):
            raise _Refusal(
                Reason.DURATION_OUT_OF_RANGE, f"interval {number} lasts {interval.duration}, accepted: more than 0 s"
            )
        if interval.starts_at is not None and interval.starts_at != expected_at:
            raise _Refusal(
                Reason.INTERVALS_INCONSISTENT,
                f"interval {number} starts at {interval.starts_at.isoformat()}, "
                f"accepted: {expected_at.isoformat() if expected_at else None}, without hole or overlap",
            )
        if expected_at is not None:
            try:
                expected_at += interval.duration
            except OverflowError:
                raise _Refusal(Reason.DURATION_OUT_OF_RANGE, f"interval {number} lasts {interval.duration}") from None
        values.append(interval.value)
    if event.starts_at is not None and event.duration is not None and expected_at != event.starts_at + event.duration:
        raise _Refusal(
            Reason.INTERVALS_INCONSISTENT,
            f"the intervals end at {expected_at.isoformat() if expected_at else None}, "
            f"the event at {(event.starts_at + event.duration).isoformat()}",
        )
    return values
