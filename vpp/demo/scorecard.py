"""The scorecard: every figure read back from stored readings, acknowledgements and book entries."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from rich.table import Table

from carbon import queries as carbon_queries
from carbon.core.counterfactual import Service
from carbon.core.generator_trucks import generator_trucks
from markets import queries as market_queries
from markets.models import GridSupportEntry
from sites.core.intervals import Interval
from sites.core.ridethrough import islanding_figures
from sites.core.units import UG_PER_KG, kwh_from_uwh
from sites.ledger.audit import books_audit
from sites.metering import queries as metering_queries
from sites.metering.models import LiveState
from sites.registry.models import Site
from vpp.dispatch import queries as dispatch_queries

RESPONSE_LIMIT_MS = 1000.0
DELIVERED_RATIO_FLOOR = 0.95
WALL_LIMIT_S = 90.0
VOLTAGE_FLOOR_PU = 0.7


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table at the end."""

    text: str
    value: str
    target: str = ""
    met: bool | None = None


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return p50 and p99 of some figures; None for both when there are none."""
    if not values:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.asarray(values, dtype=np.float64), [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def read_scorecard(*, dispatch_id: str, metered: Interval, event: Interval, at: datetime) -> dict[str, Any]:
    """Return the scorecard of one dispatch; reads the database alone.

    ``metered`` is the period of the carbon book, ``event`` the one whose waveforms count. Raises LookupError when
    the dispatch is not settled.
    """
    summary = dispatch_queries.dispatch_summary(dispatch_id=dispatch_id, at=at)
    statement = market_queries.statement_of(dispatch_id=dispatch_id)
    if statement is None:
        raise LookupError(f"dispatch {dispatch_id} has no statement; was it settled?")
    fleet_entry = GridSupportEntry.objects.get(entry_hash=statement.entry_hash)
    facts = json.loads(fleet_entry.body)["facts"]
    fleet, shares = facts["fleet"], facts["shares"]
    carbon = carbon_queries.period_totals(period=metered)
    window = Interval(summary.starts_at, summary.ends_at)
    delivered_kwh = kwh_from_uwh(fleet["delivered_uwh"])
    truck = generator_trucks(Service(summary.promised_kw, max(0.0, delivered_kwh), window.duration_h))
    return {
        "sites": Site.objects.filter(live__isnull=False).count(),
        "armed": summary.armed,
        "acknowledged": summary.acknowledged,
        "arm_ms": percentiles(dispatch_queries.arm_latencies_ms(dispatch_id=dispatch_id)),
        "all_acknowledged_ms": summary.all_acknowledged_ms,
        "product": summary.product,
        "obligation_kw": summary.promised_kw,
        "armed_kw": round(summary.armed_kw, 3),
        "delivered_kw_worst_10s": _number(fleet["worst_10s_delivered_kw"]),
        "due_kw_worst_10s": _number(fleet["worst_10s_due_kw"]),
        "delivered_ratio": _number(fleet["delivered_ratio"]),
        "delivered_kwh": round(delivered_kwh, 6),
        "response_ms": _responses(shares),
        "islanding": _islanding(event),
        "settlement": {
            "amount": float(statement.amount),
            "currency": statement.currency,
            "basis": statement.basis,
            "k_factor": float(statement.k_factor),
            "entries": statement.entries,
            "entry_hash": statement.entry_hash,
        },
        "carbon": {
            "scope1_kg": carbon.scope1_ug / UG_PER_KG,
            "scope2_location_kg": carbon.scope2_location_ug / UG_PER_KG,
            "entry_hash": carbon.entry_hash,
        },
        "books_verified": books_audit().verified,
        "truck": {
            "trucks": int(truck.units.central),
            "mobilization_min": truck.ready_min.central,
            "litres": round(truck.fuel.central, 1),
            "kg_co2e": round(truck.kg_co2e.central, 1),
            "statement": truck.statement,
        },
    }


def _responses(shares: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return p50 and p99 of the sites' lags; a site that never answered makes both unknown, not smaller."""
    if any(share["response_missed"] for share in shares):
        return percentiles([])
    return percentiles([share["response_ms"] for share in shares if share["response_ms"] is not None])


def _islanding(period: Interval) -> dict[str, Any]:
    """Return the islanding figures from the waveforms that sites kept in a period."""
    waveforms = metering_queries.waveforms(period=period)
    figures = [islanding_figures(waveform.columns, waveform.samples, waveform.rate_hz) for waveform in waveforms]
    sites = {waveform.site_id for waveform in waveforms}
    back = LiveState.objects.filter(site__site_id__in=sites, mode="grid_tied").count()
    return {
        "events": len(figures),
        "decision_ms": _largest([figure.decision_ms for figure in figures]),
        "transfer_ms": _largest([figure.transfer_ms for figure in figures]),
        "load_outside_itic": sum(figure.load_outside_itic for figure in figures),
        "sites": len(sites),
        "sites_back_on_grid": back,
        "load_min_pu_after_2ms": _smallest([figure.min_pu_after_2ms for figure in figures]),
    }


def _largest(values: Sequence[float]) -> float | None:
    # One that is not known makes the whole unknown: a maximum over the rest would flatter.
    return round(max(values), 2) if values and all(map(math.isfinite, values)) else None


def _smallest(values: Sequence[float]) -> float | None:
    return round(min(values), 3) if values and all(map(math.isfinite, values)) else None


def _number(text: object) -> float | None:
    return None if text is None else float(str(text))


def table_of(card: dict[str, Any]) -> Table:
    """Return the scorecard as a table for a terminal."""
    table = Table(title="What the books and readings say", title_justify="left", header_style="bold")
    for heading in ("", "measured", "target", ""):
        table.add_column(heading, overflow="fold")
    for row in rows_of(card):
        mark = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}[row.met]
        table.add_row(row.text, row.value, row.target, mark)
    return table


def rows_of(card: dict[str, Any]) -> list[Row]:
    """Return the table's lines; a figure that is missing never meets its target."""
    islanding, settlement, carbon, truck = (card[key] for key in ("islanding", "settlement", "carbon", "truck"))
    ratio, lag_ms = card["delivered_ratio"], card["response_ms"]["p99"]
    least_pu = islanding["load_min_pu_after_2ms"]
    return [
        Row("sites with readings", str(card["sites"])),
        Row(
            "armed, acknowledged",
            f"{card['armed']}, {card['acknowledged']}",
            "equal",
            0 < card["armed"] == card["acknowledged"],
        ),
        Row("assignment sent to acknowledged, p50 / p99", _pair(card["arm_ms"], "ms")),
        Row("obligation", f"{card['obligation_kw']:.1f} kW for {card['product']}"),
        Row(
            "delivered, worst 10 s",
            f"{_text(card['delivered_kw_worst_10s'], '.1f')} of {_text(card['due_kw_worst_10s'], '.1f')} kW due",
        ),
        Row("delivered / due", _text(ratio, ".3f"), f">= {DELIVERED_RATIO_FLOOR}", _at_least(ratio)),
        Row(
            "lag to 90 % of the required power, at most; p50 / p99",
            _pair(card["response_ms"], "ms"),
            f"<= {RESPONSE_LIMIT_MS:.0f} ms",
            lag_ms is not None and lag_ms <= RESPONSE_LIMIT_MS,
        ),
        Row(
            "islandings: decision, transfer",
            f"{islanding['events']}: {_text(islanding['decision_ms'], '.2f')}, "
            f"{_text(islanding['transfer_ms'], '.2f')} ms",
        ),
        Row(
            "load outside the ITIC curve",
            f"{islanding['load_outside_itic']} of {islanding['events']}",
            "0",
            islanding["events"] > 0 and islanding["load_outside_itic"] == 0,
        ),
        Row(
            "least load voltage from 2 ms after the first pole",
            f"{_text(least_pu, '.2f')} pu",
            f">= {VOLTAGE_FLOOR_PU} pu",
            least_pu is not None and least_pu >= VOLTAGE_FLOOR_PU,
        ),
        Row(
            "islanded sites, back on the grid",
            f"{islanding['sites']}, {islanding['sites_back_on_grid']}",
            "equal",
            islanding["sites"] == islanding["sites_back_on_grid"],
        ),
        Row(
            "settlement (demonstration)",
            f"{settlement['amount']:.6f} {settlement['currency']}, K {settlement['k_factor']:.2f}",
        ),
        Row(
            "Scope 1, Scope 2 location-based", f"{carbon['scope1_kg']:.3f}, {carbon['scope2_location_kg']:.3f} kg CO2e"
        ),
        Row(
            "books added up again",
            "verified" if card["books_verified"] else "FAULTY",
            "verified",
            card["books_verified"],
        ),
        Row(
            "generator trucks instead (estimate)",
            f"{truck['trucks']} {'truck' if truck['trucks'] == 1 else 'trucks'}, "
            f"{truck['mobilization_min']:.0f} min to power, {truck['litres']:.0f} l, "
            f"{truck['kg_co2e']:.0f} kg CO2e",
        ),
        Row("wall clock", f"{card['wall_s']:.1f} s", f"< {WALL_LIMIT_S:.0f} s", card["wall_s"] < WALL_LIMIT_S),
    ]


def _at_least(ratio: float | None) -> bool:
    return ratio is not None and ratio >= DELIVERED_RATIO_FLOOR


def _text(value: float | None, form: str) -> str:
    return "nothing" if value is None else format(value, form)


def _pair(figures: dict[str, float | None], unit: str) -> str:
    return f"{_text(figures['p50'], '.0f')} / {_text(figures['p99'], '.0f')} {unit}"
