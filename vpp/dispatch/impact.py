"""A settled dispatch beside what others would have done: measured figures from the books, estimates from none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from carbon import queries as carbon_queries
from carbon.core.counterfactual import Service
from carbon.core.impact import ImpactStatement, impact_statement
from markets import queries as market_queries
from sites.core.intervals import Interval
from sites.core.units import UG_PER_KG, kwh_from_uwh


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the books say that a dispatch gave."""

    product: str
    starts_at: datetime
    ends_at: datetime
    promised_kw: float
    energy_kwh: float
    """Net into the grid [kWh]; negative: taken from it."""
    worst_10s_kw: float | None
    worst_10s_due_kw: float | None
    k_factor: Decimal
    response_ms: int | None
    amount: Decimal
    currency: str
    basis: str
    run: int
    """Settlement run that stands."""
    service_kg_co2e: float | None
    """Carbon of the stored energy that was given, as the carbon book attributes it; None while it is not closed."""
    entry_hash: str


@dataclass(frozen=True, slots=True)
class DispatchImpact:
    """Measured and estimated side by side; nothing is taken off anything."""

    dispatch_id: str
    delivered: Delivered | None
    """None while the dispatch is not settled."""
    statement: ImpactStatement | None


def dispatch_impact(*, dispatch_id: str) -> DispatchImpact:
    """Return a dispatch's delivery and the estimates for the same service; both None before settlement.

    Reads only. What the window held ready counts as the service's size, what the meter book proved as its energy.
    """
    statement = market_queries.statement_of(dispatch_id=dispatch_id)
    if statement is None:
        return DispatchImpact(dispatch_id, None, None)
    # The facts of that very run: a further one may be booked while this is read.
    facts = market_queries.fleet_entry_facts(dispatch_id=dispatch_id, run=statement.run)
    if facts is None:
        return DispatchImpact(dispatch_id, None, None)
    obligation = statement.obligation
    sign = obligation.program.catalogue_row.sign
    window = obligation.window
    delivered = _delivered(facts["fleet"], statement, sign or 1, window)
    service = Service(
        power_kw=delivered.promised_kw,
        energy_kwh=delivered.energy_kwh,
        window_h=window.duration_h,
        # What answers both ways holds power to give too.
        gives=sign >= 0,
    )
    return DispatchImpact(dispatch_id, delivered, impact_statement(service))


def _delivered(fleet: Mapping[str, Any], statement: Any, sign: int, window: Interval) -> Delivered:
    obligation = statement.obligation
    closed = carbon_queries.period_totals(period=window, dispatch_id=obligation.dispatch_id)
    return Delivered(
        product=obligation.program.product,
        starts_at=obligation.starts_at,
        ends_at=obligation.ends_at,
        promised_kw=obligation.power_kw,
        energy_kwh=sign * kwh_from_uwh(int(fleet["delivered_uwh"])),
        worst_10s_kw=_number(fleet["worst_10s_delivered_kw"]),
        worst_10s_due_kw=_number(fleet["worst_10s_due_kw"]),
        k_factor=statement.k_factor,
        response_ms=fleet["response_ms"],
        amount=statement.amount,
        currency=statement.currency,
        basis=statement.basis,
        run=statement.run,
        service_kg_co2e=closed.service_out_ug / UG_PER_KG if closed.statements else None,
        entry_hash=statement.entry_hash,
    )


def _number(text: object) -> float | None:
    return None if text is None else float(str(text))
