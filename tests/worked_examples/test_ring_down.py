"""A parallel R, L, C and a motor left alone, by hand: frequency, decay.

R, L, C: w0 = 1 / sqrt(LC), Q = R sqrt(C/L). Alone, it rings at w0 sqrt(1 - 1/(4 Q^2)) and its envelope falls
with exp(-w0 t / (2 Q)). At Q = 2.5 and 50 Hz: 48.99 Hz and a time constant of 15.9 ms.
Motor: its voltage falls with exp(-t / tau), to 1/e after tau; the frequency by 40 Hz/s at 0.8 of its rating and
an inertia constant of 0.5 s: df/dt = f P / (2 H).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop

SITE = dataclasses.replace(
    synthetic_fleet(1, 3)[0],
    switch_kind="sic",
    neighbor_load_pu=0.0,
    fifth_harmonic_pu=0.0,
    meter_bias_hz=0.0,
    noise_pu=0.0,
)


def left_alone(site: object, samples: int) -> tuple[np.ndarray, np.ndarray, ClosedLoop]:
    """Phase a's utility voltage after feeder and switch have both opened, its instants [s], and the loop."""
    loop = ClosedLoop([site], seed=1)  # type: ignore[list-item]
    loop.open_feeder(0, 1_000)
    loop.open_pole(0, 1_000, phases=(0, 1, 2))
    loop.advance(np.full(1_000, 50.0))
    while loop.phase_values(0)["breaker_closed"].any():
        loop.advance(np.full(1, 50.0))
    wave = np.empty(samples)
    for n in range(samples):
        loop.advance(np.full(1, 50.0))
        wave[n] = loop.phase_values(0)["u"][0]
    return 1e-4 * np.arange(samples), wave, loop


def test_the_load_of_the_anti_islanding_test_rings_down_at_its_own_frequency() -> None:
    quality = 2.5
    t_s, wave, _ = left_alone(
        dataclasses.replace(SITE, island_load_kw=0.5 * SITE.pcs_kva, island_load_quality=quality), 500
    )
    zeros = t_s[1:][np.diff(np.sign(wave)) != 0.0]
    found_hz = 0.5 * (len(zeros) - 1) / (zeros[-1] - zeros[0])
    assert found_hz == pytest.approx(50.0 * math.sqrt(1.0 - 1.0 / (4.0 * quality**2)), rel=0.02)
    # Successive crests of the same sign, one period apart.
    period = round(1e4 / found_hz)
    ratio = np.abs(wave[period : 2 * period]).max() / np.abs(wave[:period]).max()
    assert ratio == pytest.approx(math.exp(-math.pi * 100.0 / found_hz / 2.0 / quality), rel=0.04)


@pytest.mark.parametrize("tau_s", [0.005, 0.02, 0.1])
def test_a_motors_voltage_falls_to_a_third_after_its_time_constant(tau_s: float) -> None:
    site = dataclasses.replace(SITE, neighbor_load_pu=2.0, neighbor_motor_share=0.5, neighbor_motor_tau_s=tau_s)
    _, _, loop = left_alone(site, 1)
    before = math.hypot(loop._p["motor_cos"][0], loop._p["motor_sin"][0])
    speed = loop._p["motor_w"][0]
    loop.advance(np.full(round(tau_s * 1e4), 50.0))
    after = math.hypot(loop._p["motor_cos"][0], loop._p["motor_sin"][0])
    assert after / before == pytest.approx(math.exp(-1.0), rel=0.02)
    slowed_hz = (speed - loop._p["motor_w"][0]) / (2.0 * math.pi)
    assert slowed_hz == pytest.approx(50.0 * 0.8 / (2.0 * 0.5) * tau_s, rel=0.02)
