"""The public grid's frequency for a simulation: nominal, or a recorded trace played from an instant."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.core.curves import FloatArray

APPROACH_HZ_PER_S: Final = 0.1
"""How fast the grid moves to a trace's first value before it plays, and back after its end."""


@dataclass(frozen=True, slots=True)
class Play:
    """A trace that runs from one of its instants to another, starting at a wall-clock instant."""

    t_s: FloatArray
    """Instants of the trace [s], rising."""
    f_hz: FloatArray
    """Frequency at those instants [Hz]."""
    from_s: float
    to_s: float
    at_us: int
    """When ``from_s`` plays [us since epoch]."""


class GridPlay:
    """Gives the frequency of every sample; set from the uplink's thread, read by the loop's."""

    def __init__(self, nominal_hz: float) -> None:
        self._nominal_hz = nominal_hz
        self._last_hz = nominal_hz
        self._play: Play | None = None
        self._lock = threading.Lock()

    def start(self, play: Play) -> None:
        """Play a trace; until its instant the grid approaches and holds the trace's first value."""
        with self._lock:
            self._play = play

    def frequency_hz(self, first_us: int, samples: int, us_per_sample: int) -> FloatArray:
        """Return the frequency at each of the next samples [Hz], shape [samples]."""
        with self._lock:
            play = self._play
        if play is None:
            return self._approach(self._nominal_hz, samples, us_per_sample)
        ends_us = play.at_us + round((play.to_s - play.from_s) * 1e6)
        # Split where the trace begins and ends, so that batches of any size give the same frequency.
        before, until_end = (
            min(max(0, -(-(edge_us - first_us) // us_per_sample)), samples) for edge_us in (play.at_us, ends_us)
        )
        pieces = []
        if before:
            first_hz = float(np.interp(play.from_s, play.t_s, play.f_hz))
            pieces.append(self._approach(first_hz, before, us_per_sample))
        if until_end > before:
            at_us = first_us + us_per_sample * np.arange(before, until_end, dtype=np.int64)
            pieces.append(np.interp(play.from_s + (at_us - play.at_us) / 1e6, play.t_s, play.f_hz))
            self._last_hz = float(pieces[-1][-1])
        if samples > until_end:
            pieces.append(self._approach(self._nominal_hz, samples - until_end, us_per_sample))
        return np.concatenate(pieces)

    def _approach(self, target_hz: float, samples: int, us_per_sample: int) -> FloatArray:
        step_hz = APPROACH_HZ_PER_S * us_per_sample / 1e6
        travel_hz = step_hz * np.arange(1, samples + 1)
        away_hz = target_hz - self._last_hz
        frequency = np.asarray(self._last_hz + np.sign(away_hz) * np.minimum(travel_hz, abs(away_hz)), dtype=np.float64)
        self._last_hz = float(frequency[-1])
        return frequency
