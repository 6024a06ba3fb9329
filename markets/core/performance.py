"""The performance score (K factor) from the worst error outside the timed envelope."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import Delivery, timed_envelope
from markets.core.products import Certainty
from sites.core.curves import FloatArray

FULL_PAY_ERROR: Final = 0.03
NO_PAY_ERROR: Final = 0.07
K_CERTAINTY: Final = Certainty.UNSURE
"""K = 1 up to 3 %, 0 from 7 %, straight between: second-hand. Carried into every entry."""
ERROR_MEAN_S: Final = 1.0
"""Errors are means over this time: a single noisy sample is no failure of delivery. Unsure as well."""


def k_factor(worst_error_ratio: float) -> float:
    """Return the share of the payment that a worst error leaves, 0 to 1.

    ``worst_error_ratio`` is the error over the contracted power [-]. NaN gives 0: what cannot be
    scored is not paid.
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
    low, high = timed_envelope(delivery.required_kw, within_s, delivery.rate_hz)
    below = low[judged] - delivery.delivered_kw[judged]
    above = delivery.delivered_kw[judged] - high[judged]
    error = np.maximum(np.maximum(below, above), 0.0)
    scale_kw: float | FloatArray = delivery.contracted_kw
    if isinstance(scale_kw, np.ndarray):
        # A share that moved: each error is held against what was contracted then.
        error, scale_kw = error / scale_kw[judged], 1.0
    width = min(error.size, max(1, round(ERROR_MEAN_S * delivery.rate_hz)))
    total = np.concatenate(([0.0], np.cumsum(error)))
    means = (total[width:] - total[:-width]) / width
    return float(means.max()) / scale_kw
