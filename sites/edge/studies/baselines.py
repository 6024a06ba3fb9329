"""Detectors to compare with: what a site would do with voltage alone and a textbook detector.

Each takes phase voltages [runs, phases, n] in per unit of the nominal peak and returns, for each run, the sample of
its first trip or -1. They run over recorded waveforms, all runs side by side. Thresholds as in the comparison of
published detectors on measured island formations: half-cycle r.m.s. and positive sequence outside 0.88 to 1.10 pu;
deviation from a frozen frame above 0.23 pu for 1 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IndexArray = npt.NDArray[np.int64]

LOW_PU: Final = 0.88
HIGH_PU: Final = 1.10
SOGI_GAIN: Final = math.sqrt(2.0)
DEVIATION_PU: Final = 0.23
DEVIATION_HOLD_S: Final = 1e-3
FRAME_TIME_S: Final = 0.02
"""How fast the frame follows a grid that stays inside the threshold."""
NEVER: Final = -1


def half_cycle_rms_trips(
    v_pu: npt.ArrayLike, rate_hz: float, nominal_hz: float, *, low_pu: float = LOW_PU, high_pu: float = HIGH_PU
) -> IndexArray:
    """Trip as soon as any phase's r.m.s. over the last half cycle leaves the band; none before the first half cycle."""
    runs = _runs(v_pu)
    window = max(1, round(rate_hz / nominal_hz / 2.0))
    squares = np.cumsum(np.concatenate((np.zeros((*runs.shape[:2], 1)), runs**2), axis=2), axis=2)
    level = np.sqrt(2.0 * np.maximum(squares[:, :, window:] - squares[:, :, :-window], 0.0) / window)
    outside = ((level < low_pu) | (level > high_pu)).any(axis=1)
    first = _first(outside)
    return np.where(first == NEVER, NEVER, first + window - 1)


def positive_sequence_trips(
    v_pu: npt.ArrayLike, rate_hz: float, nominal_hz: float, *, low_pu: float = LOW_PU, high_pu: float = HIGH_PU
) -> IndexArray:
    """Trip as soon as the positive sequence of a DSOGI leaves the band; none in the first two cycles, while it settles.

    One second-order generalized integrator per axis at nominal frequency (Rodriguez et al., 2007); one phase alone uses
    one integrator and its quadrature.
    """
    alpha, beta, has_beta = _axes(_runs(v_pu))
    step = 2.0 * math.pi * nominal_hz / rate_hz
    x = np.zeros((2, len(alpha)))
    q = np.zeros((2, len(alpha)))
    level = np.empty_like(alpha)
    for n in range(alpha.shape[1]):
        wanted = np.stack((alpha[:, n], beta[:, n]))
        x += step * (SOGI_GAIN * (wanted - x) - q)
        q_before = q
        q = q + step * x
        middle = 0.5 * (q + q_before)
        if has_beta:
            level[:, n] = np.hypot(0.5 * (x[0] - middle[1]), 0.5 * (middle[0] + x[1]))
        else:
            level[:, n] = np.hypot(x[0], middle[0])
    outside = (level < low_pu) | (level > high_pu)
    outside[:, : round(2.0 * rate_hz / nominal_hz)] = False
    return _first(outside)


def frozen_frame_trips(
    v_pu: npt.ArrayLike,
    rate_hz: float,
    nominal_hz: float,
    *,
    deviation_pu: float = DEVIATION_PU,
    hold_s: float = DEVIATION_HOLD_S,
) -> IndexArray:
    """Trip when the voltage stays away from what the grid would have shown; the frame stands still meanwhile.

    The frame starts with the mean of the first cycle and its turn to the second, so the first two cycles must be
    healthy. One phase alone takes its value a quarter cycle ago for its quadrature.
    """
    vectors = _vectors(_runs(v_pu), rate_hz, nominal_hz)
    cycle = round(rate_hz / nominal_hz)
    n = vectors.shape[1]
    turned = vectors * np.exp(-2j * math.pi * nominal_hz / rate_hz * np.arange(n))
    quarter = round(cycle / 4)
    start = turned[:, quarter : quarter + cycle].mean(axis=1)
    second = turned[:, quarter + cycle : quarter + 2 * cycle].mean(axis=1)
    turn = np.angle(second * np.conj(start)) / cycle
    # The mean of a cycle stands in its middle.
    frame = second * np.exp(1j * turn * 0.5 * cycle)
    held = np.zeros(len(turned), np.int64)
    trips = np.full(len(turned), NEVER, np.int64)
    follow = 1.0 / (FRAME_TIME_S * rate_hz)
    needed = max(1, round(hold_s * rate_hz))
    for sample in range(quarter + 2 * cycle, n):
        frame = frame * np.exp(1j * turn)
        error = turned[:, sample] - frame
        away = np.abs(error) > deviation_pu
        held = np.where(away, held + 1, 0)
        trips = np.where((trips == NEVER) & (held >= needed), sample, trips)
        frame = np.where(away, frame, frame + follow * error)
        slip = np.imag(error * np.conj(frame))
        turn = np.where(away, turn, turn + 0.25 * follow * follow * slip)
    return trips


def half_cycle_rms_trip(v_pu: npt.ArrayLike, rate_hz: float, nominal_hz: float) -> int | None:
    """Return the sample of the first trip in one recording [phases, n], None for none."""
    return _only(half_cycle_rms_trips(np.asarray(v_pu)[None], rate_hz, nominal_hz))


def positive_sequence_trip(v_pu: npt.ArrayLike, rate_hz: float, nominal_hz: float) -> int | None:
    """Return the sample of the first trip in one recording [phases, n], None for none."""
    return _only(positive_sequence_trips(np.asarray(v_pu)[None], rate_hz, nominal_hz))


def frozen_frame_trip(v_pu: npt.ArrayLike, rate_hz: float, nominal_hz: float) -> int | None:
    """Return the sample of the first trip in one recording [phases, n], None for none."""
    return _only(frozen_frame_trips(np.asarray(v_pu)[None], rate_hz, nominal_hz))


BASELINES: Final[dict[str, Callable[[FloatArray, float, float], IndexArray]]] = {
    "half_cycle_rms": half_cycle_rms_trips,
    "dsogi_positive_sequence": positive_sequence_trips,
    "frozen_frame_deviation": frozen_frame_trips,
}
"""Name in tables -> detector over many runs."""


def _runs(v_pu: npt.ArrayLike) -> FloatArray:
    runs = np.asarray(v_pu, dtype=np.float64)
    if runs.ndim != 3 or runs.shape[1] not in (1, 3):
        raise ValueError(f"voltages have shape {runs.shape}, accepted: [runs, 1 or 3 phases, n]")
    return runs


def _axes(runs: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
    if runs.shape[1] == 1:
        return runs[:, 0], np.zeros_like(runs[:, 0]), False
    a, b, c = runs[:, 0], runs[:, 1], runs[:, 2]
    return (2.0 * a - b - c) / 3.0, (b - c) / math.sqrt(3.0), True


def _vectors(runs: FloatArray, rate_hz: float, nominal_hz: float) -> ComplexArray:
    alpha, beta, has_beta = _axes(runs)
    if not has_beta:
        quarter = round(rate_hz / nominal_hz / 4.0)
        # cos a quarter cycle ago is sin now.
        beta = np.concatenate((np.zeros((len(alpha), quarter)), alpha[:, :-quarter]), axis=1)
    return np.asarray(alpha + 1j * beta, dtype=np.complex128)


def _first(flags: npt.NDArray[np.bool_]) -> IndexArray:
    return np.where(flags.any(axis=1), flags.argmax(axis=1), NEVER).astype(np.int64)


def _only(trips: IndexArray) -> int | None:
    return None if trips[0] == NEVER else int(trips[0])
