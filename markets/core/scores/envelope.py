"""Share of the time inside an envelope: Continental FCR, Nordic FCR-D and FCR-N, and power limits."""

from __future__ import annotations

import numpy as np

from markets.core.delivery import BoolArray, Delivery, timed_envelope
from markets.core.product import Product
from markets.core.scores.score import ASKED, Component, Score, beginnings
from sites.core.curves import FloatArray

RAMP_POWER_SHARE = 0.86
"""Requirement 2 of the Nordic FCR-D: least power 7.5 s after the start of the ramp, share of contract."""
RAMP_ENERGY_S = 3.2
"""Requirement 3: least energy by then, contract times seconds."""
RAMP_S = 7.5
_NOISE = 1e-9
"""Share of the contract by which an equal figure may differ in binary."""


def two_step(delivery: Delivery, product: Product) -> Score:
    """Return the share of the time between the timed envelopes of a half and of the full response.

    Parameters: ``half_within_s`` (half of what is due has to be there), ``tolerance_share`` of the contract both ways,
    ``over_share`` of what is due above. The full response has the product's ``full_within_s``.
    """
    rule, due = product.score.parameters, delivery.due_share
    low, high = timed_envelope(due, product.full_within_s, delivery.rate_hz)
    half_low, half_high = timed_envelope(due, rule["half_within_s"], delivery.rate_hz)
    # Of a negative power the half that is due is the upper bound.
    low = np.where(half_low > 0.0, np.maximum(low, 0.5 * half_low), low)
    high = np.where(half_high < 0.0, np.minimum(high, 0.5 * half_high), high)
    low = low + rule["over_share"] * np.minimum(low, 0.0) - rule["tolerance_share"]
    high = high + rule["over_share"] * np.maximum(high, 0.0) + rule["tolerance_share"]
    return _share_inside(delivery, low, high, {})


def nordic_fcr(delivery: Delivery, product: Product) -> Score:
    """Return the share of the time inside the Nordic envelope, with the ramp and settled requirements beside it.

    Parameters, shares of the contract: ``under_share_fast`` below what was due over ``full_within_s``,
    ``under_share`` below what was due over ``settled_s``, ``over_share`` above. With ``ramp_s`` each fall of the
    frequency to full activation within that time is held against requirements 2 and 3 of the document.
    With ``grace_s`` (static FCR-D) the response may stay on for so long after the frequency is back, what was activated
    need not answer again in that time, and ``over_share_settled`` is the most above once settled.
    """
    rule, due = product.score.parameters, delivery.due_share
    fast_low, fast_high = timed_envelope(due, product.full_within_s, delivery.rate_hz)
    slow_low, slow_high = timed_envelope(due, rule["settled_s"], delivery.rate_hz)
    under_fast, under, over = (rule[name] for name in ("under_share_fast", "under_share", "over_share"))
    low = np.where(fast_low > 0.0, np.maximum(fast_low - under_fast, slow_low - under), fast_low - over)
    high = np.where(fast_high < 0.0, np.minimum(fast_high + under_fast, slow_high + under), fast_high + over)
    components: dict[str, Component] = _settled(delivery, slow_low, slow_high)
    if "grace_s" in rule:
        low, high = _with_grace(delivery, low, high, rule["grace_s"], rule["over_share_settled"], slow_low)
        components |= _deactivation(delivery)
    if "ramp_s" in rule:
        components |= ramp_requirements(delivery, rule["ramp_s"])
    return _share_inside(delivery, low, high, components)


def ramp_requirements(delivery: Delivery, within_s: float) -> dict[str, Component]:
    """Return requirements 2 and 3 of the Nordic FCR-D at each ramp to full activation, the least of all.

    A ramp counts when the full power is due ``within_s`` after the frequency left the band and stays due. Power is
    taken at the first sample at or after 7.5 s; both are shares of the contract (times seconds).
    """
    rate_hz, due, given_share = delivery.rate_hz, np.nan_to_num(delivery.due_share), delivery.given_share
    full = due >= 1.0 - 1e-6
    after, reach = int(np.ceil(RAMP_S * rate_hz)), int(np.ceil(within_s * rate_hz))
    powers, energies = [], []
    starts = beginnings(due > ASKED, delivery.available)
    starts = starts[starts + after < due.size]
    for start in starts[full[starts + reach]]:
        stop = start + after + 1
        if full[start + reach : stop].all():
            given = given_share[start:stop]
            powers.append(float(given[-1]))
            energies.append(float(given[:-1].sum()) / rate_hz)
    if not powers:
        return {"ramps": 0}
    passed = [p >= RAMP_POWER_SHARE and e >= RAMP_ENERGY_S for p, e in zip(powers, energies, strict=True)]
    return {
        "ramps": len(powers),
        "ramps_passed": sum(passed),
        "power_at_7_5_s_least": min(powers),
        "energy_at_7_5_s_least_s": min(energies),
    }


def limit(response: FloatArray, known: BoolArray, most: FloatArray | float) -> Score:
    """Return the share of the time in which a power stays within its limit, both in shares of contract.

    A gap counts as a breach.
    """
    within = float((known & (response <= most + _NOISE)).mean())
    over = np.where(known, np.maximum(response - most, 0.0), 0.0)
    return Score(within, {"over_share_most": float(over.max()), "missing_share": float((~known).mean())})


def _with_grace(
    delivery: Delivery, low: FloatArray, high: FloatArray, grace_s: float, over_settled: float, slow_low: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the envelope of a static response, which answers one way."""
    due = np.nan_to_num(delivery.due_share)
    _, activated = timed_envelope(due, grace_s, delivery.rate_hz)
    settled = slow_low >= 1.0 - 1e-6
    high = np.where(settled, np.minimum(high, slow_low + over_settled), np.maximum(high, activated + 0.2))
    low = low.copy()
    grace = round(grace_s * delivery.rate_hz)
    # Through a gap it stays as it was: a gap is no return of the frequency.
    last_known = np.maximum.accumulate(np.where(delivery.available, np.arange(due.size), 0))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], due[last_known] > ASKED, [False])).astype(np.int8)))
    ends = edges[1::2]
    for start, end in zip(edges[2::2], ends[:-1], strict=False):
        # What was activated before is not ready again; the rest is.
        until = min(end + grace, ends[np.searchsorted(ends, start, side="right")])
        part = low[start:until]
        low[start:until] = np.where(part > 0.0, np.maximum(0.0, part - activated[start - 1]), part)
    return low, high


def _deactivation(delivery: Delivery) -> dict[str, Component]:
    """Return the largest drop of the response in 10 s and in 1 s, shares of contract (requirement 7: 0.25 and 0.2)."""
    given = delivery.given_share
    drops: dict[str, Component] = {}
    for seconds in (10, 1):
        step = max(1, round(seconds * delivery.rate_hz))
        both = delivery.available[step:] & delivery.available[:-step]
        fall = np.where(both, given[:-step] - given[step:], 0.0)
        drops[f"drop_in_{seconds}_s_most"] = float(fall.max(initial=0.0))
    return drops


def _settled(delivery: Delivery, low: FloatArray, high: FloatArray) -> dict[str, Component]:
    """Return the least and the most that was delivered over what is due, where the full power has settled."""
    settled = delivery.available & (high - low <= 1e-6) & (np.abs(low) >= 0.999)
    if not settled.any():
        return {}
    ratio = delivery.given_share[settled] / low[settled]
    return {"settled_least": float(ratio.min()), "settled_most": float(ratio.max())}


def _share_inside(delivery: Delivery, low: FloatArray, high: FloatArray, more: dict[str, Component]) -> Score:
    judged = delivery.available & np.isfinite(delivery.required_kw)
    given = delivery.given_share
    under = judged & (given < low - _NOISE)
    over = judged & (given > high + _NOISE)
    share = float((judged & ~under & ~over).mean())
    components: dict[str, Component] = {
        "under_share": float(under.mean()),
        "over_share": float(over.mean()),
        "missing_share": float((~judged).mean()),
    }
    return Score(share, components | more)
