"""Events that compete for the fleet's power: how they stand, and what changes for the others when one comes or goes.

Within the caller's transaction, which holds ``queries.lock_promises``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from markets import owing
from markets.core.course import mean_size_kw, pieces
from markets.core.events import OptType
from markets.core.obligations import Asked, Decision, Reason, answer
from markets.core.precedence import LIMITS_FIRST, Cap, Claim, Grant, Piece, shared, why_before
from markets.core.product import Kind, Product
from markets.limiting import caps_for, limits_in
from markets.models import MarketEvent, Obligation, Program
from markets.obligation_changes import ObligationChange
from sites.core import observe
from sites.core.intervals import Interval

log = logging.getLogger(__name__)

NO_PLACE: Final = datetime.max.replace(tzinfo=UTC)
"""Of an event that was refused: it may have what comes free, and takes nothing from an equal that was accepted."""
WAITING: Final = frozenset({Reason.NOT_AVAILABLE, Reason.DISPLACED})


@dataclass(frozen=True, slots=True)
class Standing:
    """One event that stands, what is owed for it, and its claim."""

    row: MarketEvent
    obligation: Obligation | None
    asked: Asked
    """What it asks for from now on."""
    claim: Claim


def name_of(operator: str, vtn_id: str, event_id: str) -> str:
    """Return what tells one event from all others."""
    return f"{operator}/{vtn_id}/{event_id}"


def claim_for(
    asked: Asked,
    program: Program,
    *,
    name: str,
    available_kw: float,
    priority: int,
    placed_at: datetime,
    caps: tuple[Cap, ...] = (),
) -> Claim:
    """Return an event's claim; its pieces are those of what it asks for."""
    product = program.catalogue_row
    return Claim(
        name=name,
        pieces=tuple(_piece(part, power_kw, product) for part, power_kw in asked.pieces),
        available_kw=available_kw if math.isfinite(available_kw) else 0.0,
        is_emergency=program.is_emergency,
        priority=priority,
        placed_at=placed_at,
        allows_part=program.allows_part,
        min_power_kw=program.min_power_kw,
        caps=caps,
    )


def standings(*, at: datetime) -> list[Standing]:
    """Return the events that compete now or later: what is owed, and what was refused for lack of power alone."""
    owed = Obligation.objects.select_for_update(of=("self",)).select_related("event", "program")
    found = [_owed(row, at) for row in owed.filter(status=Obligation.Status.OPEN, ends_at__gt=at)]
    waiting = MarketEvent.objects.select_related("program").filter(
        status=MarketEvent.Status.DECIDED, opt_type=OptType.OPT_OUT.value, reason__in=[r.value for r in WAITING]
    )
    for row in waiting.exclude(asked={}).order_by("pk"):
        asked = owing.asked_from(row.asked)
        if asked is None or row.program is None:
            continue
        if (asked.window.starts_at - at).total_seconds() >= row.program.min_notice_s:
            found.append(Standing(row, None, asked, _claim_of(row, row.program, asked, NO_PLACE)))
    return found


def decision_for(claim: Claim, asked: Asked, program: Program, at: datetime) -> Decision:
    """Return the answer to what is asked beside everything that stands."""
    others = [_capped(row, at) for row in standings(at=at)]
    claims = {other.claim.name: other.claim for other in others if other.claim.name != claim.name} | {claim.name: claim}
    grant = shared(claims.values())[claim.name]
    return answer(asked, program.terms, grant.free_kw, _because(claim, grant, claims))


def rearrange(*, at: datetime, cause: MarketEvent | None = None) -> list[ObligationChange]:
    """Give every event that stands what it gets now; return what changed for whom.

    ``cause`` is the event that came or went: what the fleet can do was measured for it, so those of its program that
    stand behind it and beside it count on no more than that.
    """
    standing = [_capped(_measured_anew(row, cause), at) for row in standings(at=at)]
    claims = {row.claim.name: row.claim for row in standing}
    grants = shared(claims.values())
    changes = []
    for row in standing:
        if row.claim.is_sold or (cause is not None and row.row.pk == cause.pk):
            continue
        grant = grants[row.claim.name]
        if not _is_as_owed(row, grant, at):
            because = _because(row.claim, grant, claims)
            changes.append(_changed(row, grant, because, at, cause))
    return changes


def _capped(row: Standing, at: datetime) -> Standing:
    program = row.obligation.program if row.obligation is not None else row.row.program
    limits = limits_in(window=row.asked.window)
    if program is None or row.claim.is_sold or not limits:
        return row
    caps = caps_for(program, row.asked, row.claim.available_kw, limits=limits, at=at)
    return replace(row, claim=replace(row.claim, caps=caps))


def _owed(obligation: Obligation, at: datetime) -> Standing:
    row = obligation.event
    asked = owing.asked_from(row.asked)
    is_as_asked = (
        row.status == MarketEvent.Status.DECIDED and row.opt_type == OptType.OPT_IN and row.reason != Reason.CANCELLED
    )
    if asked is not None and is_as_asked and asked.window.ends_at == obligation.ends_at:
        ahead = asked.ahead(at)
        return Standing(row, obligation, ahead, _claim_of(row, obligation.program, ahead, row.placed_at))
    # Awarded on an offer, told before that was kept, or taken back and still in its lot: it is what it is.
    window = obligation.window
    fixed = Asked(window, obligation.course, obligation.power_kw).ahead(at)
    claim = _claim_of(row, obligation.program, fixed, obligation.created_at)
    return Standing(row, obligation, fixed, replace(claim, is_sold=True))


def _claim_of(row: MarketEvent, program: Program, asked: Asked, placed_at: datetime | None) -> Claim:
    return claim_for(
        asked,
        program,
        name=name_of(row.operator, row.vtn_id, row.event_id),
        available_kw=row.available_kw,
        priority=row.priority,
        placed_at=placed_at or row.received_at,
    )


def _piece(part: Interval, power_kw: float, product: Product) -> Piece:
    """Return a step as power into and out of the grid; a band of both ways needs its size each way."""
    size_kw = abs(power_kw)
    if product.sign == 0 and product.kind is not Kind.INSTRUCTION:
        return Piece(part, size_kw, size_kw)
    return Piece(part, size_kw, 0.0) if (product.sign or power_kw) > 0 else Piece(part, 0.0, size_kw)


def _measured_anew(row: Standing, cause: MarketEvent | None) -> Standing:
    if cause is None or row.row.pk == cause.pk or row.claim.is_sold or row.row.program_id != cause.program_id:
        return row
    asked = owing.asked_from(cause.asked)
    if asked is None or asked.window.overlap(row.asked.window) is None or row.claim.available_kw <= cause.available_kw:
        return row
    if cause.opt_type != OptType.OPT_IN or cause.program is None:
        return row
    if _claim_of(cause, cause.program, asked, cause.placed_at).rank > row.claim.rank:
        return row
    row.row.available_kw = cause.available_kw
    row.row.save(update_fields=["available_kw"])
    return replace(row, claim=replace(row.claim, available_kw=cause.available_kw))


def _is_as_owed(row: Standing, grant: Grant, at: datetime) -> bool:
    if row.obligation is None:
        return grant.size_kw == 0.0
    window = Interval(max(at, row.obligation.starts_at), row.obligation.ends_at)
    product = row.obligation.program.catalogue_row
    held = [_piece(part, power_kw, product) for part, power_kw in pieces(row.obligation.course, window)]
    return _profile(held) == _profile(grant.pieces)


def _profile(parts: Iterable[Piece]) -> list[tuple[datetime, float, float]]:
    """Return the instants at which power changes, whatever pieces it is told in."""
    found: list[tuple[datetime, float, float]] = []
    for part in parts:
        power = (round(part.up_kw, 6), round(part.down_kw, 6))
        if not found or found[-1][1:] != power:
            found.append((part.window.starts_at, *power))
    return found


def _changed(row: Standing, grant: Grant, because: str, at: datetime, cause: MarketEvent | None) -> ObligationChange:
    """Write what an event gets now: its obligation's next revision, its answer, and the row that tells why."""
    event, obligation = row.row, row.obligation
    program = obligation.program if obligation is not None else event.program
    if program is None:
        raise ValueError(f"event {event} competes without a program")
    before_kw = obligation.power_kw if obligation is not None else 0.0
    before = mean_size_kw(obligation.course, row.asked.window) if obligation is not None else 0.0
    decision = answer(row.asked, program.terms, grant.free_kw, because)
    if obligation is not None and decision.is_obligation:
        window = obligation.window
        owing.change_obligation(obligation, window, decision.steps, at)
    elif obligation is not None:
        owing.release_obligation(obligation, at)
    else:
        obligation = owing.apply_decision(decision, event, at)
        if obligation is None:
            raise ValueError(f"event {event} got power and no obligation")
    after_kw = decision.power_kw
    reason = Reason.DISPLACED
    if decision.is_obligation:
        # By the mean: of a plan, a step may be cut that is not its largest.
        is_more = mean_size_kw(decision.steps, row.asked.window) > before
        reason = Reason.RESTORED if is_more else Reason.REDUCED
    event.opt_type, event.reason, event.reason_text = decision.opt.value, reason.value, decision.text[:400]
    # To be answered again: who polls hears it with the next round.
    event.answered_at = None
    event.save(update_fields=["opt_type", "reason", "reason_text", "answered_at"])
    log.warning(
        "%s dispatch_id=%s reason=%s before_kw=%g after_kw=%g cause=%s text=%s",
        observe.OBLIGATION_CHANGED, obligation.dispatch_id, reason, before_kw, after_kw,
        cause.event_id if cause else "-", decision.text,
    )  # fmt: skip
    return ObligationChange.objects.create(
        event=event,
        obligation=obligation,
        revision=obligation.revision,
        changed_at=at,
        before_kw=before_kw,
        after_kw=after_kw,
        opt_type=decision.opt.value,
        reason=reason.value,
        text=decision.text[:400],
        cause=cause.event_id if cause else "",
    )


def _because(claim: Claim, grant: Grant, claims: Mapping[str, Claim]) -> str:
    told = [f"after {name.rpartition('/')[2]} ({why_before(claims[name], claim).text})" for name in grant.before[:3]]
    if len(grant.before) > 3:
        told.append(f"and {len(grant.before) - 3} more")
    if grant.is_capped:
        told.append(LIMITS_FIRST)
    return f" {', '.join(told)}" if told else ""
