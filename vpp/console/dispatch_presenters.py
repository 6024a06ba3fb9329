"""Dispatches as people read them: the booked figures, and estimates whose band is always told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from carbon.core.counterfactual import Band, Parameter
from carbon.core.impact import ImpactStatement
from vpp.console.texts import NOTHING, instant, money, quantity
from vpp.dispatch.impact import Delivered
from vpp.dispatch.models import Dispatch
from vpp.dispatch.queries import DispatchSummary

CERTAINTIES = {"V": "verified", "A": "second-hand", "M": "from memory", "C": "assumed"}


def dispatch_row(dispatch: Dispatch, *, at: datetime) -> dict[str, str]:
    """Return one line of the table of dispatches."""
    runs = list(dispatch.obligation.statements.all()) if dispatch.obligation else []
    statement = max(runs, key=lambda row: row.run, default=None)
    return {
        "dispatch_id": dispatch.dispatch_id,
        "product": dispatch.product,
        "starts_at": instant(dispatch.starts_at),
        "ends_at": instant(dispatch.ends_at),
        "power": quantity(dispatch.power_kw, "kW"),
        "standing": f"settled, run {statement.run}" if statement else _standing(dispatch, at),
        "k": NOTHING if statement is None else f"{statement.k_factor:.2f}",
        "amount": NOTHING if statement is None else f"{money(statement.amount)} {statement.currency}",
    }


def summary_rows(summary: DispatchSummary) -> dict[str, str]:
    """Return what was asked of the fleet."""
    return {
        "product": summary.product,
        "starts_at": instant(summary.starts_at),
        "ends_at": instant(summary.ends_at),
        "promised": quantity(summary.promised_kw, "kW"),
        "sites": f"{summary.acknowledged} of {summary.armed} acknowledged",
    }


def delivered_rows(delivered: Delivered) -> list[tuple[str, str, str]]:
    """Return the booked figures: name, figure, where it comes from."""
    way = "given to the grid" if delivered.energy_kwh >= 0.0 else "taken from the grid"
    worst = (
        NOTHING
        if delivered.worst_10s_kw is None
        else f"{quantity(delivered.worst_10s_kw, 'kW')} of {quantity(delivered.worst_10s_due_kw, 'kW')} due"
    )
    response = NOTHING if delivered.response_ms is None else quantity(delivered.response_ms, "ms", 0)
    carbon = (
        "not closed for this dispatch"
        if delivered.service_kg_co2e is None
        else quantity(delivered.service_kg_co2e, "kg CO2e")
    )
    return [
        (f"Energy {way}", quantity(abs(delivered.energy_kwh), "kWh", 3), "meter book"),
        ("Delivered, worst 10 s", worst, "meter book"),
        ("Time to full power", response, "meter book, upper bound"),
        ("Performance K", f"{delivered.k_factor:.4f}", "grid-support book"),
        (
            "Money",
            f"{money(delivered.amount)} {delivered.currency}",
            f"grid-support book, run {delivered.run}, {delivered.basis}",
        ),
        ("Carbon of that energy", carbon, "carbon book, attributed"),
    ]


def instead_table(statement: ImpactStatement) -> dict[str, Any]:
    """Return the estimates: one column for the fleet and each alternative, one line a figure, and their parameters."""
    others = [alternative.counterfactual for alternative in statement.alternatives]
    avoided = [_band(alternative.avoided_kg_co2e, "kg") for alternative in statement.alternatives]
    columns = ["This fleet", *(other.title for other in others)]
    figures = [
        ("In service", ("the sites", ""), [_band(other.units, other.units_name) for other in others]),
        ("Full power after", ("as measured", ""), [_band(other.ready_min, "min") for other in others]),
        ("Fuel", ("none", ""), [_band(other.fuel, other.fuel_unit) for other in others]),
        ("Carbon, at the margin", _band(statement.fleet_kg_co2e, "kg"), [_band(o.kg_co2e, "kg") for o in others]),
        ("Cost", (NOTHING, ""), [_band(other.cost_usd, "USD", 0) for other in others]),
        ("Avoided by this fleet", (NOTHING, ""), avoided),
    ]
    return {
        "columns": columns,
        "lines": [
            (name, [(column, *cell) for column, cell in zip(columns, [own, *rest], strict=True)])
            for name, own, rest in figures
        ],
        "left_out": statement.left_out,
        "note": statement.note,
        "parameters": [
            ("This fleet", [_parameter(row) for row in statement.fleet_parameters]),
            *((other.title, [_parameter(row) for row in other.parameters]) for other in others),
        ],
    }


def _standing(dispatch: Dispatch, at: datetime) -> str:
    if dispatch.status == Dispatch.Status.CANCELLED:
        return "taken back"
    if at < dispatch.starts_at:
        return "ahead"
    return "running" if at < dispatch.ends_at else "not settled"


def _band(band: Band, unit: str, digits: int = 1) -> tuple[str, str]:
    """Return an estimate and its range; large figures need no decimals."""
    figures = (band.low, band.central, band.high)
    is_whole = all(figure == round(figure) for figure in figures)
    places = 0 if is_whole or max(map(abs, figures)) >= 1000.0 else digits
    if is_whole and band.central == 1.0:
        unit = unit.removesuffix("s")
    low, high = (quantity(value, "", places).strip() for value in (band.low, band.high))
    if band.low == band.high:
        return quantity(band.central, unit, places), ""
    return quantity(band.central, unit, places), f"{low} to {high}"


def _parameter(parameter: Parameter) -> dict[str, str]:
    band = parameter.band
    span = "" if band.low == band.high else f"{band.low:g} to {band.high:g}"
    return {
        "name": parameter.name,
        "value": f"{band.central:g} {parameter.unit}",
        "range": span.replace("-", "−"),
        "certainty": CERTAINTIES[parameter.certainty],
        "source": parameter.source,
    }
