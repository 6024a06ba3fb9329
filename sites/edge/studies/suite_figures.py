"""Figures of one run from what its recorder kept, and of a class from its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.core.ridethrough import islanding_figures, voltage_magnitude

FloatArray = npt.NDArray[np.float64]

COLUMNS: Final = ("va_pu", "vb_pu", "vc_pu", "feeder_open", "decision", "switch_open")
"""What is kept of a run."""
LOST_BELOW_PU: Final = 0.9
"""Voltage below this is lost to a load; what lacks of 1 pu is then counted."""
NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One run."""

    decided: bool
    early: bool
    """It decided before anything had happened."""
    decision_ms: float
    """NaN without a decision."""
    transfer_ms: float
    """Switch open and load at 0.7 pu again; NaN when that never comes."""
    load_outside_itic: bool
    min_pu_after_2ms: float
    lost_pu_s: float
    """Time integral of the voltage that the load lacks [pu s]."""
    ends_dark: bool
    """The load's voltage is below 0.7 pu at the end."""


def run_figures(
    samples: npt.ArrayLike, rate_hz: float, nominal_hz: float, *, event: int, feeder_opens: bool
) -> RunFigures:
    """Return one run's figures from ``samples`` [n, COLUMNS].

    ``event`` is the sample from which times run, unless the feeder opens: then from its first open pole.
    """
    values = np.array(samples, dtype=np.float64)
    if not feeder_opens:
        values[:, 3] = 0.0
        values[event:, 3] = 1.0
    found = islanding_figures(COLUMNS, values, rate_hz, nominal_hz)
    magnitude = voltage_magnitude(values[:, :3], rate_hz, nominal_hz)
    decisions = np.flatnonzero(values[:, 4] > 0.5)
    # Half a cycle: one phase's magnitude needs so long to have left the past behind.
    last = max(1, round(rate_hz / nominal_hz / 2.0))
    return RunFigures(
        decided=bool(len(decisions)),
        early=bool(len(decisions) and decisions[0] < event),
        decision_ms=found.decision_ms,
        transfer_ms=found.transfer_ms,
        load_outside_itic=found.load_outside_itic,
        min_pu_after_2ms=found.min_pu_after_2ms,
        lost_pu_s=lost_volt_seconds(magnitude, rate_hz),
        ends_dark=bool(magnitude[-last:].mean() < 0.7),
    )


def lost_volt_seconds(magnitude_pu: FloatArray, rate_hz: float) -> float:
    """Return the time integral of 1 pu less the voltage magnitude over all samples below 0.9 pu [pu s]."""
    low = magnitude_pu < LOST_BELOW_PU
    return float((1.0 - magnitude_pu[low]).sum() / rate_hz)


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return p50, p99 and max of the finite values, None without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(finite, (50.0, 99.0))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(max(finite), 3)}


def class_figures(runs: Sequence[RunFigures], *, transfer_is_false: bool, guaranteed: bool) -> dict[str, Any]:
    """Return a class's figures as the JSON has them.

    ``lost_volt_seconds`` is the mean over the runs [pu s]. A transfer is false where nothing was lost, or before it.
    """
    return {
        "n": len(runs),
        "decision_ms": percentiles([run.decision_ms for run in runs if run.decided]),
        "transfer_ms": percentiles([run.transfer_ms for run in runs if run.decided]),
        "load_outside_itic": sum(run.load_outside_itic for run in runs),
        "false_transfers": sum(run.decided if transfer_is_false else run.early for run in runs),
        "lost_volt_seconds": round(float(np.mean([run.lost_pu_s for run in runs])), 6) if runs else 0.0,
        "guaranteed": guaranteed,
    }
