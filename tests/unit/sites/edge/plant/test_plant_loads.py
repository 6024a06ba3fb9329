"""Loads that are no plain resistance: motors, rectifiers, and the R, L, C of the anti-islanding tests."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.load_values import with_island_load
from sites.edge.plant.parameters import SiteParameters
from sites.edge.plant.records import ASSETS
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.island_load import breaker_power, tuned_island_load

QUIET = {"noise_pu": 0.0, "fifth_harmonic_pu": 0.0, "meter_bias_hz": 0.0, "grid_voltage_pu": 1.0}
FLEET = synthetic_fleet(10, 3)
CABINET, TELECOM = (dataclasses.replace(FLEET[n], **QUIET) for n in (0, 2))
EXPORTERS = [
    dataclasses.replace(site, pv_kw=site.pcs_kva, pv_now_ratio=0.9, load_kw=0.3 * site.pcs_kva)
    for site in (CABINET, TELECOM)
]
BOTH = pytest.mark.parametrize("site", [CABINET, TELECOM], ids=["three phases", "one phase"])


def seen(loop: ClosedLoop, samples: int, names: tuple[str, ...], hz: float) -> dict[str, npt.NDArray[np.float64]]:
    out = {name: np.empty((samples, loop.sites[0].phases)) for name in names}
    for n in range(samples):
        loop.advance(np.full(1, hz))
        phases = loop.phase_values(0)
        for name in names:
            out[name][n] = phases[name][: loop.sites[0].phases]
    return out


def mean_power(site: SiteParameters, voltage: npt.NDArray[np.float64], current: npt.NDArray[np.float64]) -> float:
    return float((voltage * current).mean() * 2.0)


@BOTH
@pytest.mark.parametrize("grid_hz", [49.5, 50.4])
def test_a_fed_motor_draws_its_power_at_any_frequency(site: SiteParameters, grid_hz: float) -> None:
    loop = ClosedLoop([dataclasses.replace(site, neighbor_load_pu=3.0, neighbor_motor_share=0.5)], seed=1)
    loop.advance(np.full(25_000, grid_hz))
    found = seen(loop, 1_000, ("u", "i_motor"), grid_hz)
    # Half of 3 pu, at 0.8 of its rating.
    assert mean_power(site, found["u"], found["i_motor"]) == pytest.approx(1.2, rel=0.06)
    assert np.abs(found["i_motor"]).max() < 1.4


@BOTH
def test_back_emf_holds_the_voltage_of_a_lost_feeder_the_longer_the_slower_it_decays(site: SiteParameters) -> None:
    left = []
    for tau_s in (0.005, 0.1):
        loop = ClosedLoop(
            [
                dataclasses.replace(
                    site, switch_kind="sic", neighbor_load_pu=3.0, neighbor_motor_share=0.8, neighbor_motor_tau_s=tau_s
                )
            ],
            seed=1,
        )
        loop.advance(np.full(5_000, 50.0))
        loop.open_feeder(0, 5_000)
        found = seen(loop, 600, ("u",), 50.0)["u"]
        left.append(np.abs(found[400:600]).max())
    assert left[0] < 0.1
    assert left[1] > 0.35


@BOTH
def test_motors_of_the_site_run_on_in_its_island(site: SiteParameters) -> None:
    site = dataclasses.replace(site, load_motor_share=0.5, switch_kind="sic")
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(5_000, 49.8))
    loop.open_feeder(0, 5_000)
    loop.advance(np.full(10_000, 49.8))
    assert loop.measured()["mode"][0] == 2
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.05)
    found = seen(loop, 400, ("v", "i_own"), 49.8)
    due = 0.5 * 0.8 * site.load_kw / site.pcs_kva
    assert mean_power(site, found["v"], found["i_own"]) == pytest.approx(due, rel=0.15)


@BOTH
def test_a_rectifier_draws_its_power_at_the_crests(site: SiteParameters) -> None:
    site = dataclasses.replace(site, load_rectifier_share=0.5)
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(10_000, 50.0))
    found = seen(loop, 200, ("v", "i_rectifier"), 50.0)
    due = 0.5 * site.load_kw / site.pcs_kva
    drawn = mean_power(site, found["v"], found["i_rectifier"])
    # Its own losses stand before the capacitor.
    assert due < drawn < 1.25 * due
    root = np.sqrt((found["i_rectifier"] ** 2).mean())
    assert np.abs(found["i_rectifier"]).max() / root > 1.8
    # The diodes are seen a sample late: they block after one sample of a little backward current.
    assert (found["i_rectifier"] * found["v"]).min() > -0.1 * (found["i_rectifier"] * found["v"]).max()


@pytest.mark.parametrize("base", EXPORTERS, ids=["three phases", "one phase"])
@pytest.mark.parametrize("mismatch", [(0.0, 0.0), (0.05, 0.0), (0.0, -0.05)])
def test_a_tuned_island_load_leaves_the_breaker_only_the_mismatch(
    base: SiteParameters, mismatch: tuple[float, float]
) -> None:
    site = tuned_island_load(base, p_mismatch=mismatch[0], q_mismatch=mismatch[1])
    export_kw = 0.6 * base.pcs_kva
    carried_kw, carried_kvar = breaker_power(site)
    # The load wanders by a per cent or two; the breaker's current is what is compared.
    assert carried_kw / export_kw == pytest.approx(mismatch[0], abs=0.012)
    assert carried_kvar / export_kw == pytest.approx(mismatch[1], abs=0.012)


def test_an_island_load_follows_the_converters_baseline() -> None:
    base = dataclasses.replace(CABINET, pv_kw=0.0, load_kw=0.2 * CABINET.pcs_kva)
    site = tuned_island_load(base, battery_kw=0.7 * base.pcs_kva)
    assert site.island_load_kw == pytest.approx(0.5 * base.pcs_kva, rel=0.06)
    assert abs(breaker_power(site, battery_kw=0.7 * base.pcs_kva)[0]) < 0.02 * base.pcs_kva


def test_a_site_that_exports_nothing_has_no_island_load() -> None:
    with pytest.raises(ValueError, match="accepted: more than 0 for an island load"):
        with_island_load(dataclasses.replace(CABINET, pv_kw=0.0))


def test_an_island_with_more_sun_than_load_keeps_its_voltage() -> None:
    loop = ClosedLoop([dataclasses.replace(site, switch_kind="sic") for site in EXPORTERS], seed=1)
    loop.advance(np.full(5_000, 50.0))
    for index in range(2):
        loop.open_feeder(index, 5_000)
    loop.advance(np.full(5_000, 50.0))
    assert loop.measured()["mode"].tolist() == [2, 2]
    np.testing.assert_allclose(loop.measured()["voltage_pu"], 1.0, atol=0.04)


def test_registers_add_up_to_zero_with_special_loads() -> None:
    special = {"load_motor_share": 0.4, "load_rectifier_share": 0.3, "neighbor_motor_share": 0.5}
    loop = ClosedLoop([dataclasses.replace(site, **special) for site in EXPORTERS], seed=1)
    loop.open_feeder(0, 2_000)
    loop.advance(np.full(6_000, 50.0))
    registers = loop.registers()
    into = np.array([registers[f"{asset}_into_j"] for asset in ASSETS])
    out = np.array([registers[f"{asset}_from_j"] for asset in ASSETS])
    assert np.all(np.abs((into - out).sum(axis=0)) <= 1e-9 * (into + out).sum(axis=0))
