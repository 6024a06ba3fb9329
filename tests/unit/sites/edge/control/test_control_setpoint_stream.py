"""A setpoint stream beside the curve, and a share that moves inside its window: millisecond by millisecond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.curves import curve_named
from sites.edge.control.islanding import SHARE_RAMP_MS, arm_curve, follow_setpoint
from sites.edge.control.kernels.droop import required_power, stream_power
from sites.edge.control.kernels.service import MISSED_PU, share_granted
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


def granted(base: float, curve: float, stream: float, granted_pu: float, *, power_pu: float | None = None) -> float:
    """Return what a stream is left after some seconds of the same orders and the same reference."""
    site = Site()
    state = site.c[0]
    state["base_pu"], state["service_pu"], state["stream_pu"] = base, curve, stream
    for _ in range(5_000 if power_pu is not None else 1):
        state["granted_pu"] = granted_pu
        state["power_pu"] = granted_pu if power_pu is None else power_pu
        share_granted(site.c[0], granted_pu)
    return float(state["stream_given_pu"])


@pytest.mark.parametrize(
    ("base", "curve", "stream", "granted_pu", "left"),
    [
        # Nothing is limited.
        (0.1, 0.5, 0.2, 0.8, 0.2),
        (0.0, 0.5, -0.2, 0.3, -0.2),
        # Half of what the stream asks for is left; nothing of it; the curve loses, too.
        (0.0, 0.9, 0.2, 1.0, 0.1),
        (0.0, 0.9, 0.2, 0.9, 0.0),
        (0.0, 0.9, 0.2, 0.4, 0.0),
        # A stream that runs against the limit loses nothing: the curve gets what that leaves.
        (0.0, 0.9, -0.2, 0.5, -0.2),
        (0.0, 0.0, -0.6, -0.4, -0.4),
        (0.0, -0.5, -0.3, -0.6, -0.1),
        # A planned island steers the exchange itself: more than was asked for is not the stream's.
        (0.0, 0.0, 0.3, 0.7, 0.3),
    ],
)
def test_the_curve_comes_first(base: float, curve: float, stream: float, granted_pu: float, left: float) -> None:
    assert granted(base, curve, stream, granted_pu) == pytest.approx(left)


def test_a_converter_that_stays_away_from_its_reference_met_a_limit_that_nobody_told() -> None:
    assert granted(0.0, 0.0, 0.4, 0.4, power_pu=0.4 - 0.9 * MISSED_PU) == pytest.approx(0.4)
    assert granted(0.0, 0.0, 0.4, 0.4, power_pu=0.0) == pytest.approx(MISSED_PU, abs=0.005)
    assert granted(0.0, 0.3, 0.4, 0.7, power_pu=0.1) == pytest.approx(0.0)


powers = st.floats(-1.0, 1.0)


@given(base=powers, curve=powers, stream=powers, granted_pu=powers)
def test_a_stream_never_gets_more_than_it_asked_for_nor_the_other_way(
    base: float, curve: float, stream: float, granted_pu: float
) -> None:
    left = granted(base, curve, stream, granted_pu)
    assert min(stream, 0.0) <= left <= max(stream, 0.0)
    # The curve is short of its own order only where nothing of the stream stands in its way any more.
    short = base + curve - (granted_pu - left)
    if short > 1e-9:
        assert left == pytest.approx(min(stream, 0.0), abs=1e-9)
    elif short < -1e-9:
        assert left == pytest.approx(max(stream, 0.0), abs=1e-9)
