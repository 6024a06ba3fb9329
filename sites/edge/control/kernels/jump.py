"""Jumps of the grid's phase: told from its loss by the sine that still fits, and followed at once.

Lines that open shift the phase behind them by up to 20 degrees (IEEE 1547-2018, 6.5.2.6). A loop that slews after such
a jump reads a change of frequency that never was; here the phasor is turned to the new phase and the frequency stays.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.cycle import cycle_known
from sites.edge.control.kernels.dips import clear_windows
from sites.edge.control.kernels.phases import sine_in, turned_back

JUMP_RAD: Final = 0.08
"""4.6 degrees: below this the loop follows by itself."""
STEADY_RAD: Final = 0.03
"""The fitted phase has settled when it moves less than this in a millisecond."""
INTACT_PU: Final = 0.8
STEADY_MS: Final = 3


@kernel
def fitted(c: Record, phase: int) -> tuple[float, float]:
    """Return the sine that fits a phase over the last ``phasor_memory``: in phase and in quadrature with its frame
    [pu].

    v = a cos θ + b sin θ by least squares; the sums of squares follow from the mean of the double angle.
    """
    cos_2, sin_2 = turned_back(phase, c["phasor_c2"], c["phasor_s2"])
    return sine_in(c["phasor_c"][phase], c["phasor_s"][phase], 1.0, cos_2, sin_2)


@kernel
def watch_jump(k: Record, c: Record) -> int:
    """Once per millisecond: turn the PLL to a phase that has jumped and settled; return 1 when that was done."""
    if not cycle_known(c):
        return 0
    in_phase = 0.0
    across = 0.0
    for phase in range(k["phases"]):
        a, b = fitted(c, phase)
        if a * a + b * b < INTACT_PU * INTACT_PU:
            c["jump_ms"] = 0
            return 0
        in_phase += a
        across -= b
    angle = math.atan2(across, in_phase)
    if abs(angle) < JUMP_RAD or abs(angle - c["jump_rad"]) > STEADY_RAD:
        c["jump_ms"] = 0
        c["jump_rad"] = angle
        return 0
    c["jump_rad"] = angle
    c["jump_ms"] += 1
    if c["jump_ms"] < STEADY_MS:
        return 0
    turn_pll(k, c, math.cos(angle), math.sin(angle))
    c["jump_ms"] = 0
    c["jump_rad"] = 0.0
    c["relocks"] += 1
    return 1


@kernel
def turn_pll(k: Record, c: Record, turn_cos: float, turn_sin: float) -> None:
    """Turn the PLL's phasor, its sequence filter and the fits in its frame by an angle."""
    cos_u = c["cos_u"] * turn_cos - c["sin_u"] * turn_sin
    sin_u = c["sin_u"] * turn_cos + c["cos_u"] * turn_sin
    c["cos_u"] = cos_u
    c["sin_u"] = sin_u
    level = c["reference"]
    c["x_alpha"] = level * cos_u
    c["q_alpha"] = level * sin_u
    if k["phases"] == 3:
        c["x_beta"] = level * sin_u
        c["q_beta"] = -level * cos_u
    # The fit's frame turns with the phasor; its sums are built anew from the amplitude that is there.
    cos_2 = c["phasor_c2"] * (turn_cos * turn_cos - turn_sin * turn_sin) - c["phasor_s2"] * 2.0 * turn_cos * turn_sin
    sin_2 = c["phasor_s2"] * (turn_cos * turn_cos - turn_sin * turn_sin) + c["phasor_c2"] * 2.0 * turn_cos * turn_sin
    c["phasor_c2"] = cos_2
    c["phasor_s2"] = sin_2
    for phase in range(k["phases"]):
        c2, s2 = turned_back(phase, cos_2, sin_2)
        c["phasor_c"][phase] = level * 0.5 * (1.0 + c2)
        c["phasor_s"][phase] = level * 0.5 * s2
        c["lack"][phase] = 0.0
    # The windows of the ITIC clock were summed in the old frame.
    clear_windows(c)
