"""A measured response from a CSV file: t_s, frequency_hz, power_kw and perhaps signal; faults with line and column."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from markets.core.product import Kind, Product
from markets.core.scores.recording import RecordError, Recording, recording_of_rows
from markets.core.scores.score import ScoreError
from sites.core.curves import FloatArray

COLUMNS: Final = ("t_s", "frequency_hz", "power_kw")
SIGNAL: Final = "signal"
MOST_BYTES: Final = 400_000_000
"""Eleven days at 20 Hz; a longer record is scored day by day."""
_MOST_HEADER: Final = 65_536
NEAR_NOMINAL_HZ: Final = 8.0
"""A frequency farther off was not measured on that grid."""
MOST_CONTRACTS: Final = 20.0
"""A power of more than so many contracts is in another unit."""
_ROUNDING: Final = 1e-6


class MeasuredFileError(ValueError):
    """A file that cannot be scored; the message names file, line, column and what is accepted."""


def read_measured(path: Path, product: Product, *, contract_kw: float) -> Recording:
    """Return a file's record on its sample grid.

    Rows are instants; one that is left out is a gap. Lines that begin with # before the header tell a source. Raises
    MeasuredFileError.
    """
    header_line, names = _header(path)
    table = _columns(path, header_line, names)

    def fault(row: int, column: str, what: str) -> MeasuredFileError:
        return MeasuredFileError(f"{path}: line {header_line + 1 + row}, column {column}: {what}")

    for name, values in table.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise fault(
                int(bad[0]),
                name,
                "no finite number, accepted: numbers; a row that is missing is left out",
            )
    for name, values, least, most, accepted in _ranges(table, product, contract_kw):
        bad = np.flatnonzero((values < least) | (values > most))
        if bad.size:
            raise fault(int(bad[0]), name, f"{values[bad[0]]:g}, accepted: {accepted}")
    try:
        return recording_of_rows(table["t_s"], table["frequency_hz"], table["power_kw"], table.get(SIGNAL))
    except RecordError as error:
        raise fault(error.row, error.column, str(error)) from None
    except ScoreError as error:
        raise MeasuredFileError(f"{path}: {error}") from None


def _header(path: Path) -> tuple[int, list[str]]:
    """Return the line of the header, counted from 1, and its names."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise MeasuredFileError(f"{path}: is no file, accepted: a CSV file")
        if size == 0:
            raise MeasuredFileError(f"{path}: is empty, accepted: a header {','.join(COLUMNS)}[,{SIGNAL}] and rows")
        if size > MOST_BYTES:
            raise MeasuredFileError(
                f"{path}: has {size:,} bytes, accepted: up to {MOST_BYTES:,}; score a longer record day by day"
            )
        with path.open(encoding="utf-8-sig", newline="") as file:
            line, text = 1, file.readline(_MOST_HEADER)
            while text.startswith("#"):
                line, text = line + 1, file.readline(_MOST_HEADER)
    except OSError as error:
        raise MeasuredFileError(f"{path}: {error.strerror}, accepted: a CSV file that can be read") from None
    except UnicodeDecodeError:
        raise MeasuredFileError(f"{path}: is no text in UTF-8, accepted: a CSV file") from None
    names = [name.strip() for name in next(csv.reader([text]), [])]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise MeasuredFileError(
                f"{path}: line {line}, column {name}: {'twice' if name in names else 'missing'} in "
                f"{text.strip()[:200]!r}, accepted: {','.join(COLUMNS)}[,{SIGNAL}]"
            )
    return line, names


def _columns(path: Path, header_line: int, names: list[str]) -> dict[str, FloatArray]:
    wanted = [name for name in names if name in (*COLUMNS, SIGNAL)]
    try:
        frame = pd.read_csv(
            path,
            header=None,
            names=names,
            usecols=wanted,
            index_col=False,
            skiprows=header_line,
            skip_blank_lines=False,
            dtype=np.float64,
            encoding="utf-8-sig",
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise _first_bad_cell(path, header_line, names, wanted) or MeasuredFileError(
            f"{path}: {error}, accepted: numbers in {','.join(wanted)}"
        ) from None
    # A file may end in blank lines.
    filled = np.flatnonzero(frame.notna().to_numpy().any(axis=1)) if frame.iloc[-1:].isna().all(axis=None) else None
    if filled is not None:
        frame = frame.iloc[: int(filled[-1]) + 1 if filled.size else 0]
    if len(frame) < 2:
        raise MeasuredFileError(f"{path}: has {len(frame)} rows, accepted: two or more")
    if _commas(path, header_line) > len(frame) * (len(names) - 1):
        # The reader drops what is too much in a row.
        longer = _first_bad_cell(path, header_line, names, wanted)
        if longer is not None:
            raise longer
    return {name: frame[name].to_numpy() for name in wanted}


def _commas(path: Path, header_line: int) -> int:
    """Return the number of commas below the header."""
    with path.open("rb") as file:
        for _ in range(header_line):
            file.readline()
        return sum(chunk.count(b",") for chunk in iter(lambda: file.read(1 << 20), b""))


def _first_bad_cell(path: Path, header_line: int, names: list[str], wanted: list[str]) -> MeasuredFileError | None:
    """Return the error of the first cell that is no number, read slowly; None when there is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, text in enumerate(file, start=1):
                if line <= header_line:
                    continue
                cells = text.rstrip("\r\n").split(",")
                if len(cells) > len(names):
                    return MeasuredFileError(
                        f"{path}: line {line}: {len(cells)} cells, accepted: {len(names)} ({','.join(names)})"
                    )
                for name in wanted:
                    at = names.index(name)
                    cell = cells[at].strip() if at < len(cells) else ""
                    try:
                        float(cell)
                    except ValueError:
                        return MeasuredFileError(
                            f"{path}: line {line}, column {name}: {cell[:40]!r}, accepted: a number such as 49.98"
                        )
    except UnicodeDecodeError:
        return MeasuredFileError(f"{path}: is no text in UTF-8, accepted: a CSV file")
    return None


def _ranges(
    table: dict[str, FloatArray], product: Product, contract_kw: float
) -> list[tuple[str, FloatArray, float, float, str]]:
    nominal = (50.0, 60.0) if product.nominal_hz is None else (product.nominal_hz, product.nominal_hz)
    low, high = nominal[0] - NEAR_NOMINAL_HZ, nominal[1] + NEAR_NOMINAL_HZ
    grid = "50 or 60 Hz" if product.nominal_hz is None else f"{product.nominal_hz:g} Hz"
    most_kw = MOST_CONTRACTS * contract_kw
    ranges = [
        ("frequency_hz", table["frequency_hz"], low, high, f"{low:g} to {high:g} Hz, {product.name} is of {grid}"),
        (
            "power_kw",
            table["power_kw"],
            -most_kw,
            most_kw,
            f"kW, up to {MOST_CONTRACTS:g} contracts ({most_kw:g} kW) either way; is it in W?",
        ),
    ]
    if SIGNAL in table:
        least = 0.0 if product.kind is Kind.LIMIT or product.score.name == "ercot-ers" else -1.0
        ranges.append((SIGNAL, table[SIGNAL], least - _ROUNDING, 1.0 + _ROUNDING, f"{least:g} to 1 of the contract"))
    return ranges
