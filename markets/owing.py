"""What a decision makes of an obligation: owed, changed from now on, or let go. Within the caller's transaction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from markets.core import course
from markets.core.course import Course
from markets.core.obligations import Asked, Decision, Reason, ended_at
from markets.core.products import Kind
from markets.models import MarketEvent, Obligation
from sites.core.intervals import Interval

_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_TOPIC_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,56}\Z")
"""A stream's name is the last level of its topic, with the product's prefix before it."""


def obligation_of(row: MarketEvent) -> Obligation | None:
    """Return what is or was owed for any version of an event, locked."""
    rows = Obligation.objects.select_for_update()
    return rows.filter(event__operator=row.operator, event__vtn_id=row.vtn_id, event__event_id=row.event_id).first()


def tolerance_of(row: MarketEvent) -> timedelta | None:
    """Return over how long the end of a running event is spread when its operator takes it back."""
    seconds = row.asked.get("start_after_s")
    return timedelta(seconds=float(seconds)) if seconds else None


def apply_decision(decision: Decision, row: MarketEvent, at: datetime) -> Obligation | None:
    """Owe what was accepted; let go of what was owed where it was not. Return the obligation, if there is one.

    An obligation that runs keeps what was owed up to now: it was held, and is settled.
    """
    obligation = obligation_of(row)
    if not decision.is_obligation:
        if obligation is not None:
            is_taken_back = decision.reason is Reason.CANCELLED
            release_obligation(obligation, at, start_after=tolerance_of(obligation.event) if is_taken_back else None)
        return obligation
    if row.program is None or decision.starts_at is None or decision.ends_at is None:
        raise ValueError(f"event {row} is accepted without program or window")
    window = Interval(decision.starts_at, decision.ends_at)
    later = decision.steps
    if obligation is None:
        return Obligation.objects.create(
            dispatch_id=_dispatch_id(row),
            program=row.program,
            event=row,
            power_kw=course.largest_kw(later, window),
            steps=_stored(later),
            starts_at=window.starts_at,
            ends_at=window.ends_at,
            created_at=at,
            changed_at=at,
        )
    change_obligation(obligation, window, later, at, event=row)
    return obligation


def change_obligation(
    obligation: Obligation, window: Interval, later: Course, at: datetime, *, event: MarketEvent | None = None
) -> None:
    """Owe another course from now on, in the next revision."""
    is_running = obligation.status == Obligation.Status.OPEN and at in obligation.window and at in window
    changed = course.followed_by(obligation.course, at, later) if is_running else later
    ahead = Interval(max(at, window.starts_at), window.ends_at) if at < window.ends_at else window
    obligation.power_kw = course.largest_kw(changed, ahead)
    obligation.steps = _stored(changed)
    obligation.starts_at, obligation.ends_at = window.starts_at, window.ends_at
    obligation.status = Obligation.Status.OPEN
    if event is not None:
        obligation.program, obligation.event = event.program or obligation.program, event
    obligation.revision += 1
    obligation.changed_at = at
    obligation.save()


def release_obligation(obligation: Obligation, at: datetime, *, start_after: timedelta | None = None) -> None:
    """Owe nothing from now on: not begun is cancelled, running ends now, ended stays as it is.

    With the tolerance of one that its operator took back it ends by lot within that (``ended_at``).
    """
    if obligation.status != Obligation.Status.OPEN or obligation.ends_at <= at:
        return
    if obligation.starts_at < at:
        # What was held available up to now is still to be paid.
        obligation.ends_at = ended_at(at, obligation.ends_at, start_after, obligation.dispatch_id)
        obligation.steps = _stored(
            tuple(step for step in obligation.course if step.starts_at < obligation.ends_at) or obligation.course
        )
    else:
        obligation.status = Obligation.Status.CANCELLED
    obligation.revision += 1
    obligation.changed_at = at
    obligation.save(update_fields=["status", "ends_at", "steps", "revision", "changed_at"])


def stored_asked(asked: Asked, start_after: timedelta | None) -> dict[str, Any]:
    """Return what an event asks for as JSON keeps it."""
    kept: dict[str, Any] = {
        "starts_at": asked.window.starts_at.isoformat(),
        "ends_at": asked.window.ends_at.isoformat(),
        "steps": course.stored(asked.course),
    }
    return kept | ({"start_after_s": start_after.total_seconds()} if start_after else {})


def asked_from(kept: Mapping[str, Any]) -> Asked | None:
    """Return what a stored event asks for; None where it was stored before that was kept."""
    if not kept:
        return None
    window = Interval(datetime.fromisoformat(kept["starts_at"]), datetime.fromisoformat(kept["ends_at"]))
    steps = course.read(kept["steps"])
    return Asked(window, steps, course.largest_kw(steps, window))


def _stored(steps: Course) -> list[list[Any]]:
    """Return the steps; none for one power, which the obligation tells by itself. A signed one power is a step."""
    return course.stored(steps) if len(steps) > 1 or steps[0].power_kw < 0.0 else []


def _dispatch_id(row: MarketEvent) -> str:
    product = row.program.catalogue_row if row.program else None
    prefix = product.dispatch_prefix if product else ""
    plain = f"{prefix}-{row.event_id}"
    accepted = _PLAIN_ID if product is None or product.kind is Kind.CURVE else _TOPIC_ID
    if accepted.match(row.event_id) and not Obligation.objects.filter(dispatch_id=plain).exists():
        return plain
    # Ids are the operator's: odd characters, or two operators with the same one.
    both = f"{row.operator}\n{row.vtn_id}\n{row.event_id}".encode()
    return f"{prefix}-{hashlib.sha256(both).hexdigest()[:32]}"
