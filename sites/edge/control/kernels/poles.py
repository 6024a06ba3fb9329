"""Current through the static switch: a pole upstream that has gone out leaves none where a cycle ago there was some.

A breaker's pole goes out at a zero of its current, so the wave is missed only as it should rise again. ``flat_area`` is
the current that should have flowed while none did: it separates a pole that is out from a zero crossing that has only
moved. Alone it proves nothing (a load that is switched off looks the same): the voltage has to change with it.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

STILL_SHARE: Final = 0.5
STILL_TIME: Final = 15
"""A current that does not move, whatever its offset, has to do so for half a cycle, 9 ms: longer than any crest
lasts."""
OFFSET_SQUARE: Final = 0.08
"""Around zero within 20 % of the peak: at its crest a sine stands still, too."""
MIN_SQUARE: Final = 1e-4
"""Below 1 % of the rating there is no current to miss [pu²]."""


@kernel
def watch_pole(k: Record, c: Record, phase: int, current: float) -> int:
    """Take one sample of the current through one pole [pu]; return 1 while it is found to be out."""
    square = current * current
    usual = c["i_square"][phase]
    lately = c["i_lately"][phase] + k["lately_memory"] * (square - c["i_lately"][phase])
    c["i_lately"][phase] = lately
    # A transformer's or a probe's own offset outlives the current: then what counts is what moves.
    mean = c["i_mean"][phase] + k["mean_memory"] * (current - c["i_mean"][phase])
    c["i_mean"][phase] = mean
    moved = current - mean
    moving = c["i_moving"][phase] + k["lately_memory"] * (moved * moved - c["i_moving"][phase])
    c["i_moving"][phase] = moving
    none = lately < k["flat_square"] * usual
    still = moving < STILL_SHARE * k["flat_square"] * usual and mean * mean < OFFSET_SQUARE * usual
    if not (none or still) or usual < MIN_SQUARE:
        c["i_square"][phase] = usual + k["scale_memory"] * (square - usual)
        c["flat_ticks"][phase] = 0
        c["gone_ticks"][phase] = 0
        c["flat_area"][phase] = 0.0
        return 0
    ticks = c["flat_ticks"][phase] + 1
    c["flat_ticks"][phase] = ticks
    if ticks > c["cycle_ticks"]:
        # No current for a cycle: nothing more to miss, and the scale may follow.
        c["i_square"][phase] = usual + k["scale_memory"] * (square - usual)
        return 0
    area = c["flat_area"][phase] + abs(c["i_past"][phase] - mean)
    c["flat_area"][phase] = area
    needed = k["flat_area"] * k["flat_area"] * 2.0 * usual
    gone = c["gone_ticks"][phase] + 1 if none else 0
    c["gone_ticks"][phase] = gone
    if (gone < k["flat_ticks"] and ticks < STILL_TIME * k["flat_ticks"]) or area * area < needed:
        return 0
    c["flat_longest"] = max(c["flat_longest"], area / math.sqrt(2.0 * usual))
    return 1


@kernel
def watch_poles(k: Record, c: Record, ia: float, ib: float, ic: float) -> None:
    """Take one sample of the currents into the bus [pu]; a pole found out opens a window in which the voltage may
    agree."""
    found = watch_pole(k, c, 0, ia)
    if k["phases"] == 3:
        found += watch_pole(k, c, 1, ib)
        found += watch_pole(k, c, 2, ic)
    if found >= k["flat_poles"]:
        c["open_ticks"] = k["open_latch_ticks"]
    elif c["open_ticks"] > 0:
        c["open_ticks"] -= 1
    else:
        c["flat_longest"] = 0.0
