"""The outbox's other end: takes what is owed, calls, and writes down what came of it. Any number may run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, F, OuterRef

from markets.openadr.addresses import AddressRefused
from markets.openadr.vtn3 import webhooks
from markets.openadr.vtn3.models import Delivery, Notice
from sites.observability import metrics

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
TAKEN_FOR: Final = timedelta(seconds=60)
"""A sender that took a call and was killed: another takes it after so long."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 900.0
GIVEN_UP_AFTER: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=7)
"""What was sent or given up can be read for so long."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make."""

    delivery_id: int
    url: str
    bearer: str | None
    is_challenge: bool
    body: str


def pause_s(attempts: int) -> float:
    """Return how long to wait after so many failures [s]."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))


def take_due(*, at: datetime, most: int = AT_ONCE) -> list[Call]:
    """Take calls that are due, so that no other sender has them: of each subscription's part the oldest open one."""
    older = Delivery.objects.filter(
        subscription=OuterRef("subscription"),
        part=OuterRef("part"),
        state=Delivery.State.WAITING,
        pk__lt=OuterRef("pk"),
    )
    due = Delivery.objects.filter(state=Delivery.State.WAITING, next_at__lte=at).exclude(Exists(older))
    taken = []
    for row in due.select_related("subscription").order_by("next_at", "pk")[:most]:
        # Whoever moves it on from the instant that was read has it.
        if Delivery.objects.filter(pk=row.pk, state=Delivery.State.WAITING, next_at=row.next_at).update(
            next_at=at + TAKEN_FOR, attempts=F("attempts") + 1
        ):
            part = json.loads(row.subscription.content)["objectOperations"][row.part]
            taken.append(Call(row.pk, part["callbackUrl"], part.get("bearerToken"), row.is_challenge, row.body))
    return taken


def note_outcome(call: Call, fault: str, *, at: datetime) -> None:
    """Write down what became of a call: taken, to be tried again after a pause, or given up.

    An address that did not echo within the time gets nothing of what waits behind the question.
    """
    row = Delivery.objects.filter(pk=call.delivery_id).first()
    if row is None:
        return
    row.last_error = fault[:200]
    if not fault:
        row.state = Delivery.State.SENT
    elif at - row.created_at >= GIVEN_UP_AFTER:
        row.state = Delivery.State.GIVEN_UP
        if row.is_challenge:
            behind = Delivery.objects.filter(subscription_id=row.subscription_id, part=row.part)
            behind.filter(state=Delivery.State.WAITING).update(state=Delivery.State.GIVEN_UP, last_error="no echo")
    else:
        row.next_at = at + timedelta(seconds=pause_s(row.attempts))
    row.save(update_fields=["state", "last_error", "next_at"])
    metrics.VTN_CALLS.labels("taken" if not fault else "failed").inc()
    if fault:
        log.warning("vtn3.call_failed delivery=%s attempts=%s fault=%s", row.pk, row.attempts, fault)


def make_call(call: Call, resolver: webhooks.Resolver = webhooks.resolve) -> str:
    """Make one call; return why it failed, or nothing."""
    try:
        if call.is_challenge:
            webhooks.call(call.url, echo=call.body, bearer=call.bearer, resolver=resolver)
        else:
            webhooks.call(call.url, body=call.body, bearer=call.bearer, resolver=resolver)
    except (webhooks.CallFailed, AddressRefused) as error:
        return str(error) or type(error).__name__
    return ""


def send_due(pool: ThreadPoolExecutor, *, clock: Callable[[], datetime]) -> int:
    """Send what is due; return how many calls were made."""
    calls = take_due(at=clock())
    for call, fault in zip(calls, pool.map(make_call, calls), strict=True):
        note_outcome(call, fault, at=clock())
    return len(calls)


def publish_notices(publish: Callable[[str, bytes], bool], *, most: int = 500) -> int:
    """Hand MQTT notices to the broker in their order, up to the first that it does not take; return how many."""
    done = []
    for row in Notice.objects.order_by("pk")[:most]:
        if not publish(row.topic, row.body.encode()):
            break
        done.append(row.pk)
    Notice.objects.filter(pk__in=done).delete()
    return len(done)


def clear_old(*, at: datetime) -> None:
    """Delete what nobody asks for any more."""
    Delivery.objects.exclude(state=Delivery.State.WAITING).filter(created_at__lt=at - KEPT).delete()
