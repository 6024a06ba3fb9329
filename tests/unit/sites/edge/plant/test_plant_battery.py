"""The battery behind the converter: cells, temperature, its management's limits; and the DC link."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.edge.plant import battery
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.plant.store_values import full_power_efficiency
from sites.edge.plant.values import plant_parameters, plant_state
from sites.edge.studies.closed_loop import ClosedLoop

CABINET = dataclasses.replace(synthetic_fleet(1, 3)[0], switch_kind="sic", genset_kw=0.0, pv_kw=0.0)


def rested(soc_ratio: float, **changes: object) -> tuple[np.void, np.void]:
    site = dataclasses.replace(CABINET, soc_ratio=soc_ratio, reserve_kwh=0.0, **changes)
    return plant_parameters(site, 1e-4)[0], plant_state(site, 1, 0)[0]


@pytest.mark.parametrize(
    ("soc_ratio", "cell_v"), [(0.0, 2.6), (0.05, 3.05), (0.5, 3.2975), (0.975, 3.405), (1.0, 3.45)]
)
def test_the_open_circuit_voltage_follows_the_cells_table(soc_ratio: float, cell_v: float) -> None:
    assert battery.open_circuit_pu(soc_ratio) * battery.CELL_V == pytest.approx(cell_v)


def test_what_the_cells_give_is_what_their_charge_loses_less_their_heat() -> None:
    """Energy by hand: charge times open-circuit voltage = terminal energy + converter's loss + heat."""
    g, p = rested(0.7)
    power_w, seconds = 0.8 * g["base_w"], 600
    chemical_j = 0.0
    for _ in range(seconds * 10):
        before = p["soc_ratio"]
        battery.advance_battery(g, p, power_w * 0.1, 0.1)
        chemical_j += (before - p["soc_ratio"]) * g["capacity_j"] * battery.open_circuit_pu(before)
    given_j = 1.025 * power_w * seconds
    heat_j_k = 1.9e-3 * g["capacity_j"]
    assert chemical_j > given_j
    # Without cooling all of the difference would be in the cells' temperature; 10 min of 90 min take some away.
    warmed_j = (p["temperature_c"] - 22.0) * heat_j_k
    assert 0.9 * (chemical_j - given_j) < warmed_j < chemical_j - given_j


def test_charging_costs_more_than_discharging_gives() -> None:
    g, p = rested(0.5)
    for sign in (-1.0, 1.0):
        for _ in range(6_000):
            battery.advance_battery(g, p, sign * 0.5 * g["base_w"] * 0.1, 0.1)
    assert p["soc_ratio"] < 0.5


@pytest.mark.parametrize(
    ("temperature_c", "soc_ratio", "charge", "discharge"),
    [
        (25.0, 0.5, 1.0, 1.0),
        (-1.0, 0.5, 0.0, 0.95),
        (0.0, 0.5, 1.0, 1.0),
        (50.0, 0.5, 0.5, 0.5),
        (56.0, 0.5, 0.0, 0.0),
        (25.0, 0.99, 0.2, 1.0),
        (25.0, 0.01, 1.0, 0.2),
        (-30.0, 0.5, 0.0, 0.0),
    ],
)
def test_the_management_limits_by_temperature_and_charge(
    temperature_c: float, soc_ratio: float, charge: float, discharge: float
) -> None:
    _, p = rested(soc_ratio)
    p["temperature_c"] = temperature_c
    assert battery.power_limits(p) == pytest.approx((charge, discharge))


def test_a_site_in_frost_does_not_charge_and_still_discharges() -> None:
    for curve, grid_hz, given in (("neso-dc-high", 50.6, 0.0), ("neso-dc-low", 49.4, 0.4)):
        loop = ClosedLoop([dataclasses.replace(CABINET, ambient_c=-5.0)], seed=1)
        loop.arm(0, curve_named(curve), 0.4 * CABINET.pcs_kva, 0.0, 0, 10**9)
        loop.advance(np.full(20_000, grid_hz))
        assert loop.measured()["battery_kw"][0] / CABINET.pcs_kva == pytest.approx(given, abs=0.03)


def test_a_full_battery_in_frost_holds_back_the_sun_instead_of_tripping() -> None:
    site = dataclasses.replace(
        CABINET, ambient_c=-5.0, pv_kw=CABINET.pcs_kva, pv_now_ratio=0.8, load_kw=0.3 * CABINET.pcs_kva
    )
    loop = ClosedLoop([site], seed=1)
    loop.open_feeder(0, 2_000)
    loop.advance(np.full(40_000, 50.0))
    measured = loop.measured()[0]
    assert loop._p["battery_open"][0] == battery.CLOSED
    assert measured["voltage_pu"] == pytest.approx(1.0, abs=0.05)
    assert measured["battery_kw"] > -0.1 * site.pcs_kva


def test_an_empty_battery_stops_the_island_and_says_why() -> None:
    site = dataclasses.replace(CABINET, soc_ratio=0.0005, reserve_kwh=0.0, battery_kwh=0.5 * CABINET.pcs_kva)
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(2_000, 50.0))
    loop.open_feeder(0, 2_000)
    # 0.05 % of half an hour's energy: one second and a bit at half load.
    loop.advance(np.full(60_000, 50.0))
    assert loop._p["battery_open"][0] == battery.EMPTY
    assert loop._m["pcs_running"][0] == 0
    assert loop.measured()["voltage_pu"][0] < 0.05
    assert loop.alarm(0).endswith("energy_out")
    assert loop.measured()["battery_kw"][0] == pytest.approx(0.0, abs=1e-9)


def test_the_grid_may_charge_an_empty_battery() -> None:
    loop = ClosedLoop([dataclasses.replace(CABINET, soc_ratio=0.0, reserve_kwh=0.0)], seed=1)
    loop.arm(0, curve_named("neso-dc-high"), 0.5 * CABINET.pcs_kva, 0.0, 0, 10**9)
    loop.advance(np.full(20_000, 50.6))
    assert loop.measured()["battery_kw"][0] / CABINET.pcs_kva == pytest.approx(-0.5, abs=0.03)
    assert loop._p["soc_ratio"][0] > 0.0


def test_a_power_beyond_the_limits_opens_the_managements_contactor_after_two_seconds() -> None:
    g, p = rested(0.5)
    p["temperature_c"] = -10.0
    for _ in range(battery.BEYOND_ROWS):
        battery.guard_battery(g, p, -0.4)
        assert p["battery_open"] == battery.CLOSED
    battery.guard_battery(g, p, -0.4)
    assert p["battery_open"] == battery.TRIPPED
    # Closed again after ten seconds inside its limits, not in the frost.
    for temperature_c, following in ((-10.0, battery.TRIPPED), (10.0, battery.CLOSED)):
        p["temperature_c"] = temperature_c
        for _ in range(battery.RESET_ROWS + 1):
            battery.guard_battery(g, p, 0.0)
        assert p["battery_open"] == following


@pytest.mark.parametrize("hours", [0.5, 1.0, 2.15])
def test_the_promised_energy_is_there_at_full_power(hours: float) -> None:
    site = dataclasses.replace(CABINET, battery_kwh=hours * CABINET.pcs_kva, soc_ratio=0.9, reserve_kwh=0.0)
    g, p = plant_parameters(site, 1e-4)[0], plant_state(site, 1, 0)[0]
    given_j = 0.0
    while p["soc_ratio"] > 0.15:
        battery.advance_battery(g, p, float(g["base_w"]), 1.0)
        given_j += float(g["base_w"])
        assert p["cell_pu"] > battery.LOW_CELL_PU
    promised_j = 0.75 * g["capacity_j"] * full_power_efficiency(site)
    assert 1.0 <= given_j / promised_j < 1.08


def sudden_load(site: SiteParameters) -> ClosedLoop:
    """A site that is at no exchange until its feeder opens under it and the neighbors' load falls on its converter."""
    loop = ClosedLoop([dataclasses.replace(site, load_kw=0.9 * site.pcs_kva, neighbor_load_pu=4.0)], seed=1)
    loop.advance(np.full(3_000, 50.0))
    loop.open_feeder(0, 3_000)
    loop.advance(np.full(6_000, 50.0))
    return loop


def test_a_dc_link_with_a_fast_supply_carries_a_transfer() -> None:
    loop = sudden_load(dataclasses.replace(CABINET, dc_link_ms=2.6, dc_supply_ms=0.5))
    assert loop._p["bridge_stopped"][0] == 0
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.05)
    assert loop._m["dc_link_share"][0] == pytest.approx(1.0, abs=0.05)


def test_a_dc_link_with_a_slow_supply_runs_empty_and_stops_the_bridge() -> None:
    loop = sudden_load(dataclasses.replace(CABINET, dc_link_ms=2.6, dc_supply_ms=50.0))
    assert loop._m["pcs_running"][0] == 0 or loop.alarm(0) != ""
    assert loop.measured()["voltage_pu"][0] < 0.1


def test_a_link_that_the_battery_feeds_directly_is_stiff() -> None:
    loop = sudden_load(CABINET)
    assert loop._p["dc_share"][0] == 1.0
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.05)
