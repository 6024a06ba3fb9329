"""Writes of our VTN: who may join, what VENs are given and what they answer, the queue, nonces."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

from markets.openadr.vtn20b.models import (
    DownstreamEvent,
    DownstreamVen,
    EventCopy,
    OptSchedule,
    QueuedMessage,
    ReportedValue,
    RequestedReport,
    UsedNonce,
)
from markets.openadr.vtn20b.refusal import INVALID_ID, OUT_OF_SEQUENCE, Refused

RESEND_AFTER: Final = timedelta(seconds=10)
"""A message that was not answered is given again at the first poll after this."""
MAX_SENDS: Final = 5
"""A queued message that stays without an answer is given up after so many."""
_FINGERPRINT: Final = re.compile(r"(?:[0-9A-F]{2}:){9}[0-9A-F]{2}\Z")
PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}\Z")


class RequestInvalid(ValueError):
    """What the desk asked for cannot be; the message says what is accepted."""


@dataclass(frozen=True, slots=True)
class OptAnswer:
    """A VEN's answer to one event."""

    event_id: str
    modification_number: int
    opt_type: str
    code: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A VEN's EiOpt."""

    opt_id: str
    opt_type: str
    opt_reason: str
    market_context: str
    event_id: str
    modification_number: int | None
    windows: list[tuple[datetime, datetime]] = field(default_factory=list)
    targets: list[dict[str, str]] = field(default_factory=list)


# --- who may join ----------------------------------------------------------------------------------


def add_ven(
    *, name: str, security: str, fingerprint: str | None, certificate_sha256: str = "", at: datetime
) -> DownstreamVen:
    """Let a VEN join, by its certificate's fingerprint; raises RequestInvalid.

    A known name gets the new fingerprint (its certificate was renewed) and keeps its registration.
    """
    if not PRINTABLE.match(name):
        raise RequestInvalid(f"name is {name!r}, accepted: 1 to 128 printable characters")
    is_open = security == DownstreamVen.Security.OPEN
    if is_open != (fingerprint is None) or (fingerprint is not None and not _FINGERPRINT.match(fingerprint)):
        raise RequestInvalid(
            f"fingerprint is {fingerprint!r}, accepted: ten bytes as AA:BB:… (none for a VEN of security open)"
        )
    if fingerprint and DownstreamVen.objects.filter(fingerprint=fingerprint).exclude(ven_name=name).exists():
        raise RequestInvalid(f"fingerprint {fingerprint} belongs to another VEN")
    ven, _ = DownstreamVen.objects.update_or_create(
        ven_name=name,
        defaults={
            "security": security,
            "fingerprint": fingerprint,
            "certificate_sha256": certificate_sha256,
            "changed_at": at,
        },
        create_defaults={
            "ven_id": f"VEN-{secrets.token_hex(8)}",
            "security": security,
            "fingerprint": fingerprint,
            "certificate_sha256": certificate_sha256,
            "created_at": at,
            "changed_at": at,
        },
    )
    return ven


def remove_ven(*, name: str) -> None:
    """Forget a VEN with everything it said; raises RequestInvalid when there is none of that name."""
    deleted, _ = DownstreamVen.objects.filter(ven_name=name).delete()
    if not deleted:
        raise RequestInvalid(f"VEN {name!r} is not known")


@transaction.atomic
def register(*, ven_pk: int, push_url: str, is_report_only: bool, registration_id: str, at: datetime) -> str:
    """Register a VEN, or again; returns its registration id, the same as long as it stays registered."""
    ven = DownstreamVen.objects.select_for_update().get(pk=ven_pk)
    if registration_id and ven.registration_id and registration_id != ven.registration_id:
        raise Refused("registration_unknown", f"registrationID {registration_id!r} is not yours", code=INVALID_ID)
    ven.registration_id = ven.registration_id or f"REG-{secrets.token_hex(8)}"
    ven.push_url, ven.is_report_only = push_url, is_report_only
    ven.registered_at = ven.changed_at = at
    ven.save()
    # A VEN that registers may have forgotten everything: it gets its events again.
    EventCopy.objects.filter(ven=ven, event__ends_at__gt=at).update(is_due=True, sent_modification=None, sent_at=None)
    return ven.registration_id


@transaction.atomic
def cancel_registration(*, ven_pk: int, registration_id: str, at: datetime) -> None:
    """End a registration; raises Refused when the id is not the one held."""
    ven = DownstreamVen.objects.select_for_update().get(pk=ven_pk)
    if not ven.registration_id or ven.registration_id != registration_id:
        raise Refused("registration_unknown", f"registrationID {registration_id!r} is not yours", code=INVALID_ID)
    ven.registration_id, ven.push_url, ven.changed_at = "", "", at
    ven.save()
    QueuedMessage.objects.filter(ven=ven).delete()
    RequestedReport.objects.filter(ven=ven).update(state=RequestedReport.State.REPLACED)


def ask_to_leave(*, name: str, at: datetime) -> None:
    """Queue an oadrCancelPartyRegistration for a VEN."""
    ven = ven_named(name)
    queue_message(ven.pk, "oadrCancelPartyRegistration", {"registration_id": ven.registration_id}, at)


# --- events ----------------------------------------------------------------------------------------


@transaction.atomic
def given_events(*, ven_pk: int, at: datetime, limit: int | None = None) -> list[EventCopy]:
    """Return a VEN's whole list in OpenADR's order, noted as sent.

    Completed events have left it; a cancelled one stays until the VEN answered that.
    """
    copies = [
        copy
        for copy in EventCopy.objects.filter(ven=ven_pk, event__ends_at__gt=at).select_related("event")
        if not (copy.event.is_cancelled and copy.opt_modification == copy.event.modification_number)
    ]
    copies.sort(key=lambda copy: _order(copy.event, at))
    copies = copies[:limit]
    for copy in copies:
        copy.is_due = copy.event.response_required == DownstreamEvent.Response.ALWAYS and (
            copy.opt_modification != copy.event.modification_number
        )
        copy.sent_modification, copy.sent_at = copy.event.modification_number, at
    EventCopy.objects.bulk_update(copies, ["is_due", "sent_modification", "sent_at"])
    return copies


@transaction.atomic
def keep_answers(*, ven_pk: int, answers: Iterable[OptAnswer], at: datetime) -> None:
    """Keep a VEN's opts, event by event; raises Refused after keeping the good ones' absence of effect.

    An answer to an older modification is out of sequence; one to an event that the VEN was not given
    is unknown. Nothing of such a message is kept.
    """
    for answer in answers:
        copy = (
            EventCopy.objects.select_for_update(of=("self",))
            .select_related("event")
            .filter(ven=ven_pk, event__event_id=answer.event_id)
            .first()
        )
        if copy is None:
            raise Refused("event_unknown", f"event {answer.event_id!r} was not given to you", code=INVALID_ID)
        if answer.modification_number != copy.event.modification_number:
            raise Refused(
                "modification_out_of_sequence",
                f"event {answer.event_id!r}: {answer.modification_number}, held: {copy.event.modification_number}",
                code=OUT_OF_SEQUENCE,
            )
        copy.opt_type, copy.opt_code = answer.opt_type, answer.code
        copy.opt_modification, copy.opted_at, copy.is_due = answer.modification_number, at, False
        copy.save()


def _order(event: DownstreamEvent, at: datetime) -> tuple[bool, float, datetime, str]:
    """Active first, then by priority (0 is none), then by start (rule 15)."""
    return event.status(at) != "active", event.priority or math.inf, event.starts_at, event.event_id


# --- opt schedules ---------------------------------------------------------------------------------


@transaction.atomic
def keep_schedule(*, ven_pk: int, schedule: Schedule, at: datetime) -> None:
    """Keep an EiOpt; the same id again replaces it. One that names an event is that event's answer too."""
    if schedule.event_id:
        answer = OptAnswer(schedule.event_id, schedule.modification_number or 0, schedule.opt_type, 200)
        keep_answers(ven_pk=ven_pk, answers=[answer], at=at)
    OptSchedule.objects.update_or_create(
        ven_id=ven_pk,
        opt_id=schedule.opt_id,
        defaults={
            "opt_type": schedule.opt_type,
            "opt_reason": schedule.opt_reason,
            "market_context": schedule.market_context,
            "event_id": schedule.event_id,
            "modification_number": schedule.modification_number,
            "windows": [[start.isoformat(), end.isoformat()] for start, end in schedule.windows],
            "targets": schedule.targets,
            "received_at": at,
            "cancelled_at": None,
        },
    )


def cancel_schedule(*, ven_pk: int, opt_id: str, at: datetime) -> None:
    """End an EiOpt; raises Refused when the VEN has none of that id in force."""
    found = OptSchedule.objects.filter(ven=ven_pk, opt_id=opt_id, cancelled_at=None).update(cancelled_at=at)
    if not found:
        raise Refused("opt_unknown", f"optID {opt_id!r} is not in force", code=INVALID_ID)


# --- the queue, nonces, upkeep ---------------------------------------------------------------------


@transaction.atomic
def next_queued(*, ven_pk: int, at: datetime) -> QueuedMessage | None:
    """Return the VEN's oldest queued message that is due, noted as sent; gives one up after MAX_SENDS."""
    for queued in QueuedMessage.objects.select_for_update().filter(ven=ven_pk):
        if queued.sent_count >= MAX_SENDS:
            queued.delete()
        elif queued.sent_at is None or queued.sent_at <= at - RESEND_AFTER:
            queued.sent_at, queued.sent_count = at, queued.sent_count + 1
            queued.save()
            return queued
    return None


def answered(*, ven_pk: int, kind: str) -> None:
    """Take a queued message off that the VEN answered."""
    QueuedMessage.objects.filter(ven=ven_pk, kind=kind, sent_count__gt=0).delete()


def use_nonces(*, nonces: Sequence[tuple[str, float]]) -> None:
    """Note signed messages as taken: (digest, end of its time as Unix time [s])."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Plain SQL: this runs for every message of every VEN.
        cursor.executemany(
            "INSERT INTO markets_usednonce (digest, expires_s) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            list(nonces),
        )


@transaction.atomic
def prune(*, at: datetime, keep_values: timedelta) -> None:
    """Drop nonces whose time is over and values older than their keep."""
    UsedNonce.objects.filter(expires_s__lt=at.timestamp()).delete()
    ReportedValue.objects.filter(received_at__lt=at - keep_values).delete()


def note_heard(*, heard: dict[int, datetime]) -> None:
    """Note when VENs were heard."""
    DownstreamVen.objects.bulk_update(
        [DownstreamVen(pk=ven_pk, heard_at=heard_at) for ven_pk, heard_at in heard.items()], ["heard_at"]
    )


def queue_message(ven_pk: int, kind: str, content: dict[str, Any], at: datetime) -> None:
    """Keep a message for a VEN until it is answered."""
    QueuedMessage.objects.create(
        ven_id=ven_pk, kind=kind, request_id=f"Q-{secrets.token_hex(8)}", content=content, created_at=at
    )


def ven_named(name: str) -> DownstreamVen:
    """Return a VEN; raises RequestInvalid."""
    ven = DownstreamVen.objects.filter(ven_name=name).first()
    if ven is None:
        raise RequestInvalid(f"VEN {name!r} is not known")
    return ven
