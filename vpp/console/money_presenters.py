"""An owner's money as people and spreadsheets read it; money that nobody owes says so wherever it stands."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from markets.core.lines import Line
from markets.owner_statements import AssetEntry, AssetTotal, Holder
from markets.owners import WHOLE_PPM, OwnerShare
from vpp.console.texts import NOTHING, exact, instant, money

HOLDERS: Final = {
    Holder.YOU: "you",
    Holder.OTHER_OWNERS: "other owners",
    Holder.AGGREGATOR: "aggregator's fee",
    Holder.NOT_AGREED: "not split yet",
}
NO_MONEY: Final = "demonstration, no money is owed"
CSV_COLUMNS: Final = (
    "site", "asset", "dispatch", "product", "entry", "run", "delivery_from", "delivery_to", "booked_at", "basis",
    "is_real_money", "currency", "amount", "yours", "other_owners", "aggregator_fee", "not_split", "lines",
    "contracted_kw", "available_ratio", "k_factor", "entry_hash",
)  # fmt: skip


def month_name(month: str) -> str:
    """Return ``June 2026`` for ``2026-06``."""
    year, number = month.split("-")
    return f"{calendar.month_name[int(number)]} {year}"


def month_links(months: Sequence[str], *, shown: str) -> list[dict[str, Any]]:
    """Return the months that can be opened, the newest first; the one that is shown is always among them."""
    return [
        {"key": month, "name": month_name(month), "is_shown": month == shown}
        for month in sorted({*months, shown}, reverse=True)
    ]


def earned(totals: Iterable[AssetTotal]) -> list[dict[str, Any]]:
    """Return what a site's assets came to, one amount per currency and basis."""
    return [{"amount": f"{money(row.amount)} {row.currency}", "is_real_money": row.is_real_money} for row in totals]


def total_row(row: AssetTotal) -> dict[str, Any]:
    """Return one asset's month on one basis: what it was paid, and who got it."""
    return {
        "site_id": row.site_id,
        "asset": row.asset,
        "is_real_money": row.is_real_money,
        "basis": row.basis or "not told",
        "entries": row.entries,
        "amount": exact(row.amount, row.currency),
        "yours": exact(row.parts[Holder.YOU], row.currency),
        "parts": _parts(row.parts, row.currency),
    }


def agreement_row(row: OwnerShare, owner_pk: int | None) -> dict[str, str]:
    """Return one agreement that held in the month."""
    return {
        "site_id": row.site.site_id,
        "who": HOLDERS[Holder.YOU] if row.owner_id == owner_pk else "another owner",
        "share": f"{Decimal(row.share_ppm) * 100 / WHOLE_PPM:.4f}".rstrip("0").rstrip(".") + " %",
        "since": instant(row.starts_at),
        "until": instant(row.ends_at) if row.ends_at else "until further notice",
    }


def entry_row(row: AssetEntry, lines: Sequence[Line]) -> dict[str, Any]:
    """Return one entry of the book about an asset's money."""
    return {
        "site_id": row.site_id,
        "asset": row.asset,
        "dispatch_id": row.dispatch_id,
        "product": row.product,
        "what": _what(row),
        "run": row.run,
        "is_reversal": row.is_reversal,
        "is_real_money": row.is_real_money,
        "starts_at": instant(row.starts_at),
        "ends_at": instant(row.ends_at),
        "booked_at": instant(row.booked_at),
        "amount": exact(row.amount, row.currency),
        "parts": _parts(row.parts, row.currency),
        "lines": [{"name": line.name, "amount": exact(line.amount, row.currency), "rule": line.rule} for line in lines],
        "contracted": f"{row.contracted_kw} kW" if row.contracted_kw else NOTHING,
        "available": f"{Decimal(row.available_ratio):.2%}" if row.available_ratio else NOTHING,
        "k": row.k_factor or NOTHING,
        "hash": row.entry_hash,
        "hash_short": row.entry_hash[:12],
    }


def csv_row(row: AssetEntry, lines: Sequence[Line]) -> dict[str, str]:
    """Return one entry as a line of CSV: plain figures, instants in UTC."""
    texts = {
        "site": row.site_id,
        "asset": row.asset,
        "dispatch": row.dispatch_id,
        "product": row.product,
        "entry": _what(row),
        "basis": row.basis if row.is_real_money else NO_MONEY,
        "currency": row.currency,
        "lines": "; ".join(f"{line.name} {line.amount:f}" for line in lines),
    }
    figures = {
        "run": str(row.run),
        "delivery_from": row.starts_at.isoformat(),
        "delivery_to": row.ends_at.isoformat(),
        "booked_at": row.booked_at.isoformat(),
        "is_real_money": "yes" if row.is_real_money else "no",
        "amount": f"{row.amount:f}",
        "yours": f"{row.parts[Holder.YOU]:f}",
        "other_owners": f"{row.parts[Holder.OTHER_OWNERS]:f}",
        "aggregator_fee": f"{row.parts[Holder.AGGREGATOR]:f}",
        "not_split": f"{row.parts[Holder.NOT_AGREED]:f}",
        "contracted_kw": row.contracted_kw,
        "available_ratio": row.available_ratio,
        "k_factor": row.k_factor,
        "entry_hash": row.entry_hash,
    }
    return {name: _no_formula(text) for name, text in texts.items()} | figures


def csv_name(month: str, entries: Iterable[AssetEntry]) -> str:
    """Return the file's name, which says so when it holds money that nobody owes."""
    is_real = all(entry.is_real_money for entry in entries)
    return f"grid-support-{month}{'' if is_real else '-demonstration'}.csv"


def _what(row: AssetEntry) -> str:
    if row.is_reversal:
        return f"run {row.run} taken back"
    return "settled" if row.run == 1 else f"settled again, run {row.run}"


def _parts(parts: dict[Holder, Decimal], currency: str) -> list[dict[str, str]]:
    return [
        {"who": HOLDERS[holder], "amount": exact(amount, currency)}
        for holder, amount in parts.items()
        if amount or holder is Holder.YOU
    ]


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula: ids come from outside."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
