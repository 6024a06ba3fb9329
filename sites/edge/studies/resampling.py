"""Brings a recording to the detector's 10 kHz as a converter of the site would have seen it: causally, delays counted.

Faster recordings go through the averaging of an integrating converter (the mean of the straight lines between
the samples over one detector period), slower ones through a cubic that looks one recorded sample ahead. What a
value at an instant had to wait for is returned beside it, so a decision never comes before its evidence.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DETECTOR_HZ: Final = 10_000.0
SAME_RATE: Final = 1e-4
"""Rates that differ by less than this share are the same rate."""


def to_detector_rate(t_s: FloatArray, channels: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (grid [s], values [channels, grid], known_s) of a stretch without a gap.

    ``t_s`` rises strictly, ``channels`` is [k, n], NaN marks a missing sample and stays one. ``grid`` has steps of
    0.1 ms from the first sample on; ``known_s`` is the instant of the last recorded sample that a value needed.
    Needs four samples; fewer return empty arrays.
    """
    channels = np.atleast_2d(np.asarray(channels, dtype=np.float64))
    if len(t_s) < 4:
        return np.empty(0), np.empty((len(channels), 0)), np.empty(0)
    step_s = (t_s[-1] - t_s[0]) / (len(t_s) - 1)
    ratio = 1.0 / (step_s * DETECTOR_HZ)
    count = int(np.floor((t_s[-1] - t_s[0]) * DETECTOR_HZ + 1e-6)) + 1
    grid = t_s[0] + np.arange(count) / DETECTOR_HZ
    if abs(ratio - 1.0) < SAME_RATE:
        count = min(count, len(t_s))
        return t_s[:count].copy(), channels[:, :count].copy(), t_s[:count].copy()
    if ratio > 1.0:
        return _averaged(t_s, channels, grid, step_s, ratio)
    return _interpolated(t_s, channels, grid)


def _averaged(
    t_s: FloatArray, channels: FloatArray, grid: FloatArray, step_s: float, ratio: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    period_s = 1.0 / DETECTOR_HZ
    # Where the grid falls between recorded samples, the window ends one of them earlier: no sample is foreseen.
    wait_s = 0.0 if abs(ratio - round(ratio)) < SAME_RATE * ratio else step_s
    ends = grid - wait_s
    starts = np.maximum(ends - period_s, t_s[0])
    ends = np.maximum(ends, t_s[0])
    steps = np.diff(t_s)
    values = np.empty((len(channels), len(grid)))
    for row, channel in enumerate(channels):
        missing = np.isnan(channel)
        filled = np.where(missing, 0.0, channel)
        area = np.concatenate(([0.0], np.cumsum(0.5 * (filled[1:] + filled[:-1]) * steps)))
        width = ends - starts
        mean = np.divide(
            _area_at(ends, t_s, filled, area) - _area_at(starts, t_s, filled, area),
            width,
            out=np.full(len(grid), filled[0]),
            where=width > 0.0,
        )
        if missing.any():
            holes = np.concatenate(([0], np.cumsum(missing)))
            first = np.searchsorted(t_s, starts - 1e-9, side="left")
            last = np.searchsorted(t_s, ends + 1e-9, side="right")
            mean[holes[last] > holes[first]] = np.nan
        values[row] = mean
    return grid, values, grid.copy()


def _area_at(at_s: FloatArray, t_s: FloatArray, values: FloatArray, area: FloatArray) -> FloatArray:
    """Return the integral of the straight lines between the samples up to each instant."""
    place = np.clip(np.searchsorted(t_s, at_s, side="right") - 1, 0, len(t_s) - 2)
    into_s = at_s - t_s[place]
    slope = (values[place + 1] - values[place]) / (t_s[place + 1] - t_s[place])
    return np.asarray(area[place] + into_s * (values[place] + 0.5 * into_s * slope), dtype=np.float64)


def _interpolated(t_s: FloatArray, channels: FloatArray, grid: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    # Lagrange's cubic through the two samples before, the one at or before and the one after an instant.
    after = np.clip(np.searchsorted(t_s, grid - 1e-9, side="left"), 3, len(t_s) - 1)
    places = [after - 3, after - 2, after - 1, after]
    times = [t_s[place] for place in places]
    values = np.zeros((len(channels), len(grid)))
    for mine in range(4):
        weight = np.ones(len(grid))
        for other in range(4):
            if other != mine:
                weight *= (grid - times[other]) / (times[mine] - times[other])
        values += weight * channels[:, places[mine]]
    return grid, values, np.maximum(t_s[after], grid)
