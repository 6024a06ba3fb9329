"""What a settlement is given in files: a table of prices with their sources, and an operator's signal over time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from markets.core.prices import Price, PriceInvalid, PriceTable, number_of
from markets.core.product import Certainty
from markets.core.signal_course import MOST_VALUES, SignalInvalid
from sites.core.intervals import Interval, IntervalError

PRICE_COLUMNS: Final = ("product", "name", "starts_at", "ends_at", "price", "certainty", "source")
SIGNAL_COLUMNS: Final = ("at", "value")
MOST_PRICES: Final = 200_000
_MOST_BYTES: Final = 50_000_000


class GivenFileError(ValueError):
    """A file that cannot be read; the message names file, line and what is accepted."""


def read_prices(path: Path, product: str) -> PriceTable:
    """Return a product's rows of a price table.

    Header ``product,name,starts_at,ends_at,price,certainty,source``; instants with their offset, half-open periods,
    decimal prices, certainty V, M or U. Lines that begin with # are left out. Raises GivenFileError.
    """
    prices = []
    for line, row in _rows(path, PRICE_COLUMNS, MOST_PRICES):
        if row["product"].strip() != product:
            continue
        try:
            period = Interval(datetime.fromisoformat(row["starts_at"]), datetime.fromisoformat(row["ends_at"]))
            value = number_of(row["price"], row["name"])
            prices.append(Price(row["name"].strip(), period, value, Certainty(row["certainty"].strip()), row["source"]))
        except (ValueError, IntervalError, PriceInvalid) as error:
            raise GivenFileError(f"{path}: line {line}: {error}") from None
    try:
        return PriceTable(prices)
    except PriceInvalid as error:
        raise GivenFileError(f"{path}: {error}") from None


def read_signal(path: Path) -> list[tuple[datetime, float]]:
    """Return the rows of a signal, ``at,value``: an instant with its offset, -1 to 1 of the contract.

    Raises GivenFileError.
    """
    rows = []
    for line, row in _rows(path, SIGNAL_COLUMNS, MOST_VALUES):
        try:
            at, value = datetime.fromisoformat(row["at"]), float(row["value"])
            if at.tzinfo is None:
                raise SignalInvalid(f"instant {row['at']} has no offset, accepted: one such as +00:00")
        except ValueError as error:
            raise GivenFileError(f"{path}: line {line}: {error}") from None
        rows.append((at, value))
    return rows


def _rows(path: Path, columns: tuple[str, ...], most: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, cells); raise GivenFileError for a file that is no such table."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise GivenFileError(f"{path}: {path.stat().st_size} bytes, accepted: {_MOST_BYTES} at most")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GivenFileError(f"{path}: {error}, accepted: a readable file in UTF-8") from None
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    reader = csv.reader(line for _, line in numbered)
    header = next(reader, [])
    if [name.strip() for name in header] != list(columns):
        raise GivenFileError(f"{path}: header is {','.join(header)[:100]!r}, accepted: {','.join(columns)}")
    if len(numbered) - 1 > most:
        raise GivenFileError(f"{path}: {len(numbered) - 1} rows, accepted: {most} at most")
    for (line, _), cells in zip(numbered[1:], reader, strict=False):
        if len(cells) != len(columns):
            raise GivenFileError(f"{path}: line {line}: {len(cells)} cells, accepted: {len(columns)}")
        yield line, dict(zip(columns, cells, strict=True))
