"""Responses that latch: Nordic FFR and ERCOT's fast frequency response, trigger by trigger."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import Delivery
from markets.core.product import Product
from markets.core.scores.score import Score, beginnings, mean_of_periods, settlement_periods

SHORT_SUPPORT_S: Final = 5.0
LONG_SUPPORT_S: Final = 30.0
RELEASE_PER_S: Final = 0.2
"""Nordic FFR: the short support is released by at most this share of contract a second."""
RELEASE_MARGIN: Final = 0.05
"""Share of contract that a second's drop may be more, for the meter's noise; our reading."""
OVER_DELIVERY_SHARE: Final = 0.35
_NOISE: Final = 1e-9


def nordic_ffr(delivery: Delivery, product: Product) -> Score:
    """Return the mean over the hours of each activation's share of its support between 100 and 135 % of contract.

    Counted from the allowed time on: 5 s and a release of at most 20 % a second, or 30 s. An activation with a gap is
    0; one at the end of the record is judged as far as it goes.
    """
    rate_hz, full_within, given_share = delivery.rate_hz, product.full_within_s, delivery.given_share
    scores, firsts, short = [], [], 0
    for start in _activations(delivery):
        at = start + int(np.ceil(full_within * rate_hz - _NOISE))
        stop = start + int(np.ceil((full_within + LONG_SUPPORT_S) * rate_hz))
        given = given_share[at:stop]
        if not given.size:
            continue
        firsts.append(int(start))
        if not delivery.available[start : at + given.size].all():
            scores.append(0.0)
            continue
        since_s = np.arange(given.size) / rate_hz
        step = max(1, round(rate_hz))
        drops = given[:-step] - given[step:]
        is_short = not np.any(drops > RELEASE_PER_S / rate_hz * step + RELEASE_MARGIN)
        due = np.clip(1.0 - RELEASE_PER_S * (since_s - SHORT_SUPPORT_S), 0.0, 1.0) if is_short else np.ones(given.size)
        short += is_short
        inside = (given >= due - _NOISE) & (given <= 1.0 + OVER_DELIVERY_SHARE + _NOISE)
        scores.append(float(inside[due > 0.0].mean()))
    periods = settlement_periods(delivery.available, rate_hz, product.price.settlement_period_s)
    value, counts = mean_of_periods(periods, firsts, scores)
    return Score(value, counts | {"release_kept": short, "least": min(scores, default=None)})


def ercot_ffr(delivery: Delivery, product: Product) -> Score:
    """Return the mean over the settlement periods of each trigger's share of the sustained time within its limits.

    0 for a trigger at which the power is not there at the first sample at or after 250 ms, and for one with a gap.
    Parameters: ``least_share`` and ``most_share`` of the contract.
    """
    rule, rate_hz, given_share = product.score.parameters, delivery.rate_hz, delivery.given_share
    scores, firsts, in_time = [], [], 0
    for start in _activations(delivery):
        at = start + int(np.ceil(product.full_within_s * rate_hz - _NOISE))
        stop = start + int(np.ceil(product.sustain_s * rate_hz))
        given = given_share[at:stop]
        if not given.size:
            continue
        firsts.append(int(start))
        inside = (given >= rule["least_share"] - _NOISE) & (given <= rule["most_share"] + _NOISE)
        is_full = given[0] >= rule["least_share"] - _NOISE and bool(delivery.available[start:stop].all())
        in_time += is_full
        scores.append(float(inside.mean()) if is_full else 0.0)
    periods = settlement_periods(delivery.available, rate_hz, product.price.settlement_period_s)
    value, counts = mean_of_periods(periods, firsts, scores)
    return Score(value, counts | {"in_time": in_time, "least": min(scores, default=None)})


def _activations(delivery: Delivery) -> np.ndarray:
    return beginnings(np.nan_to_num(delivery.required_kw) > 0.0, delivery.available)
