"""The tables that ``carbon_inventory`` reads: steps as CSV, parameters as JSON; faults by line and column."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from carbon.core.inventory import Efficiency, Pool
from carbon.core.inventory_day import InventoryError, Parameters, Step
from sites.core.units import UG_PER_KG, UWH_PER_KWH

COLUMNS: Final = ("k", "t", "load", "pv", "c_own", "c_grid", "b_own", "b_grid", "island", "ef", "re")
ENERGIES: Final = COLUMNS[2:8]
MOST_BYTES: Final = 16_000_000
MOST_STEPS: Final = 40_000
"""A leap year of quarter-hours is 35,136."""
MOST_KWH: Final = Decimal(1_000_000)
"""In one step; more is in another unit."""
MOST_KG_PER_KWH: Final = Decimal(5)
"""A grid's factor above it is in another unit; burning coal badly gives 1.5."""
STEPS_MIN: Final = (5, 10, 15, 30, 60)
DAY_MIN: Final = 24 * 60
TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


class InventoryFileError(InventoryError):
    """A file that cannot be taken; the message names file, line, column and what is accepted."""


def read_steps(path: Path) -> tuple[list[Step], Fraction]:
    """Return a table's steps and their length [h].

    ``k`` counts from 0 without a hole, ``t`` is the step's start by the clock on the wall; where clocks are changed it
    stands still for an hour or leaves one out. Raises InventoryFileError.
    """
    text = _text(path)
    reader = csv.reader(text.splitlines())
    names = [name.strip() for name in next(reader, [])]
    if names != list(COLUMNS):
        raise InventoryFileError(f"{path}: line 1: {','.join(names)[:200]!r}, accepted: {','.join(COLUMNS)}")
    steps: list[Step] = []
    starts: list[int] = []
    for cells in reader:
        line = reader.line_num
        if len(cells) != len(COLUMNS):
            raise InventoryFileError(f"{path}: line {line}: {len(cells)} cells, accepted: {len(COLUMNS)}")
        if len(steps) == MOST_STEPS:
            raise InventoryFileError(f"{path}: line {line}: more than {MOST_STEPS:,} steps, accepted: up to a year")
        step, start = _step(path, line, dict(zip(COLUMNS, map(str.strip, cells), strict=True)), len(steps))
        steps.append(step)
        starts.append(start)
    if len(steps) < 2:
        raise InventoryFileError(f"{path}: {len(steps)} steps, accepted: 2 or more, for their length is read from t")
    return steps, Fraction(_length_min(path, steps, starts), 60)


def read_parameters(path: Path) -> Parameters:
    """Return parameters; what the file leaves out keeps its default. Raises InventoryFileError naming the key."""
    try:
        document = json.loads(_text(path), parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise InventoryFileError(f"{path}: is no JSON ({error}), accepted: an object of {_accepted()}") from None
    if not isinstance(document, dict):
        raise InventoryFileError(f"{path}: is no object, accepted: an object of {_accepted()}")
    values: dict[str, Fraction] = {}
    for name, value in document.items():
        if name not in KEYS:
            raise InventoryFileError(f"{path}: {name!r} is not known, accepted: {_accepted()}")
        if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value <= Decimal(10) ** 12:
            raise InventoryFileError(f"{path}: {name} is {str(value)[:80]!r}, accepted: a number of 0 or more")
        values[name] = Fraction(value)
    try:
        return _parameters(values)
    except ValueError as error:
        raise InventoryFileError(f"{path}: {error}") from None


def _parameters(values: Mapping[str, Fraction]) -> Parameters:
    base = Parameters()

    def amount(name: str, default: int, unit: int) -> int:
        return round(values[name] * unit) if name in values else default

    def pool(of: str, default: Pool) -> Pool:
        return Pool(
            amount(f"opening_{of}_kwh", default.energy_uwh, UWH_PER_KWH),
            amount(f"opening_{of}_kg", default.carbon_ug, UG_PER_KG),
            amount(f"opening_{of}_green_kwh", default.green_uwh, UWH_PER_KWH),
        )

    plain = {field: values[key] for key, field in PLAIN.items() if key in values}
    return replace(
        base,
        efficiency=Efficiency(
            values.get("eta_c", base.efficiency.charge), values.get("eta_d", base.efficiency.discharge)
        ),
        capacity_uwh=amount("capacity_kwh", base.capacity_uwh, UWH_PER_KWH),
        own=pool("own", base.own),
        grid=pool("grid", base.grid),
        **plain,
    )


PLAIN: Final = {
    "diesel_kg_per_l": "diesel_kg_per_l",
    "F0": "fuel_idle_l_per_kwh",
    "F1": "fuel_slope_l_per_kwh",
    "genset_kw": "genset_kw",
    "embodied_kg": "embodied_kg",
    "lifetime_mwh": "lifetime_mwh",
}
KEYS: Final = (
    "eta_c", "eta_d", "capacity_kwh",
    *(f"opening_{pool}_{what}" for pool in ("own", "grid") for what in ("kwh", "kg", "green_kwh")),
    *PLAIN,
)  # fmt: skip


def _accepted() -> str:
    return ", ".join(KEYS)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise InventoryFileError(f"{path}: is no file, accepted: a file that is there")
        if path.stat().st_size > MOST_BYTES:
            raise InventoryFileError(f"{path}: more than {MOST_BYTES:,} bytes, accepted: a year of quarter-hours")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InventoryFileError(f"{path}: {error.strerror}, accepted: a file that can be read") from None
    except UnicodeDecodeError:
        raise InventoryFileError(f"{path}: is no text in UTF-8") from None


def _step(path: Path, line: int, row: Mapping[str, str], number: int) -> tuple[Step, int]:
    """Return a row as a step, and its start [min of the day]."""

    def fault(column: str, accepted: str) -> InventoryFileError:
        what = "is missing" if not row[column] else f"is {row[column][:60]!r}"
        return InventoryFileError(
            f"{path}: line {line}, column {column} ({row['t'][:20]}): {what}, accepted: {accepted}"
        )

    def read(column: str, most: Decimal, unit: str) -> Decimal:
        try:
            value = Decimal(row[column])
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not 0 <= value <= most:
            raise fault(column, f"0 to {most:,} {unit}; what is not known is an error, never 0")
        return value

    if row["k"] != str(number):
        raise fault("k", f"{number}: steps are numbered from 0, none twice and none left out")
    clock = TIME.match(row["t"])
    if clock is None:
        raise fault("t", "hh:mm")
    if row["island"].lower() not in TRUTH:
        raise fault("island", "True or False")
    energies = {name: read(name, MOST_KWH, "kWh") * UWH_PER_KWH for name in ENERGIES}
    for name, energy in energies.items():
        if energy != energy.to_integral_value():
            raise fault(name, "kWh with up to nine decimals")
    whole = {name: int(energy) for name, energy in energies.items()}
    step = Step(
        name=f"{path.name} line {line} ({row['t']})",
        load_uwh=whole["load"],
        pv_uwh=whole["pv"],
        charge_own_uwh=whole["c_own"],
        charge_grid_uwh=whole["c_grid"],
        discharge_own_uwh=whole["b_own"],
        discharge_grid_uwh=whole["b_grid"],
        is_island=TRUTH[row["island"].lower()],
        grid=Fraction(read("ef", MOST_KG_PER_KWH, "kg/kWh")),
        grid_green=Fraction(read("re", Decimal(1), "as a share")),
    )
    return step, int(clock[1]) * 60 + int(clock[2])


def _length_min(path: Path, steps: list[Step], starts: list[int]) -> int:
    """Return the steps' length [min], after judging that each begins where the one before ends."""
    length = (starts[1] - starts[0]) % DAY_MIN
    if length not in STEPS_MIN:
        raise InventoryFileError(f"{path}: steps of {length} min, accepted: {', '.join(map(str, STEPS_MIN))}")
    for step, (before, start) in zip(steps[1:], pairwise(starts), strict=True):
        # Clocks go forward or back by an hour.
        if (start - before - length) % DAY_MIN not in (0, 60, DAY_MIN - 60):
            raise InventoryFileError(f"{step.name}: does not follow the step before, accepted: {length} min after it")
    return length
