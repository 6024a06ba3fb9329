"""What the market desk gives to VENs below us: events, their modifications and cancellations."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from openleadr import enums

from markets.openadr.vtn20b.models import DownstreamEvent, DownstreamVen, EventCopy
from markets.openadr.vtn20b.operations import PRINTABLE, RequestInvalid, queue_message

MAX_ABS_VALUE: Final = 1e12
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_SIGNAL_TYPES: Final = frozenset(enums.SIGNAL_TYPE.values)
_SIGNAL_NAMES: Final = frozenset(enums.SIGNAL_NAME.values)


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of an event."""

    name: str
    kind: str
    intervals: Sequence[tuple[int, float]]
    """(duration [s], value), one after the other from the event's start."""
    scale: str = ""
    """SI scale code of a power [W], such as ``k``; empty: the signal carries no unit."""

    def __post_init__(self) -> None:
        if self.name not in _SIGNAL_NAMES and not self.name.startswith("x-"):
            raise RequestInvalid(f"signal is {self.name!r}, accepted: {', '.join(sorted(_SIGNAL_NAMES))} or x-…")
        if self.kind not in _SIGNAL_TYPES:
            raise RequestInvalid(f"signal type is {self.kind!r}, accepted: {', '.join(sorted(_SIGNAL_TYPES))}")
        if self.scale and self.scale not in enums.SI_SCALE_CODE.values:
            raise RequestInvalid(f"scale is {self.scale!r}, accepted: {', '.join(enums.SI_SCALE_CODE.values)}")
        if not self.intervals or any(duration_s < 1 for duration_s, _ in self.intervals):
            raise RequestInvalid("intervals, accepted: one or more of at least 1 s")
        for _, value in self.intervals:
            if not math.isfinite(value) or abs(value) > MAX_ABS_VALUE:
                raise RequestInvalid(f"value is {value}, accepted: a number up to {MAX_ABS_VALUE:g}")
            if self.name == "SIMPLE" and value not in (0, 1, 2, 3):
                raise RequestInvalid(f"value is {value:g}, accepted with SIMPLE: 0, 1, 2 or 3")

    @property
    def duration_s(self) -> int:
        """Length of all intervals together [s]."""
        return sum(duration_s for duration_s, _ in self.intervals)

    def as_json(self) -> dict[str, Any]:
        """Return it as the event keeps it."""
        return {
            "signal_name": self.name,
            "signal_type": self.kind,
            "scale": self.scale,
            "intervals": [[duration_s, value] for duration_s, value in self.intervals],
        }


@dataclass(frozen=True, slots=True)
class EventContent:
    """What an event says; checked when made."""

    event_id: str
    market_context: str
    starts_at: datetime
    signals: Sequence[Signal]
    priority: int = 0
    ramp_up_s: int = 0
    is_test: bool = False
    comment: str = ""
    wants_answer: bool = True

    def __post_init__(self) -> None:
        if not _EVENT_ID.match(self.event_id):
            raise RequestInvalid(f"event id is {self.event_id!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ . : -")
        if self.starts_at.tzinfo is None:
            raise RequestInvalid(f"start is {self.starts_at.isoformat()}, accepted: an instant with its offset")
        if len({signal.duration_s for signal in self.signals}) != 1:
            raise RequestInvalid("signals, accepted: one or more, all of the same length")
        if not PRINTABLE.match(self.market_context) or (self.comment and not PRINTABLE.match(self.comment)):
            raise RequestInvalid("market context and comment, accepted: up to 128 printable characters")


@transaction.atomic
def issue_event(*, content: EventContent, ven_names: Collection[str], at: datetime) -> DownstreamEvent:
    """Give an event to VENs; a known event id makes a modification, its number one up.

    A VEN that is left out of a modification no longer has the event in its list: it is taken back there.
    """
    vens = list(DownstreamVen.objects.filter(ven_name__in=ven_names))
    missing = sorted(set(ven_names) - {ven.ven_name for ven in vens})
    if missing or not vens:
        raise RequestInvalid(f"VENs {', '.join(missing) or '(none)'} are not known")
    ends_at = content.starts_at + timedelta(seconds=content.signals[0].duration_s)
    if ends_at <= at:
        raise RequestInvalid(f"the event ends at {ends_at.isoformat()}, which is over")
    event = DownstreamEvent.objects.select_for_update().filter(event_id=content.event_id).first()
    if event is None:
        event = DownstreamEvent(event_id=content.event_id, created_at=at)
    elif event.is_cancelled or event.ends_at <= at:
        raise RequestInvalid(f"event {content.event_id} is {event.status(at)}; give a new id")
    else:
        event.modification_number += 1
    event.market_context, event.priority, event.is_test = content.market_context, content.priority, content.is_test
    event.comment, event.ramp_up_s = content.comment, content.ramp_up_s
    response = DownstreamEvent.Response
    event.response_required = response.ALWAYS if content.wants_answer else response.NEVER
    event.starts_at, event.ends_at, event.changed_at = content.starts_at, ends_at, at
    event.signals = [signal.as_json() for signal in content.signals]
    event.save()
    left_out = event.copies.exclude(ven__in=vens)
    losers = list(left_out.values_list("ven_id", flat=True))
    left_out.delete()
    for ven_pk in losers:
        # An empty or shorter list is told as well: its absence there is the cancellation.
        queue_message(ven_pk, "oadrDistributeEvent", {}, at)
    EventCopy.objects.bulk_create([EventCopy(event=event, ven=ven) for ven in vens], ignore_conflicts=True)
    event.copies.update(is_due=True)
    return event


@transaction.atomic
def cancel_event(*, event_id: str, at: datetime) -> DownstreamEvent:
    """Take an event back from all its VENs; raises RequestInvalid."""
    event = DownstreamEvent.objects.select_for_update().filter(event_id=event_id).first()
    if event is None or event.is_cancelled or event.ends_at <= at:
        raise RequestInvalid(f"event {event_id!r} is {'not known' if event is None else event.status(at)}")
    event.is_cancelled, event.changed_at = True, at
    event.modification_number += 1
    event.save()
    event.copies.update(is_due=True)
    return event
