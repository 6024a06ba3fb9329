"""What came from an operator's VTN, to the operation: each event decided by itself, and what is no longer listed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from markets import operations, queries
from markets.core.events import Event, EventInvalid
from markets.core.obligations import Decision
from markets.openadr.event_elements import event_elements
from markets.openadr.mapping import event_of, response_of
from markets.openadr.operators import VenConfig
from markets.openadr.ven20b import EventList
from sites.observability import metrics

log = logging.getLogger(__name__)


@dataclass
class Receiver:
    """Decides the events of one operator's list; what the fleet can do is asked once for each program."""

    operator: str
    message_hash: str
    received_at: datetime

    def __post_init__(self) -> None:
        self._available_kw: dict[str, float] = {}

    def receive(self, event: Event, raw: bytes) -> Decision:
        """Store an event with its decision and return it; raises what the database raises."""
        at = timezone.now()
        context = event.market_context
        if context not in self._available_kw:
            self._available_kw[context] = queries.available_kw(
                operator=self.operator,
                market_context=context,
                at=at,
                fresh_within_s=settings.FRESH_WITHIN_S,
                dropout_margin=settings.DROPOUT_MARGIN,
            )
        decision = operations.receive_event(
            raw=raw,
            event=event,
            available_kw=self._available_kw[context],
            at=at,
            received_at=self.received_at,
            message_hash=self.message_hash,
        )
        metrics.OPENADR_EVENTS.labels(self.operator, decision.opt.value).inc()
        return decision


def receive_list(listed: EventList, config: VenConfig) -> list[dict[str, Any]]:
    """Store and decide every event of a 2.0b list; return the responses that the VTN wants.

    Raises what the database raises: an event that is not stored is not answered.
    """
    close_old_connections()
    received_at = timezone.now()
    receiver = Receiver(config.operator, hashlib.sha256(listed.raw).hexdigest(), received_at)
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
        decision = receiver.receive(event, raw)
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


def withdraw(operator: str, vtn_id: str, listed: list[str], since: datetime) -> None:
    """Take back what the operator's whole list no longer holds."""
    withdrawn = operations.withdraw_absent_events(
        operator=operator, vtn_id=vtn_id, listed=listed, since=since, at=timezone.now()
    )
    if withdrawn:
        log.warning("openadr.withdrawn operator=%s event_ids=%s", operator, ",".join(withdrawn))
