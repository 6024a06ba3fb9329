"""The compiled curve against the pure one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.curves import Direction, ResponseCurve, curve_named, required_share
from sites.edge.control.islanding import Controller, arm_curve
from sites.edge.control.kernels.droop import limit_by_energy, required_power
from sites.edge.control.settings import ControlSettings


@st.composite
def curves(draw: st.DrawFn) -> ResponseCurve:
    count = draw(st.integers(2, 8))
    hz = sorted(draw(st.lists(st.integers(0, 1000), min_size=count, max_size=count, unique=True)))
    share = sorted(draw(st.lists(st.floats(0.0, 1.0), min_size=count, max_size=count)))
    points = tuple((x / 1000.0, y) for x, y in zip(hz, share, strict=True))
    return ResponseCurve("drawn", draw(st.sampled_from(Direction)), points, 0.5, 1.0, 900.0, "drawn", "V")


def armed(curve: ResponseCurve, starts: int = 0, ends: int = 100) -> Controller:
    controller = Controller(ControlSettings())
    arm_curve(controller.state, curve, power_pu=0.8, baseline_pu=0.0, starts=starts, ends=ends)
    return controller


@given(curve=curves(), frequency_hz=st.floats(48.5, 51.5))
def test_any_curve_is_followed_as_the_pure_function_says(curve: ResponseCurve, frequency_hz: float) -> None:
    controller = armed(curve)
    got = required_power(controller.parameters[0], controller.state[0], 5, frequency_hz)
    near = min(abs(abs(50.0 - frequency_hz) - x) for x, _ in curve.points)
    if near > 1e-9:  # At a point with a step below it the last bit of the deviation decides.
        assert got == pytest.approx(0.8 * float(required_share(curve, frequency_hz, 50.0)), abs=1e-9)


@pytest.mark.parametrize(("sample", "due"), [(9, 0.0), (10, 0.8), (99, 0.8), (100, 0.0)])
def test_the_armed_window_is_half_open(sample: int, due: float) -> None:
    controller = armed(curve_named("neso-dc-low"), starts=10, ends=100)
    assert required_power(controller.parameters[0], controller.state[0], sample, 49.0) == pytest.approx(due)


def test_service_ends_at_the_reserve() -> None:
    k = Controller(ControlSettings(reserve_ratio=0.2)).parameters[0]
    assert limit_by_energy(k, 0.2, 0.7) == 0.0
    assert limit_by_energy(k, 0.5, 0.7) == 0.7
    assert limit_by_energy(k, 0.95, -0.7) == pytest.approx(0.0, abs=1e-9)
