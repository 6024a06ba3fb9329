"""Droop responses judged excursion by excursion: AEMO's FCAS, China's primary response, ERCOT's primary response."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import Delivery
from markets.core.product import Product
from markets.core.scores.score import ASKED, IntArray, Score, beginnings, mean_of_periods, settlement_periods
from sites.core.curves import FloatArray, required_share

FCAS_LEAST_SHARE: Final = 0.05
"""An excursion that asks for less than this share of the contract is not verified; our reading."""
FCAS_CALM_S: Final = 5.0
"""The frequency has been inside its band for so long before a new excursion begins; our reading."""
CHINA_LEAST_S: Final = 4.0
"""Shortest excursion: the time in which the response has to have settled (GB/T 40595)."""
CHINA_PASS_SHARE: Final = 0.7
PFR_LEAST_HZ: Final = 0.1
PFR_BEFORE_S: Final = (16.0, 2.0)
PFR_AFTER_S: Final = (20.0, 52.0)


def aemo_fcas(delivery: Delivery, product: Product) -> Score:
    """Return the mean over the settlement periods of each excursion's lesser ratio of delivered to standard energy.

    The standard trajectory rises straight from the instant at which the frequency leaves its band to what the curve
    asks at ``rise_s``, and falls to nothing at ``until_s`` where the next service takes over (``falls``). Energies are
    compared in both windows, each ratio 0 to 1; what is more than the trajectory in one makes up for nothing in the
    other. An excursion with a gap is 0; one at the end of the record is judged as far as it goes.
    """
    rule, rate_hz = product.score.parameters, delivery.rate_hz
    due, given = np.nan_to_num(delivery.due_share), delivery.given_share
    rise, until = rule["rise_s"], rule["until_s"]
    scores, firsts = [], []
    for start in _calm_before(beginnings(due > ASKED, delivery.available), due, rate_hz):
        stop = min(due.size, start + int(np.ceil(until * rate_hz)))
        if due[start:stop].max() < FCAS_LEAST_SHARE:
            continue
        firsts.append(int(start))
        if not delivery.available[start:stop].all():
            scores.append(0.0)
            continue
        since_s = np.arange(stop - start) / rate_hz
        fall = (until - since_s) / (until - rise) if rule["falls"] else np.ones(since_s.size)
        trajectory = due[start:stop] * np.where(since_s < rise, since_s / rise, fall)
        scores.append(
            min(
                _energy_ratio(given[start:stop], trajectory, since_s < rise),
                _energy_ratio(given[start:stop], trajectory, since_s >= rise),
            )
        )
    periods = settlement_periods(delivery.available, rate_hz, product.price.settlement_period_s)
    value, counts = mean_of_periods(periods, firsts, scores)
    return Score(value, counts | {"least": min(scores, default=None)})


def china_primary(delivery: Delivery, product: Product) -> Score:
    """Return the mean over the hours of each excursion's delivered over theoretical energy, 0 to 1.

    An excursion is 4 s or more on one side outside the dead band. One that ends in a gap, or at the end of the record
    before its 4 s, is 0 or not judged.
    """
    first, theoretical, given, cut = _china_excursions(delivery)
    share = np.where(cut, 0.0, np.clip(given / theoretical, 0.0, 1.0))
    periods = settlement_periods(delivery.available, delivery.rate_hz, product.price.settlement_period_s)
    value, counts = mean_of_periods(periods, first.tolist(), share.tolist())
    passed = float((share >= CHINA_PASS_SHARE).mean()) if share.size else None
    return Score(value, counts | {"pass_rate": passed, "least": float(share.min()) if share.size else None})


def paid_action_s(delivery: Delivery) -> list[tuple[int, float]]:
    """Return (first sample, action energy beyond 70 % of the theoretical one) of China's excursions.

    In contract times seconds; more than the theoretical energy is not counted, and one that ends in a gap has none.
    """
    first, theoretical, given, cut = _china_excursions(delivery)
    paid = np.where(cut, 0.0, np.clip(np.minimum(given, theoretical) - CHINA_PASS_SHARE * theoretical, 0.0, None))
    return list(zip(first.tolist(), (paid / delivery.rate_hz).tolist(), strict=True))


def _china_excursions(delivery: Delivery) -> tuple[IntArray, FloatArray, FloatArray, np.ndarray]:
    """Return each excursion's first sample, theoretical and given energy (shares times samples), and if a gap ends it.

    The excursions below nominal come first.
    """
    least = max(1, round(CHINA_LEAST_S * delivery.rate_hz))
    due, share = np.nan_to_num(delivery.due_share), delivery.given_share
    found = []
    for way in (1.0, -1.0):
        first, stop = _runs(way * due > ASKED)
        begun = (first == 0) | delivery.available[np.maximum(first - 1, 0)]
        kept = begun & (stop - first >= least)
        first, stop = first[kept], stop[kept]
        total_due = np.concatenate(([0.0], np.cumsum(way * due)))
        total_given = np.concatenate(([0.0], np.cumsum(way * share)))
        cut = (stop < due.size) & ~delivery.available[np.minimum(stop, due.size - 1)]
        found.append((first, total_due[stop] - total_due[first], total_given[stop] - total_given[first], cut))
    starts, theoretical, given, cuts = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return starts, theoretical, given, cuts


def ercot_pfr(delivery: Delivery, product: Product) -> Score:
    """Return the mean over the settlement periods of each disturbance's initial response over the expected one.

    Change of the mean power from 16 to 2 s before to 20 to 52 s after the frequency has left nominal by 0.1 Hz, over
    the same change of what the droop asks; 0 to 1. A disturbance without both windows in the record is not judged,
    one with a gap in them is 0.
    """
    rate_hz = delivery.rate_hz
    nominal_hz = product.curve.nominal_hz
    due, given = np.nan_to_num(delivery.due_share), delivery.given_share
    # A little less: 60 - 59.9 is not 0.1 in binary.
    outside = np.abs(due) >= float(required_share(product.curve, nominal_hz - PFR_LEAST_HZ, nominal_hz)) - 1e-9
    before, after = (tuple(round(s * rate_hz) for s in pair) for pair in (PFR_BEFORE_S, PFR_AFTER_S))
    starts = beginnings(outside, delivery.available)
    starts = starts[(starts >= before[0]) & (starts + after[1] <= outside.size)]

    def change(values: FloatArray) -> FloatArray:
        total = np.concatenate(([0.0], np.cumsum(values)))
        became = (total[starts + after[1]] - total[starts + after[0]]) / (after[1] - after[0])
        was = (total[starts - before[1]] - total[starts - before[0]]) / (before[0] - before[1])
        return np.asarray(became - was, dtype=np.float64)

    unknown = np.concatenate(([0], np.cumsum(~delivery.available)))
    has_gap = (unknown[starts - before[1]] > unknown[starts - before[0]]) | (
        unknown[starts + after[1]] > unknown[starts + after[0]]
    )
    expected, actual = change(due), change(given)
    is_asked = np.abs(expected) >= ASKED
    ratio = np.divide(actual, expected, out=np.ones(starts.size), where=is_asked)
    scores = np.where(has_gap, 0.0, np.clip(ratio, 0.0, 1.0))
    firsts = starts.tolist()
    periods = settlement_periods(delivery.available, rate_hz, product.price.settlement_period_s)
    value, counts = mean_of_periods(periods, firsts, scores.tolist())
    return Score(value, counts | {"least": float(scores.min()) if scores.size else None})


def _energy_ratio(given: FloatArray, trajectory: FloatArray, window: np.ndarray) -> float:
    asked = float(trajectory[window].sum())
    if asked <= 1e-9:
        return 1.0
    return min(1.0, max(0.0, float(given[window].sum()) / asked))


def _calm_before(starts: IntArray, due: FloatArray, rate_hz: float) -> IntArray:
    """Return the starts before which nothing was due for a while, or at which the record begins."""
    width = max(1, round(FCAS_CALM_S * rate_hz))
    total = np.concatenate(([0], np.cumsum(due > ASKED)))
    return starts[total[starts] - total[np.maximum(starts - width, 0)] == 0]


def _runs(mask: np.ndarray) -> tuple[IntArray, IntArray]:
    """Return the first and the one-past-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return edges[::2], edges[1::2]
