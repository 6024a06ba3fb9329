"""Waveforms around a decision: what is kept, and how a ring becomes a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

WAVEFORM_COLUMNS: Final = (
    "va_pu", "vb_pu", "vc_pu", "ua_pu", "ub_pu", "uc_pu", "ia_pu", "ib_pu", "ic_pu", "pa_pu", "pb_pu", "pc_pu",
    "feeder_open", "decision", "switch_open",
)  # fmt: skip
"""v load bus, u utility side of the static switch, i through the switch, p converter; then 0/1 channels."""
PRE_S: Final = 0.1
POST_S: Final = 0.4


@dataclass(frozen=True, slots=True)
class Waveform:
    """A kept recording of one decision."""

    index: int
    """Which site of the loop."""
    start_sample: int
    trigger_sample: int
    """The sample at which the controller decided."""
    rate_hz: float
    cause: str
    columns: tuple[str, ...]
    samples: Float32Array
    """[n, columns]."""


def ring_length(rate_hz: float) -> int:
    """Samples that a recording holds: before and after the trigger."""
    return round((PRE_S + POST_S) * rate_hz)


def unroll(ring: Float32Array, following: int, held: int) -> Float32Array:
    """Return the ring's samples in order of time.

    ``following`` is the place that would be written next, ``held`` how many samples were ever written.
    """
    if held < len(ring):
        return ring[:following].copy()
    return np.concatenate((ring[following:], ring[:following]))
