"""A converter that follows the grid and forms a voltage only once the grid's loss is detected: for comparison.

This is how most installed converters work: a current into whatever voltage is there, turned with the PLL. Until the
detection nothing holds the load's voltage. Every site of ours forms its voltage all the time instead
(``grid_forming``); this one is chosen by ``ControlSettings.converter`` alone, for studies.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.grid_forming import form_voltage, limited_voltage
from sites.edge.control.kernels.sequence import rotation_cos, rotation_sin

HALF_SQRT3: Final = 0.8660254037844386
LOOP_GAIN: Final = 0.3
"""Share of the current's error that is taken back in the next sample: about 500 Hz at 10 kHz, as current loops have."""
LEAST_LEVEL_PU: Final = 0.5
"""Below this voltage the current for a power no longer rises."""


@kernel
def drive_converter(k: Record, c: Record, m: Record) -> None:
    """Set the phase voltages for the next sample, by the kind of converter that the site has."""
    if k["grid_following"] and c["mode"] == modes.GRID_TIED:
        follow_current(k, c, m)
    else:
        form_voltage(k, c, m)


@kernel
def current_voltage(k: Record, c: Record, wanted: float, current: float, ahead: float, voltage: float) -> float:
    """Return the phase voltage [pu] that drives a current over the filter, the voltage ``ahead`` fed forward."""
    push = LOOP_GAIN * k["filter_l_over_dt"] * (wanted - current)
    return limited_voltage(k, c, ahead + k["filter_r"] * current + push, voltage, current)


@kernel
def follow_current(k: Record, c: Record, m: Record) -> None:
    """Drive a current in phase with the PLL's positive sequence; the converter's own phasor stays with the PLL's."""
    c["cos_e"] = c["cos_u"]
    c["sin_e"] = c["sin_u"]
    wanted = c["wanted_pu"]
    size = wanted / max(c["level_u"], LEAST_LEVEL_PU)
    # Reference and voltage stand one sample later than the measurement.
    angle = c["omega_u"] * k["dt_s"]
    turn_cos = rotation_cos(angle)
    turn_sin = rotation_sin(angle)
    cos_u = c["cos_u"]
    sin_u = c["sin_u"]
    if k["phases"] == 3:
        alpha = (2.0 * m["va"] - m["vb"] - m["vc"]) * (1.0 / 3.0)
        beta = (m["vb"] - m["vc"]) * (1.0 / (2.0 * HALF_SQRT3))
        ahead = alpha * turn_cos - beta * turn_sin
        side = HALF_SQRT3 * (beta * turn_cos + alpha * turn_sin)
        turn = HALF_SQRT3 * sin_u
        c["ea"] = current_voltage(k, c, size * cos_u, m["pa"], ahead, m["va"])
        c["eb"] = current_voltage(k, c, size * (turn - 0.5 * cos_u), m["pb"], side - 0.5 * ahead, m["vb"])
        c["ec"] = current_voltage(k, c, size * (-turn - 0.5 * cos_u), m["pc"], -side - 0.5 * ahead, m["vc"])
        peak = max(abs(m["pa"]), max(abs(m["pb"]), abs(m["pc"])))
        c["p_sum"] += m["va"] * m["pa"] + m["vb"] * m["pb"] + m["vc"] * m["pc"]
        c["v2_sum"] += m["va"] * m["va"] + m["vb"] * m["vb"] + m["vc"] * m["vc"]
    else:
        # One phase has no vector to turn: its voltage's slope comes from the PLL.
        ahead = m["va"] - c["level_u"] * sin_u * angle
        c["ea"] = current_voltage(k, c, size * cos_u, m["pa"], ahead, m["va"])
        peak = abs(m["pa"])
        c["p_sum"] += m["va"] * m["pa"]
        c["v2_sum"] += m["va"] * m["va"]
    c["peak_pu"] = max(c["peak_pu"], peak)
