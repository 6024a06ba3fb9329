"""Current through the static switch: a pole upstream that has gone out leaves no current where one cycle ago there
was some.

A breaker's pole goes out at a zero of its current, so the wave is missed only as it should rise again. ``flat_area``
is the
current that should have flowed while none did: it separates a pole that is out from a zero crossing that has only
moved.
Alone it proves nothing (a load that is switched off looks the same): the voltage has to change with it.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

LOOSE: Final = 2.0
LOOSE_TIME: Final = 3
"""A current that is almost none (its square twice as large, from the noise of the switching) has to be so three times
as long."""
MIN_SQUARE: Final = 1e-4
"""Below 1 % of the rating there is no current to miss [pu²]."""


@kernel
def watch_pole(k: Record, c: Record, phase: int, current: float) -> int:
    """Take one sample of the current through one pole [pu]; return 1 while it is found to be out."""
    square = current * current
    usual = c["i_square"][phase]
    lately = c["i_lately"][phase] + k["lately_memory"] * (square - c["i_lately"][phase])
    c["i_lately"][phase] = lately
    if lately >= LOOSE * k["flat_square"] * usual or usual < MIN_SQUARE:
        c["i_square"][phase] = usual + k["scale_memory"] * (square - usual)
        c["flat_ticks"][phase] = 0
        c["still_ticks"][phase] = 0
        c["flat_area"][phase] = 0.0
        return 0
    ticks = c["flat_ticks"][phase] + 1
    c["flat_ticks"][phase] = ticks
    if ticks > c["cycle_ticks"]:
        # No current for a cycle: nothing more to miss, and the scale may follow.
        c["i_square"][phase] = usual + k["scale_memory"] * (square - usual)
        return 0
    area = c["flat_area"][phase] + abs(c["i_past"][phase])
    c["flat_area"][phase] = area
    needed = k["flat_area"] * k["flat_area"] * 2.0 * usual
    still = c["still_ticks"][phase] + 1 if lately < k["flat_square"] * usual else 0
    c["still_ticks"][phase] = still
    if (still < k["flat_ticks"] and ticks < LOOSE_TIME * k["flat_ticks"]) or area * area < needed:
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
        c["open_phases"] += found
    elif c["open_ticks"] > 0:
        c["open_ticks"] -= 1
    else:
        c["open_phases"] = 0
        c["flat_longest"] = 0.0
