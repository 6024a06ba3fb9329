"""Frequency response of the closed loop, from its own 100 Hz record."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import curve_named, required_course, required_share
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


@pytest.mark.parametrize(
    ("product", "frequency_hz"),
    [
        # To the end of the curve exactly: a meter that reads 10 mHz high, as some of the fleet do, owes 97 %.
        ("neso-dc-low", 49.5), ("neso-dc-low", 49.4), ("neso-dc-low", 49.0), ("neso-dc-low", 49.6),
        ("neso-dc-high", 50.5), ("neso-dc-high", 51.0), ("neso-dm-low", 49.75), ("fcr-d-up", 49.45),
        ("entsoe-fcr", 49.75), ("entsoe-fcr", 50.25), ("nordic-ffr", 49.65), ("aemo-l1", 50.55),
    ],
)  # fmt: skip
def test_nine_tenths_are_there_a_fifth_of_a_second_after_a_step(product: str, frequency_hz: float) -> None:
    curve = curve_named(product)
    low = frequency_hz < 50.0
    headroom_kw = discharge_headroom_kw if low else charge_headroom_kw
    power_kw = np.array([0.6 * headroom_kw(site) for site in FLEET]) * (1 if low else -1)
    loop = ClosedLoop(FLEET, seed=1)
    for index in range(len(FLEET)):
        loop.arm(index, curve, abs(power_kw[index]), 0.0, 0, 10**9)
    loop.advance(np.full(20_000, 50.0))
    loop.drain_records()
    loop.advance(np.full(10_000, frequency_hz))
    rows = loop.drain_records()[1]
    share = rows[:, :, 1] / power_kw
    # What each meter reads at the end is what its site owes.
    due = np.abs(required_course(curve, np.arange(1.0), np.array([frequency_hz]), 50.0))[0]
    # A row ends 10 ms after it begins.
    reached_ms = (share >= 0.9 * due).argmax(axis=0) * 10.0 + 10.0
    assert np.all((reached_ms > 10.0) & (reached_ms <= 200.0)), reached_ms
    assert np.all(np.abs(share[-10:].mean(axis=0) - due) < 0.04)


@pytest.mark.parametrize("frequency_hz", [49.95, 49.4])
def test_a_phase_step_of_20_degrees_reads_as_less_than_60_millihertz_where_the_site_rides_through(
    frequency_hz: float,
) -> None:
    """Also with the converter's own swing of half its rating after the step: nordic-ffr stands 250 mHz away."""
    loop = ClosedLoop(FLEET, seed=1)
    for index in range(len(FLEET)):
        loop.arm(index, curve_named("neso-dc-low"), POWER_KW[index], 0.0, 0, 10**9)
    loop.advance(np.full(20_000, frequency_hz))
    for index in range(len(FLEET)):
        loop.jump_phase(index, np.radians(20.0), loop.sample + 100)
    loop.drain_records()
    loop.advance(np.full(10_000, frequency_hz))
    rode_through = loop._c["decisions"] == 0
    assert rode_through.sum() >= 6
    bias_hz = np.array([site.meter_bias_hz for site in FLEET])
    error_hz = loop.drain_records()[1][:, :, 0] - frequency_hz - bias_hz
    assert np.abs(error_hz[:, rode_through]).max() < 0.06


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
    assert np.all(loop.registers()["service_from_j"] > 0.0)
    # What the battery did for the site itself in its first tenth of a second counts the other way.
    assert np.all(loop.registers()["service_into_j"] < 0.1 * loop.registers()["service_from_j"])


def test_a_signal_that_swings_around_zero_counts_each_way() -> None:
    loop = ClosedLoop(FLEET[:1], seed=1)
    loop.arm(0, curve_named("entsoe-fcr"), 20.0, 0.0, 10_000, 10**9)
    loop.advance(np.full(10_000, 50.0))
    for _ in range(3):
        loop.advance(np.full(20_000, 50.2))
        loop.advance(np.full(20_000, 49.8))
    registers = loop.registers()[0]
    # 6 s at 20 kW each way, less the settling after each step: the net alone would say that nothing was done.
    assert registers["service_into_j"] == pytest.approx(120_000.0, rel=0.1)
    assert registers["service_from_j"] == pytest.approx(120_000.0, rel=0.1)
    battery = registers["battery_into_j"] - registers["battery_from_j"]
    service = registers["service_into_j"] - registers["service_from_j"]
    assert service == pytest.approx(battery, abs=6_000.0)


def test_the_service_register_counts_above_the_declared_baseline_and_only_while_armed() -> None:
    loop = ClosedLoop(FLEET[:1], seed=1)
    loop.arm(0, LOW, 10.0, 2.0, 10_000, 60_000)
    loop.advance(np.full(100_000, 49.4))
    service_kws = loop.registers()["service_into_j"][0] / 1000.0
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
