"""A setpoint stream beside the curve, and a share that moves inside its window: millisecond by millisecond."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.edge.control.islanding import SHARE_RAMP_MS, arm_curve, follow_setpoint
from sites.edge.control.kernels.droop import required_power, stream_power
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

TICKS_PER_MS = 10


class Site:
    """Parameters and state of one controller, and its sample counter."""

    def __init__(self) -> None:
        self.k = control_parameters(ControlSettings())
        self.c = initial_state(self.k)
        self.sample = 0

    def stream(self, milliseconds: int) -> list[float]:
        found = []
        for _ in range(milliseconds):
            self.sample += TICKS_PER_MS
            found.append(float(stream_power(self.c[0], self.sample)))
        return found

    def required(self, milliseconds: int, frequency_hz: float) -> list[float]:
        found = []
        for _ in range(milliseconds):
            self.sample += TICKS_PER_MS
            found.append(float(required_power(self.k[0], self.c[0], self.sample, frequency_hz)))
        return found


def test_it_ramps_to_the_value_and_holds_it_until_it_is_too_old() -> None:
    site = Site()
    follow_setpoint(site.c, power_pu=0.4, ramp_per_s=2.0, until=site.sample + 1_000 * TICKS_PER_MS)
    course = site.stream(1_500)
    assert course[99] == pytest.approx(0.2)
    assert course[199] == pytest.approx(0.4)
    assert course[998] == pytest.approx(0.4)
    # Nothing newer came: back to nothing, on the same ramp.
    assert course[1_098] == pytest.approx(0.2, abs=0.003)
    assert course[1_499] == 0.0


def test_a_change_of_sign_passes_through_nothing() -> None:
    site = Site()
    follow_setpoint(site.c, power_pu=0.4, ramp_per_s=2.0, until=10**9)
    site.stream(300)
    follow_setpoint(site.c, power_pu=-0.4, ramp_per_s=2.0, until=10**9)
    course = np.array(site.stream(500))
    assert course[-1] == pytest.approx(-0.4)
    assert np.abs(np.diff(course)).max() <= 0.002 + 1e-12


def test_a_share_that_is_armed_anew_in_its_window_moves_without_a_step() -> None:
    site = Site()
    curve = curve_named("neso-dc-low")
    arm_curve(site.c, curve, power_pu=0.5, baseline_pu=0.0, starts=0, ends=10**9)
    # 49.5 Hz: the whole share is due.
    assert site.required(1, 49.5) == [pytest.approx(0.5)]
    arm_curve(site.c, curve, power_pu=0.3, baseline_pu=0.0, starts=0, ends=10**9)
    course = np.array(site.required(int(SHARE_RAMP_MS) + 10, 49.5))
    assert course[-1] == pytest.approx(0.3)
    assert ((course <= 0.5) & (course >= 0.3 - 1e-12)).all()
    assert np.abs(np.diff(course)).max() <= 0.2 / SHARE_RAMP_MS + 1e-12


def test_another_window_or_direction_starts_at_its_own_share() -> None:
    site = Site()
    arm_curve(site.c, curve_named("neso-dc-low"), power_pu=0.5, baseline_pu=0.0, starts=0, ends=10**9)
    arm_curve(site.c, curve_named("neso-dc-high"), power_pu=0.2, baseline_pu=0.0, starts=0, ends=10**9)
    assert site.required(1, 50.5) == [pytest.approx(-0.2)]
