"""How a delivered power follows the required one: lags, ratio and excess inside the product's allowed lag.

Pure arithmetic on rows of equal length. Powers in kW, positive into the bus; sides are judged apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MEAN_S: Final = 10.0
"""Length of the means that ratio and excess are taken over."""
LEAST_DUE_SHARE: Final = 0.02
"""Ratios are taken where at least this share of the contract is due on average: below, millihertz decide."""
LEAST_RISE_SHARE: Final = 0.1
"""An excursion is a rise of the required power of at least this share of the contract."""
REACHED_SHARE: Final = 0.9
TOLERANCE_SHARE: Final = 0.03
"""Of the contract: what a row may stand beside the timed envelope."""


@dataclass(frozen=True, slots=True)
class ResponseScore:
    """The figures of one run."""

    lags_ms: tuple[float, ...]
    """Lag at 90 % of each excursion, in order [ms]."""
    missed: int
    """Excursions whose 90 % was not reached before they ended; their lag stands as their length."""
    delivered_ratio_worst: float | None
    """Worst 10 s mean of delivered over required, each inside the allowed lag; None: nothing was due."""
    over_delivery_max: float
    """Worst 10 s mean of what was delivered above the most that was due inside the lag, per unit of contract."""
    outside_worst: float
    """Worst row outside the timed envelope, per unit of contract."""
    outside_s: float
    """Time outside the timed envelope by more than 3 % of the contract [s]."""


def score(
    required_kw: FloatArray, delivered_kw: FloatArray, *, row_s: float, contract_kw: float, within_s: float
) -> ResponseScore:
    """Score rows of a delivered power against the required one."""
    lag_rows = round(within_s / row_s)
    length = min(len(required_kw), round(MEAN_S / row_s))
    lags: list[tuple[int, float]] = []
    missed = 0
    ratios: list[float] = []
    over = 0.0
    outside = np.zeros(len(required_kw))
    for sign in (1.0, -1.0):
        due = np.maximum(required_kw * sign, 0.0)
        given = delivered_kw * sign
        least, most = _past_minimum(due, lag_rows), -_past_minimum(-due, lag_rows)
        for start, lag_rows_of, reached in excursion_lags(due, given, LEAST_RISE_SHARE * contract_kw):
            lags.append((start, lag_rows_of * row_s * 1000.0))
            missed += not reached
        given = np.maximum(given, 0.0)
        lacking = np.maximum(least - given, 0.0)
        excess = np.maximum(given - most, 0.0)
        due_mean = _means(least, length)
        counts = due_mean >= LEAST_DUE_SHARE * contract_kw
        if counts.any():
            # A swing about the required power is no lack; a surplus beyond the tolerance makes up for none.
            given_mean = _means(np.minimum(given, most + TOLERANCE_SHARE * contract_kw), length)
            ratios.append(min(1.0, float((given_mean[counts] / due_mean[counts]).min())))
        over = max(over, float(_means(excess, length).max()) / contract_kw)
        outside = np.maximum(outside, np.maximum(excess, lacking))
    outside /= contract_kw
    return ResponseScore(
        lags_ms=tuple(lag for _, lag in sorted(lags)),
        missed=missed,
        delivered_ratio_worst=min(ratios) if ratios else None,
        over_delivery_max=over,
        outside_worst=float(outside.max()),
        outside_s=float((outside > TOLERANCE_SHARE).sum()) * row_s,
    )


def excursion_lags(due: FloatArray, given: FloatArray, least_rise: float) -> list[tuple[int, int, bool]]:
    """Return (row, lag in rows, reached) of each rise of ``due`` by at least ``least_rise``.

    A rise goes from a trough to the following peak; its lag is the time from ``due`` to ``given`` at 90 % of it. A
    power that is there first has lag 0.
    """
    found = []
    for trough, peak, end in _rises(due, least_rise):
        level = due[trough] + REACHED_SHARE * (due[peak] - due[trough])
        first = trough + int(np.argmax(due[trough : peak + 1] >= level))
        reached = np.flatnonzero(given[first:end] >= level)
        if len(reached):
            found.append((first, int(reached[0]), True))
        else:
            found.append((first, int(np.argmin(np.append(due[first:end] >= level, False))), False))
    return found


def _rises(due: FloatArray, least: float) -> list[tuple[int, int, int]]:
    """Return (trough, peak, next trough) rows; only turns of at least ``least`` count."""
    change = np.flatnonzero(np.diff(due) != 0.0)
    if not len(change):
        return []
    way = np.sign(due[change + 1] - due[change])
    # Rows at which the course turns, and both ends.
    turns = [0, *(int(row) for row in change[1:][np.diff(way) != 0.0]), len(due) - 1]
    rises: list[tuple[int, int, int]] = []
    trough, peak, rising = 0, 0, False
    for row in turns:
        if rising:
            if due[row] > due[peak]:
                peak = row
            elif due[peak] - due[row] >= least:
                rises.append((trough, peak, row))
                trough, rising = row, False
        elif due[row] <= due[trough]:
            trough = row
        elif due[row] - due[trough] >= least:
            peak, rising = row, True
    if rising:
        rises.append((trough, peak, len(due)))
    return rises


def _past_minimum(values: FloatArray, rows: int) -> FloatArray:
    """Return the least value of each row and the ``rows`` before it; before the first row its value stands."""
    out = values.copy()
    done = 1
    # Doubling: the minimum over 2n rows is that of two overlapping ones over n.
    while done <= rows:
        step = min(done, rows + 1 - done)
        shifted = np.concatenate([np.full(min(step, len(out)), out[0]), out[: max(len(out) - step, 0)]])
        out = np.minimum(out, shifted)
        done += step
    return out


def _means(values: FloatArray, rows: int) -> FloatArray:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[rows:] - total[:-rows]) / rows)
