"""T1-T4 of IEEE 2030.8 in small: unplanned island, steady island, reconnection, black start."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.core.ridethrough import IslandingFigures, islanding_figures
from sites.edge.control.islanding import MODE_NAMES
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop, discharge_headroom_kw

FLEET = synthetic_fleet(12, 4)
CABINET = next(site for site in FLEET if site.switch_kind == "forced")
TELECOM = next(site for site in FLEET if site.phases == 1)


def modes_of(loop: ClosedLoop) -> list[str]:
    return [MODE_NAMES[mode] for mode in loop.measured()["mode"]]


def figures_over_the_wave(site: SiteParameters) -> list[IslandingFigures]:
    """Open the feeder at 20 points of the wave."""
    loop = ClosedLoop([site] * 20, seed=1)
    loop.advance(np.full(10_000, 50.0))
    for index in range(20):
        loop.open_feeder(index, 10_000 + 10 * index)
    loop.advance(np.full(6_000, 49.6))
    waveforms = loop.drain_waveforms()
    assert sorted(waveform.index for waveform in waveforms) == list(range(20))
    assert all(waveform.samples.shape == (5000, 15) for waveform in waveforms)
    assert all(waveform.trigger_sample - waveform.start_sample == 1000 for waveform in waveforms)
    return [islanding_figures(w.columns, w.samples, w.rate_hz) for w in waveforms]


@pytest.mark.parametrize(
    ("base", "kind", "transfer_ms"), [(CABINET, "forced", 2.5), (CABINET, "sic", 1.7), (TELECOM, "sic", 1.7)]
)
def test_an_opened_feeder_islands_at_any_point_of_the_wave(base: SiteParameters, kind: str, transfer_ms: float) -> None:
    for figures in figures_over_the_wave(dataclasses.replace(base, switch_kind=kind, neighbor_load_pu=3.0)):
        assert 0.0 < figures.decision_ms <= 1.6
        assert figures.transfer_ms <= transfer_ms
        assert figures.min_pu_after_2ms > 0.7
        assert not figures.load_outside_itic


def delivering(site: SiteParameters, count: int) -> ClosedLoop:
    """Copies of a site that deliver all they can at 49.4 Hz."""
    loop = ClosedLoop([site] * count, seed=1)
    for index in range(count):
        loop.arm(index, curve_named("neso-dc-low"), discharge_headroom_kw(site), 0.0, 0, 10**9)
    loop.advance(np.full(10_000, 50.0))
    loop.advance(np.linspace(50.0, 49.4, 10_000))
    loop.advance(np.full(5_000, 49.4))
    assert modes_of(loop) == ["grid_tied"] * count
    return loop


@pytest.mark.parametrize("neighbor_load_pu", [2.5, 4.0, 6.0])
@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_a_site_in_full_delivery_keeps_its_load_above_0_7_pu(base: SiteParameters, neighbor_load_pu: float) -> None:
    """Its converter feeds the neighbors at first: the voltage falls late, and the current tells."""
    loop = delivering(dataclasses.replace(base, neighbor_load_pu=neighbor_load_pu), 20)
    for index in range(20):
        loop.open_feeder(index, loop.sample + 10 * index)
    loop.advance(np.full(6_000, 49.4))
    waveforms = loop.drain_waveforms()
    assert len(waveforms) == 20
    for figures in (islanding_figures(w.columns, w.samples, w.rate_hz) for w in waveforms):
        assert figures.transfer_ms <= 4.0
        assert figures.min_pu_after_2ms > 0.7
        assert not figures.load_outside_itic


@pytest.mark.parametrize(("base", "jump_deg"), [(CABINET, 10.0), (TELECOM, 8.0)], ids=["three phases", "one phase"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_phase_jump_in_full_delivery_is_no_loss_of_the_grid(base: SiteParameters, jump_deg: float, sign: int) -> None:
    loop = delivering(base, 20)
    for index in range(20):
        loop.jump_phase(index, np.radians(sign * jump_deg), loop.sample + 10 * index)
    loop.advance(np.full(10_000, 49.4))
    assert modes_of(loop) == ["grid_tied"] * 20
    assert loop.drain_waveforms() == []


def test_a_naturally_commutated_switch_cannot_keep_two_milliseconds() -> None:
    figures = figures_over_the_wave(dataclasses.replace(CABINET, switch_kind="natural", neighbor_load_pu=3.0))
    assert min(f.transfer_ms for f in figures) > 3.0
    assert not any(f.load_outside_itic for f in figures)


def test_a_contactor_lets_the_load_fall_out_of_the_curve() -> None:
    figures = figures_over_the_wave(dataclasses.replace(CABINET, switch_kind="contactor", neighbor_load_pu=4.0))
    assert all(f.transfer_ms > 16.0 for f in figures)
    # Its poles part 15 to 40 ms after the order: a quick one may just keep the curve's 20 ms.
    assert all(f.load_outside_itic for f in figures if f.transfer_ms > 28.0)
    assert sum(f.load_outside_itic for f in figures) > len(figures) // 2


@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_a_site_carries_its_load_waits_for_the_grid_synchronizes_and_recloses(base: SiteParameters) -> None:
    site = dataclasses.replace(base, enter_service_delay_s=1.0)
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(10_000, 49.6))
    loop.open_feeder(0, 10_000)
    loop.advance(np.full(20_000, 49.5))
    measured = loop.measured()[0]
    assert modes_of(loop) == ["islanded"]
    assert measured["switch_closed"] == 0.0
    assert measured["pcc_kw"] == 0.0
    assert measured["voltage_pu"] == pytest.approx(1.0, abs=0.02)
    # Its own frequency by its droop of 1 % at full power, not the grid's.
    assert measured["frequency_hz"] == pytest.approx(50.0 - 0.5 * measured["battery_kw"] / site.pcs_kva, abs=0.02)
    supplied_kw = measured["battery_kw"] + measured["pv_kw"]
    assert supplied_kw == pytest.approx(-measured["load_kw"], rel=1e-6)

    loop.close_feeder(0, loop.sample)
    loop.advance(np.full(9_000, 49.3))
    assert modes_of(loop) == ["islanded"], "before the enter-service delay"
    peak_pu = 0.0
    for _ in range(60):
        loop.advance(np.full(1_000, 49.3))
        peak_pu = max(peak_pu, float(np.abs(loop._rings[0, :, 9:12]).max()))
    assert modes_of(loop) == ["grid_tied"]
    assert loop.measured()["switch_closed"][0] == 1.0
    # Closing out of step would drive the current into its limit of 1.5.
    assert peak_pu < 1.3


def test_the_switch_never_closes_out_of_synchronism() -> None:
    sites = [dataclasses.replace(CABINET, enter_service_delay_s=0.2, meter_bias_hz=0.0)] * 16
    loop = ClosedLoop(sites, seed=3)
    loop.advance(np.full(3_000, 50.0))
    for index in range(16):
        loop.open_feeder(index, 3_000)
        loop.close_feeder(index, 9_000 + 300 * index)
    closed_at_deg = np.full(16, np.nan)
    before = loop._m["poles_closed"].copy()
    for n in range(60_000):
        loop.advance(np.array([49.4]))
        now = loop._m["poles_closed"]
        for index in np.flatnonzero((before == 0) & (now == 3)):
            c, p = loop._c[index], loop._p[index]
            del p
            closed_at_deg[index] = np.degrees(np.arctan2(c["sync_cross"], c["sync_dot"]))
        before = now.copy()
        if n > 9_000 and not np.isnan(closed_at_deg).any():
            break
    assert np.all(np.abs(closed_at_deg) < 10.0), closed_at_deg


def test_a_dead_site_black_starts_and_joins_the_grid_when_it_comes() -> None:
    site = dataclasses.replace(CABINET, starts_dead=True, enter_service_delay_s=0.5)
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(5_000, 50.0))
    assert modes_of(loop) == ["black_start"]
    assert 0.2 < loop.measured()["voltage_pu"][0] < 0.8
    loop.advance(np.full(15_000, 50.0))
    assert modes_of(loop) == ["islanded"]
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.03)
    loop.close_feeder(0, loop.sample)
    loop.advance(np.full(60_000, 50.0))
    assert modes_of(loop) == ["grid_tied"]


def test_an_island_with_a_fault_on_its_bus_locks_out_and_says_why() -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.advance(np.full(5_000, 50.0))
    loop.open_feeder(0, 5_000)
    loop.fault(0, 10_000, phases=(0, 1, 2), to_earth=True, resistance_pu=0.01, cleared_at_sample=10**9, where="bus")
    loop.advance(np.full(20_000, 50.0))
    assert modes_of(loop) == ["lockout"]
    assert loop.alarm(0) == "islanded: bus_fault"
    assert loop.measured()["battery_kw"][0] == 0.0


def test_diesel_starts_last_when_the_battery_of_an_island_is_low() -> None:
    site = dataclasses.replace(CABINET, genset_kw=CABINET.pcs_kva, soc_ratio=0.19, pv_kw=0.0, reserve_kwh=0.0)
    full = dataclasses.replace(site, soc_ratio=0.6)
    loop = ClosedLoop([site, full, site], seed=1)
    loop.advance(np.full(5_000, 50.0))
    loop.open_feeder(0, 5_000)
    loop.open_feeder(1, 5_000)
    loop.advance(np.full(150_000, 50.0))
    assert loop.measured()["genset_running"].tolist() == [1.0, 0.0, 0.0]
    fuel_ul = loop.registers()["fuel_ul"]
    assert fuel_ul[0] > 0.0
    assert fuel_ul[1] == fuel_ul[2] == 0.0
    # 0.033 l per kW of rating and hour, 0.273 l/kWh.
    energy_kwh = loop.registers()["genset_into_j"][0] / 3.6e6
    running_h = (fuel_ul[0] * 1e-6 - 0.273 * energy_kwh) / 0.033 / site.genset_kw
    assert 10.0 < running_h * 3600.0 <= 15.01
