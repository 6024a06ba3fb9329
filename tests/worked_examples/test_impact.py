"""10 MW for a quarter of an hour, 2.5 MWh given: what trucks and a gas turbine would have taken, by hand.

Parameters and their sources: carbon/core/generator_trucks.py, thermal_plant.py, impact.py; docs/impact.md.
"""

from __future__ import annotations

import pytest

from carbon.core.counterfactual import Service
from carbon.core.generator_trucks import generator_trucks
from carbon.core.impact import impact_statement
from carbon.core.thermal_plant import fuel_per_output, thermal_plant

GIVEN = Service(power_kw=10_000.0, energy_kwh=2_500.0, window_h=0.25)
TAKEN = Service(power_kw=10_000.0, energy_kwh=-2_500.0, window_h=0.25, gives=False)


class TestTrucks:
    def test_how_many_and_how_much(self):
        estimate = generator_trucks(GIVEN)
        # 10 MW over 320 kW usable each is 31.25, so 32; at 360 kW 27.8 and at 280 kW 35.7.
        assert (estimate.units.low, estimate.units.central, estimate.units.high) == (28.0, 32.0, 36.0)
        # 32 * 0.0175 * 400 * 0.5 h + 0.245 * 2500 + 32 * 60 km * 0.33 = 112 + 612.5 + 633.6
        assert estimate.fuel.central == pytest.approx(1358.1)
        assert estimate.kg_co2e.central == pytest.approx(1358.1 * 2.65937)
        # Least: 28 * 0.015 * 400 * 0.35 + 0.24 * 2500 + 28 * 20 * 0.28; most: 36 * 0.022 * 400 * 0.75 + 0.273 * 2500
        # + 36 * 120 * 0.4
        assert estimate.fuel.low == pytest.approx(58.8 + 600.0 + 156.8)
        assert estimate.fuel.high == pytest.approx(237.6 + 682.5 + 1728.0)
        # 32 trucks for a day: 32 * (1400 + 600) + 1358.1 l * 1.3
        assert estimate.cost_usd.central == pytest.approx(64_000 + 1765.53)
        assert (estimate.ready_min.low, estimate.ready_min.high) == (60.0, 120.0)
        assert "not a booked figure" in estimate.statement


class TestGasTurbine:
    def test_the_curve_between_its_points(self):
        # 80 % load: 0.37 + 0.2 * 0.02 = 0.374
        assert fuel_per_output(0.8) == pytest.approx(1 / 0.374)

    def test_holding_and_giving(self):
        estimate = thermal_plant(GIVEN)
        # 20 % headroom: 50 MW in service at 80 %, 40 MW for 0.25 h are 10 000 kWh of own output.
        assert estimate.units.central == pytest.approx(50.0)
        held = 10_000 * (1 / 0.374 * 1.01 - 1 / 0.39)
        # From 80 % to 100 %: (1/0.39 - 0.8/0.374) / 0.2 kWh of gas for each more.
        given = 2_500 * (1 / 0.39 - 0.8 / 0.374) / 0.2
        assert estimate.fuel.central == pytest.approx(held + given)
        assert estimate.kg_co2e.central == pytest.approx((held + given) * 0.18293)
        assert estimate.cost_usd.central == pytest.approx((held + given) * 0.03)
        # 20 % of rating at 10 % a minute
        assert estimate.ready_min.central == pytest.approx(2.0)
        # 40 % at 8 % a minute and a start of 10 min; 10 % at 20 % a minute
        assert (estimate.ready_min.low, estimate.ready_min.high) == (pytest.approx(0.5), pytest.approx(15.0))

    def test_a_start_is_in_the_upper_end(self):
        # 10 % headroom: 100 MW at 90 % (0.382), 45 000 kWh in 0.5 h; the start of 10 min at the idle line
        # 0.25/0.245 - (1/0.39 - 0.25/0.245)/0.75 * 0.25 of its rating.
        estimate = thermal_plant(GIVEN)
        quarter, full = 0.25 / 0.245, 1 / 0.39
        idle = quarter - (full - quarter) / 3
        held = 45_000 * (1 / 0.382 * 1.03 - 1 / 0.39)
        given = 2_500 * (1 / 0.39 - 0.9 / 0.382) / 0.1
        started = 100_000 * idle * 10 / 60
        assert estimate.fuel.high == pytest.approx((held + given + started) / 0.85)
        # Wear: 126 USD per MW on 100 MW, and the gas at 0.05.
        assert estimate.cost_usd.high == pytest.approx((held + given + started) / 0.85 * 0.05 + 12_600)

    def test_taking_power_saves_gas(self):
        estimate = thermal_plant(TAKEN)
        # From full load down to 80 %: nothing is held back, only moving costs 1 % of 12 500 kWh.
        moving = 12_500 * (1 / 0.39 * 1.01 - 1 / 0.39)
        taken = -2_500 * (1 / 0.39 - 0.8 / 0.374) / 0.2
        assert estimate.fuel.central == pytest.approx(moving + taken)
        assert estimate.fuel.central < 0.0


class TestSideBySide:
    def test_the_fleet_charges_again_with_its_losses_at_the_margin(self):
        statement = impact_statement(GIVEN)
        # 2 500 / 0.86 * 0.45; nothing at the margin; 2 500 / 0.80 * 0.8273
        assert statement.fleet_kg_co2e.central == pytest.approx(1308.14, abs=0.01)
        assert (statement.fleet_kg_co2e.low, statement.fleet_kg_co2e.high) == (0.0, pytest.approx(2585.31, abs=0.01))

    def test_what_was_avoided_may_be_less_than_nothing(self):
        thermal, mobile = impact_statement(GIVEN).alternatives
        assert mobile.avoided_kg_co2e.central == pytest.approx(1358.1 * 2.65937 - 2_500 / 0.86 * 0.45)
        assert thermal.avoided_kg_co2e.low < 0.0 < thermal.avoided_kg_co2e.high
        assert thermal.avoided_kg_co2e.central < 0.0
