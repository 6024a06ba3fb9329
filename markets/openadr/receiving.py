"""What came from an operator's VTN, to the operation: each event decided by itself, and what is no longer listed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from markets import operations, queries
from markets.core.events import Event, EventInvalid
from markets.core.obligations import MAX_DURATION, Decision, Reason
from markets.openadr.event_elements import event_elements
from markets.openadr.mapping import event_of, response_of
from markets.openadr.operators import Ven3Config, VenConfig
from markets.openadr.ven3 import mapping as mapping3
from markets.openadr.ven3.loop import Answer, Listed
from markets.openadr.ven20b import EventList
from markets.operator_opts import opted_out
from sites.core.intervals import Interval
from sites.observability import metrics

log = logging.getLogger(__name__)

LAST_START = datetime.max.replace(tzinfo=UTC) - MAX_DURATION
"""A start after this leaves no room for an end in the calendar; the decision refuses it by name."""


@dataclass
class Receiver:
    """Decides the events of one operator's list; what the fleet can do is asked once for each program."""

    operator: str
    received_at: datetime

    def __post_init__(self) -> None:
        self._available_kw: dict[tuple[str, Interval | None], float] = {}

    def receive(self, event: Event, raw: bytes, message_hash: str) -> Decision:
        """Store an event with its decision and return it; raises what the database raises."""
        at = timezone.now()
        window = _window_of(event)
        context = event.market_context, window
        if context not in self._available_kw:
            self._available_kw[context] = queries.available_kw(
                operator=self.operator,
                market_context=event.market_context,
                window=window,
                at=at,
                fresh_within_s=settings.FRESH_WITHIN_S,
                dropout_margin=settings.DROPOUT_MARGIN,
            )
        available_kw = 0.0 if self._is_opted_out(event) else self._available_kw[context]
        decision = operations.receive_event(
            raw=raw,
            event=event,
            available_kw=available_kw,
            at=at,
            received_at=self.received_at,
            message_hash=message_hash,
        )
        metrics.OPENADR_EVENTS.labels(self.operator, decision.opt.value).inc()
        return decision

    def _is_opted_out(self, event: Event) -> bool:
        """Tell whether we told the operator that we have nothing for it in the event's window."""
        window = _window_of(event)
        if window is None:
            return False
        opts = opted_out(
            operator=self.operator,
            market_context=event.market_context,
            starts_at=window.starts_at,
            ends_at=window.ends_at,
        )
        return opts.exists()


def _window_of(event: Event) -> Interval | None:
    """Return the window that an event asks for; None where the decision refuses it."""
    if event.starts_at is None or event.duration is None or not timedelta(0) < event.duration <= MAX_DURATION:
        return None
    starts_at = min(event.starts_at, LAST_START)
    return Interval(starts_at, starts_at + event.duration)


def receive_list(listed: EventList, config: VenConfig) -> list[dict[str, Any]]:
    """Store and decide every event of a 2.0b list; return the responses that the VTN wants.

    Raises what the database raises: an event that is not stored is not answered.
    """
    close_old_connections()
    received_at = timezone.now()
    receiver = Receiver(config.operator, received_at)
    message_hash = hashlib.sha256(listed.raw).hexdigest()
    elements = event_elements(listed.raw)
    responses: list[dict[str, Any]] = []
    event_ids: list[str] = []
    unread = False
    for number, raw_event in enumerate(listed.events):
        # The reader keeps the order; where it does not see what the message holds, the whole of it is kept.
        raw = elements[number] if len(elements) == len(listed.events) else listed.raw
        try:
            event = event_of(raw_event, listed.vtn_id, config.operator)
        except EventInvalid as error:
            unread = True
            operations.refuse_message(
                raw=raw, source=config.url, error="event_invalid", detail=str(error), at=received_at
            )
            continue
        event_ids.append(event.event_id)
        decision = receiver.receive(event, raw, message_hash)
        # A window that has ended wants no answer (OpenADR 2.0b).
        if event.response_required and event.status != "completed":
            responses.append(response_of(event, decision, listed.request_id))
    registration = queries.registration_at(vtn_url=config.url, ven_name=config.ven_name)
    if unread:
        # An event whose id cannot be read may be any of those that seem to be missing.
        log.warning("openadr.list_unclear operator=%s", config.operator)
    elif registration is not None and listed.vtn_id:
        withdraw(config.operator, listed.vtn_id, event_ids, registration.registered_at)
    return responses


def receive_objects(changed: list[Listed], config: Ven3Config) -> list[Answer]:
    """Store and decide events of OpenADR 3; return the answers that the VTN has not had.

    Raises what the database raises: an event that is not stored is not answered.
    """
    close_old_connections()
    received_at = timezone.now()
    receiver = Receiver(config.operator, received_at)
    answers = []
    for listed in changed:
        event = mapping3.event_of(listed.raw, operator=config.operator, program=listed.program)
        event = replace(event, modification_number=queries.modification_number(event=event))
        decision = receiver.receive(event, listed.content, hashlib.sha256(listed.content).hexdigest())
        row = queries.event_version(event=event)
        # A window that has ended wants no answer: a VTN lists its whole past.
        if config.answers and row is not None and row.answered_at is None and decision.reason != Reason.WINDOW_PAST:
            report = mapping3.answer_of(listed.raw, decision, ven_name=config.ven_name, version=config.version)
            answers.append(Answer(row.pk, report))
    return answers


def keep_answered(answer: Answer) -> None:
    """Keep that the VTN had an answer."""
    close_old_connections()
    operations.keep_answered(event_pk=answer.event_pk, at=timezone.now())


def owed_event_ids(config: Ven3Config) -> list[str]:
    """Return the ids of an operator's events for which something is owed."""
    close_old_connections()
    return queries.owed_event_ids(operator=config.operator, at=timezone.now())


def withdraw_gone(config: Ven3Config, gone: list[str]) -> None:
    """Take back what is owed for events that the operator no longer has."""
    close_old_connections()
    kept = [event_id for event_id in owed_event_ids(config) if event_id not in gone]
    withdraw(config.operator, config.operator, kept, datetime.min.replace(tzinfo=UTC))


def withdraw(operator: str, vtn_id: str, listed: list[str], since: datetime) -> None:
    """Take back what the operator's whole list no longer holds."""
    withdrawn = operations.withdraw_absent_events(
        operator=operator, vtn_id=vtn_id, listed=listed, since=since, at=timezone.now()
    )
    if withdrawn:
        log.warning("openadr.withdrawn operator=%s event_ids=%s", operator, ",".join(withdrawn))
