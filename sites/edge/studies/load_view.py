"""What a load saw of a disturbance: measured voltage up to the decision and the switch's time, then the island's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.ridethrough import half_cycle_magnitude, half_cycle_samples, itic_violations, voltage_magnitude
from sites.edge.studies.resampling import DETECTOR_HZ

FloatArray = npt.NDArray[np.float64]

LOST_BELOW_PU: Final = 0.9
"""Voltage counts as lost below the band in which a load runs steadily (ITIC: 90 %)."""
LOOK_AHEAD_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class LoadView:
    """The load's voltage around one decision."""

    least_pu: float
    """Least voltage: length of the three phases' vector, or half-cycle r.m.s. of one phase."""
    greatest_pu: float
    lost_volt_seconds: float
    """Integral of what is missing to the nominal r.m.s. voltage while it is below 0.9 of it [V s]."""
    inside_itic: bool
    switch_ms: float | None
    """Assumed time of the switch [ms]; None where it stayed closed and all of it is measured."""


def load_view(
    pu: FloatArray, start: int, sample: int, healthy_pu: FloatArray, *,
    switch_ms: float | None, nominal_v: float, nominal_hz: float,
) -> LoadView:  # fmt: skip
    """Return what the load saw from ``start`` to the decision at ``sample``.

    ``pu`` [phases, n] is measured on the load's side of the switch, per unit of the nominal peak. With ``switch_ms``
    the switch opens that long after the decision and from then on the load has ``healthy_pu``: assumed, not measured.
    """
    ends = sample + 1
    seen = pu[:, start:ends]
    if switch_ms is not None:
        opens = min(pu.shape[1], ends + round(switch_ms * 1e-3 * DETECTOR_HZ))
        stays = np.arange(opens, min(pu.shape[1], opens + round(LOOK_AHEAD_S * DETECTOR_HZ)))
        seen = np.concatenate((pu[:, start:opens], healthy_pu[:, stays]), axis=1)
    # A missing sample is no dip: nobody knows what the load saw there.
    seen = np.where(np.isfinite(seen), seen, healthy_pu[:, start : start + seen.shape[1]])
    magnitude = voltage_magnitude(seen.T, DETECTOR_HZ, nominal_hz)
    if len(pu) == 1:
        magnitude = half_cycle_magnitude(seen[0], DETECTOR_HZ, nominal_hz)
    time_s = np.arange(len(magnitude)) / DETECTOR_HZ
    judged = [magnitude]
    if len(pu) == 3 and seen.shape[1] >= half_cycle_samples(DETECTOR_HZ, nominal_hz):
        judged += [half_cycle_magnitude(phase, DETECTOR_HZ, nominal_hz) for phase in seen]
    short = np.where(magnitude < LOST_BELOW_PU, 1.0 - magnitude, 0.0)
    return LoadView(
        least_pu=float(magnitude.min()),
        greatest_pu=float(magnitude.max()),
        lost_volt_seconds=float(short.sum() / DETECTOR_HZ * nominal_v),
        inside_itic=not any(itic_violations(time_s, one) for one in judged),
        switch_ms=switch_ms,
    )
