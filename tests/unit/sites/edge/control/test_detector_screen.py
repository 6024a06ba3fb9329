"""What the loss detector takes for quiet: a sample on which no condition holds and nothing is counted."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sites.edge.control.kernels import records
from sites.edge.control.kernels.cycle import keep_cycle
from sites.edge.control.kernels.detector import is_quiet, judge_sample
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.kernels.tracking import track_currents, track_ratio, track_voltages
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

RATE_HZ = 10_000.0
SAMPLES = 500


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    phases=st.sampled_from([1, 3]),
    at=st.integers(230, 430),
    length=st.integers(1, 150),
    level=st.floats(0.0, 1.5),
    jump_rad=st.floats(-1.0, 1.0),
    hit=st.sets(st.integers(0, 2), min_size=1),
    noise=st.floats(0.0, 0.1),
    current=st.floats(0.0, 2.0),
    seed=st.integers(0, 2**16),
)
def test_a_quiet_sample_is_one_that_the_judgment_leaves_alone(
    phases: int, at: int, length: int, level: float, jump_rad: float, hit: set[int], noise: float, current: float,
    seed: int,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    k = control_parameters(ControlSettings(phases=phases))[0]
    c = initial_state(control_parameters(ControlSettings(phases=phases)))
    m = np.zeros(1, records.SAMPLES)
    t = np.arange(SAMPLES) / RATE_HZ
    struck = (np.arange(SAMPLES) >= at) & (np.arange(SAMPLES) < at + length)
    waves = np.zeros((3, SAMPLES))
    for place in range(phases):
        angle = 2 * np.pi * 50.0 * t - place * 2 * np.pi / 3 + (jump_rad * struck if place in hit else 0.0)
        waves[place] = np.cos(angle) * np.where(struck & (place in hit), level, 1.0)
        waves[place] += random.uniform(-noise, noise, SAMPLES)
    quiet_samples = 0
    for n in range(SAMPLES):
        va, vb, vc = waves[:, n]
        for name, value in zip(
            ("va", "vb", "vc", "ia", "ib", "ic"), (*waves[:, n], *current * waves[:, n]), strict=True
        ):
            m[name] = value
        for name, value in zip(("pa", "pb", "pc"), random.uniform(-1.5, 1.5, 3), strict=True):
            m[name] = value
        alpha, beta = ((2.0 * va - vb - vc) / 3.0, (vb - vc) / np.sqrt(3.0)) if phases == 3 else (va, 0.0)
        square = alpha * alpha + beta * beta
        keep_cycle(k, c[0], m[0])
        track_voltages(k, c[0], va, vb, vc)
        ratio, above = track_ratio(k, c[0], va, vb, vc)
        track_currents(k, c[0], *(current * waves[:, n]))
        quiet = is_quiet(k, c[0], square, va + vb + vc, m["pa"][0], ratio, above)
        before = c.copy()
        cause = judge_sample(k, c[0], m[0], square, ratio, above)
        if quiet:
            quiet_samples += 1
            assert cause == 0
            assert c.tobytes() == before.tobytes()
        track_sequence(k, c[0], alpha, beta)
    # Up to the event a clean grid is quiet soon after its first cycle is known.
    if noise < 0.005:
        assert quiet_samples >= at - 300
