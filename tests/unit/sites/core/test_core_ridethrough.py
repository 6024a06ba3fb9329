"""ITIC curve and islanding figures on hand-made waveforms."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.ridethrough import islanding_figures, itic_violations, voltage_magnitude

RATE_HZ = 10_000.0
COLUMNS = ("va_pu", "vb_pu", "vc_pu", "feeder_open", "decision", "switch_open")


def dip(level_pu: float, length_s: float, total_s: float) -> tuple[np.ndarray, np.ndarray]:
    magnitude = np.ones(round(total_s * 1000))
    magnitude[100 : 100 + round(length_s * 1000)] = level_pu
    return np.arange(len(magnitude)) / 1000.0, magnitude


@pytest.mark.parametrize(
    ("level_pu", "longest_s"), [(0.0, 0.020), (0.69, 0.020), (0.75, 0.5), (0.85, 10.0), (1.15, 0.5), (1.3, 0.003)]
)
def test_a_stretch_may_last_as_long_as_the_curve_says_and_not_a_sample_more(level_pu: float, longest_s: float) -> None:
    assert itic_violations(*dip(level_pu, longest_s, 11.0)) == []
    found = itic_violations(*dip(level_pu, longest_s + 0.002, 11.0))
    assert found
    assert found[0].starts_s == pytest.approx(0.1)


def test_more_than_twice_the_voltage_is_never_allowed() -> None:
    assert itic_violations(*dip(2.1, 0.001, 1.0))


def three_phase(n: int, level: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * 50.0 * np.arange(n) / RATE_HZ
    return np.stack([np.cos(angle - k * 2 * np.pi / 3) for k in range(3)], axis=1) * level[:, None]


def test_the_magnitude_of_three_phases_needs_no_window() -> None:
    level = np.where(np.arange(400) < 200, 1.0, 0.4)
    np.testing.assert_allclose(voltage_magnitude(three_phase(400, level), RATE_HZ, 50.0), level, atol=1e-12)


def test_one_phase_is_measured_over_half_a_cycle() -> None:
    wave = np.zeros((400, 3))
    wave[:, 0] = three_phase(400, np.ones(400))[:, 0]
    np.testing.assert_allclose(voltage_magnitude(wave, RATE_HZ, 50.0), 1.0, atol=1e-9)


def test_figures_of_an_event_run_from_the_first_pole() -> None:
    n = 2000
    level = np.ones(n)
    level[1000:1017] = 0.5
    values = np.zeros((n, 6))
    values[:, :3] = three_phase(n, level)
    values[1000:, 3] = 1.0
    values[1010:, 4] = 1.0
    values[1015:, 5] = 1.0
    figures = islanding_figures(COLUMNS, values, RATE_HZ)
    assert figures.decision_ms == pytest.approx(1.0)
    assert figures.transfer_ms == pytest.approx(1.7)
    assert not figures.load_outside_itic
    assert figures.min_pu == pytest.approx(0.5)
    assert figures.min_pu_after_2ms == pytest.approx(1.0)


def test_a_load_that_stays_dark_is_outside_and_was_never_transferred() -> None:
    values = np.zeros((1000, 6))
    values[:, :3] = three_phase(1000, np.where(np.arange(1000) < 500, 1.0, 0.2))
    values[500:, 3:5] = 1.0
    figures = islanding_figures(COLUMNS, values, RATE_HZ)
    assert figures.load_outside_itic
    assert np.isnan(figures.transfer_ms)


@pytest.mark.parametrize(("level", "outside"), [(0.0, True), (0.6, True), (0.72, False), (1.15, False), (1.7, True)])
def test_one_phase_of_three_is_judged_alone(level: float, outside: bool) -> None:
    values = np.zeros((4000, 6))
    values[:, :3] = three_phase(4000, np.ones(4000))
    values[1000:, 1] *= level
    values[1000:, 3:] = 1.0
    assert islanding_figures(COLUMNS, values, RATE_HZ).load_outside_itic is outside


def test_a_dark_phase_of_less_than_20_ms_is_inside() -> None:
    values = np.zeros((4000, 6))
    values[:, :3] = three_phase(4000, np.ones(4000))
    values[1000:1150, 1] = 0.0
    assert not islanding_figures(COLUMNS, values, RATE_HZ).load_outside_itic


@pytest.mark.parametrize("opens", [1000, 1025, 1050, 1075])
def test_one_phase_is_transferred_when_its_voltage_is_back_not_while_the_mean_remembers_it(opens: int) -> None:
    values = np.zeros((3000, 6))
    values[:, 0] = three_phase(3000, np.ones(3000))[:, 0]
    values[opens : opens + 100, 0] = 0.0
    values[opens:, 3:5] = 1.0
    values[opens + 10 :, 5] = 1.0
    # Dark for 10 ms; the half cycle from an instant has 0.7 pu when half its square is there, at any point of the wave.
    assert 2.4 <= islanding_figures(COLUMNS, values, RATE_HZ).transfer_ms <= 7.6


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="'decision'"):
        islanding_figures(("va_pu", "vb_pu", "vc_pu", "feeder_open"), np.zeros((10, 4)), RATE_HZ)


DC_COLUMNS = ("ua_pu", "bus_pu", "feeder_open", "decision")


def a_dc_event(lowest_pu: float) -> np.ndarray:
    """100 ms of a 48 V bus: the feeder opens at 20 ms, the decision comes 3 ms later, the bus sags at 40 ms."""
    samples = np.zeros((1000, 4))
    samples[:, 1] = 1.04
    samples[400:420, 1] = lowest_pu
    samples[200:, 2] = 1.0
    samples[230:, 3] = 1.0
    return samples


def test_a_dc_load_is_transferred_in_no_time_and_judged_by_its_window() -> None:
    figures = islanding_figures(DC_COLUMNS, a_dc_event(0.95), RATE_HZ)
    assert figures.decision_ms == pytest.approx(3.0)
    assert (figures.transfer_ms, figures.load_outside_itic) == (0.0, False)
    assert figures.min_pu_after_2ms == figures.min_pu == pytest.approx(0.95)


def test_a_dc_bus_below_40_5_volts_is_outside_and_never_transferred() -> None:
    figures = islanding_figures(DC_COLUMNS, a_dc_event(40.0 / 51.2), RATE_HZ)
    assert figures.load_outside_itic
    assert np.isnan(figures.transfer_ms)
    with pytest.raises(ValueError, match="no column 'decision', accepted: bus_pu, feeder_open, decision"):
        islanding_figures(DC_COLUMNS[:3], a_dc_event(0.95)[:, :3], RATE_HZ)
