"""The decision on an event: accept whole, part or none, and why."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from markets.core.course import Course, Step, largest_kw, merged, pieces
from markets.core.events import Event, EventSignal, EventStatus, OptType
from markets.core.precedence import part_kw
from sites.core.intervals import Interval


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
    WINDOW_MOVED = "window_moved"
    """A modification moves an event that runs: what runs cannot begin again."""
    REDUCED = "reduced"
    """Accepted, and later cut: another event goes before it."""
    DISPLACED = "displaced"
    """Accepted, and later lost wholly: another event goes before it."""
    RESTORED = "restored"
    """Cut or refused before, and given what came free since."""
    LIMIT_KEPT = "limit_kept"
    """A capacity limit: taken note of, and what is allocated stays below it."""
    TARGET_UNKNOWN = "target_unknown"
    TARGET_UNSUPPORTED = "target_unsupported"


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
    is_stepped: bool = False
    """The power may change from interval to interval: an instruction, told as it goes. A curve is armed once."""
    is_two_way: bool = False
    """Steps of either sign are accepted: ``signal_sign`` x payload is power into the grid then."""
    is_limit: bool = False
    """A power that must not be exceeded; 0 is a limit, too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a readable event asks for."""

    window: Interval
    course: Course
    """Steps by time; in the product's direction, or signed where it has both."""
    requested_kw: float
    """Largest size [kW, >= 0]."""

    @property
    def pieces(self) -> list[tuple[Interval, float]]:
        """Each step's period and power [kW]."""
        return list(pieces(self.course, self.window))

    def ahead(self, at: datetime) -> Asked:
        """Return what is asked for from an instant in the window on."""
        if at not in self.window:
            return self
        window = Interval(at, self.window.ends_at)
        return Asked(
            window, tuple(Step(part.starts_at, kw) for part, kw in pieces(self.course, window)), self.requested_kw
        )


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
    course: Course = ()
    """What is accepted in steps, where it is not one power."""

    @property
    def is_obligation(self) -> bool:
        """Tell whether something is owed."""
        return self.opt is OptType.OPT_IN and self.power_kw > 0.0

    @property
    def steps(self) -> Course:
        """What is accepted in steps, also where it is one power."""
        return self.course or ((Step(self.starts_at, self.power_kw),) if self.starts_at else ())


class _Refusal(Exception):
    """A step's result; never leaves this module."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def decide(event: Event, program: ProgramTerms | None, available_kw: float, at: datetime) -> Decision:
    """Decide on one event for which nothing else competes.

    ``available_kw`` is the power [kW, >= 0] that the fleet can keep up for the product's whole
    duration at that instant, less its drop-out margin. Nothing raises: every fault of the event is
    an opt-out with a named reason.
    """
    asked = asked_of(event, program, at)
    if isinstance(asked, Asked) and program is not None:
        return answer(asked, program, [available_kw] * len(asked.pieces))
    if isinstance(asked, Asked):
        raise ValueError(f"event {event.event_id} of no program asks for something")
    return asked


def asked_of(
    event: Event, program: ProgramTerms | None, at: datetime, *, running_since: datetime | None = None
) -> Asked | Decision:
    """Return what an event asks for, or the decision where there is nothing to share: refused, cancelled, a test.

    ``running_since`` is the start of the window in which an earlier version of the event runs now: it may be changed
    without notice, and not be moved.
    """
    try:
        return _asked(event, program, at, running_since)
    except _Refusal as refusal:
        return Decision(OptType.OPT_OUT, refusal.reason, refusal.text)


def answer(asked: Asked, program: ProgramTerms, free_kw: Sequence[float], because: str = "") -> Decision:
    """Return the answer to what is asked where so much is left for each of its steps [kW].

    ``because`` completes the sentence: who goes before it.
    """
    window, sizes_kw = asked.window, [abs(power_kw) for _, power_kw in asked.pieces]
    usable_kw = [free if math.isfinite(free) else 0.0 for free in free_kw]
    told = f"{asked.requested_kw:g} kW asked, {min(usable_kw):.1f} kW available{because}"
    if all(usable >= size for usable, size in zip(usable_kw, sizes_kw, strict=True)):
        return _accepted(Reason.ACCEPTED, told, asked, asked.course)
    if program.allows_part:
        parts = [
            Step(part.starts_at, math.copysign(part_kw(abs(power_kw), usable, program.min_power_kw), power_kw))
            for (part, power_kw), usable in zip(asked.pieces, usable_kw, strict=True)
        ]
        if any(step.power_kw for step in parts):
            largest = largest_kw(tuple(parts), window)
            return _accepted(Reason.ACCEPTED_PART, f"{told}, {largest:g} kW accepted", asked, merged(parts))
    rule = "no part worth it" if program.allows_part else "the program allows no part"
    return Decision(OptType.OPT_OUT, Reason.NOT_AVAILABLE, f"{told}, {rule}", asked.requested_kw)


def ended_at(at: datetime, ends_at: datetime, start_after: timedelta | None, name: str) -> datetime:
    """Return when a running event ends that is taken back at an instant: at once, or by lot within its tolerance.

    The lot is the event's name, so that the same cancellation told twice ends at the same instant. OpenADR 2.0b from
    memory: with ``startafter`` a VEN spreads start and cancellation over that time, so that not all let go at once.
    """
    if start_after is None or start_after <= timedelta(0):
        return at
    lot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2.0**32
    return min(ends_at, at + lot * min(start_after, MAX_DURATION))


def _accepted(reason: Reason, text: str, asked: Asked, course: Course) -> Decision:
    window = asked.window
    return Decision(
        OptType.OPT_IN,
        reason,
        text,
        asked.requested_kw,
        largest_kw(course, window),
        window.starts_at,
        window.ends_at,
        course if len(course) > 1 or course[0].power_kw < 0.0 else (),
    )


def _asked(
    event: Event, program: ProgramTerms | None, at: datetime, running_since: datetime | None
) -> Asked | Decision:
    if event.status == EventStatus.CANCELLED:
        return Decision(OptType.OPT_IN, Reason.CANCELLED, "the operator cancelled the event; nothing is owed")
    if event.status not in set(EventStatus):
        accepted = ", ".join(status.value for status in EventStatus)
        raise _Refusal(Reason.STATUS_UNKNOWN, f"event status is {event.status!r}, accepted: {accepted}")
    if program is None:
        raise _Refusal(
            Reason.MARKET_CONTEXT_UNKNOWN, f"market context {event.market_context!r} belongs to no program of ours"
        )
    starts_at, ends_at = _window(event, program, at, running_since)
    window = Interval(starts_at, ends_at)
    course = _course(event, program)
    requested_kw = largest_kw(course, window)
    if event.is_test:
        return Decision(
            OptType.OPT_IN,
            Reason.TEST_EVENT,
            f"test event of {requested_kw:g} kW, answered, not acted on",
            requested_kw,
        )
    return Asked(window, course, requested_kw)


def _window(
    event: Event, program: ProgramTerms, at: datetime, running_since: datetime | None
) -> tuple[datetime, datetime]:
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
    if running_since is not None:
        if event.starts_at != running_since:
            raise _Refusal(
                Reason.WINDOW_MOVED,
                f"the event runs since {running_since.isoformat()} and is moved to {event.starts_at.isoformat()}, "
                "accepted: the same start, or a cancellation and a new event",
            )
        return event.starts_at, ends_at
    # A limit binds from now on when its window has begun: nothing has to be armed for it.
    if program.is_limit:
        return event.starts_at, ends_at
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


def _course(event: Event, program: ProgramTerms) -> Course:
    signal = _signal(event, program)
    if signal.type != program.signal_type:
        raise _Refusal(
            Reason.SIGNAL_TYPE_UNSUPPORTED,
            f"signal {signal.name} has type {signal.type!r}, accepted: {program.signal_type}",
        )
    unit_kw = _unit_kw(signal, program)
    intervals = _intervals(event, signal)
    values = [value for _, value in intervals]
    if len(set(values)) > 1 and not program.is_stepped:
        raise _Refusal(
            Reason.INTERVALS_VARY,
            f"intervals ask for {min(values):g} to {max(values):g}, accepted in program {program.name}: "
            "one power for the whole event",
        )
    if not any(values) and not program.is_limit:
        raise _Refusal(Reason.VALUE_ZERO, "the signal asks for zero power")
    # A zero without a sign: -0 kW is neither told nor stored.
    course = merged([Step(starts_at, value * unit_kw * program.signal_sign + 0.0) for starts_at, value in intervals])
    largest = max(course, key=lambda step: abs(step.power_kw)).power_kw
    if abs(largest) > MAX_POWER_KW:
        raise _Refusal(Reason.VALUE_ABSURD, f"the signal asks for {largest:g} kW, accepted: up to {MAX_POWER_KW:g} kW")
    wrong = next((value for value in values if value * program.signal_sign < 0.0), None)
    if wrong is not None and not program.is_two_way:
        accepted = "negative" if program.signal_sign < 0 else "positive"
        raise _Refusal(
            Reason.VALUE_WRONG_SIGN,
            f"the signal's value is {wrong:g}, accepted in program {program.name}: {accepted}",
        )
    if abs(largest) < program.min_power_kw and not program.is_limit:
        raise _Refusal(
            Reason.VALUE_TOO_SMALL,
            f"the signal asks for {abs(largest):g} kW, "
            f"accepted in program {program.name}: {program.min_power_kw:g} kW or more",
        )
    return course


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


def _intervals(event: Event, signal: EventSignal) -> list[tuple[datetime, float]]:
    if event.starts_at is None:
        raise _Refusal(Reason.WINDOW_MISSING, "the event has no readable start")
    if not signal.intervals:
        raise _Refusal(Reason.INTERVALS_MISSING, f"signal {signal.name} has no interval")
    values: list[tuple[datetime, float]] = []
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
                f"accepted: {expected_at.isoformat()}, without hole or overlap",
            )
        values.append((expected_at, interval.value))
        try:
            expected_at += interval.duration
        except OverflowError:
            raise _Refusal(Reason.DURATION_OUT_OF_RANGE, f"interval {number} lasts {interval.duration}") from None
    if event.duration is not None and expected_at != event.starts_at + event.duration:
        raise _Refusal(
            Reason.INTERVALS_INCONSISTENT,
            f"the intervals end at {expected_at.isoformat()}, "
            f"the event at {(event.starts_at + event.duration).isoformat()}",
        )
    return values
