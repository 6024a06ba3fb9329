"""Frequency response of the closed loop, from its own 100 Hz record."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import curve_named, required_share
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.studies.closed_loop import ClosedLoop, charge_headroom_kw, discharge_headroom_kw

FLEET = synthetic_fleet(12, 4)
LOW = curve_named("neso-dc-low")
POWER_KW = np.array([0.6 * discharge_headroom_kw(site) for site in FLEET])


def armed_loop() -> ClosedLoop:
    loop = ClosedLoop(FLEET, seed=1)
    for index in range(len(FLEET)):
        loop.arm(index, LOW, POWER_KW[index], 0.0, 0, 10**9)
    return loop


def test_nine_tenths_are_there_a_fifth_of_a_second_after_a_step_to_full_deviation() -> None:
    loop = armed_loop()
    loop.advance(np.full(20_000, 50.0))
    loop.drain_records()
    # 20 mHz past the knee: a meter that reads 10 mHz too high owes full power too.
    loop.advance(np.full(10_000, 49.48))
    rows = loop.drain_records()[1]
    reached = (rows[:, :, 1] >= 0.9 * POWER_KW).argmax(axis=0) * 10.0
    assert np.all(rows[-10:, :, 1].mean(axis=0) > 0.97 * POWER_KW)
    assert np.all(rows[-10:, :, 1].mean(axis=0) < 1.03 * POWER_KW)
    assert np.all((reached > 0.0) & (reached <= 200.0)), reached


def test_the_recorded_fall_is_followed_along_the_curve() -> None:
    loop = armed_loop()
    loop.advance(load_gb_trace().at(np.arange(-2.0, 14.0, 1e-4)))
    rows = loop.drain_records()[1][200:].astype(float)
    due = required_share(LOW, rows[:, :, 0], 50.0) * POWER_KW
    error = (rows[:, :, 1] - due) / POWER_KW
    assert np.all(np.sqrt((error**2).mean(axis=0)) < 0.05)
    assert np.all(np.abs(error[-100:].mean(axis=0)) < 0.02)


def test_the_high_curve_charges() -> None:
    loop = ClosedLoop(FLEET, seed=1)
    power_kw = np.array([0.5 * charge_headroom_kw(site) for site in FLEET])
    for index in range(len(FLEET)):
        loop.arm(index, curve_named("neso-dc-high"), power_kw[index], 0.0, 0, 10**9)
    loop.advance(np.full(20_000, 50.6))
    np.testing.assert_allclose(loop.measured()["battery_kw"], -power_kw, rtol=0.04)
    assert np.all(loop.registers()["battery_service_j"] < 0.0)


def test_the_service_register_counts_above_the_declared_baseline_and_only_while_armed() -> None:
    loop = ClosedLoop(FLEET[:1], seed=1)
    loop.arm(0, LOW, 10.0, 2.0, 10_000, 60_000)
    loop.advance(np.full(100_000, 49.4))
    service_kws = loop.registers()["battery_service_j"][0] / 1000.0
    # 5 s at 10 kW; the ramps up to the baseline at the window's start cost a little.
    assert service_kws == pytest.approx(50.0, rel=0.05)
    assert abs(loop.measured()["battery_kw"][0]) < 1.0


def test_a_disarmed_site_and_one_outside_its_window_owe_nothing() -> None:
    loop = armed_loop()
    loop.disarm(0)
    loop.arm(1, LOW, POWER_KW[1], 0.0, 10**8, 10**9)
    loop.advance(np.full(20_000, 49.4))
    measured = loop.measured()
    assert np.all(measured["required_kw"][:2] == 0.0)
    assert np.all(np.abs(measured["battery_kw"][:2]) < 0.05 * POWER_KW[:2])
    assert np.all(measured["battery_kw"][2:] > 0.9 * POWER_KW[2:])
    assert measured["armed_kw"][0] == 0.0


def test_two_rates_and_an_empty_loop_are_judged() -> None:
    with pytest.raises(ValueError, match="0 sites"):
        ClosedLoop([], seed=1)
    with pytest.raises(ValueError, match="multiples of 1000"):
        ClosedLoop(FLEET, seed=1, sample_rate_hz=12_500)
