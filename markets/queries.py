"""Reads of the market's state: open obligations, events, statements, what the fleet can offer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db.models import QuerySet

from markets.capacity_limits import CapacityLimit
from markets.core.events import DEFAULT_OPERATOR, Event
from markets.core.settlement import FLEET_KIND, kind_of
from markets.evidence import metered_spans
from markets.models import GridSupportEntry, MarketEvent, Obligation, Program, Registration, Statement
from markets.obligation_changes import ObligationChange
from sites.core.feeders import limited_kw
from sites.core.intervals import Interval
from sites.metering.queries import fleet_envelopes
from sites.registry.queries import feeders_of


def open_obligations(*, at: datetime) -> QuerySet[Obligation]:
    """Return what is owed now or later, first start first; windows that have ended are left out."""
    return (
        Obligation.objects.filter(status=Obligation.Status.OPEN, ends_at__gt=at)
        .select_related("program", "event")
        .order_by("starts_at", "dispatch_id")
    )


def obligations_to_settle(*, at: datetime) -> QuerySet[Obligation]:
    """Return what was owed, has ended and is not booked yet."""
    return (
        Obligation.objects.filter(status=Obligation.Status.OPEN, ends_at__lte=at)
        .select_related("program", "event")
        .order_by("ends_at", "dispatch_id")
    )


def obligations_ended(*, period: Interval) -> QuerySet[Obligation]:
    """Return the obligations whose windows ended within a period, open or settled; those taken back are left out."""
    rows = Obligation.objects.exclude(status=Obligation.Status.CANCELLED).select_related("program", "event")
    return rows.filter(ends_at__gt=period.starts_at, ends_at__lte=period.ends_at).order_by("ends_at", "dispatch_id")


def event_days(*, obligation: Obligation) -> tuple[str, ...]:
    """Return the days (UTC) that other obligations of a program touched, within a baseline's look-back before one."""
    since = obligation.starts_at - timedelta(days=50)
    rows = Obligation.objects.filter(program=obligation.program, ends_at__gt=since, starts_at__lt=obligation.ends_at)
    rows = rows.exclude(pk=obligation.pk).exclude(status=Obligation.Status.CANCELLED)
    days: set[str] = set()
    for starts_at, ends_at in rows.values_list("starts_at", "ends_at"):
        day = starts_at.date()
        while day <= ends_at.date():
            days.add(day.isoformat())
            day += timedelta(days=1)
    return tuple(sorted(days))


def obligation_named(*, dispatch_id: str) -> Obligation | None:
    """Return one obligation by its dispatch id."""
    return Obligation.objects.select_related("program", "event").filter(dispatch_id=dispatch_id).first()


def changes_to_tell(*, operator: str) -> QuerySet[ObligationChange]:
    """Return the answers to an operator that changed since they were given, oldest first."""
    rows = ObligationChange.objects.filter(told_at=None, event__operator=operator)
    return rows.select_related("event", "obligation").order_by("changed_at", "pk")


def recent_obligations(*, limit: int = 50) -> QuerySet[Obligation]:
    """Return the newest obligations of any status, latest start first."""
    return Obligation.objects.select_related("program", "event").order_by("-starts_at", "dispatch_id")[:limit]


def recent_events(*, limit: int = 50) -> QuerySet[MarketEvent]:
    """Return the newest event versions with their answers; the raw bytes stay in the database."""
    return MarketEvent.objects.select_related("program").defer("raw").order_by("-received_at", "-pk")[:limit]


def lock_promises() -> None:
    """Let no other transaction promise anything until this one has ended: what is free is counted only once."""
    # SQLite needs no lock: there a transaction that writes is alone from its beginning on.
    list(Program.objects.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))


def available_kw(
    *,
    market_context: str,
    at: datetime,
    fresh_within_s: float,
    dropout_margin: float,
    operator: str = DEFAULT_OPERATOR,
    window: Interval | None = None,
) -> float:
    """Return what the fleet can keep up in a program's product for its whole duration [kW].

    Without the sites whose owner keeps them out of the window (without one: out of service now), and with no feeder's
    sites above its limit.

    The sum of the sustainable power of the sites with fresh readings, less the margin for sites that
    drop out in the event; what is promised already is not taken off. 0 for an unknown program.
    """
    program = program_by_context(operator=operator, market_context=market_context)
    if program is None:
        return 0.0
    product = program.catalogue_row
    sustain_s = product.sustain_s if product.curve_name is None else product.curve.sustain_s
    envelopes = fleet_envelopes(at=at, fresh_within_s=fresh_within_s, program=program.product, window=window)
    each_kw = np.array([envelope.sustainable_kw(sustain_s, product.sign) for envelope in envelopes])
    feeders = feeders_of(site_ids=[envelope.site_id for envelope in envelopes])
    return float(limited_kw(each_kw, feeders, product.sign).sum()) * (1.0 - dropout_margin)


def metering_gaps(*, window: Interval, site_ids: Sequence[str], recorded_ratio: float = 0.999) -> dict[str, str]:
    """Return, by site, what is still missing from the meter book over a window; empty when complete.

    Complete: numbered intervals of the battery up to the window's end, and high-rate record chunks
    over the window but for a sample at its edges. Reads spans, no samples: cheap enough to ask again.
    """
    recorded_s, through = metered_spans(window=window, site_ids=site_ids)
    gaps: dict[str, str] = {}
    for site_id in site_ids:
        ratio = recorded_s.get(site_id, 0.0) / window.duration_s
        metered_through = through.get(site_id)
        if ratio < recorded_ratio:
            gaps[site_id] = f"record covers {ratio:.1%}"
        elif metered_through is None or metered_through < window.ends_at:
            gaps[site_id] = f"intervals through {metered_through.isoformat() if metered_through else 'nothing'}"
    return gaps


def program_named(name: str) -> Program:
    """Return a program by its name; raise Program.DoesNotExist naming it otherwise."""
    try:
        return Program.objects.get(name=name)
    except Program.DoesNotExist:
        raise Program.DoesNotExist(f"program {name!r} is not set up; `manage.py load_programs` does it") from None


def program_by_context(*, operator: str, market_context: str) -> Program | None:
    """Return the program that a market context names with an operator; another operator's is none."""
    return Program.objects.filter(operator=operator, market_context=market_context).first()


def event_version(*, event: Event) -> MarketEvent | None:
    """Return the row that holds a version of an event."""
    rows = MarketEvent.objects.filter(operator=event.operator, vtn_id=event.vtn_id, event_id=event.event_id)
    return rows.filter(modification_number=event.modification_number).first()


def modification_number(*, event: Event) -> int:
    """Return the number of an event's version where the protocol gives none (OpenADR 3).

    That of the version held when the same is asked, one more when something else is.
    """
    rows = MarketEvent.objects.filter(operator=event.operator, vtn_id=event.vtn_id, event_id=event.event_id)
    held = rows.order_by("-modification_number").values_list("modification_number", "content_hash").first()
    if held is None:
        return 0
    number, content_hash = held
    return number if content_hash == event.content_hash else number + 1


def owed_event_ids(*, operator: str, at: datetime) -> list[str]:
    """Return the ids of an operator's events for which something is owed, or a limit held, now or later."""
    rows = Obligation.objects.filter(status=Obligation.Status.OPEN, ends_at__gt=at, event__operator=operator)
    limits = CapacityLimit.objects.filter(status=CapacityLimit.Status.OPEN, ends_at__gt=at, event__operator=operator)
    names = "event__event_id"
    return [*rows.values_list(names, flat=True), *limits.values_list(names, flat=True)]


def registration_at(*, vtn_url: str, ven_name: str) -> Registration | None:
    """Return our standing registration with a VTN."""
    return Registration.objects.filter(vtn_url=vtn_url, ven_name=ven_name).first()


def statement_of(*, dispatch_id: str) -> Statement | None:
    """Return the statement that stands for one dispatch: its last run's."""
    return statements_of(dispatch_id=dispatch_id).last()


def statements_of(*, dispatch_id: str) -> QuerySet[Statement]:
    """Return the statements of one dispatch, run by run."""
    rows = Statement.objects.select_related("obligation", "obligation__program")
    return rows.filter(obligation__dispatch_id=dispatch_id).order_by("run")


def fleet_entry_facts(*, dispatch_id: str, run: int | None = None) -> dict[str, Any] | None:
    """Return the facts of a run's fleet entry: terms, fleet figures, shares; without a run, of the last one.

    None before settlement.
    """
    if run is None:
        statement = statement_of(dispatch_id=dispatch_id)
        if statement is None:
            return None
        run = statement.run
    entry = GridSupportEntry.objects.filter(kind=kind_of(FLEET_KIND, run), dispatch_id=dispatch_id).first()
    facts: dict[str, Any] | None = json.loads(entry.body)["facts"] if entry else None
    return facts


def account_balances(*, dispatch_id: str) -> dict[str, Decimal]:
    """Return what a dispatch moved on each account [its currency], by account."""
    balances: dict[str, Decimal] = {}
    for body in GridSupportEntry.objects.filter(dispatch_id=dispatch_id).values_list("body", flat=True):
        for posting in json.loads(body)["postings"]:
            account = posting["account"]
            balances[account] = balances.get(account, Decimal(0)) + Decimal(posting["amount"])
    return dict(sorted(balances.items()))
