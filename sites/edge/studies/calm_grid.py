"""Long calm recordings in steps of a millisecond (angle_step.py): which are calm, and a site that runs on them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.exchange import RECORD_COLUMNS
from sites.edge.plant.frequency import FrequencyTrace
from sites.edge.studies.angle_step import ANGLES, LEFT, advance_angles, begin_angles
from sites.edge.studies.closed_loop import ClosedLoop

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

STEPS_HZ: Final = 1000
STEEP_HZ_PER_S: Final = 0.5
"""A frequency that runs faster makes waves that are worth seeing; losses of large power plants stay below."""
FAR_HZ: Final = 0.8
"""Farther from nominal the stages of the grid codes begin, which only waves run through."""


class GridLeft(Exception):
    """The active method took the grid for lost: what comes then is for waves."""


def is_calm(trace: FrequencyTrace, nominal_hz: float) -> bool:
    """Return whether a recording has nothing in it that needs waves."""
    if np.abs(trace.f_hz - nominal_hz).max() > FAR_HZ:
        return False
    return bool((np.abs(np.diff(trace.f_hz)) <= STEEP_HZ_PER_S * np.diff(trace.t_s) + 1e-9).all())


class CalmSite:
    """The only site of a closed loop, taken over from its waves at a whole 100 ms and run in milliseconds."""

    def __init__(self, loop: ClosedLoop) -> None:
        """Take the site over.

        Raises ValueError when it is not one AC site that stands at a whole metering block.
        """
        if len(loop.sites) != 1 or loop.sites[0].is_dc or loop.offset:
            raise ValueError(f"{len(loop.sites)} sites at place {loop.offset}, accepted: one AC site at a whole 100 ms")
        _, g, p, phases, _, k, c, m, w, _, _ = loop.step_arrays()
        self._records = (g[0], p[0], phases[0], k[0], c[0], m[0], w[0])
        self._angles = np.zeros(ANGLES)
        self._ms = loop.sample * STEPS_HZ // round(float(k["rate_hz"][0]))
        self._place = 0
        begin_angles(g[0], p[0], c[0], self._angles)

    def advance(self, grid_hz: FloatArray) -> Float32Array:
        """Advance by whole rows of 10 steps at the grid's frequency [Hz]; return the 100 Hz record of them.

        Raises GridLeft.
        """
        rows = np.zeros((len(grid_hz) // 10, len(RECORD_COLUMNS)), np.float32)
        self._place = advance_angles(*self._records, self._angles, grid_hz, self._ms, self._place, rows)
        if self._place == LEFT:
            raise GridLeft
        self._ms += len(grid_hz)
        return rows
