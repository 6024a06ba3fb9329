"""What a score says, and settlement periods that lack data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from markets.core.delivery import BoolArray

ASKED: Final = 1e-6
"""Share of contract from which on something is due: 50 - 49.9 is a little more than 0.1 in binary."""

IntArray = npt.NDArray[np.int64]
Component = float | int | str | bool | None


class ScoreError(ValueError):
    """A record that cannot be scored; the message names what it lacks and what is accepted."""


@dataclass(frozen=True, slots=True)
class Score:
    """A delivery judged by its product's rule."""

    value: float | None
    """0 to 1; None: nothing was due, so that nothing can be judged."""
    components: dict[str, Component]
    """What the value was made of."""


@dataclass(frozen=True, slots=True)
class Periods:
    """Settlement periods of a record, counted from its first sample; the last one may be short."""

    starts: IntArray
    """Index of each period's first sample."""
    lengths: IntArray
    """Samples in each."""
    complete: BoolArray
    """Every sample of the period can be judged."""


def settlement_periods(judged: BoolArray, rate_hz: float, period_s: float) -> Periods:
    """Return the settlement periods of a record and which of them have no gap."""
    width = max(1, round(period_s * rate_hz))
    starts = np.arange(0, judged.size, width)
    return Periods(
        starts=starts,
        lengths=np.diff(np.append(starts, judged.size)),
        complete=np.logical_and.reduceat(judged, starts) if judged.size else np.zeros(0, dtype=np.bool_),
    )


def mean_of_periods(
    periods: Periods, first_samples: Sequence[int], scores: Sequence[float]
) -> tuple[float | None, dict[str, Component]]:
    """Return the mean of the settlement periods that had an event or a gap, and how many these were.

    A period is the mean of the events that begin in it. One with a gap is 0, whether an event is seen in it or not: the
    gap may hide one, and what is left out of a record must never raise its score.
    """
    of = np.searchsorted(periods.starts, np.asarray(first_samples, dtype=np.int64), side="right") - 1
    events = np.bincount(of, minlength=periods.starts.size)
    total = np.bincount(of, weights=np.asarray(scores, dtype=np.float64), minlength=periods.starts.size)
    judged = (events > 0) | ~periods.complete
    means = np.where(periods.complete, total / np.maximum(events, 1), 0.0)[judged]
    counts: dict[str, Component] = {
        "events": len(first_samples),
        "periods_judged": int(judged.sum()),
        "periods_with_gaps": int((~periods.complete).sum()),
    }
    return (float(means.mean()) if means.size else None), counts


def beginnings(due: BoolArray, known: BoolArray) -> IntArray:
    """Return where something becomes due: the first sample of a record, or one after a known sample with nothing due.

    What is already due behind a gap began in the gap, whose settlement period is 0 anyway.
    """
    before = np.empty_like(due)
    before[:1] = True
    before[1:] = known[:-1] & ~due[:-1]
    return np.flatnonzero(due & before)
