"""NESO's dynamic services: the performance score (K factor) from the worst error outside the timed envelope."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import Delivery, timed_envelope
from markets.core.product import Product
from markets.core.scores.score import Score, settlement_periods
from sites.core.curves import FloatArray

RULE_NAME: Final = "neso-k"
"""Of this rule in the catalogue's rows."""
FULL_PAY_ERROR: Final = 0.03
NO_PAY_ERROR: Final = 0.07
ERROR_MEAN_S: Final = 1.0
"""Errors are means over this time: a single noisy sample is no failure of delivery. Unsure."""


def k_factor(worst_error_ratio: float) -> float:
    """Return the share of the payment that a worst error leaves, 0 to 1.

    ``worst_error_ratio`` is the error over the contracted power [-]. NaN gives 0: what cannot be
    scored is not paid. K = 1 up to 3 %, 0 from 7 %, straight between: second-hand, unsure.
    """
    if not worst_error_ratio <= NO_PAY_ERROR:
        return 0.0
    return min(1.0, max(0.0, (NO_PAY_ERROR - worst_error_ratio) / (NO_PAY_ERROR - FULL_PAY_ERROR)))


def worst_error_ratio(delivery: Delivery, *, within_s: float) -> float:
    """Return the largest mean error outside the timed envelope over contracted power [-, >= 0].

    Judged on the available samples; NaN when there is none. The mean runs over up to 1 s of them.
    """
    judged = delivery.available & np.isfinite(delivery.required_kw)
    if not judged.any() or delivery.most_contracted_kw <= 0.0:
        return float("nan")
    error, scale_kw = _error_kw(delivery, within_s)[judged], delivery.contracted_kw
    if isinstance(scale_kw, np.ndarray):
        # A share that moved: each error is held against what was contracted then.
        error, scale_kw = error / scale_kw[judged], 1.0
    return float(_means(error, delivery.rate_hz).max()) / scale_kw


def score(delivery: Delivery, product: Product) -> Score:
    """Return the mean K of the settlement periods; one with a gap is 0.

    A mean over a second belongs to the period in which the second ends.
    """
    judged = delivery.available & np.isfinite(delivery.required_kw)
    periods = settlement_periods(judged, delivery.rate_hz, product.price.settlement_period_s)
    low, high = timed_envelope(delivery.due_share, product.full_within_s, delivery.rate_hz)
    error = np.where(judged, _outside(delivery.given_share, low, high), 0.0)
    means = _means(error, delivery.rate_hz)
    ends = np.concatenate((np.full(error.size - means.size, means[0]), means))
    worst = np.maximum.reduceat(ends, periods.starts)
    k = np.where(periods.complete, [k_factor(float(value)) for value in worst], 0.0)
    return Score(
        value=float(np.average(k, weights=periods.lengths)),
        components={
            "worst_error_ratio": float(worst.max()),
            "k_least": float(k.min()),
            "periods": int(k.size),
            "periods_with_gaps": int((~periods.complete).sum()),
        },
    )


def _error_kw(delivery: Delivery, within_s: float) -> FloatArray:
    """Return how far each sample is outside the timed envelope [kW, >= 0]; NaN where nothing is known."""
    low, high = timed_envelope(delivery.required_kw, within_s, delivery.rate_hz)
    return _outside(delivery.delivered_kw, low, high)


def _outside(given: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.maximum(np.maximum(low - given, given - high), 0.0)


def _means(error: FloatArray, rate_hz: float) -> FloatArray:
    width = min(error.size, max(1, round(ERROR_MEAN_S * rate_hz)))
    total = np.concatenate(([0.0], np.cumsum(error)))
    return np.asarray((total[width:] - total[:-width]) / width, dtype=np.float64)
