"""Current through the static switch: a pole upstream that has gone out leaves none where a cycle ago there was some.

A breaker's pole goes out at a zero of its current, so the wave is missed only as it should rise again. ``flat_area`` is
the current that should have flowed while none did: it separates a pole that is out from a zero crossing that has only
moved. Alone it proves nothing (a load that is switched off looks the same): the voltage has to change with it.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

STILL_TIME: Final = 15
"""A current that does not move, whatever its offset, has to do so for half a cycle, 9 ms: longer than any crest
lasts."""


@kernel
def pole_found(k: Record, c: Record, phase: int) -> int:
    """Return 1 while a pole is found to be out, from what phases.py keeps of its current."""
    ticks = c["flat_ticks"][phase]
    if ticks == 0.0 or ticks > c["cycle_ticks"]:
        return 0
    area = c["flat_area"][phase]
    usual = c["i_square"][phase]
    needed = k["flat_area"] * k["flat_area"] * 2.0 * usual
    gone = c["gone_ticks"][phase]
    if (gone < k["flat_ticks"] and ticks < STILL_TIME * k["flat_ticks"]) or area * area < needed:
        return 0
    c["flat_longest"] = max(c["flat_longest"], area / math.sqrt(2.0 * usual))
    return 1


@kernel
def watch_poles(k: Record, c: Record) -> None:
    """After each sample: a pole found out opens a window in which the voltage may agree."""
    found = 0
    for phase in range(k["phases"]):
        found += pole_found(k, c, phase)
    if found >= k["flat_poles"]:
        c["open_ticks"] = k["open_latch_ticks"]
    elif c["open_ticks"] > 0:
        c["open_ticks"] -= 1
    else:
        c["flat_longest"] = 0.0
