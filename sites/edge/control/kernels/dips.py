"""Dips against the ITIC curve, on a clock of their own, and voltages that die away slowly: judged every 5 ms.

The upper side of the ITIC curve is kept from 1.3 pu on only (detector.py): a swell of the grid between 1.1 and 1.3 pu
is ridden through, as a grid code asks, and reaches the load for as long as it lasts.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.cycle import cycle_known
from sites.edge.control.kernels.phases import sine_in, turned_back
from sites.edge.control.kernels.records import (
    CAUSE_DECAY,
    CAUSE_DEEP_DIP,
    CAUSE_LONG_DIP,
    CAUSE_NONE,
)
from sites.edge.control.kernels.upstream import all_stand

WINDOW_MS: Final = 5
"""Quarter of a cycle at 50 Hz; two neighboring windows make the half cycle that is judged."""
DEEP_PU: Final = 0.70
MIDDLE_PU: Final = 0.80
SHALLOW_PU: Final = 0.90
"""Steps of the ITIC curve: below 0.7 pu 20 ms, below 0.8 pu 0.5 s, below 0.9 pu 10 s."""
MIDDLE_WINDOWS: Final = 80
SHALLOW_WINDOWS: Final = 1600
"""Windows of 5 ms that are waited: 80 % of the curve's time; for deep dips as the switch leaves time."""
SEEN_PU: Final = 0.7
SEEN_WINDOWS: Final = 3
"""A phase is watched once it has been there: one that never was (a fuse, a wire) is not a grid that fails."""
DECAY_STEP: Final = 0.025
DECAY_EVEN: Final = 0.6
DECAY_RATIO: Final = 0.88
"""Motors that run out lose voltage steadily: against its last cycle 2.5 % in 4 ms, ``decay_ms`` long, and 12 % in
all. Flicker of 10 % at 8.8 Hz loses 1.1 % at its steepest, a dip is there at once."""

FALL_PU: Final = 0.02
FALL_EVEN: Final = 0.4
EVEN_FALLS: Final = 3
"""One phase has no vector: there the half cycles have to fall four times by about as much."""


@kernel
def clear_windows(c: Record) -> None:
    """Start the windows of the clock anew."""
    for phase in range(3):
        c["window_along"][phase] = 0.0
        c["window_across"][phase] = 0.0
        c["before_along"][phase] = 0.0
        c["before_across"][phase] = 0.0
    c["window_c2"] = 0.0
    c["window_s2"] = 0.0
    c["window_ticks"] = 0.0
    c["before_c2"] = 0.0
    c["before_s2"] = 0.0
    c["before_ticks"] = 0.0


@kernel
def half_cycle_level(c: Record, phase: int) -> float:
    """Return the amplitude of the sine that fits a phase over this window and the one before [pu]; leave it in
    ``half_a`` and ``half_b``."""
    cos_2, sin_2 = turned_back(phase, c["window_c2"] + c["before_c2"], c["window_s2"] + c["before_s2"])
    along = c["window_along"][phase] + c["before_along"][phase]
    across = c["window_across"][phase] + c["before_across"][phase]
    a, b = sine_in(along, across, c["window_ticks"] + c["before_ticks"], cos_2, sin_2)
    c["half_a"][phase] = a
    c["half_b"][phase] = b
    return math.sqrt(a * a + b * b)


@kernel
def close_window(c: Record) -> None:
    """Make this window the one before, and begin the next."""
    for phase in range(3):
        c["before_along"][phase] = c["window_along"][phase]
        c["before_across"][phase] = c["window_across"][phase]
        c["window_along"][phase] = 0.0
        c["window_across"][phase] = 0.0
    c["before_c2"] = c["window_c2"]
    c["before_s2"] = c["window_s2"]
    c["before_ticks"] = c["window_ticks"]
    c["window_c2"] = 0.0
    c["window_s2"] = 0.0
    c["window_ticks"] = 0.0


@kernel
def watch_decay(k: Record, c: Record) -> int:
    """Once per millisecond: return a cause when the voltage dies away slowly."""
    if k["phases"] == 1:
        return CAUSE_NONE
    ratio = c["slow_like"] / max(c["slow_own"], 0.02)
    ring = c["ratio_ms"]
    step = ring[3] - ratio
    c["decay_step"] = max(c["decay_step"], step)
    # A dip falls ever less once it is there, a machine that runs out does not.
    falling = step > DECAY_STEP and step > DECAY_EVEN * c["decay_step"]
    ring[3] = ring[2]
    ring[2] = ring[1]
    ring[1] = ring[0]
    ring[0] = ratio
    if falling and cycle_known(c):
        c["decay_ms"] += 1
    else:
        c["decay_ms"] = 0
        c["decay_step"] = max(step, 0.0)
    return CAUSE_DECAY if c["decay_ms"] >= k["decay_ms"] and ratio < DECAY_RATIO else CAUSE_NONE


@kernel
def watch_window(k: Record, c: Record) -> int:
    """Judge the last half cycle at the end of a window of 5 ms; return a cause, or 0.

    Each phase is the sine that fits it over that time, whatever its angle: a jump of the grid's phase is no dip. The
    smallest phase counts: a load behind one phase does not live on the mean of three.
    """
    smallest = 2.0
    if c["before_ticks"] > 0.0:
        for phase in range(k["phases"]):
            level = half_cycle_level(c, phase)
            if c["seen"][phase] >= SEEN_WINDOWS:
                smallest = min(smallest, level)
            elif level > SEEN_PU:
                c["seen"][phase] += 1
            else:
                c["seen"][phase] = 0
    close_window(c)
    if smallest > 1.9:
        return CAUSE_NONE
    fall = c["smallest_pu"] - smallest
    even = fall > FALL_PU and FALL_EVEN * fall < c["fall_pu"] and FALL_EVEN * c["fall_pu"] < fall
    c["even_falls"] = c["even_falls"] + 1 if even else 0
    c["fall_pu"] = fall
    c["smallest_pu"] = smallest
    # A half cycle with a jump of the phase in it looks short; the source behind it does not (upstream.py).
    c["deep_windows"] = c["deep_windows"] + 1 if smallest < DEEP_PU and not all_stand(c) else 0
    c["middle_windows"] = c["middle_windows"] + 1 if smallest < MIDDLE_PU else 0
    c["shallow_windows"] = c["shallow_windows"] + 1 if smallest < SHALLOW_PU else 0
    # The reference follows the healthy grid over 0.5 s and stands still in a dip.
    if smallest > 0.85:
        c["reference"] += 0.01 * (min(max(c["level_u"], 0.85), 1.15) - c["reference"])
    if c["even_falls"] >= EVEN_FALLS and smallest < DECAY_RATIO * c["reference"]:
        return CAUSE_DECAY
    if k["momentary_island"] == 0:
        return CAUSE_NONE
    if c["deep_windows"] >= k["deep_windows"]:
        return CAUSE_DEEP_DIP
    if c["middle_windows"] >= MIDDLE_WINDOWS or c["shallow_windows"] >= SHALLOW_WINDOWS:
        return CAUSE_LONG_DIP
    return CAUSE_NONE
