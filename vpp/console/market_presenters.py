"""Events, obligations, settlement runs and products as people read them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from markets.core.lines import Line
from markets.core.product import Certainty, Product
from markets.core.products import Basis, LiveSettlementRefused, require_live
from markets.core.run_differences import AssetChange, FigureChange, RowChange, RunDifference
from markets.desk import TracedRows
from markets.models import MarketEvent, Obligation, Statement
from markets.offers.models import Offer
from vpp.console.texts import NOTHING, changed, exact, instant, money, quantity

ANSWERS: Final = {"optIn": "accepted", "optOut": "refused"}
BASES: Final = {
    Basis.LIVE.value: "live",
    Basis.DEMONSTRATION.value: "demonstration",
}
ROW_KINDS: Final = {"records": "high-rate record", "intervals": "meter intervals"}
UNITS: Final = {"kw": "kW", "ms": "ms"}
NAMES: Final = {"worst_10s_delivered": "delivered, worst 10 s", "worst_10s_due": "due, worst 10 s", "k_factor": "K"}
MAX_SHOWN_BYTES: Final = 20_000
"""Of a message as it came."""
MAX_PRICES: Final = 20
"""From outside, on a run's page; the entry holds all of them."""
MAX_ASSETS: Final = 100
"""Changed assets on one page; the API has all of them."""


def event_row(event: MarketEvent) -> dict[str, Any]:
    """Return one version of an event: what came, what was answered, and why."""
    obligation = next(iter(event.obligations.all()), None)
    return {
        "pk": event.pk,
        "event_id": event.event_id,
        "modification": event.modification_number,
        "operator": event.vtn_id,
        "program": event.program.name if event.program else "no program of ours",
        "product": event.program.product if event.program else "",
        "received_at": instant(event.received_at),
        "decided_at": instant(event.decided_at),
        "took": quantity((event.decided_at - event.received_at).total_seconds() * 1e3, "ms", 0),
        "operator_status": event.operator_status or NOTHING,
        "asked": quantity(event.requested_kw, "kW"),
        "available": quantity(event.available_kw, "kW"),
        "answer": ANSWERS.get(event.opt_type, event.opt_type),
        "opt": event.opt_type,
        "reason": event.reason.replace("_", " "),
        "reason_text": event.reason_text,
        "standing": event.get_status_display(),
        "is_test": event.is_test,
        "dispatch_id": obligation.dispatch_id if obligation else "",
    }


def message_text(event: MarketEvent) -> dict[str, Any]:
    """Return the message as it came, as text; a long one is cut."""
    raw = bytes(event.raw)
    return {
        "text": raw[:MAX_SHOWN_BYTES].decode("utf-8", "replace"),
        "size": f"{len(raw):,} bytes",
        "is_cut": len(raw) > MAX_SHOWN_BYTES,
    }


def obligation_row(obligation: Obligation, *, at: datetime) -> dict[str, Any]:
    """Return one line of the table of obligations."""
    statement = max(obligation.statements.all(), key=lambda row: row.run, default=None)
    return {
        "dispatch_id": obligation.dispatch_id,
        "program": obligation.program.name,
        "product": obligation.program.product,
        "power": quantity(obligation.power_kw, "kW"),
        "starts_at": instant(obligation.starts_at),
        "ends_at": instant(obligation.ends_at),
        "revision": obligation.revision,
        "standing": _standing(obligation, statement, at),
        "phase": _phase(obligation, at),
        "operator": obligation.event.vtn_id,
        "event_pk": obligation.event.pk,
        "event_id": obligation.event.event_id,
        "created_at": instant(obligation.created_at),
        "changed_at": instant(obligation.changed_at),
        "amount": NOTHING if statement is None else f"{money(statement.amount)} {statement.currency}",
        "basis": "" if statement is None else BASES.get(statement.basis, statement.basis),
    }


def offer_row(offer: Offer) -> dict[str, Any]:
    """Return one offer: both sums that it was taken from, and what became of it."""
    unit = f"{offer.currency}/MW/h"
    return {
        "pk": offer.pk,
        "unit": offer.unit.name,
        "program": offer.unit.program.name,
        "basis": offer.basis,
        "starts_at": instant(offer.starts_at),
        "ends_at": instant(offer.ends_at),
        "offered": quantity(offer.quantity_kw, "kW"),
        "net": quantity(offer.net_kw, "kW"),
        "gross": quantity(offer.gross_kw, "kW"),
        "margin": f"{offer.margin:.1%}",
        "forecast": f"forecast: {offer.get_forecast_display()}",
        "price": f"{offer.price:f} {unit}",
        "standing": offer.get_status_display(),
        "dispatch_id": offer.obligation.dispatch_id if offer.obligation else "",
        "awards": [
            {"award_id": row.award_id, "quantity": quantity(row.quantity_kw, "kW"), "price": f"{row.price:f} {unit}",
             "awarded_at": instant(row.awarded_at)}
            for row in offer.awards.all()
        ],
        "redeclarations": [
            {"before": quantity(row.previous_kw, "kW"), "now": quantity(row.quantity_kw, "kW"), "reason": row.reason,
             "told": ", ".join(map(str, row.told)), "declared_at": instant(row.declared_at)}
            for row in offer.redeclarations.all()
        ],
    }  # fmt: skip


def run_row(statement: Statement) -> dict[str, Any]:
    """Return one settlement run."""
    return {
        "dispatch_id": statement.obligation.dispatch_id,
        "product": statement.obligation.program.product,
        "run": statement.run,
        "basis": BASES.get(statement.basis, statement.basis),
        "is_real_money": statement.basis == Basis.LIVE,
        "amount": exact(statement.amount, statement.currency),
        "difference": NOTHING if statement.run == 1 else changed(statement.difference, statement.currency),
        "k": f"{statement.k_factor:.4f}",
        "entries": f"{statement.entries:,}",
        "settled_at": instant(statement.settled_at),
        "hash": statement.entry_hash,
        "hash_short": statement.entry_hash[:12],
        "merkle_root": statement.merkle_root,
    }


def line_row(line: Line, currency: str) -> dict[str, str]:
    """Return one line of a run."""
    return {
        "name": line.name,
        "quantity": _figure(line.quantity, line.unit),
        "amount": exact(line.amount, currency),
        "rule": line.rule,
    }


def term_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the terms that a run was computed by: name and value."""
    terms, fleet = facts["terms"], facts["fleet"]
    rows = [
        ("Product", f"{terms['product']}, certainty {certainty_words(terms['product_certainty'])}"),
        (
            "Obligation",
            f"{terms['obligation_kw']} kW from {_moment(terms['starts_at'])} to {_moment(terms['ends_at'])}",
        ),
        ("Price", _price(terms)),
        *_prices(facts),
        ("Availability", _share(fleet.get("available_ratio"))),
        ("Performance K", str(fleet.get("k_factor", NOTHING))),
        ("Delivered, worst 10 s", _worst(fleet)),
    ]
    return [(name, value) for name, value in rows if value]


def share_row(share: dict[str, Any]) -> dict[str, Any]:
    """Return one asset's part of a run, with the rows that it was computed from."""
    currency = share["currency"]
    return {
        "site_id": share["site_id"],
        "contracted": f"{share['contracted_kw']} kW",
        "available": _share(share["available_ratio"]),
        "k": share["k_factor"],
        "amount": exact(sum((Decimal(part["amount"]) for part in share["parts"]), Decimal(0)), currency),
        "parts": [{"account": part["account"], "amount": exact(Decimal(part["amount"]), currency)}
                  for part in share["parts"]],
        "intervals": _spans(share["intervals"]),
        "records": _spans(share["records"]),
    }  # fmt: skip


def difference_rows(found: RunDifference, currency: str) -> dict[str, Any]:
    """Return what a run changed against the one before; assets whose own figures stayed apart from the others."""
    revised = [row for row in found.assets if row.rows or row.figures]
    shifted = [row for row in found.assets if not (row.rows or row.figures)]
    return {
        "difference": changed(found.difference, currency),
        "is_amount_changed": found.difference != 0,
        "before": exact(found.amount_before, currency),
        "now": exact(found.amount_now, currency),
        "lines": [
            {
                "name": line.name,
                "is_changed": line.is_changed,
                "is_amount_changed": line.difference != 0,
                "quantity_before": _figure(line.quantity_before, line.unit),
                "quantity_now": _figure(line.quantity_now, line.unit),
                "before": exact(line.amount_before, currency),
                "now": exact(line.amount_now, currency),
                "difference": changed(line.difference, currency),
            }
            for line in found.lines
        ],
        "terms": [_figure_row(row) for row in found.terms],
        "fleet": [_figure_row(row) for row in found.fleet],
        "assets": [_asset_row(row, currency) for row in revised[:MAX_ASSETS]],
        "shifted": [_asset_row(row, currency) for row in shifted[:MAX_ASSETS]],
        "more_assets": max(0, len(revised) - MAX_ASSETS) + max(0, len(shifted) - MAX_ASSETS),
    }


def traced_rows(found: TracedRows) -> dict[str, Any]:
    """Return the rows of the meter book behind one asset's share."""
    return {
        "intervals": [
            {
                "number": f"{row.number:,}",
                "revision": row.revision,
                "starts_at": instant(row.starts_at),
                "ends_at": instant(row.ends_at),
                "service_into": _kwh(row.service_into_uwh),
                "service_from": _kwh(row.service_from_uwh),
                "quality": row.quality or NOTHING,
                "received_at": instant(row.received_at),
            }
            for row in found.intervals
        ],
        "records": [
            {
                "number": f"{row.number:,}",
                "revision": row.revision,
                "starts_at": instant(row.starts_at, digits=3),
                "ends_at": instant(row.ends_at, digits=3),
                "rate": quantity(row.rate_hz, "Hz", 0),
                "received_at": instant(row.received_at),
            }
            for row in found.records
        ],
        "is_cut": found.is_cut,
    }


def product_row(row: Product) -> dict[str, Any]:
    """Return one row of the catalogue with the certainty of each of its groups."""
    return {
        "name": row.name,
        "title": row.title,
        "kind": row.kind.value,
        "currency": row.currency,
        "in_force": _in_force(row),
        "certainty": row.certainty.value,
        "groups": [
            {"name": name, "certainty": rule.certainty.value, "words": certainty_words(rule.certainty.value)}
            for name, rule in row.groups.items()
        ],
        "is_settled_live": row.is_settled_live,
    }


def product_page(row: Product) -> dict[str, Any]:
    """Return one row of the catalogue in full, and why live settlement refuses it."""
    return product_row(row) | {
        "figures": [
            ("Kind", f"{row.kind.value}, {row.direction.value}"),
            ("Grid", f"{row.nominal_hz:g} Hz" if row.nominal_hz else "50 or 60 Hz"),
            ("In force", _in_force(row)),
            ("Full power within", f"{row.full_within_s:g} s"),
            ("Held for", f"{row.sustain_s:g} s"),
            ("Record", f"{row.data.rate_hz:g} Hz or faster; a gap: {row.data.missing}"),
            ("Score", row.score.name),
            ("Paid in", f"{row.currency}, periods of {row.price.settlement_period_s:g} s"),
            ("Least size", f"{row.size.power_kw:g} kW"),
            ("Source", row.source),
        ],
        "rules": [
            {
                "name": name,
                "text": rule.text,
                "certainty": rule.certainty.value,
                "words": rule.certainty.in_words,
                "source": rule.source,
            }
            for name, rule in row.groups.items()
        ],
        "refusals": live_refusals(row),
        "prices": [
            {"month": f"{price.month:%Y-%m}", "price": f"{price.price_per_mw_h} {row.currency}/MW/h",
             "certainty": price.certainty.value, "source": price.source}
            for price in row.prices
        ],
    }  # fmt: skip


def live_refusals(row: Product) -> str:
    """Return why live settlement refuses a row, in the words of the refusal itself; empty where it does not."""
    try:
        require_live(row)
    except LiveSettlementRefused as error:
        return str(error)
    return ""


def certainty_words(letter: str) -> str:
    """Return a certainty's letter in words."""
    try:
        return Certainty(letter).in_words
    except ValueError:
        return letter


def _standing(obligation: Obligation, statement: Statement | None, at: datetime) -> str:
    if statement is not None:
        return f"settled, run {statement.run}"
    return {"cancelled": "taken back", "ahead": "ahead", "running": "running"}.get(
        _phase(obligation, at), "ended, not settled"
    )


def _phase(obligation: Obligation, at: datetime) -> str:
    if obligation.status != Obligation.Status.OPEN:
        return str(obligation.status)
    if at < obligation.starts_at:
        return "ahead"
    return "running" if at < obligation.ends_at else "ended"


def _moment(text: str) -> str:
    return instant(datetime.fromisoformat(text))


def _prices(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the prices from outside, each with its certainty and source."""
    return [
        (f"Price of {row['name']}", f"{row['value']} ({certainty_words(row['certainty'])}; {row['source']})")
        for row in facts.get("prices", ())[:MAX_PRICES]
    ]


def _price(terms: dict[str, Any]) -> str:
    if "price_per_mw_h" not in terms:
        return ""
    return (
        f"{terms['price_per_mw_h']} {terms['currency']}/MW/h of {terms['price_month'][:7]} "
        f"({certainty_words(terms['price_certainty'])}; {terms['price_source']})"
    )


def _worst(fleet: dict[str, Any]) -> str:
    if fleet.get("worst_10s_delivered_kw") is None:
        return "nothing to judge"
    return f"{fleet['worst_10s_delivered_kw']} kW of {fleet['worst_10s_due_kw']} kW due"


def _share(ratio: object) -> str:
    return NOTHING if ratio is None else f"{Decimal(str(ratio)):.2%}"


def _figure(value: Decimal | None, unit: str) -> str:
    return NOTHING if value is None else f"{value.normalize():f} {unit}".replace("-", "−")


def _figure_row(row: FigureChange) -> dict[str, str]:
    if row.name.endswith("_uwh"):
        name = row.name.removesuffix("_uwh")
        return {"name": name.replace("_", " "), "before": _kwh(row.before), "now": _kwh(row.now)}
    unit = next((unit for unit in ("kw", "ms") if row.name.endswith(f"_{unit}")), "")
    name = row.name.removesuffix(f"_{unit}") if unit else row.name
    suffix = f" {UNITS[unit]}" if unit else ""
    before, now = (_plain(value) + ("" if value is None else suffix) for value in (row.before, row.now))
    return {"name": NAMES.get(name, name.replace("_", " ")), "before": before, "now": now}


def _plain(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, list):
        return f"{len(value)} rows"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _asset_row(row: AssetChange, currency: str) -> dict[str, Any]:
    return {
        "site_id": row.site_id,
        "before": exact(row.amount_before, currency),
        "now": exact(row.amount_now, currency),
        "difference": changed(row.difference, currency),
        "figures": [_figure_row(figure) for figure in row.figures],
        "rows": [_row_change(change) for change in row.rows],
    }


def _row_change(change: RowChange) -> str:
    numbers = f"{change.first:,}" if change.first == change.last else f"{change.first:,} to {change.last:,}"
    if change.revision_before is None:
        what = f"new, revision {change.revision_now}"
    elif change.revision_now is None:
        what = "not used any more"
    else:
        what = f"revision {change.revision_before} → {change.revision_now}"
    return f"{ROW_KINDS[change.kind]} {numbers}: {what}"


def _spans(spans: list[list[int]]) -> list[str]:
    return [
        (f"{first:,}" if first == last else f"{first:,}–{last:,}") + (f" (revision {revision})" if revision else "")
        for first, last, revision in spans
    ]


def _kwh(uwh: int | None) -> str:
    return NOTHING if uwh is None else f"{Decimal(uwh) / 10**9:,.6f} kWh".replace("-", "−")


def _in_force(row: Product) -> str:
    since = row.effective_from.isoformat() if row.effective_from else "not known"
    return f"{since} to {row.effective_to.isoformat()}" if row.effective_to else f"since {since}"
