"""What a load lived through, from its stored waveform: voltage magnitude, ITIC curve, islanding figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ITIC_LOW: Final = ((0.70, 0.020), (0.80, 0.5), (0.90, 10.0))
"""(magnitude [pu], longest time below it [s]): no voltage at all for 20 ms, 0.7 for 0.5 s, 0.8 for 10 s."""
ITIC_HIGH: Final = ((2.00, 0.0), (1.40, 0.001), (1.20, 0.003), (1.10, 0.5))
"""(magnitude [pu], longest time above it [s]): 200 % 1 ms, 140 % 3 ms, 120 % 0.5 s, 110 % steady. The curve's
spike of up to 500 % for 0.17 ms is not granted."""
RESTORED_PU: Final = 0.70
DC_WINDOW_PU: Final = (40.5 / 51.2, 57.0 / 51.2)
"""Voltage of a DC bus over its battery's nominal voltage at which its loads run: 40.5-57 V of ETSI EN 300 132-2
at 51.2 V. The 260-400 V of EN 300 132-3 at 358.4 V (0.73-1.12) is wider."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A stretch of time in which a voltage was outside the curve."""

    starts_s: float
    duration_s: float
    limit_pu: float
    """The step of the curve that it broke."""


@dataclass(frozen=True, slots=True)
class IslandingFigures:
    """One islanding event as its waveform shows it. Times run from the opening of the feeder's first pole."""

    decision_ms: float
    """To the controller's decision; NaN when the recording shows no open feeder or no decision."""
    transfer_ms: float
    """To all poles of the static switch open and the load's voltage back at 0.7 pu (one phase: over the half cycle
    from then on); NaN when that never comes."""
    load_outside_itic: bool
    """By the magnitude of all phases together, or by any one phase's half-cycle r.m.s."""
    min_pu_after_2ms: float
    """Smallest voltage magnitude at the load from 2 ms after the first pole opened."""
    min_pu: float
    """Smallest voltage magnitude at the load in the whole recording."""


def voltage_magnitude(phases: FloatArray, rate_hz: float, nominal_hz: float) -> FloatArray:
    """Return the voltage magnitude [pu] at each sample, shape [n], from phase voltages [n, 1 or 3] in pu of peak.

    Three phases: length of the alpha-beta vector, which needs no window. One phase: half-cycle r.m.s.
    ending at the sample (the first half cycle takes what there is), for one phase has no instantaneous magnitude.
    A third or second column that is zero throughout counts as absent.
    """
    phases = np.atleast_2d(np.asarray(phases, dtype=np.float64))
    present = _present(phases)
    if len(present) == 3:
        a, b, c = (phases[:, k] for k in range(3))
        return np.asarray(np.hypot((2.0 * a - b - c) / 3.0, (b - c) / np.sqrt(3.0)), dtype=np.float64)
    if not present:
        return np.zeros(len(phases))
    return half_cycle_magnitude(phases[:, present[0]], rate_hz, nominal_hz)


def half_cycle_magnitude(phase: FloatArray, rate_hz: float, nominal_hz: float) -> FloatArray:
    """Return one phase's half-cycle r.m.s. [pu of nominal] ending at each sample, shape [n]."""
    window = half_cycle_samples(rate_hz, nominal_hz)
    squares = np.concatenate(([0.0], np.cumsum(np.asarray(phase, dtype=np.float64) ** 2)))
    ends = np.arange(1, len(phase) + 1)
    starts = np.maximum(0, ends - window)
    # The first half cycle has no full window yet: take the first full one for it.
    starts[: window - 1] = 0
    ends[: window - 1] = min(window, len(phase))
    return np.asarray(np.sqrt(2.0 * (squares[ends] - squares[starts]) / (ends - starts)), dtype=np.float64)


def half_cycle_samples(rate_hz: float, nominal_hz: float) -> int:
    """Return the samples of half a cycle, at least one."""
    return max(1, round(rate_hz / nominal_hz / 2.0))


def _present(phases: FloatArray) -> list[int]:
    return [k for k in range(phases.shape[1]) if np.any(phases[:, k] != 0.0)]


def itic_violations(time_s: FloatArray, magnitude_pu: FloatArray) -> list[Violation]:
    """Return the stretches outside the ITIC (CBEMA) curve, in order; empty for a load that kept running.

    ``time_s`` rises; a stretch lasts from its first sample outside to the next one inside (or to the
    recording's end: what comes later is not known and not assumed).
    """
    found: list[Violation] = []
    for limit_pu, longest_s in ITIC_LOW:
        found += _stretches(time_s, magnitude_pu < limit_pu, longest_s, limit_pu)
    for limit_pu, longest_s in ITIC_HIGH:
        found += _stretches(time_s, magnitude_pu > limit_pu, longest_s, limit_pu)
    return sorted(found, key=_start)


def _start(violation: Violation) -> float:
    return violation.starts_s


def _stretches(
    time_s: FloatArray, outside: npt.NDArray[np.bool_], longest_s: float, limit_pu: float
) -> list[Violation]:
    edges = np.diff(np.concatenate(([False], outside, [False])).astype(np.int8))
    found = []
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        duration_s = float(time_s[min(int(end), len(time_s) - 1)] - time_s[start])
        # A microsecond: times are sums of sample periods.
        if duration_s > longest_s + 1e-6:
            found.append(Violation(float(time_s[start]), duration_s, limit_pu))
    return found


def islanding_figures(
    columns: Sequence[str], samples: npt.ArrayLike, rate_hz: float, nominal_hz: float = 50.0
) -> IslandingFigures:
    """Return an event's figures from its stored waveform alone: ``samples`` [n, columns], columns by name.

    A column ``bus_pu`` marks a DC site: its load is judged by ``DC_WINDOW_PU`` instead of ITIC's curve.
    Raises ValueError naming a column that is missing.
    """
    values = np.asarray(samples, dtype=np.float64)
    if "bus_pu" in columns:
        return _dc_figures(columns, values, rate_hz)
    needed = ("va_pu", "vb_pu", "vc_pu", "feeder_open", "decision", "switch_open")
    _require(columns, needed)
    at = {name: list(columns).index(name) for name in needed}
    time_s = np.arange(len(values)) / rate_hz
    phases = values[:, [at["va_pu"], at["vb_pu"], at["vc_pu"]]]
    magnitude = voltage_magnitude(phases, rate_hz, nominal_hz)
    present = _present(phases)
    # A load behind one phase does not live on the other two: the vector of three turns too fast past a dark
    # phase for any step of the curve to see it.
    each = [half_cycle_magnitude(phases[:, k], rate_hz, nominal_hz) for k in present] if len(present) == 3 else []
    outside = any(bool(itic_violations(time_s, judged)) for judged in (magnitude, *each))
    opened = _first(values[:, at["feeder_open"]] > 0.5)
    decided = _first(values[:, at["decision"]] > 0.5)
    lowest = float(magnitude.min()) if len(magnitude) else float("nan")
    if opened is None:
        return IslandingFigures(float("nan"), float("nan"), outside, lowest, lowest)
    per_ms = rate_hz / 1000.0
    decision_ms = float("nan") if decided is None else (decided - opened) / per_ms
    restored_pu = magnitude
    if len(present) == 1:
        # The half cycle that ends at an instant still holds the voltage from before the loss: take the one from it.
        ahead = min(half_cycle_samples(rate_hz, nominal_hz) - 1, len(magnitude))
        restored_pu = np.concatenate((magnitude[ahead:], np.full(ahead, np.nan)))
    carried = (values[:, at["switch_open"]] > 0.5) & (restored_pu >= RESTORED_PU)
    restored = _first(carried[opened:])
    transfer_ms = float("nan") if restored is None else restored / per_ms
    later = magnitude[opened + round(2.0 * per_ms) :]
    after = float(later.min()) if len(later) else float("nan")
    return IslandingFigures(decision_ms, transfer_ms, outside, after, lowest)


def _dc_figures(columns: Sequence[str], values: FloatArray, rate_hz: float) -> IslandingFigures:
    """Return the figures of a load on a DC bus: no switch stands before it, so its transfer takes no time."""
    needed = ("bus_pu", "feeder_open", "decision")
    _require(columns, needed)
    bus_pu, opens, decides = (values[:, list(columns).index(name)] for name in needed)
    low, high = DC_WINDOW_PU
    outside = bool(np.any((bus_pu < low) | (bus_pu > high)))
    lowest = float(bus_pu.min()) if len(bus_pu) else float("nan")
    opened, decided = _first(opens > 0.5), _first(decides > 0.5)
    if opened is None or decided is None:
        return IslandingFigures(float("nan"), float("nan"), outside, lowest, lowest)
    later = bus_pu[opened + round(2.0 * rate_hz / 1000.0) :]
    transfer_ms = 0.0 if bool(np.all(bus_pu[opened:] >= low)) else float("nan")
    after = float(later.min()) if len(later) else float("nan")
    return IslandingFigures((decided - opened) * 1000.0 / rate_hz, transfer_ms, outside, after, lowest)


def _require(columns: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in columns:
            raise ValueError(f"waveform has no column {name!r}, accepted: {', '.join(needed)}")


def _first(flags: npt.NDArray[np.bool_]) -> int | None:
    places = np.flatnonzero(flags)
    return int(places[0]) if len(places) else None
