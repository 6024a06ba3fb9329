"""China's AGC regulation: rate, delay and accuracy of each setpoint, in the southern and the northern form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from markets.core.delivery import BoolArray
from markets.core.scores.score import Component, IntArray, Score, ScoreError
from sites.core.curves import FloatArray

LEAST_CHANGE: Final = 0.02
"""A setpoint nearer than this to the power at its arrival is not judged [share of contract]; our reading."""
DEAD_ZONE: Final = 0.01
"""The response has begun when the power has moved this far [share of contract]; our reading."""
MOST_SETPOINTS_PER_S: Final = 1.0
"""A dispatch center sends one every 4 to 8 s; what changes faster is no setpoint."""
LEAST_FACTOR: Final = 0.1
_NOISE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Answer:
    """How one setpoint was followed."""

    rate_per_min: float
    """From the begin of the response to the target's tolerance [share of contract per minute]."""
    delay_s: float
    error_share: float
    """Mean deviation once there, or what was left at the end [share of contract]."""


def agc_index(
    signal: FloatArray, response: FloatArray, known: BoolArray, rate_hz: float, rule: Mapping[str, float]
) -> Score:
    """Return the setpoints' mean score, each weighted by how long it held; ``response`` in shares of contract.

    ``k`` among the components is the figure that is paid for, with a rate above the standard; the score takes each
    factor as at most 1. A setpoint with a gap is 0. Parameters: ``northern``, ``rate_per_min`` (standard rate),
    ``rate_most`` (cap of k1), ``delay_s`` and ``error_share`` (standard or allowed).
    """
    starts, stops = _setpoints(signal, known)
    most = max(10.0, signal.size / rate_hz * MOST_SETPOINTS_PER_S)
    if starts.size > most:
        raise ScoreError(
            f"the signal changes {starts.size} times in {signal.size / rate_hz:g} s, accepted: setpoints, at most "
            f"{MOST_SETPOINTS_PER_S:g} a second"
        )
    weights, scores, indices, factors = [], [], [], []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        cut = stop < signal.size and not known[stop]
        behind_gap = start > 0 and not known[start - 1]
        if cut or behind_gap or not known[start]:
            weights.append(stop - start)
            scores.append(0.0)
            continue
        before = response[start - 1] if start > 0 else response[0]
        if abs(signal[start] - before) < LEAST_CHANGE - _NOISE:
            continue
        answer = _answer(float(signal[start]), float(before), response[start:stop], rate_hz, rule)
        k1, k2, k3 = (_northern if rule["northern"] else _southern)(answer, rule)
        factors.append((k1, k2, k3))
        indices.append(k1 * k2 * k3 if rule["northern"] else 0.25 * (2.0 * k1 + k2 + k3))
        c1, c2, c3 = min(k1, 1.0), min(k2, 1.0), min(k3, 1.0)
        scores.append(c1 * c2 * c3 if rule["northern"] else 0.25 * (2.0 * c1 + c2 + c3))
        weights.append(stop - start)
    components: dict[str, Component] = {
        "form": "northern" if rule["northern"] else "southern",
        "setpoints": len(factors),
        "setpoints_with_gaps": len(scores) - len(factors),
    }
    if factors:
        means = np.mean(factors, axis=0)
        components |= {
            "k1_rate": float(means[0]),
            "k2_delay": float(means[1]),
            "k3_accuracy": float(means[2]),
            "k": float(np.mean(indices)),
        }
    return Score(float(np.average(scores, weights=weights)) if scores else None, components)


def mileage_shares(signal: FloatArray, response: FloatArray, known: BoolArray) -> list[tuple[int, float]]:
    """Return (first sample, way moved toward the setpoint) of each setpoint that is judged [share of contract].

    From the power at its arrival to that at its end, and no farther than the setpoint: what was regulated and is paid
    for. A setpoint with a gap has none.
    """
    found = []
    starts, stops = _setpoints(signal, known)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        around = known[max(start - 1, 0) : stop + 1]
        before = float(response[start - 1] if start > 0 else response[0])
        asked = float(signal[start]) - before
        if not around.all() or abs(asked) < LEAST_CHANGE - _NOISE:
            continue
        way = 1.0 if asked > 0.0 else -1.0
        found.append((start, min(abs(asked), max(0.0, way * (float(response[stop - 1]) - before)))))
    return found


def _setpoints(signal: FloatArray, known: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the first and the one-past-last sample of each setpoint."""
    held = np.where(known, signal, np.nan)
    # A NaN equals nothing: a gap ends a setpoint, and the next known one begins another.
    starts = np.flatnonzero(np.concatenate(([True], ~(np.abs(np.diff(held)) <= _NOISE) & (known[1:] | known[:-1]))))
    return starts, np.append(starts[1:], held.size)


def _answer(target: float, before: float, given: FloatArray, rate_hz: float, rule: Mapping[str, float]) -> Answer:
    """Return how a setpoint was followed; ``given`` begins with the sample at which it came."""
    way = 1.0 if target > before else -1.0
    moved = np.flatnonzero(way * (given - before) >= DEAD_ZONE - _NOISE)
    there = np.flatnonzero(np.abs(given - target) <= rule["error_share"] + _NOISE)
    if not moved.size:
        return Answer(0.0, np.inf, float(abs(given[-1] - target)))
    begun = int(moved[0])
    end = int(there[0]) if there.size else given.size - 1
    took_min = max(1, end - max(begun - 1, 0)) / rate_hz / 60.0
    rate = max(0.0, way * (float(given[end]) - before)) / took_min
    if there.size and end == begun:
        # It was there within one sample: no rate can be told, and none was missed.
        rate = max(rate, rule["rate_per_min"])
    error = float(np.abs(given[end:] - target).mean())
    return Answer(rate, begun / rate_hz, error)


def _southern(answer: Answer, rule: Mapping[str, float]) -> tuple[float, float, float]:
    return (
        min(answer.rate_per_min / rule["rate_per_min"], rule["rate_most"]),
        max(0.0, 1.0 - answer.delay_s / rule["delay_s"]),
        max(0.0, 1.0 - answer.error_share / rule["error_share"]),
    )


def _northern(answer: Answer, rule: Mapping[str, float]) -> tuple[float, float, float]:
    ratios = (
        rule["rate_per_min"] / answer.rate_per_min if answer.rate_per_min > 0.0 else np.inf,
        answer.delay_s / rule["delay_s"],
        answer.error_share / rule["error_share"],
    )
    k1, k2, k3 = (float(max(LEAST_FACTOR, 2.0 - ratio)) for ratio in ratios)
    return min(k1, rule["rate_most"]), k2, k3
