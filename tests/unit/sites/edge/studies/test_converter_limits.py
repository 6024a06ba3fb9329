"""The converter in its current limit: it keeps step, keeps its current, and gives the load its voltage back."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sites.core.curves import curve_named
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop, discharge_headroom_kw

FLEET = synthetic_fleet(60, 1)
CABINETS = [site for site in FLEET if site.phases == 3 and not site.is_dc][:12]
TELECOMS = [site for site in FLEET if site.phases == 1 and not site.is_dc][:12]
BOTH = pytest.mark.parametrize("fleet", [CABINETS, TELECOMS], ids=["three phases", "one phase"])

FloatArray = npt.NDArray[np.float64]


def blind_loop(fleet: list[SiteParameters], **changes: float) -> ClosedLoop:
    """Sites in full delivery below nominal frequency, whose detector does not take part."""
    sites = [dataclasses.replace(site, **changes) for site in fleet]
    loop = ClosedLoop(sites, seed=3)
    loop._k["blanking_ticks"] = 10**9
    for index, site in enumerate(sites):
        loop.arm(index, curve_named("neso-dc-low"), discharge_headroom_kw(site), 0.0, 0, 10**9)
    return loop


def lead_rad(loop: ClosedLoop) -> FloatArray:
    """Angle of the converters' phasors before the grid's."""
    c, p = loop._c, loop._p
    cross = c["sin_e"] * p["cos_g"] - c["cos_e"] * p["sin_g"]
    return np.asarray(np.arctan2(cross, c["cos_e"] * p["cos_g"] + c["sin_e"] * p["sin_g"]))


def turned_rad(loop: ClosedLoop, grid_hz: float, duration_ms: int) -> FloatArray:
    """How far each converter turns against its grid over a time: 2 pi for every slipped cycle."""
    total, before = np.zeros(len(loop.sites)), lead_rad(loop)
    for _ in range(duration_ms):
        loop.advance(np.full(10, grid_hz))
        now = lead_rad(loop)
        total += (now - before + np.pi) % (2.0 * np.pi) - np.pi
        before = now
    return total


def wanted_pu(loop: ClosedLoop) -> FloatArray:
    return np.array([min(1.0, discharge_headroom_kw(site) / site.pcs_kva) for site in loop.sites])


@BOTH
@pytest.mark.parametrize("jump_deg", [20.0, -20.0, -60.0])
@pytest.mark.parametrize("ratio", [5.0, 10.0])
def test_a_phase_jump_in_full_delivery_loses_no_step(
    fleet: list[SiteParameters], jump_deg: float, ratio: float
) -> None:
    """Before the limiter turned the phasor, 35 of 40 sites slipped a cycle at -20 degrees and all at -60."""
    loop = blind_loop(fleet, short_circuit_ratio=ratio, pv_now_ratio=0.1)
    loop.advance(np.full(10_000, 50.0))
    loop.advance(np.linspace(50.0, 49.4, 8_000))
    loop.advance(np.full(4_000, 49.4))
    before = lead_rad(loop)
    for index in range(len(fleet)):
        loop.jump_phase(index, np.radians(jump_deg), loop.sample + 17 * index)
    turned_rad(loop, 49.4, 25)
    assert np.all(np.abs(turned_rad(loop, 49.4, 275)) < np.radians(60.0))
    # Back at its angle and its power.
    np.testing.assert_allclose(lead_rad(loop), before, atol=np.radians(6.0))
    np.testing.assert_allclose(loop._c["power_pu"], wanted_pu(loop), atol=0.1)


@BOTH
@pytest.mark.parametrize("grid_hz", [48.0, 49.0, 51.0])
def test_a_start_far_off_nominal_frequency_on_a_weak_feeder_loses_no_step(
    fleet: list[SiteParameters], grid_hz: float
) -> None:
    loop = blind_loop(fleet, short_circuit_ratio=5.0, neighbor_load_pu=5.0)
    assert np.all(np.abs(turned_rad(loop, grid_hz, 600)) < np.radians(60.0))
    wanted = wanted_pu(loop) if grid_hz < 50.0 else 0.0
    # At full rating the current limit may take an eighth of the power for some tenths of a second.
    np.testing.assert_allclose(loop._c["power_pu"], wanted, atol=0.15)


@BOTH
@pytest.mark.parametrize("filter_error", [-0.1, 0.0, 0.1])
def test_a_bolted_fault_on_the_bus_draws_no_more_than_the_hard_limit(
    fleet: list[SiteParameters], filter_error: float
) -> None:
    site = dataclasses.replace(fleet[0], filter_error=filter_error, switch_kind="sic")
    loop = ClosedLoop([site] * 10, seed=1)
    for index in range(10):
        loop.open_feeder(index, 500)
        loop.fault(index, 3_000 + 10 * index, phases=(0,), to_earth=True, resistance_pu=0.01, where="bus")
    loop.advance(np.full(3_000, 50.0))
    peak = 0.0
    for _ in range(400):
        loop.advance(np.full(1, 50.0))
        peak = max(peak, float(np.abs(loop._phases["i_filter"]).max()))
    # The filter's choke and one sample of delay let the first peak through: a tenth more.
    assert 1.2 < peak < 1.65


@pytest.mark.parametrize("residual_pu", [0.3, 0.5, 0.8])
def test_in_a_long_sag_the_converter_feeds_a_sine_at_its_limit(residual_pu: float) -> None:
    loop = blind_loop(CABINETS[:4], pv_now_ratio=0.0, neighbor_load_pu=1.0, fifth_harmonic_pu=0.0, noise_pu=0.0)
    for index in range(4):
        loop.sag(index, 1_000, residual_pu=(residual_pu,) * 3, until_sample=9_000)
    # In the first 20 ms the hard limit of 1.5 pu holds, later 1.2 pu: look well into it.
    loop.advance(np.full(5_000, 50.0))
    wave = np.empty((400, 4))
    for n in range(400):
        loop.advance(np.full(1, 50.0))
        wave[n] = loop._phases["i_filter"][:, 0]
    spectrum = np.abs(np.fft.rfft(wave, axis=0)) / 200.0
    fundamental = spectrum[2]
    distortion = np.sqrt((spectrum[4:60] ** 2).sum(axis=0)) / fundamental
    assert np.all(np.abs(wave).max(axis=0) < 1.35)
    assert np.all(fundamental > 0.8)
    assert np.all(distortion < 0.08)


@BOTH
def test_the_load_has_its_voltage_back_at_once_when_the_switch_opens_after_a_sag(fleet: list[SiteParameters]) -> None:
    site = dataclasses.replace(fleet[0], switch_kind="sic", neighbor_load_pu=3.0, load_kw=0.5 * fleet[0].pcs_kva)
    loop = ClosedLoop([site], seed=1)
    loop.sag(0, 1_000, residual_pu=(0.2,) * 3, until_sample=10**6)
    loop.advance(np.full(1_000, 50.0))
    while loop._m["poles_closed"][0] > 0:
        loop.advance(np.full(1, 50.0))
    assert loop.sample < 1_400
    loop.advance(np.full(10, 50.0))
    wave = np.empty((200, site.phases))
    for n in range(200):
        loop.advance(np.full(1, 50.0))
        wave[n] = loop._phases["v"][0, : site.phases]
    assert np.all(np.abs(wave).max(axis=0) > 0.9)


def test_an_islands_voltage_is_back_within_milliseconds_of_a_load_step_over_most_of_the_rating() -> None:
    site = dataclasses.replace(CABINETS[0], switch_kind="sic", load_kw=0.1 * CABINETS[0].pcs_kva, pv_kw=0.0)
    loop = ClosedLoop([dataclasses.replace(site, noise_pu=0.0, genset_kw=0.0)], seed=1)
    loop.open_feeder(0, 500)
    loop.advance(np.full(20_000, 50.0))
    # 0.8 pu of resistance more at one instant.
    loop.fault(0, 20_000, phases=(0, 1, 2), to_earth=True, resistance_pu=1.25, where="bus")
    vector = np.empty(100)
    for n in range(100):
        loop.advance(np.full(1, 50.0))
        a, b, c = loop.phase_values(0)["v"]
        vector[n] = np.hypot((2.0 * a - b - c) / 3.0, (b - c) / np.sqrt(3.0))
    dip, settled = vector.min(), vector[90:].mean()
    # The filter's choke lets no current through at once: half of the voltage is gone for half a millisecond.
    assert 0.4 < dip < 0.7
    assert settled > 0.93
    share = (vector[vector.argmin() :] - dip) / (settled - dip)
    rise_ms = 0.1 * (int((share > 0.9).argmax()) - int((share > 0.1).argmax()))
    # 0.35 / rise: a bandwidth of 350 to 900 Hz.
    assert 0.4 <= rise_ms <= 1.0
