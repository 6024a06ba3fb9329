"""Meter readings, schedules and days from files: every complaint names file, line, column and what is accepted."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Final, TextIO

from markets.core.baselines.meter import MOST_READINGS, BaselineError, MeterPlace, MeterSeries, meter_series
from markets.core.baselines.schedule import DeclaredSchedule, ScheduleStep
from markets.local_times import LocalTimeError, aware_instant, zone_named

TIME_COLUMNS: Final = ("at", "starts_at", "start", "interval_start", "timestamp", "datetime", "date_time", "time", "t")
UNITS: Final[dict[str, tuple[float, bool]]] = {
    "kw": (1.0, False), "w": (1e-3, False), "mw": (1e3, False),
    "kwh": (1.0, True), "wh": (1e-3, True), "mwh": (1e3, True),
}  # fmt: skip
"""Factor to kW or kWh, and whether it is energy, by what ends a column's name."""
MOST_KW: Final = 1e9
"""No meter shows more; beyond it sums drown."""
SAME_STEPS: Final = 3
"""So many equal steps in a row that are longer than the shortest are another resolution, not gaps."""


class MeterFileError(ValueError):
    """A file that cannot be read as it stands; the message says where and what is accepted."""


class Sign(StrEnum):
    """Which way a file's powers count."""

    CONSUMPTION = "consumption"
    """Consumption positive, as demand-response programs write it."""
    BUS = "bus"
    """Into the site's bus positive, as this platform writes it."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    at: datetime
    value: float | None


def read_meter(
    path: Path,
    *,
    zone: str | None = None,
    column: str | None = None,
    sign: Sign = Sign.CONSUMPTION,
    place: MeterPlace = MeterPlace.CONNECTION,
) -> MeterSeries:
    """Return a meter's readings from a CSV file with a header; gzip where the name ends in ``.gz``.

    A column of instants (starts of intervals; local ones need the zone) and one whose name ends in its unit, such as
    ``consumption_kw``; energy is of each interval. An empty cell or a row that is not there is a gap. Raises
    MeterFileError.
    """
    rows, unit = _rows(path, zone=zone, column=column)
    if len(rows) < 2:
        raise MeterFileError(f"{path}: {len(rows)} reading(s), accepted: two or more")
    step_s = _resolution_s(path, rows)
    scale, is_energy = UNITS[unit]
    factor = scale * (3600.0 / step_s if is_energy else 1.0) * (place.bus_sign if sign is Sign.BUS else 1)
    try:
        known = [(row.at, row.value * factor) for row in rows if row.value is not None]
        if not known:
            raise MeterFileError(f"{path}: no reading holds a value, accepted: two or more")
        return meter_series(known, place=place, resolution_s=step_s)
    except BaselineError as error:
        raise MeterFileError(f"{path}: {error}") from None


def read_schedule(path: Path, *, zone: str | None = None) -> DeclaredSchedule:
    """Return a declared power plan from a CSV file: starts of steps and ``power_kw``, into the bus positive."""
    rows, unit = _rows(path, zone=zone, column=None)
    scale, is_energy = UNITS[unit]
    if is_energy:
        raise MeterFileError(f"{path}: line 1: a schedule is written in energy, accepted: powers (kw, w, mw)")
    for row in rows:
        if row.value is None:
            raise MeterFileError(f"{path}: line {row.line}: no power, accepted: one for each step")
    if not rows:
        raise MeterFileError(f"{path}: no step, accepted: one or more")
    return DeclaredSchedule(tuple(ScheduleStep(row.at, (row.value or 0.0) * scale) for row in rows))


def read_days(path: Path) -> frozenset[date]:
    """Return the days of a file, one a line such as ``2026-12-25``; what follows ``#`` or a comma is a remark."""
    days = set()
    with _opened(path) as file:
        for line, text in enumerate(file, start=1):
            cell = text.partition("#")[0].partition(",")[0].strip()
            if not cell:
                continue
            try:
                days.add(date.fromisoformat(cell))
            except ValueError:
                raise MeterFileError(
                    f"{path}: line {line}, column 1: {cell[:40]!r}, accepted: a day such as 2026-12-25"
                ) from None
    return frozenset(days)


def _rows(path: Path, *, zone: str | None, column: str | None) -> tuple[list[_Row], str]:
    """Return the rows in rising order, and the unit that the value's column names."""
    try:
        local = zone_named(zone) if zone else None
    except LocalTimeError as error:
        raise MeterFileError(str(error)) from None
    rows: list[_Row] = []
    with _opened(path) as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if header is None:
                raise MeterFileError(f"{path}: is empty, accepted: a header and rows")
            names = [name.strip().removeprefix("\ufeff") for name in header]
            at_place = _time_column(path, names)
            value_place, unit = _value_column(path, names, column, at_place)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    raise MeterFileError(
                        f"{path}: line {reader.line_num}: {len(cells)} columns, accepted: {len(names)} as in the header"
                    )
                where = f"{path}: line {reader.line_num}, column "
                try:
                    at = aware_instant(cells[at_place], zone=local)
                except LocalTimeError as error:
                    raise MeterFileError(f"{where}{names[at_place]}: {error}") from None
                if rows and at <= rows[-1].at:
                    was = rows[-1]
                    how = "the same instant as" if at == was.at else "earlier than"
                    raise MeterFileError(
                        f"{where}{names[at_place]}: {cells[at_place].strip()} is {how} line {was.line}, "
                        "accepted: rising instants, each once"
                    )
                value = _value(cells[value_place], f"{where}{names[value_place]}")
                rows.append(_Row(reader.line_num, at.astimezone(UTC), value))
                if len(rows) > MOST_READINGS:
                    raise MeterFileError(f"{path}: more than {MOST_READINGS} rows, accepted: so many at most")
        except csv.Error as error:
            raise MeterFileError(f"{path}: line {reader.line_num}: {error}, accepted: comma separated text") from None
    return rows, unit


def _time_column(path: Path, names: list[str]) -> int:
    for wanted in TIME_COLUMNS:
        for place, name in enumerate(names):
            if name.lower() == wanted:
                return place
    raise MeterFileError(
        f"{path}: line 1: no column of instants among {', '.join(names)[:200]}, "
        f"accepted: one of {', '.join(TIME_COLUMNS)}"
    )


def _value_column(path: Path, names: list[str], column: str | None, at_place: int) -> tuple[int, str]:
    units = {
        place: name.lower().rpartition("_")[2]
        for place, name in enumerate(names)
        if place != at_place and name.lower().rpartition("_")[2] in UNITS
    }
    if column is not None:
        for place, name in enumerate(names):
            if name == column and place in units:
                return place, units[place]
        raise MeterFileError(f"{path}: line 1: no column {column!r} with a unit, accepted: {_listed(names, units)}")
    if len(units) != 1:
        raise MeterFileError(
            f"{path}: line 1: {len(units)} columns end in a unit, accepted: one, or its name with --column: "
            f"{_listed(names, units)}"
        )
    return next(iter(units.items()))


def _listed(names: list[str], units: dict[int, str]) -> str:
    found = ", ".join(names[place] for place in units)
    return found[:200] or f"a name that ends in {', '.join(UNITS)}, such as consumption_kw"


def _value(cell: str, where: str) -> float | None:
    text = cell.strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise MeterFileError(f"{where}: {text[:40]!r}, accepted: a number, or nothing for a gap") from None
    if not math.isfinite(value) or abs(value) > MOST_KW:
        raise MeterFileError(f"{where}: {text[:40]}, accepted: a finite number up to {MOST_KW:g}, or nothing for a gap")
    return value


def _resolution_s(path: Path, rows: list[_Row]) -> int:
    """Return the step between readings [s]; raise MeterFileError where another one begins."""
    steps = [(after.at - before.at).total_seconds() for before, after in pairwise(rows)]
    shortest = min(steps)
    if shortest < 1.0 or shortest != round(shortest):
        line = rows[steps.index(shortest) + 1].line
        raise MeterFileError(f"{path}: line {line}: {shortest:g} s after the row before, accepted: whole seconds")
    run = 0
    for place, step in enumerate(steps):
        run = run + 1 if place and step == steps[place - 1] else 1
        begins = rows[place - run + 2]
        if step % shortest or (step != shortest and run >= SAME_STEPS):
            raise MeterFileError(
                f"{path}: line {begins.line}: readings are {step:g} s apart from here, elsewhere {shortest:g} s, "
                "accepted: one resolution throughout"
            )
    return round(shortest)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as raw, TextIOWrapper(raw, encoding="utf-8", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8", newline="") as file:
                yield file
    except UnicodeDecodeError as error:
        raise MeterFileError(f"{path}: byte {error.start} is no UTF-8, accepted: UTF-8 text") from None
    except (OSError, EOFError) as error:
        said = getattr(error, "strerror", None) or error
        raise MeterFileError(f"{path}: {said}, accepted: a file that can be read") from None
