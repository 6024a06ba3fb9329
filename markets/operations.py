"""Writes of the market: receive and decide events, settle obligations, keep registrations."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction

from markets import limiting, owing, queries
from markets.capacity_limits import CapacityLimit
from markets.considering import Considered, considered_event, keep_claim
from markets.core.events import DEFAULT_OPERATOR, Event, EventStatus, OptType
from markets.core.limits import SIGNAL_TYPE as LIMIT_SIGNAL_TYPE
from markets.core.limits import SIGNALS as LIMIT_SIGNALS
from markets.core.obligations import Decision, Reason
from markets.core.products import Basis, Kind, product_named
from markets.core.program_seed import ProgramSeed
from markets.core.settled_against import require_baseline_method
from markets.core.settlement import ContractedShare
from markets.models import (
    MAX_RAW_BYTES,
    MarketEvent,
    Obligation,
    Program,
    RefusedMessage,
    Registration,
    Statement,
)
from markets.obligation_changes import ObligationChange
from markets.rearranging import rearrange
from markets.settling import NOTHING_GIVEN, Given, book_settlement, computed_run, is_changed, require_run
from sites.core import observe
from sites.core.curves import Direction

log = logging.getLogger(__name__)

_KEPT_BYTES: Final = 65_536
_KEPT_REFUSALS: Final = 1_000


DEFAULT_PROGRAMS: Final = (
    ProgramSeed("neso-dc-low", "http://grid-operator.example/programs/neso-dc-low"),
    ProgramSeed("neso-dc-high", "http://grid-operator.example/programs/neso-dc-high"),
)


def ensure_programs(*, seeds: Sequence[ProgramSeed] = DEFAULT_PROGRAMS) -> list[Program]:
    """Set up the programs that are missing and return all of them; existing ones stay as they are."""
    programs = []
    for seed in seeds:
        row = product_named(seed.product_name)
        is_limit = row.kind is Kind.LIMIT
        low = row.direction is Direction.LOW and not is_limit
        program, _ = Program.objects.get_or_create(
            name=seed.name,
            defaults={
                "operator": seed.operator,
                "market_context": seed.market_context,
                "product": row.name,
                "signal_name": seed.signal_name or LIMIT_SIGNALS.get(row.name, "LOAD_DISPATCH"),
                "signal_type": seed.signal_type or (LIMIT_SIGNAL_TYPE if is_limit else "delta"),
                "signal_sign": seed.sign,
                "unit_kw": seed.unit_kw,
                "allows_part": seed.allows_part,
                "is_emergency": seed.is_emergency,
                "baseline_method": require_baseline_method(seed.baseline_method, row),
                "min_power_kw": seed.min_power_kw,
                "min_notice_s": seed.min_notice_s,
                "currency": row.currency,
                "sign_note": seed.sign_note
                or (
                    "the size of the limit in kW unless the signal carries its unit"
                    if is_limit
                    else "LOAD_DISPATCH delta in kW unless the signal carries its unit; "
                    + (
                        "negative: less consumption, power into the grid, our positive service"
                        if low
                        else "positive: more consumption, power out of the grid"
                    )
                ),
            },
        )
        programs.append(program)
    return programs


@transaction.atomic
def receive_event(
    *,
    raw: bytes,
    event: Event,
    available_kw: float,
    at: datetime,
    received_at: datetime | None = None,
    message_hash: str = "",
) -> Decision:
    """Store an event as received, decide on it, and keep what is owed; one transaction.

    ``raw`` is the event's own element, ``message_hash`` the SHA-256 [hex] over the message around it.
    ``available_kw`` is what the fleet can keep up for the product's duration, less its drop-out
    margin; what goes before it in the same time and direction is taken off here, and those that it goes
    before are given what is left (``markets.core.precedence``). A version already decided gets the answer
    that stands by now, and changes nothing.
    """
    if len(raw) > MAX_RAW_BYTES:
        raise ValueError(f"raw has {len(raw)} bytes, accepted: up to {MAX_RAW_BYTES}")
    queries.lock_promises()
    program = queries.program_by_context(operator=event.operator, market_context=event.market_context)
    versions = MarketEvent.objects.select_for_update().filter(
        operator=event.operator, vtn_id=event.vtn_id, event_id=event.event_id
    )
    same = versions.filter(modification_number=event.modification_number).first()
    held = versions.order_by("-modification_number").first()
    if same is not None:
        return _repeated(same, event, program, raw, available_kw, at)
    if held is not None and event.modification_number < held.modification_number:
        stale = Decision(
            OptType.OPT_OUT,
            Reason.MODIFICATION_STALE,
            f"modification {event.modification_number} is ignored, {held.modification_number} is held",
        )
        _store(
            event, program, raw, message_hash, stale, available_kw, received_at or at, at,
            status=MarketEvent.Status.IGNORED,
        )  # fmt: skip
        return stale
    considered = considered_event(event, program, available_kw, at, held=held)
    versions.filter(status=MarketEvent.Status.DECIDED).update(status=MarketEvent.Status.SUPERSEDED)
    row = _store(event, program, raw, message_hash, considered.decision, available_kw, received_at or at, at)
    keep_claim(row, considered)
    _apply(considered, row, at)
    return considered.decision


@transaction.atomic
def withdraw_absent_events(
    *, vtn_id: str, listed: Collection[str], since: datetime, at: datetime, operator: str = DEFAULT_OPERATOR
) -> list[str]:
    """Take back what the operator's full list no longer holds, and return those event ids.

    OpenADR 2.0b: a VTN lists every event each time; one that is missing is cancelled. Left alone are
    events whose window has ended (operators drop completed ones) and those received before
    ``since``, our registration: a VTN that lost its memory asks for a new one, and what it forgot
    is still owed until it says otherwise.
    """
    queries.lock_promises()
    gone = (
        Obligation.objects.select_for_update()
        .select_related("event")
        .filter(status=Obligation.Status.OPEN, ends_at__gt=at, event__received_at__gte=since)
        .filter(event__operator=operator, event__vtn_id=vtn_id)
        .exclude(event__event_id__in=list(listed))
    )
    withdrawn = []
    for obligation in gone:
        event = obligation.event
        _withdraw(event, at)
        owing.release_obligation(obligation, at, start_after=owing.tolerance_of(event))
        withdrawn.append(event.event_id)
    limits = CapacityLimit.objects.select_for_update().select_related("event")
    for limit in limits.filter(
        status=CapacityLimit.Status.OPEN, ends_at__gt=at, event__received_at__gte=since, event__operator=operator,
        event__vtn_id=vtn_id,
    ).exclude(event__event_id__in=list(listed)):  # fmt: skip
        _withdraw(limit.event, at)
        limiting.end_limit(limit, at)
        withdrawn.append(limit.event.event_id)
    if withdrawn:
        rearrange(at=at)
    return withdrawn


def _withdraw(event: MarketEvent, at: datetime) -> None:
    event.status = MarketEvent.Status.WITHDRAWN
    event.reason = Reason.WITHDRAWN
    event.reason_text = f"absent from the operator's list at {at.isoformat()}; was {event.reason_text}"[:400]
    event.save(update_fields=["status", "reason", "reason_text"])


def refuse_message(*, raw: bytes, source: str, error: str, detail: str, at: datetime) -> None:
    """Keep a message in which no event could be read; the oldest ones make room."""
    log.warning("%s source=%s error=%s detail=%s", observe.MESSAGE_REFUSED, source, error, detail[:400])
    with transaction.atomic():
        row = RefusedMessage.objects.create(
            received_at=at,
            source=source[:255],
            error=error[:40],
            detail=detail[:400],
            size_bytes=len(raw),
            raw=raw[:_KEPT_BYTES],
        )
        RefusedMessage.objects.filter(pk__lte=row.pk - _KEPT_REFUSALS).delete()


def keep_answered(*, event_pk: int, at: datetime) -> None:
    """Keep that an operator had our answer to a version of an event (OpenADR 3, where it is a report)."""
    MarketEvent.objects.filter(pk=event_pk).update(answered_at=at)
    ObligationChange.objects.filter(event=event_pk, told_at=None).update(told_at=at)


def keep_told(*, change: ObligationChange, at: datetime) -> None:
    """Keep that an operator was told of a change, and with it of those before it on the same event."""
    earlier = ObligationChange.objects.filter(event=change.event_id, told_at=None, pk__lte=change.pk)
    earlier.update(told_at=at)


def keep_registration(
    *, vtn_url: str, ven_name: str, ven_id: str, registration_id: str, poll_s: float, at: datetime
) -> Registration:
    """Keep our standing with a VTN, so that a restarted process goes on with it."""
    registration, _ = Registration.objects.update_or_create(
        vtn_url=vtn_url,
        ven_name=ven_name,
        defaults={"ven_id": ven_id, "registration_id": registration_id, "poll_s": poll_s, "registered_at": at},
    )
    return registration


def settle_obligation(
    *,
    obligation: Obligation,
    shares: Sequence[ContractedShare],
    basis: Basis,
    at: datetime,
    accept_gaps: bool = False,
    run: int = 1,
    given: Given = NOTHING_GIVEN,
) -> Statement:
    """Book one obligation from metered data: an entry per asset, the fleet's entry, the statement.

    ``shares`` are the acknowledged assignments, one per site. Runs count from 1: the next one reverses
    the last one's entries and books what meter book, catalogue and contracts say now. A run that is
    booked comes back as it is; where the next one would say the same as the last, the last one comes
    back and nothing is booked. With ``accept_gaps`` what is not metered counts as not delivered;
    otherwise NotMetered names the sites whose records or intervals are missing. ``given`` are prices and the
    operator's signal where the product needs them; a later run without takes those of the run before. Raises
    PriceMissing naming product and period of a price that is not there, NotSettleable
    for a run that cannot be booked, LiveSettlementRefused for ``Basis.LIVE`` on a product that was not
    read in a primary document.
    """
    obligation = Obligation.objects.select_related("program", "event").get(pk=obligation.pk)
    held, last = require_run(obligation, run)
    if held is not None:
        return held
    # Seconds of reading and computing: before the transaction, which stops all other writers on SQLite.
    computed = computed_run(obligation, shares, basis, at=at, accept_gaps=accept_gaps, run=run, given=given)
    if last is not None and not is_changed(computed, last):
        return last
    with transaction.atomic():
        return book_settlement(obligation, computed, at)


def _repeated(
    row: MarketEvent, event: Event, program: Program | None, raw: bytes, available_kw: float, at: datetime
) -> Decision:
    if event.status == EventStatus.CANCELLED:
        # Cancelled without a new modification number: seen in the field, and the meaning is plain.
        if not row.is_cancelled and row.status == MarketEvent.Status.DECIDED:
            taken_back = Decision(OptType.OPT_IN, Reason.CANCELLED, "the operator cancelled the event")
            _redecide(row, Considered(taken_back), at)
            MarketEvent.objects.filter(pk=row.pk).update(operator_status=event.status, raw=raw)
        return _held_decision(row)
    if event.content_hash != row.content_hash:
        text = f"modification {event.modification_number} of {event.event_id} came again with other content"
        refuse_message(raw=raw, source=event.vtn_id, error=Reason.MODIFICATION_REPEATED, detail=text, at=at)
        return Decision(OptType.OPT_OUT, Reason.MODIFICATION_REPEATED, text)
    if row.status == MarketEvent.Status.WITHDRAWN:
        # Listed again after it was missing: as good as new.
        considered = considered_event(event, program, available_kw, at)
        keep_claim(row, considered)
        _redecide(row, considered, at)
    return _held_decision(row)


def _redecide(row: MarketEvent, considered: Considered, at: datetime) -> None:
    decision = considered.decision
    row.status = MarketEvent.Status.DECIDED
    row.opt_type, row.reason, row.reason_text = decision.opt, decision.reason, decision.text[:400]
    row.decided_at, row.answered_at = at, None
    row.save(update_fields=["status", "opt_type", "reason", "reason_text", "decided_at", "answered_at"])
    _apply(considered, row, at)


def _apply(considered: Considered, row: MarketEvent, at: datetime) -> None:
    """Make of a decision what is owed, or what limits hold, and give all others what they get beside it now."""
    if limiting.is_limit(row):
        limiting.keep_limit(row, considered.decision, considered.asked, considered.target, at)
    else:
        owing.apply_decision(considered.decision, row, at)
    rearrange(at=at, cause=row)


def _held_decision(row: MarketEvent) -> Decision:
    obligation = row.obligations.first()
    owed = obligation is not None and obligation.status != Obligation.Status.CANCELLED
    return Decision(
        opt=OptType(row.opt_type),
        reason=Reason(row.reason),
        text=row.reason_text,
        requested_kw=row.requested_kw,
        power_kw=obligation.power_kw if obligation and owed else 0.0,
        starts_at=obligation.starts_at if obligation and owed else None,
        ends_at=obligation.ends_at if obligation and owed else None,
    )


def _store(
    event: Event,
    program: Program | None,
    raw: bytes,
    message_hash: str,
    decision: Decision,
    available_kw: float,
    received_at: datetime,
    at: datetime,
    status: str = MarketEvent.Status.DECIDED,
) -> MarketEvent:
    log.info(
        "%s event_id=%s modification=%d opt=%s reason=%s text=%s",
        observe.EVENT_DECIDED,
        event.event_id,
        event.modification_number,
        decision.opt,
        decision.reason,
        decision.text,
    )
    return MarketEvent.objects.create(
        operator=event.operator,
        vtn_id=event.vtn_id,
        event_id=event.event_id,
        modification_number=event.modification_number,
        program=program,
        market_context=event.market_context[:255],
        raw=raw,
        message_hash=message_hash,
        content_hash=event.content_hash,
        operator_status=event.status[:16],
        is_test=event.is_test,
        received_at=received_at,
        decided_at=at,
        status=status,
        opt_type=decision.opt,
        reason=decision.reason,
        reason_text=decision.text[:400],
        requested_kw=decision.requested_kw,
        available_kw=available_kw,
        priority=max(-(2**63), min(event.priority, 2**63 - 1)),
    )
