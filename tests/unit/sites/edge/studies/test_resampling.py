"""Recordings of any rate at the detector's rate: what arrives, when it was known, what is missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.edge.studies.resampling import DETECTOR_HZ, to_detector_rate


def wave(rate_hz: float, seconds: float = 0.1, hertz: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return t_s, np.cos(2.0 * np.pi * hertz * t_s)


@pytest.mark.parametrize("rate_hz", [600.0, 800.0, 1200.0, 5760.0, 9_999.0, 20_000.0, 30_707.2, 50_000.0, 1e6])
def test_a_sine_comes_through_within_one_percent_after_its_stated_delay(rate_hz: float) -> None:
    t_s, recorded = wave(rate_hz)
    grid, (values,), _ = to_detector_rate(t_s, recorded[None])
    is_whole = abs(rate_hz / DETECTOR_HZ - round(rate_hz / DETECTOR_HZ)) < 1e-4
    delay_s = 0.0 if rate_hz < DETECTOR_HZ else 0.5 / DETECTOR_HZ + (0.0 if is_whole else 1.0 / rate_hz)
    late = slice(60, None)
    assert np.abs(values - np.cos(2.0 * np.pi * 60.0 * (grid - delay_s)))[late].max() < 0.011


def test_the_detectors_own_rate_passes_unchanged() -> None:
    t_s, recorded = wave(10_000.0)
    grid, (values,), known_s = to_detector_rate(t_s, recorded[None])
    assert np.array_equal(values, recorded)
    assert np.array_equal(grid, known_s)


@given(rate_hz=st.floats(600.0, 300_000.0), step_at=st.integers(10, 40))
def test_no_value_changes_before_the_sample_that_changes_it_was_known(rate_hz: float, step_at: int) -> None:
    t_s = np.arange(60) / rate_hz
    quiet = np.ones(60)
    disturbed = quiet.copy()
    disturbed[step_at:] = 0.0
    _, (before,), known_s = to_detector_rate(t_s, quiet[None])
    _, (after,), _ = to_detector_rate(t_s, disturbed[None])
    changed = np.flatnonzero(np.abs(before - after) > 1e-9)
    assert np.all(known_s[changed] >= t_s[step_at] - 1e-9)


@pytest.mark.parametrize("rate_hz", [800.0, 10_000.0, 20_000.0, 33_000.0])
def test_a_missing_sample_is_missing_afterwards_and_nothing_else_is(rate_hz: float) -> None:
    t_s, recorded = wave(rate_hz)
    hole = len(t_s) // 2
    recorded[hole] = np.nan
    grid, (values,), _ = to_detector_rate(t_s, recorded[None])
    missing = grid[np.isnan(values)]
    assert len(missing) > 0
    assert np.all(np.abs(missing - t_s[hole]) <= 4.0 * max(1.0 / rate_hz, 1.0 / DETECTOR_HZ))


def test_three_samples_are_no_wave() -> None:
    grid, values, known_s = to_detector_rate(np.arange(3) / 1e4, np.ones((2, 3)))
    assert (len(grid), values.shape, len(known_s)) == (0, (2, 0), 0)
