"""PJM's performance score of regulation: correlation, delay and precision, after the code that follows Manual 12."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import BoolArray
from markets.core.scores.score import Component, Score, ScoreError
from sites.core.curves import FloatArray

MEAN_S: Final = 10.0
"""Both signals are scored in means of so long."""
WINDOW: Final = 30
"""Means in a window of 5 min."""
LAGS: Final = 31
"""0 to 300 s in steps of 10 s."""
HOUR: Final = 12
"""Windows of an hour."""
FLAT_SIGNAL: Final = 0.01
"""A signal with a smaller standard deviation has no correlation: slopes are compared. GMLC's figure; the manual gives
none."""
FLAT_RESPONSE: Final = 1e-5
UNPAID_BELOW: Final = 0.25
_SAME: Final = 1e-9
"""Correlations closer than this are one: the shortest lag of them counts."""


def three_part(
    signal: FloatArray, response: FloatArray, known: BoolArray, rate_hz: float, *, scored_s: float | None = None
) -> Score:
    """Return the mean of the hours' performance scores; ``response`` is in shares of contract, like the signal.

    A window with a gap is 0. Where only the reach of its lags has a gap, the correlation is the best that is known and
    the delay counts as the longest: what is not there proves no delay. Lags beyond the end of the record are not tried.
    With ``scored_s`` only the windows within that time are scored; what is after it is the reach of their lags.
    Raises ScoreError for less than a window.
    """
    x, y = _means(signal, known, rate_hz), _means(response, known, rate_hz)
    means_scored = x.size if scored_s is None else min(x.size, int(scored_s / MEAN_S + _SAME))
    windows = means_scored // WINDOW
    if windows == 0:
        raise ScoreError(f"the record has {means_scored} means of 10 s, accepted: 30 or more (5 min)")
    reference: FloatArray = x[: windows * WINDOW].reshape(windows, WINDOW)
    shifted = _shifted(y, windows)
    correlation, lag = _best(reference, shifted)
    delay = np.abs(lag * MEAN_S - 300.0) / 300.0
    precision = _precision(reference, shifted[:, 0, :])
    parts = np.stack((correlation, delay, precision))
    has_gap = np.isnan(reference + shifted[:, 0, :]).any(axis=1)
    parts = np.where(has_gap, 0.0, parts)
    hours = [parts[:, at : at + HOUR].mean(axis=1) for at in range(0, windows, HOUR)]
    hourly = np.array([hour.mean() for hour in hours])
    weights = np.array([min(HOUR, windows - at) for at in range(0, windows, HOUR)])
    means: FloatArray = parts.mean(axis=1)
    components: dict[str, Component] = {
        "correlation": float(means[0]),
        "delay": float(means[1]),
        "precision": float(means[2]),
        "windows": windows,
        "windows_with_gaps": int(has_gap.sum()),
        "hours": int(hourly.size),
        "hours_unpaid": int((hourly < UNPAID_BELOW).sum()),
        "hour_least": float(hourly.min()),
        "paid_share": float(np.average(np.where(hourly < UNPAID_BELOW, 0.0, hourly), weights=weights)),
    }
    return Score(float(np.average(hourly, weights=weights)), components)


def _means(values: FloatArray, known: BoolArray, rate_hz: float) -> FloatArray:
    """Return the means over each whole 10 s; NaN where one of its samples is missing."""
    of = np.floor(np.arange(values.size) / (rate_hz * MEAN_S) + _SAME).astype(np.int64)
    count = int(np.floor(values.size / (rate_hz * MEAN_S) + _SAME))
    samples = np.bincount(of, minlength=count)[:count]
    total = np.bincount(of, weights=np.where(known, values, 0.0), minlength=count)[:count]
    missing = np.bincount(of, weights=~known, minlength=count)[:count]
    return np.asarray(np.where(missing > 0, np.nan, total / np.maximum(samples, 1)), dtype=np.float64)


def _shifted(y: FloatArray, windows: int) -> FloatArray:
    """Return each window's response at each lag, shape (windows, lags, 30); infinite beyond the end of the record."""
    padded = np.concatenate((y, np.full(LAGS + WINDOW, np.inf)))
    at = np.arange(windows)[:, None, None] * WINDOW + np.arange(LAGS)[None, :, None] + np.arange(WINDOW)[None, None, :]
    return padded[at]


def _best(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each window's correlation, 0 to 1, and its lag in steps of 10 s."""
    tried: BoolArray = np.asarray(np.isfinite(y).all(axis=2))
    gap: BoolArray = np.asarray(np.isnan(y).any(axis=2))
    finite = np.where(tried[:, :, None], y, 0.0)
    dx = x - x.mean(axis=1, keepdims=True)
    dy = finite - finite.mean(axis=2, keepdims=True)
    spread_x, spread_y = np.sqrt((dx**2).mean(axis=1)), np.sqrt((dy**2).mean(axis=2))
    product = (dx[:, None, :] * dy).mean(axis=2)
    scale = spread_x[:, None] * spread_y
    r = np.divide(product, scale, out=np.zeros_like(product), where=(spread_y >= FLAT_RESPONSE) & (scale > 0.0))
    r = np.where(tried, r, -np.inf)
    best = r.max(axis=1)
    lag = np.argmax(r >= best[:, None] - _SAME, axis=1)
    # A response that shows nothing at any lag has no delay to speak of.
    lag = np.where(np.all(~tried | (r == 0.0), axis=1), LAGS - 1, lag)
    lag = np.where(gap.any(axis=1), LAGS - 1, lag)
    flat = np.asarray(spread_x < FLAT_SIGNAL)
    slopes = np.abs(_slope(x) - _slope(finite[:, 0, :]))
    correlation = np.where(flat, 1.0 - slopes, best)
    return np.clip(np.nan_to_num(correlation, neginf=0.0), 0.0, 1.0), np.where(flat, 0, lag).astype(np.float64)


def _slope(values: FloatArray) -> FloatArray:
    """Return the slope of each row's regression line, per step of 10 s."""
    at = np.arange(WINDOW) - (WINDOW - 1) / 2.0
    return np.asarray((values * at).sum(axis=1) / (at**2).sum(), dtype=np.float64)


def _precision(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return each window's 1 - mean error over the mean absolute signal of its hour, at least 0."""
    result = np.zeros(len(x))
    for at in range(0, len(x), HOUR):
        hour = slice(at, at + HOUR)
        # A signal that is missing counts as nothing: a gap must not make the hour's errors look smaller.
        reference = float(np.abs(np.nan_to_num(x[hour])).mean())
        error = np.abs(y[hour] - x[hour]).mean(axis=1)
        share = error / reference if reference > 0.0 else np.where(error > 0.0, np.inf, 0.0)
        result[hour] = np.clip(1.0 - np.nan_to_num(share, nan=1.0), 0.0, 1.0)
    return result
