"""Pure: the postings of an entry and their sum, zero in every unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.([0-9]+))?\Z")
_KEYS: Final = {"account", "unit", "amount"}


class PostingInvalid(ValueError):
    """A body or posting that is not of the form every book uses."""


class EntryUnbalanced(ValueError):
    """Postings of an entry that do not add up to zero in every unit."""


def posting(account: str, unit: str, amount: int | str) -> dict[str, int | str]:
    """Return one posting: so much (whole number or decimal text) of a unit onto an account."""
    return {"account": account, "unit": unit, "amount": amount}


def require_balanced(body: Mapping[str, Any], name: str) -> None:
    """Check the form ``{"postings": [...], "facts": {...}}`` and that every unit adds up to zero.

    Amounts are whole numbers or decimal text; they are added exactly. Raises PostingInvalid for
    another form, EntryUnbalanced naming what each unit is off by. ``name`` is the entry's name.
    """
    if set(body) != {"postings", "facts"}:
        raise PostingInvalid(f"Entry {name!r} has the keys {sorted(body)}, accepted: facts and postings")
    if not isinstance(body["facts"], dict):
        raise PostingInvalid(f"Entry {name!r} has facts of type {type(body['facts']).__name__}, accepted: a dict")
    if not isinstance(body["postings"], list):
        raise PostingInvalid(f"Entry {name!r} has postings of type {type(body['postings']).__name__}, accepted: a list")
    off = imbalance(body["postings"], name)
    if off:
        raise EntryUnbalanced(f"Entry {name!r} is off by {off}; every unit must add up to zero")


def imbalance(postings: Sequence[Mapping[str, Any]], name: str = "") -> dict[str, str]:
    """Return what each unit is off by, as exact decimal text; empty when all add up to zero.

    >>> imbalance([posting("a", "GBP", "1.01"), posting("b", "GBP", -1)])
    {'GBP': '0.01'}
    """
    totals: dict[str, tuple[int, int]] = {}
    for index, row in enumerate(postings):
        if not isinstance(row, Mapping) or set(row) != _KEYS:
            raise PostingInvalid(f"Entry {name!r} posting {index} is {row!r}, accepted: account, unit and amount")
        for key in ("account", "unit"):
            if not isinstance(row[key], str) or not row[key]:
                raise PostingInvalid(f"Entry {name!r} posting {index} has {key} {row[key]!r}, accepted: a text")
        digits, scale = _parsed(row["amount"], name, index)
        total, total_scale = totals.get(row["unit"], (0, 0))
        # Whole numbers at the finer of both scales: exact, whatever a decimal context rounds to.
        common = max(scale, total_scale)
        totals[row["unit"]] = (total * 10 ** (common - total_scale) + digits * 10 ** (common - scale), common)
    return {unit: _text(total, scale) for unit, (total, scale) in sorted(totals.items()) if total}


def _parsed(amount: object, name: str, index: int) -> tuple[int, int]:
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount, 0
    match = _DECIMAL.match(amount) if isinstance(amount, str) else None
    if match is None or not isinstance(amount, str):
        raise PostingInvalid(
            f"Entry {name!r} posting {index} has the amount {amount!r}, accepted: a whole number or decimal text"
        )
    return int(amount.replace(".", "")), len(match.group(1) or "")


def _text(digits: int, scale: int) -> str:
    sign = "-" if digits < 0 else ""
    whole, part = divmod(abs(digits), 10**scale)
    return f"{sign}{whole}.{part:0{scale}d}" if scale else f"{sign}{whole}"
