"""The trip path on synthesized samples: what islands a site, and what must not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.control.islanding import CAUSE_NAMES, Controller
from sites.edge.control.kernels import records
from sites.edge.control.settings import ControlSettings

RATE_HZ = 10_000
EVENT = 3000
FloatArray = npt.NDArray[np.float64]


def samples(
    *, n: int = EVENT, level: FloatArray | float = 1.0, jump_rad: float = 0.0, at: int = 0, harmonic: float = 0.05,
    phases: tuple[int, ...] = (0, 1, 2), start: int = 0, frequency_hz: float = 50.0,
) -> npt.NDArray[np.void]:  # fmt: skip
    """Samples of a grid-tied site at no power; ``level`` and ``jump_rad`` apply to ``phases`` from ``at``."""
    m = np.zeros(n, records.SAMPLES)
    t = (start + np.arange(n)) / RATE_HZ
    noise = np.random.default_rng(1)
    hit = np.arange(n) >= at
    for k, name in enumerate("abc"):
        angle = 2 * np.pi * frequency_hz * t - k * 2 * np.pi / 3
        angle = angle + (jump_rad * hit if k in phases else 0.0)
        wave = np.cos(angle) + harmonic * np.cos(5 * angle)
        wave = wave * np.where(hit & (k in phases), level, 1.0) + noise.uniform(-0.003, 0.003, n)
        m[f"v{name}"] = m[f"u{name}"] = wave
    m["poles_closed"] = 3
    m["soc_ratio"] = 0.5
    return m


def decision_ms(m: npt.NDArray[np.void], at: int) -> tuple[float, str]:
    """Feed samples to a fresh controller; return (ms from ``at`` to its decision or NaN, cause)."""
    # Samples made beforehand do not answer a probe.
    controller = Controller(ControlSettings(anti_islanding=False))
    for n in range(len(m)):
        controller.step(m[n : n + 1])
        if controller.state["decided"][0]:
            return (n - at + 1) * 1000.0 / RATE_HZ, CAUSE_NAMES[int(controller.state["cause"][0])]
    return float("nan"), ""


@pytest.mark.parametrize("angle", range(0, 200, 9))
def test_a_dead_bus_is_decided_within_1_ms_at_any_point_of_the_wave(angle: int) -> None:
    at = EVENT + angle
    took_ms, cause = decision_ms(samples(n=at + 200, level=0.0, at=at), at)
    assert 0.3 <= took_ms <= 1.0
    assert cause == "phase_lost"


@pytest.mark.parametrize("angle", range(0, 200, 9))
def test_one_lost_phase_is_decided_within_4_ms_at_any_point_of_the_wave(angle: int) -> None:
    at = EVENT + angle
    took_ms, _ = decision_ms(samples(n=at + 200, level=0.0, at=at, phases=(1,)), at)
    assert took_ms <= 4.0


@pytest.mark.parametrize("level", [0.45, 0.55, 0.65, 0.67])
def test_a_dip_below_0_7_pu_is_left_before_the_20_ms_of_the_itic_curve_end(level: float) -> None:
    took_ms, _ = decision_ms(samples(n=EVENT + 400, level=level, at=EVENT), EVENT)
    assert took_ms < 20.0


@pytest.mark.parametrize(
    ("what", "level", "jump_deg", "phases", "length_ms"),
    [
        ("a phase jump of 20 degrees", 1.0, 20.0, (0, 1, 2), 200),
        ("a phase jump of -20 degrees", 1.0, -20.0, (0, 1, 2), 200),
        ("a dip to 0.85 pu for 0.2 s", 0.85, 0.0, (0, 1, 2), 200),
        ("a dip to 0.75 pu for 0.2 s", 0.75, 0.0, (0, 1, 2), 200),
        ("a swell to 1.15 pu", 1.15, 0.0, (0, 1, 2), 200),
        ("a single-phase dip to 0.8 pu", 0.8, 0.0, (2,), 200),
        ("a notch of 0.3 ms", 0.0, 0.0, (0, 1, 2), 0.3),
    ],
)
def test_the_grid_is_kept_through(
    what: str, level: float, jump_deg: float, phases: tuple[int, ...], length_ms: float
) -> None:
    for angle in range(0, 200, 33):
        at = EVENT + angle
        n = at + 2500
        levels = np.where(np.arange(n) < at + length_ms * RATE_HZ / 1000.0, level, 1.0)
        m = samples(n=n, level=levels, jump_rad=np.radians(jump_deg), at=at, phases=phases)
        assert np.isnan(decision_ms(m, at)[0]), f"{what} at {angle}"


def test_a_dip_to_0_75_pu_is_left_within_the_half_second_of_the_itic_curve() -> None:
    took_ms, cause = decision_ms(samples(n=EVENT + 6000, level=0.75, at=EVENT), EVENT)
    assert 300.0 < took_ms < 500.0
    assert cause == "long_dip"


def test_a_frequency_outside_the_window_islands_after_its_hold() -> None:
    m = np.concatenate([samples(n=2000), samples(n=9000, start=0, frequency_hz=46.8)])
    took_ms, cause = decision_ms(m, 2000)
    assert cause == "frequency"
    # ENA G99: 47 Hz for 0.5 s; the estimate needs the rest to get there.
    assert 500.0 < took_ms < 620.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
@pytest.mark.parametrize("names", [("va",), ("vb", "ub"), ("pa", "pb", "pc"), ("ia", "ib", "ic")])
def test_samples_that_are_none_neither_trip_nor_poison_the_controller(bad: float, names: tuple[str, ...]) -> None:
    m = samples(n=EVENT + 300)
    for name in names:
        m[name][EVENT : EVENT + 20] = bad
    controller = Controller(ControlSettings(anti_islanding=False))
    controller.step(m)
    assert controller.mode == "grid_tied"
    for output in ("ea", "eb", "ec", "omega_u", "frequency_hz", "reference"):
        assert np.isfinite(controller.state[output]).all()
