"""Battery and DC link of a 500 kW site, by hand (../shared/domain/islanding.md, section 5)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.edge.control.kernels.droop import absorbable_energy
from sites.edge.control.settings import control_parameters
from sites.edge.plant import battery
from sites.edge.plant.dc_link import USABLE_SHARE, modulated, move_dc_link
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.values import plant_parameters, plant_state
from sites.edge.studies.closed_loop import control_settings

SITE = dataclasses.replace(synthetic_fleet(10, 3)[9], pcs_kva=500.0, battery_kwh=2150.0, soc_ratio=0.6, reserve_kwh=0.0)


def test_twelve_millifarads_carry_half_a_megawatt_for_2_6_milliseconds() -> None:
    """12 mF: 3.84 kJ at 800 V, 2.535 kJ at 650 V; 1.305 kJ / 500 kW = 2.6 ms."""
    stored_j = 0.5 * 12e-3 * 800.0**2
    assert stored_j * USABLE_SHARE == pytest.approx(1305.0, abs=1.0)
    site = dataclasses.replace(SITE, dc_link_ms=1305.0 / 500.0, dc_supply_ms=1e6)
    g, p = plant_parameters(site, 1e-5)[0], plant_state(site, 1, 0)[0]
    ticks = 0
    while 800.0 * np.sqrt(p["dc_share"]) > 650.0:
        move_dc_link(g, p, 1.0)
        ticks += 1
    assert ticks * 1e-5 == pytest.approx(2.6e-3, abs=3e-5)
    assert modulated(2.0, float(p["dc_share"])) == pytest.approx(1.35 * 650.0 / 800.0, rel=0.01)
    while not p["bridge_stopped"]:
        move_dc_link(g, p, 1.0)
        ticks += 1
    # 600 V: 1.68 kJ gone.
    assert ticks * 1e-5 == pytest.approx(1680.0 / 500e3, abs=3e-5)


def test_a_megawatt_makes_the_battery_sag_by_2_7_per_cent() -> None:
    """Ten strings of 768 V and 280 Ah, 16 mOhm: 1 MW / 768 V = 1302 A, 20.8 V, 2.7 % at once.

    At 60 % the cells rest at 3.305 V, so the current is 3 % less; the converter's 2.5 % are drawn on top.
    """
    site = dataclasses.replace(SITE, pcs_kva=1000.0)
    g, p = plant_parameters(site, 1e-4)[0], plant_state(site, 1, 0)[0]
    rest = p["cell_pu"]
    battery.advance_battery(g, p, 1e6 * 0.01, 0.01)
    assert (rest - p["cell_pu"]) / rest == pytest.approx(0.027, abs=0.002)
    for _ in range(1_500):
        battery.advance_battery(g, p, 1e6, 1.0)
    # Both polarizations are there: 0.3 and 0.2 mOhm a cell more, 129 A a cell.
    sag_v = battery.CELL_V * (battery.open_circuit_pu(float(p["soc_ratio"])) - p["cell_pu"])
    assert sag_v == pytest.approx(129.0 * (0.67 + 0.3 + 0.2) * 1e-3, rel=0.06)


def test_a_pack_of_sixteen_cells_scales_with_its_capacity() -> None:
    """51.2 V, 100 Ah at 1C: 100 A on 16 x 1.87 mOhm is 3 V; as a share of the voltage the same 5.8 % as the rack's."""
    site = dataclasses.replace(SITE, pcs_kva=5.12, battery_kwh=5.12)
    g, p = plant_parameters(site, 1e-4)[0], plant_state(site, 1, 0)[0]
    rest = p["cell_pu"]
    battery.advance_battery(g, p, 5120.0 * 0.01 / 1.025 * rest, 0.01)
    # 25 °C is the data's temperature, the site's 22 °C add 6 %.
    assert rest - p["cell_pu"] == pytest.approx(0.0583 * 1.06, rel=0.07)


@pytest.mark.parametrize(
    ("power_kw", "by_hand_kwh"),
    [
        # 1.038 of nominal voltage at rest over 0.975 · 0.995, and 0.02 C behind 0.1 of resistance: 1.072 a stored kWh.
        (2.0, 45.0 * 1.072),
        # At 0.5 C the cells stand 0.052 higher: 1.090 / 0.970.
        (50.0, 45.0 * 1.124),
    ],
)
def test_what_a_battery_has_room_for_it_takes_at_any_power(power_kw: float, by_hand_kwh: float) -> None:
    """100 kWh at 1C from 50 to 95 %: 45 kWh of room. At the terminals that is more, the more the greater the power.

    Over the efficiency at full power of discharging, (1.02 − 0.102) / 1.025 = 0.896, it would be 50.2 kWh: 4 % more
    than a small power ever brings in.
    """
    site = dataclasses.replace(SITE, pcs_kva=100.0, battery_kwh=100.0, soc_ratio=0.5)
    g, p = plant_parameters(site, 1e-4)[0], plant_state(site, 1, 0)[0]
    k = control_parameters(control_settings(site, 10_000))[0]
    promised_kwh = absorbable_energy(k, 0.5) / 3600.0 * 100.0
    assert promised_kwh == pytest.approx(45.0)
    taken_kwh = 0.0
    while p["soc_ratio"] < 0.95:
        p["temperature_c"] = 25.0
        battery.advance_battery(g, p, -power_kw * 1e3 * 10.0, 10.0)
        taken_kwh += power_kw * 10.0 / 3600.0
    assert taken_kwh == pytest.approx(by_hand_kwh, rel=0.005)
    assert promised_kwh < taken_kwh
