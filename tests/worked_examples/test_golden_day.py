"""The golden day: 96 quarter-hours of a site with PV, diesel and two pools, exact at six decimals.

Source: the project's hand-checked day. A few of its steps are typed in below; the whole day is read
from the measured data beside the checkout where that is present.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from carbon.core.flows import StepEnergy, advance_step
from carbon.core.inventory import Efficiency, Pool
from carbon.core.inventory_day import Inventory, Parameters, day_inventory
from carbon.inventory_files import read_steps

UNIT = 1_000_000_000
EFFICIENCY = Efficiency(Fraction(96, 100), Fraction(95, 100))
# The day's set: 150 kW rated, fuel line 0.08145 l/h per kW and 0.246 l/kWh, 2.66155 kg/l.
DIESEL_KG_PER_LITRE = Decimal("2.66155")
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "carbon" / "golden_day"


def units(text: str | Decimal) -> int:
    """Return kWh or kg as whole uWh or ug."""
    scaled = Decimal(text) * UNIT
    assert scaled == int(scaled)
    return int(scaled)


def six_decimals(amount: int) -> Decimal:
    """Return uWh or ug as kWh or kg, rounded to the six decimals the day is published with."""
    return (Decimal(amount) / UNIT).quantize(Decimal("0.000001"))


@dataclass(frozen=True)
class Row:
    """One line of the table: kWh and kg/kWh as printed, and the stock before it."""

    at: str
    imported: str
    exported: str
    pv: str
    factor: str
    own_charge: str
    grid_charge: str
    own_discharge: str
    grid_discharge: str
    load: str
    own: tuple[str, str]
    grid: tuple[str, str]
    own_after: tuple[str, str]
    grid_after: tuple[str, str]


# Opening stocks are the closing figures of the step before, as printed with six decimals.
ROWS = [
    Row("00:00", "30", "0", "0", ".300", "10", "0", "0", "0", "20", ("40", "12"), ("40", "16"),
        ("49.600", "15.000"), ("40.000", "16.000")),
    Row("05:00", "25", "0", "0", ".340", "0", "5", "0", "0", "20", ("193.6", "60"), ("40", "16"),
        ("193.600", "60.000"), ("44.800", "17.700")),
    Row("06:00", "16", "0", "0", ".340", "0", "0", "0", "4", "20", ("193.6", "60"), ("59.2", "22.8"),
        ("193.600", "60.000"), ("54.989", "21.178")),
    Row("09:00", "0", "13", "30", ".260", "0", "0", "0", "3", "20", ("193.6", "60"), ("42.357895", "16.313514"),
        ("193.600", "60.000"), ("39.200", "15.097")),
    Row("11:00", "0", "15", "50", ".180", "15", "0", "0", "0", "20", ("193.6", "60"), ("36.042105", "13.881081"),
        ("208.000", "60.000"), ("36.042", "13.881")),
]  # fmt: skip


class TestTypedSteps:
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.at)
    def test_a_step_moves_both_stocks_as_printed(self, row: Row) -> None:
        step = StepEnergy(
            import_uwh=units(row.imported),
            export_uwh=units(row.exported),
            pv_uwh=units(row.pv),
            load_uwh=units(row.load),
            charge_own_uwh=units(row.own_charge),
            charge_grid_uwh=units(row.grid_charge),
            discharge_own_uwh=units(row.own_discharge),
            discharge_grid_uwh=units(row.grid_discharge),
        )
        own = Pool(units(row.own[0]), units(row.own[1]))
        grid = Pool(units(row.grid[0]), units(row.grid[1]))
        flows, own, grid = advance_step(step, Fraction(Decimal(row.factor)), Fraction(0), own, grid, EFFICIENCY)
        printed = Decimal("0.001")
        assert [(Decimal(v) / UNIT).quantize(printed) for v in (own.energy_uwh, own.carbon_ug)] == [
            Decimal(v) for v in row.own_after
        ]
        assert [(Decimal(v) / UNIT).quantize(printed) for v in (grid.energy_uwh, grid.carbon_ug)] == [
            Decimal(v) for v in row.grid_after
        ]
        assert step.residual_uwh == 0
        assert flows.swap_residual_ug == 0

    def test_a_grid_discharge_carries_its_pools_average(self) -> None:
        step = StepEnergy(import_uwh=16 * UNIT, load_uwh=20 * UNIT, discharge_grid_uwh=4 * UNIT)
        pool = Pool(units("59.2"), units("22.8"))
        flows, *_ = advance_step(step, Fraction(34, 100), Fraction(0), Pool(), pool, EFFICIENCY)
        # 22.8 / (59.2 * 0.95) = 0.40541 kg/kWh
        assert (Decimal(flows.discharge_grid_ug) / (4 * UNIT)).quantize(Decimal("0.00001")) == Decimal("0.40541")
        assert (Decimal(flows.carbon.load) / (20 * UNIT)).quantize(Decimal("0.00001")) == Decimal("0.35308")

    def test_an_islanded_diesel_step_charges_at_the_fuels_intensity(self) -> None:
        burnt = round(Fraction(Decimal("9.204375") * DIESEL_KG_PER_LITRE) * UNIT)
        step = StepEnergy(genset_uwh=25 * UNIT, genset_ug=burnt, load_uwh=20 * UNIT, charge_own_uwh=5 * UNIT)
        opening = Pool(units("240.084211"), units("39.315100"))
        flows, own, _ = advance_step(step, Fraction(52, 100), Fraction(0), opening, Pool(), EFFICIENCY)
        assert flows.import_ug == 0
        assert (Decimal(flows.carbon.load) / (20 * UNIT)).quantize(Decimal("0.00001")) == Decimal("0.97992")
        assert six_decimals(own.energy_uwh) == Decimal("244.884211")
        assert six_decimals(own.carbon_ug) == Decimal("44.214681")


def golden_day() -> Inventory:
    """Run the whole day."""
    if not GOLDEN.is_dir():
        pytest.skip("shared/data/carbon/golden_day is not beside the checkout")
    steps, step_h = read_steps(GOLDEN / "golden_inputs_96.csv")
    return day_inventory(steps, Parameters(), step_h=step_h)


@pytest.mark.shared_data
class TestWholeDay:
    def test_every_published_total_agrees_at_six_decimals(self) -> None:
        published = json.loads((GOLDEN / "golden_totals.json").read_text()) if GOLDEN.is_dir() else {}
        ours = golden_day().figures()
        assert len(published) == 46
        # The published zero carries the sign of a rounding; ours is a whole zero.
        assert ours == published | {"I2_carbon_residual": "0.000000"}

    def test_every_step_agrees_with_the_published_table(self) -> None:
        flows = golden_day().flows
        with (GOLDEN / "golden_steps_96.csv").open() as file:
            published = list(csv.DictReader(file))
        assert [six_decimals(step.stock_uwh) for step in flows] == pytest.approx(
            [Decimal(row["E_own"]) + Decimal(row["E_grid"]) for row in published], abs=Decimal("0.000001")
        )
        assert [six_decimals(step.import_ug) for step in flows] == [
            (Decimal(row["imp"]) * Decimal(row["ef_grid"])).quantize(Decimal("0.000001")) for row in published
        ]

    def test_both_identities_are_zero_to_the_microgram(self) -> None:
        totals = golden_day().totals
        assert totals.carbon_residual_ug == 0
        assert totals.swap_residual_ug == 0

    def test_the_command_prints_and_writes_the_same(self, tmp_path: Path) -> None:
        expected = golden_day().figures()
        told, out = StringIO(), tmp_path / "out.json"
        call_command("carbon_inventory", steps=GOLDEN / "golden_inputs_96.csv", json=out, stdout=told)
        assert json.loads(told.getvalue()) == json.loads(out.read_text()) == expected
