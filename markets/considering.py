"""The decision on an event beside everything that stands, and the place that it keeps; the caller has the lock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from markets import owing
from markets.core.events import Event
from markets.core.obligations import Asked, Decision, asked_of
from markets.limiting import Target, caps_for, limit_decision, limits_in
from markets.models import MarketEvent, Obligation, Program
from markets.rearranging import claim_for, decision_for, name_of


@dataclass(frozen=True, slots=True)
class Considered:
    """A decision, and how the event competes from now on."""

    decision: Decision
    asked: Asked | None = None
    """None: there was nothing to share."""
    placed_at: datetime | None = None
    start_after: timedelta | None = None
    target: Target | None = None
    """Whom a capacity limit means."""


def considered_event(
    event: Event, program: Program | None, available_kw: float, at: datetime, held: MarketEvent | None = None
) -> Considered:
    """Decide an event beside everything that stands; ``held`` is the version of it that was decided before."""
    owed = owing.obligation_of(held) if held is not None else None
    if owed is not None and owed.status != Obligation.Status.OPEN:
        owed = None
    runs = owed is not None and owed.starts_at < at < owed.ends_at
    asked = asked_of(
        event, program.terms if program else None, at, running_since=owed.starts_at if owed and runs else None
    )
    if isinstance(asked, Decision):
        return Considered(asked)
    if program is None:
        raise ValueError(f"event {event.event_id} of no program asks for something")
    if program.terms.is_limit:
        kept, target = limit_decision(event, asked, program.product)
        return Considered(kept, asked, at, event.start_after, target)
    placed_at = _place(asked, held, at) if owed is not None else at
    ahead = asked.ahead(at)
    claim = claim_for(
        ahead,
        program,
        name=name_of(event.operator, event.vtn_id, event.event_id),
        available_kw=available_kw,
        priority=event.priority,
        placed_at=placed_at,
        caps=caps_for(program, ahead, available_kw, limits=limits_in(window=ahead.window), at=at),
    )
    decision = decision_for(claim, ahead, program, at)
    if decision.is_obligation and runs:
        # From now on; what was owed up to now stays before it.
        decision = replace(decision, starts_at=asked.window.starts_at, course=decision.steps)
    return Considered(decision, asked, placed_at, event.start_after)


def keep_claim(row: MarketEvent, considered: Considered) -> None:
    """Keep with an event what it asks for and since when it stands, for whoever comes after it."""
    row.placed_at = considered.placed_at
    row.asked = owing.stored_asked(considered.asked, considered.start_after) if considered.asked else {}
    row.save(update_fields=["placed_at", "asked"])


def _place(asked: Asked, held: MarketEvent | None, at: datetime) -> datetime:
    """Return since when an event stands: one that asks for no more than it did before keeps its place."""
    before = owing.asked_from(held.asked) if held is not None else None
    if held is None or before is None:
        return at
    is_no_more = (
        asked.requested_kw <= before.requested_kw
        and before.window.starts_at <= asked.window.starts_at
        and asked.window.ends_at <= before.window.ends_at
    )
    return (held.placed_at or held.received_at) if is_no_more else at
