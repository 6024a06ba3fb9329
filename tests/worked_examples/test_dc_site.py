"""A DC site worked by hand: droop sharing, disconnect voltage and charge, rectifier power, autonomy."""

from __future__ import annotations

import numpy as np
import pytest
from support.dc_sites import a_dc_site, run

from sites.edge.plant.dc_battery import open_circuit_v
from sites.edge.plant.dc_values import (
    autonomy_h,
    battery_ohm,
    dc_plant_parameters,
    nominal_bus_v,
    rectifier_droop_ohm,
)
from sites.edge.studies.closed_loop import ClosedLoop


def test_two_sources_share_a_load_by_their_droop() -> None:
    """Kirchhoff's laws for two voltages behind resistances (any circuits text; Kundur 1994, 11.1.1 for droop).

    Rectifiers: 6 kW at 51.2 V are 117.19 A; 2 % of 51.2 V over that is 1.024 V / 117.19 A = 8.738 mOhm.
    Battery: three strings of 16 cells of 0.5 mOhm in parallel are 8 / 3 = 2.667 mOhm, at rest 53.12 V
    (soc 0.7: 16 · 3.32 V). Load 3 kW less 30 W of the plant's own use apart: with the rectifiers set to E_r,
    I_r = (E_r − V) / 8.738 mOhm and I_b = (53.12 − V) / 2.667 mOhm. Let both give the same, I = 3030 / 2 / V:
    V = 53.12 − 2.667 mOhm · I; V² − 53.12 V + 2.667e-3 · 1515 = 0 gives V = 53.044 V, I = 28.56 A, and
    E_r = 53.044 + 8.738 mOhm · 28.56 = 53.293 V.
    """
    site = a_dc_site(pv_kw=0.0)
    assert nominal_bus_v(site) == pytest.approx(51.2)
    assert rectifier_droop_ohm(site) == pytest.approx(8.738e-3, rel=1e-3)
    assert battery_ohm(site) == pytest.approx(2.667e-3, rel=1e-3)
    loop = ClosedLoop([site], seed=1)
    # The controller is told to want nothing: its set point is written by hand and stands still.
    loop.dc._dk["trim_share"] = 0.0
    loop.dc._dk["loop_ohm"] = 0.0
    loop.dc._dk["droop_ohm"] = 0.0
    loop.dc._dc["trim_v"] = 53.293
    run(loop, 0.2)
    d = loop.dc._d[0]
    assert d["bus_v"] == pytest.approx(53.044, abs=0.01)
    assert d["rectifier_a"] == pytest.approx(28.56, rel=0.03)
    assert d["battery_a"] == pytest.approx(28.56, rel=0.03)


@pytest.mark.parametrize(
    ("soc_ratio", "cell_v"),
    [(0.0, 2.60), (0.025, 2.825), (0.05, 3.05), (0.075, 3.125), (0.10, 3.20), (0.30, 3.27), (0.70, 3.32), (1.0, 3.45)],
)
def test_voltage_of_sixteen_cells_at_rest(soc_ratio: float, cell_v: float) -> None:
    """Open-circuit voltage of an LFP cell by state of charge: table in islanding.md, section 5, linear between."""
    dg = dc_plant_parameters(a_dc_site(), 1e-4)
    assert open_circuit_v(dg[0], soc_ratio) == pytest.approx(16 * cell_v)


def test_a_disconnect_at_48_8_volts_finds_the_battery_nearly_empty() -> None:
    """Why tiers are shed by charge, too.

    48.8 V are 3.05 V a cell: 5 % at rest. Under 3.03 kW the strings give 3030 / 48.8 = 62.1 A; ohmic drop
    62.1 A · 2.667 mOhm = 0.166 V, settled polarization 1.2 times as much, 0.199 V: at rest 49.165 V or 3.073 V
    a cell, and 0.05 + 0.05 · (3.073 − 3.05) / 0.15 = 5.8 %. Between 20 % (52.0 V) and 80 % (53.36 V) all of
    1.36 V lies, 23 mV for each per cent; a bus voltage tells little until the end.
    """
    dg = dc_plant_parameters(a_dc_site(), 1e-4)
    ohm = float(dg["battery_ohm"][0] + dg["fast_ohm"][0] + dg["slow_ohm"][0])
    rest_v = 48.8 + 3030.0 / 48.8 * ohm
    assert rest_v == pytest.approx(49.165, abs=0.005)
    grid = np.linspace(0.0, 1.0, 10_001)
    found = grid[np.searchsorted([open_circuit_v(dg[0], x) for x in grid], rest_v)]
    assert found == pytest.approx(0.058, abs=0.001)
    assert open_circuit_v(dg[0], 0.8) - open_circuit_v(dg[0], 0.2) == pytest.approx(1.36)


def test_rectifiers_give_constant_power_down_to_48_volts_and_constant_current_below() -> None:
    """6 kW at 48 V and above; 6000 / 48 = 125 A below: 5.5 kW at 44 V.

    At full power they lose 0.6 + 1.9 + 1.9 = 4.4 % of 6 kW: 6.264 kW at the input, 27.2 A of 230 V.
    """
    site = a_dc_site(load_kw=9.0, pv_kw=0.0, battery_kwh=30.72, reserve_kwh=0.0, import_limit_kw=20.0)
    loop = ClosedLoop([site], seed=1)
    run(loop, 2.0)
    behind = loop.dc.measured()[0]
    assert behind["bus_v"] > 48.0
    assert behind["rectifier_kw"] == pytest.approx(6.0, rel=2e-3)
    assert loop.measured()["pcc_kw"][0] == pytest.approx(6.264, rel=5e-3)
    low = a_dc_site(load_kw=9.0, pv_kw=0.0, battery_kwh=30.72, reserve_kwh=0.0, import_limit_kw=20.0, soc_ratio=0.015)
    loop = ClosedLoop([low], seed=1)
    run(loop, 2.0)
    behind = loop.dc.measured()[0]
    assert 42.0 < behind["bus_v"] < 46.0
    assert behind["rectifier_kw"] == pytest.approx(0.125 * float(behind["bus_v"]), rel=2e-3)


def test_autonomy_of_three_strings() -> None:
    """(0.70 − 0.05) · 15.36 kWh = 9.984 kWh; over 3 kW: 3.33 h. Two hours of reserve are 6 kWh, 39 % of 15.36."""
    site = a_dc_site()
    assert autonomy_h(site, 0.70) == pytest.approx(3.328, abs=0.001)
    assert autonomy_h(site, 0.05) == 0.0
    assert autonomy_h(a_dc_site(load_kw=0.0), 0.5) == float("inf")
