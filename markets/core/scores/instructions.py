"""Instructions and setpoints: ERCOT's emergency response service, and following a plan."""

from __future__ import annotations

from typing import Final

import numpy as np

from markets.core.delivery import BoolArray
from markets.core.scores.score import Component, IntArray, Score, settlement_periods
from sites.core.curves import FloatArray

ERS_THRESHOLD: Final = 0.95
"""Both factors have to reach it; from memory."""


def ers(
    deployed: FloatArray, response: FloatArray, known: BoolArray, rate_hz: float, *, ramp_s: float, period_s: float
) -> Score:
    """Return the availability factor times the event performance factor; ``response`` in shares of contract.

    ``deployed`` is 1 from the instruction to the recall. Due is the time from ``ramp_s`` after the instruction on. The
    event's factor is the time-weighted mean over the metering intervals of what was given in the time that was due, 0
    to 1 each; a missing instant is due and not given. The availability factor is the share of intervals without a gap.
    Without a deployment the availability alone counts; with a gap in it nothing is judged, as it may hide one.
    """
    # An instruction holds through a gap.
    last_known = np.maximum.accumulate(np.where(known, np.arange(known.size), 0))
    is_deployed = (deployed > 0.5)[last_known]
    ramp = int(np.ceil(ramp_s * rate_hz - 1e-9))
    # Due where it was deployed now and all the ramp long; at the record's beginning the ramp counts from there.
    held: IntArray = np.concatenate((np.zeros(ramp + 1, dtype=np.int64), np.cumsum(is_deployed)))
    due = is_deployed & (held[ramp + 1 :] - held[: is_deployed.size] > ramp)
    counted = due | ~known
    periods = settlement_periods(known, rate_hz, period_s)
    samples = np.add.reduceat(counted.astype(np.float64), periods.starts)
    given = np.add.reduceat(np.where(due & known, response, 0.0), periods.starts)
    factors = np.clip(np.divide(given, samples, out=np.zeros_like(given), where=samples > 0.0), 0.0, 1.0)
    availability = float(periods.complete.mean())
    components: dict[str, Component] = {
        "availability_factor": availability,
        "event_performance_factor": None,
        "intervals": int(periods.starts.size),
        "intervals_due": int((np.add.reduceat(due.astype(np.int64), periods.starts) > 0).sum()),
    }
    if not due.any():
        return Score(availability if availability == 1.0 else None, components)
    performance = float(np.average(factors, weights=samples))
    components["event_performance_factor"] = performance
    components["threshold_met"] = min(performance, availability) >= ERS_THRESHOLD
    return Score(availability * performance, components)


def setpoint_tracking(
    target: FloatArray, response: FloatArray, known: BoolArray, rate_hz: float, *, period_s: float
) -> Score:
    """Return 1 minus the mean deviation over the mean setpoint in each period, at least 0; one with a gap is 0.

    Both in shares of contract. A period without a setpoint is held against the contract.
    """
    periods = settlement_periods(known, rate_hz, period_s)
    deviation = np.add.reduceat(np.where(known, np.abs(response - target), 0.0), periods.starts) / periods.lengths
    asked = np.add.reduceat(np.where(known, np.abs(target), 0.0), periods.starts) / periods.lengths
    kept = np.clip(1.0 - deviation / np.where(asked > 0.0, asked, 1.0), 0.0, 1.0)
    kept = np.where(periods.complete, kept, 0.0)
    return Score(
        float(np.average(kept, weights=periods.lengths)),
        {
            "deviation_share": float(deviation.mean()),
            "period_least": float(kept.min()),
            "periods": int(kept.size),
            "periods_with_gaps": int((~periods.complete).sum()),
        },
    )
