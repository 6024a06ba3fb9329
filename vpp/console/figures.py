"""The dispatcher's figures that stand in the database: what is owed, what is armed, what was refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings

from markets import queries as market_queries
from markets.models import MarketEvent, Obligation, Program, Statement
from sites.metering.models import RefusalCount
from sites.registry.models import Site
from vpp.console.texts import money
from vpp.dispatch import queries as dispatch_queries
from vpp.dispatch.models import Dispatch


def fleet_figures(*, at: datetime) -> dict[str, Any]:
    """Return plain values for the fleet page: instants as ISO text, powers in kW, None where nothing stands."""
    owed = list(market_queries.open_obligations(at=at)[:5])
    running = next((row for row in owed if row.starts_at <= at), None)
    coming = next((row for row in owed if row.starts_at > at), None)
    ended = market_queries.recent_obligations(limit=1).first() if running is None and coming is None else None
    shown = running or coming or ended
    event = market_queries.recent_events(limit=1).first()
    refusals = list(RefusalCount.objects.order_by("-count").values_list("error", "count")[:6])
    return {
        "enrolled": Site.objects.count(),
        "obligation": None if shown is None else _obligation(shown, at=at),
        "coming": None if coming is None else _obligation(coming, at=at),
        "event": None if event is None else _event(event),
        "arming": None if shown is None else _arming(shown, at=at),
        "available_kw": _available_kw(shown, at=at),
        "statement": _statement(shown),
        "refused": [{"error": error, "count": count} for error, count in refusals],
        "refused_total": sum(RefusalCount.objects.values_list("count", flat=True)),
    }


def _obligation(row: Obligation, *, at: datetime) -> dict[str, Any]:
    if row.status != Obligation.Status.OPEN:
        phase = row.status
    elif at < row.starts_at:
        phase = "ahead"
    elif at < row.ends_at:
        phase = "running"
    else:
        phase = "ended"
    return {
        "dispatch_id": row.dispatch_id,
        "program": row.program.name,
        "power_kw": row.power_kw,
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
        "phase": str(phase),
    }


def _arming(obligation: Obligation, *, at: datetime) -> dict[str, Any] | None:
    """Return how the obligation's dispatch stands; None while the dispatcher has not taken it up."""
    try:
        summary = dispatch_queries.dispatch_summary(dispatch_id=obligation.dispatch_id, at=at)
    except Dispatch.DoesNotExist:
        return None
    return {
        "armed": summary.armed,
        "acknowledged": summary.acknowledged,
        "refused": summary.refused,
        "armed_kw": summary.armed_kw,
        "acknowledged_kw": summary.acknowledged_kw,
        "firm_kw": summary.firm_kw,
        "upper_kw": summary.upper_kw,
        "limit_kw": summary.limit_kw,
        "is_unheard": summary.is_unheard,
        "is_short": summary.short_since is not None,
        "p50_ms": summary.arm_ms_p50,
        "p99_ms": summary.arm_ms_p99,
    }


def _available_kw(obligation: Obligation | None, *, at: datetime) -> float | None:
    """Return what the fleet could keep up in the product at hand [kW]; None before a program is set up."""
    program = obligation.program if obligation is not None else Program.objects.first()
    if program is None:
        return None
    return market_queries.available_kw(
        market_context=program.market_context,
        at=at,
        fresh_within_s=settings.FRESH_WITHIN_S,
        dropout_margin=settings.DROPOUT_MARGIN,
    )


def _event(row: MarketEvent) -> dict[str, Any]:
    return {
        "event_id": row.event_id,
        "opt": row.opt_type,
        "reason": row.reason_text,
        "requested_kw": row.requested_kw,
        "available_kw": row.available_kw,
        "received_at": row.received_at.isoformat(),
    }


def _statement(obligation: Obligation | None) -> dict[str, Any] | None:
    if obligation is None:
        return None
    row: Statement | None = market_queries.statement_of(dispatch_id=obligation.dispatch_id)
    if row is None:
        return None
    return {"amount": money(row.amount), "currency": row.currency, "basis": row.basis}
