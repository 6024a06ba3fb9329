"""Milliseconds for samples: what a calm recording gives in steps of angles is what its waves give."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.edge.plant.frequency import FrequencyTrace
from sites.edge.studies.calm_grid import CalmSite, is_calm
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.respond import Response, reference_site, respond


def a_calm_recording(nominal_hz: float, seconds: int = 240) -> FrequencyTrace:
    """A grid that wanders, and from 60 s on loses a power plant: 0.35 Hz at 0.09 Hz/s."""
    t_s = np.arange(float(seconds))
    since_s = np.maximum(t_s - 60.0, 0.0)
    fall = 0.35 * (1.0 - np.exp(-since_s / 4.0)) * np.exp(-since_s / 150.0)
    return FrequencyTrace(t_s, nominal_hz + 0.012 * np.sin(t_s / 5.0) + 0.01 * np.sin(t_s / 31.0) - fall, "calm")


def both(name: str, **site: float) -> tuple[Response, Response]:
    curve = curve_named(name)
    trace = a_calm_recording(curve.nominal_hz)
    assert is_calm(trace, curve.nominal_hz)
    of_site = reference_site(curve, 100.0, **site)
    in_waves = respond(curve, 100.0, trace, of_site, seed=1, in_waves=True)
    return in_waves, respond(curve, 100.0, trace, of_site, seed=1, in_waves=False)


@pytest.mark.parametrize("name", ["entsoe-fcr", "neso-dr-low", "fcr-d-up", "ercot-pfr"])
def test_the_figures_of_the_waves_within_their_bounds(name: str) -> None:
    waves, steps = both(name)
    assert waves.in_waves
    assert not steps.in_waves
    assert len(steps.t_s) == len(waves.t_s)
    one, other = waves.figures(), steps.figures()
    assert other["delivered_ratio_worst_10s"] == pytest.approx(one["delivered_ratio_worst_10s"], abs=0.005)
    assert other["over_delivery_max"] == pytest.approx(one["over_delivery_max"], abs=0.003)
    assert other["frequency_error_mhz_rms"] == pytest.approx(one["frequency_error_mhz_rms"], abs=0.1)
    # 0.05 % of the contract over the time.
    assert other["energy_kwh"] == pytest.approx(one["energy_kwh"], abs=0.0005 * 100.0 * 240.0 / 3600.0)
    assert len(steps.score.lags_ms) == len(waves.score.lags_ms)
    if waves.score.lags_ms:
        assert other["response_ms"]["p50"] == pytest.approx(one["response_ms"]["p50"], abs=40.0)
    # Row by row what differs is the answer to the probe against islands, some per cent for 0.2 s.
    difference_kw = np.abs(steps.delivered_kw - waves.delivered_kw)
    assert np.median(difference_kw) < 0.15
    assert difference_kw.max() < 15.0


def test_an_empty_battery_ends_the_response_at_the_same_instant() -> None:
    waves, steps = both("entsoe-fcr", battery_kwh=6.0, soc_ratio=0.25)
    ends = [int(np.argmax((run.required_kw > 40.0) & (run.delivered_kw < 10.0))) for run in (waves, steps)]
    assert ends[0] > 0
    assert ends[1] == pytest.approx(ends[0], abs=150)


@pytest.mark.parametrize(("f_hz", "calm"), [([50.0, 49.6, 49.3], True), ([50.0, 49.4], False), ([50.3, 50.9], False)])
def test_a_fast_or_far_frequency_is_for_waves(f_hz: list[float], calm: bool) -> None:
    assert is_calm(FrequencyTrace(np.arange(float(len(f_hz))), np.array(f_hz), ""), 50.0) is calm


def test_it_takes_one_ac_site_at_a_whole_block() -> None:
    curve = curve_named("entsoe-fcr")
    loop = ClosedLoop([reference_site(curve, 100.0)], seed=1)
    loop.advance(np.full(300, 50.0))
    with pytest.raises(ValueError, match="accepted: one AC site at a whole 100 ms"):
        CalmSite(loop)
