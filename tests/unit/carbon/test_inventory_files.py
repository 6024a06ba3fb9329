"""Tables of steps and parameters: taken whole, or refused with line and column."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from carbon.inventory_files import COLUMNS, InventoryFileError, read_parameters, read_steps

HEADER = ",".join(COLUMNS)
ROW = "{k},{t},20,1.5,0,0,0,0,False,0.300,0.45"


def a_table(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "steps.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rows_at(*times: str) -> list[str]:
    return [ROW.format(k=k, t=t) for k, t in enumerate(times)]


def quarters(first: int, count: int) -> list[str]:
    return [f"{minute // 60 % 24:02d}:{minute % 60:02d}" for minute in range(first, first + 15 * count, 15)]


def test_a_table_is_read_exactly(tmp_path: Path) -> None:
    steps, step_h = read_steps(a_table(tmp_path, *rows_at("00:00", "00:15")))
    assert step_h == Fraction(1, 4)
    assert (steps[1].load_uwh, steps[1].pv_uwh, steps[1].grid) == (20_000_000_000, 1_500_000_000, Fraction(3, 10))


@pytest.mark.parametrize(
    ("times", "count"),
    [
        (quarters(0, 8) + quarters(60, 92), 100),  # the hour from 01:00 twice
        (quarters(0, 4) + quarters(120, 88), 92),  # and once not at all
    ],
)
def test_days_of_25_and_23_hours(tmp_path: Path, times: list[str], count: int) -> None:
    steps, step_h = read_steps(a_table(tmp_path, *rows_at(*times)))
    assert (len(steps), step_h) == (count, Fraction(1, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("20,1.5", "-20,1.5"), "line 3, column load (00:15): is '-20', accepted: 0 to 1,000,000 kWh"),
        (("0.300", ""), "column ef (00:15): is missing, accepted: 0 to 5 kg/kWh; what is not known is an error"),
        (("0.300", "300"), "column ef (00:15): is '300', accepted: 0 to 5 kg/kWh"),
        (("0.45", "45"), "column re (00:15): is '45', accepted: 0 to 1 as a share"),
        (("0.45", "nan"), "column re (00:15): is 'nan'"),
        (("1.5", "1e999"), "column pv (00:15): is '1e999'"),
        (("1.5", "0.0000000001"), "column pv (00:15): is '0.0000000001', accepted: kWh with up to nine decimals"),
        (("1,00:15", "0,00:15"), "column k (00:15): is '0', accepted: 1: steps are numbered from 0, none twice"),
        (("1,00:15", "2,00:15"), "column k (00:15): is '2', accepted: 1"),
        (("00:15", "24:15"), "column t (24:15): is '24:15', accepted: hh:mm"),
        (("False", "maybe"), "column island (00:15): is 'maybe', accepted: True or False"),
        ((",0.45", ""), "line 3: 10 cells, accepted: 11"),
        (("1,00:15", "<!DOCTYPE html><html>"), "line 3: 10 cells, accepted: 11"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    first, second = rows_at("00:00", "00:15")
    with pytest.raises(InventoryFileError) as refused:
        read_steps(a_table(tmp_path, first, second.replace(*change, 1)))
    assert message in str(refused.value)


def test_tables_that_are_none(tmp_path: Path) -> None:
    cases = {
        "line 1: '<!DOCTYPE html>": lambda: a_table(tmp_path, header="<!DOCTYPE html><title>404</title>"),
        "1 steps, accepted: 2 or more": lambda: a_table(tmp_path, *rows_at("00:00")),
        "steps of 7 min, accepted: 5, 10, 15, 30, 60": lambda: a_table(tmp_path, *rows_at("00:00", "00:07")),
        "does not follow the step before": lambda: a_table(tmp_path, *rows_at("00:00", "00:15", "00:45")),
        "is no file": lambda: tmp_path / "none.csv",
    }
    for message, make in cases.items():
        with pytest.raises(InventoryFileError) as refused:
            read_steps(make())
        assert message in str(refused.value)
    (tmp_path / "steps.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryFileError, match="is no text in UTF-8"):
        read_steps(tmp_path / "steps.csv")


def test_parameters_change_what_they_name(tmp_path: Path) -> None:
    path = tmp_path / "parameters.json"
    path.write_text('{"eta_c": 0.9, "opening_own_kwh": 50, "F0": 0.1, "capacity_kwh": 1000}')
    parameters = read_parameters(path)
    assert parameters.efficiency.charge == Fraction(9, 10)
    assert (parameters.own.energy_uwh, parameters.own.carbon_ug) == (50 * 10**9, 12 * 10**9)
    assert (parameters.fuel_idle_l_per_kwh, parameters.capacity_uwh) == (Fraction(1, 10), 10**12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "is no object"),
        ("{", "is no JSON"),
        ('{"eta": 1}', "'eta' is not known, accepted: eta_c, eta_d, capacity_kwh"),
        ('{"eta_c": "0.9"}', "eta_c is '0.9', accepted: a number of 0 or more"),
        ('{"eta_c": 1.2}', "charge efficiency is 6/5, accepted: more than 0, at most 1"),
        ('{"F1": NaN}', "F1 is 'NaN'"),
        ('{"opening_own_green_kwh": 41}', "accepted: nothing negative, green within energy"),
        ('{"capacity_kwh": 10}', "both opening stocks together are more than the capacity"),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "parameters.json"
    path.write_text(text)
    with pytest.raises(InventoryFileError) as refused:
        read_parameters(path)
    assert message in str(refused.value)
