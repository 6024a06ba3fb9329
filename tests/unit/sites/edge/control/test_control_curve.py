"""The compiled curve against the pure one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.curves import Direction, ResponseCurve, Trigger, curve_named, required_course, required_share
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


class TestTrigger:
    """Called once per millisecond, as supervision does."""

    curve = ResponseCurve(
        "x", Direction.LOW, ((0.3, 1.0), (1.0, 1.0)), 1.0, 1.0, 1.0, "test", "U",
        trigger=Trigger(ramp_s=0.01, sustain_s=0.1, release_per_s=20.0, rest_s=0.05),
    )  # fmt: skip

    def course(self, hz: np.ndarray, controller: Controller | None = None, first_ms: int = 0) -> np.ndarray:
        controller = controller or armed(self.curve, ends=10**9)
        k, c = controller.parameters[0], controller.state[0]
        return np.array([required_power(k, c, 10 * (first_ms + n), f) for n, f in enumerate(hz)]) / 0.8

    def test_runs_through_ramp_support_release_and_rest(self) -> None:
        due = self.course(np.where(np.arange(400) < 20, 50.0, 49.6))
        assert np.all(due[:20] == 0.0)
        np.testing.assert_allclose(due[20:30], 0.1 * np.arange(1, 11))
        np.testing.assert_allclose(due[30:129], 1.0)
        # 20/s: full to nothing in 50 ms; then nothing more, for the frequency never came back.
        assert due[155] == pytest.approx(0.5, abs=0.05)
        assert np.all(due[182:] == 0.0)

    @given(st.lists(st.sampled_from([50.0, 49.71, 49.69, 49.0]), min_size=1, max_size=100))
    def test_crossing_again_while_it_runs_changes_nothing(self, hz: list[float]) -> None:
        after = np.full(100, 50.0)
        after[: len(hz)] = hz
        np.testing.assert_array_equal(
            self.course(np.concatenate([[49.6], after])), self.course(np.concatenate([[49.6], np.full(100, 50.0)]))
        )

    def test_is_ready_again_after_its_rest_once_the_frequency_was_back(self) -> None:
        hz = np.full(1000, 49.6)
        hz[300:310] = 50.0
        due = self.course(hz)
        assert due[305] == 0.0
        assert due[330] == pytest.approx(1.0)
        assert np.all(due[600:] == 0.0)

    def test_agrees_with_the_pure_course_but_for_its_ramp(self) -> None:
        random = np.random.default_rng(3)
        hz = 49.75 + 0.08 * np.sin(np.arange(3000) / 150.0) + random.normal(0.0, 0.003, 3000)
        hz = hz[np.abs(hz - 49.7) > 0.002]
        t_s = np.arange(len(hz)) / 1000.0
        pure = required_course(self.curve, t_s, hz, 50.0)
        assert pure.max() == 1.0
        # The ramp of 10 ms, and the support that counts from its end.
        assert np.abs(self.course(hz) - pure).sum() <= 0.02 * 1000 * (np.diff(pure) > 0.5).sum() + 1.0

    def test_arming_again_does_not_cut_a_running_support_short(self) -> None:
        controller = armed(self.curve, ends=10**9)
        self.course(np.full(50, 49.6), controller)
        arm_curve(controller.state, self.curve, power_pu=0.4, baseline_pu=0.0, starts=0, ends=10**9)
        # From 0.8 pu to 0.4 pu over two seconds, a millisecond of it; the support itself goes on in full.
        assert self.course(np.full(1, 50.0), controller, 50)[0] == pytest.approx(1.0 - 0.5 / 2_000.0)

    def test_goes_on_while_the_site_is_islanded_and_nobody_asks(self) -> None:
        controller = armed(self.curve, ends=10**9)
        self.course(np.full(50, 49.6), controller)
        assert self.course(np.full(60, 50.0), controller, 10_000)[-1] == 0.0

    def test_another_product_starts_ready(self) -> None:
        controller = armed(self.curve, ends=10**9)
        self.course(np.full(50, 49.6), controller)
        arm_curve(controller.state, curve_named("neso-dc-low"), power_pu=0.8, baseline_pu=0.0, starts=0, ends=10**9)
        assert self.course(np.full(1, 50.0), controller, 50)[0] == 0.0


def test_a_symmetric_product_answers_both_sides_alike() -> None:
    controller = armed(curve_named("entsoe-fcr"))
    k, c = controller.parameters[0], controller.state[0]
    assert required_power(k, c, 5, 49.9) == pytest.approx(0.4)
    assert required_power(k, c, 5, 50.1) == pytest.approx(-0.4)


def test_service_ends_at_the_reserve() -> None:
    k = Controller(ControlSettings(reserve_ratio=0.2)).parameters[0]
    assert limit_by_energy(k, 0.2, 0.7) == 0.0
    assert limit_by_energy(k, 0.5, 0.7) == 0.7
    assert limit_by_energy(k, 0.95, -0.7) == pytest.approx(0.0, abs=1e-9)
