"""Samples that are none: a sensor that fails is no grid that fails."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import reset_detector

SENSOR_PU: Final = 1e3
"""Far beyond what any sensor reports: only what is no number at all is replaced."""
BLIND_MS: Final = 5
"""Bad samples for so long are a blindness, no glitch."""


@kernel
def mend_sample(k: Record, c: Record, m: Record) -> int:
    """Replace what is no sample (NaN, infinite, beyond any sensor) by the last cycle's, on the utility side by the
    bus's, a converter's current by none; return for how many ticks a voltage has been so.

    It must neither trip nor poison the states. After a blindness of some length the last cycle is one of our own
    making, which the grid has meanwhile left: the detector begins anew, and the ITIC clock and the windows decide
    whether there is a grid.
    """
    bad = 0
    if not abs(m["va"]) < SENSOR_PU:
        m["va"] = c["v_past"][0]
        bad = 1
    if not abs(m["ia"]) < SENSOR_PU:
        m["ia"] = c["i_past"][0]
    if not abs(m["ua"]) < SENSOR_PU:
        m["ua"] = m["va"]
        bad = 1
    if not abs(m["pa"]) < SENSOR_PU:
        m["pa"] = 0.0
    if k["phases"] == 3:
        if not abs(m["vb"]) < SENSOR_PU:
            m["vb"] = c["v_past"][1]
            bad = 1
        if not abs(m["vc"]) < SENSOR_PU:
            m["vc"] = c["v_past"][2]
            bad = 1
        if not abs(m["ib"]) < SENSOR_PU:
            m["ib"] = c["i_past"][1]
        if not abs(m["ic"]) < SENSOR_PU:
            m["ic"] = c["i_past"][2]
        if not abs(m["ub"]) < SENSOR_PU:
            m["ub"] = m["vb"]
            bad = 1
        if not abs(m["uc"]) < SENSOR_PU:
            m["uc"] = m["vc"]
            bad = 1
        if not abs(m["pb"]) < SENSOR_PU:
            m["pb"] = 0.0
        if not abs(m["pc"]) < SENSOR_PU:
            m["pc"] = 0.0
    if bad:
        c["blind_ticks"] += 1
    elif c["blind_ticks"] > 0:
        if c["blind_ticks"] >= BLIND_MS * k["ticks_per_ms"]:
            reset_detector(c)
        c["blind_ticks"] = 0
    return c["blind_ticks"]
