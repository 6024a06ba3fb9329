"""The static switch: how each kind opens and closes, pole by pole."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

SIC: Final = 0
FORCED: Final = 1
NATURAL: Final = 2
CONTACTOR: Final = 3

OPEN_DELAY_S: Final = (50e-6, 0.85e-3, 0.0, 25e-3)
"""From the order to the end of current (SiC, forced: 0.05-0.8 ms plus 0.15 ms recovery) or to the first
instant at which a pole may go out at its current zero (natural, contactor)."""
CLOSE_DELAY_S: Final = (50e-6, 100e-6, 100e-6, 30e-3)
POLE_SCATTER_S: Final = (0.0, 0.0, 0.0, 2e-3)
"""A contactor's poles part one after the other (3-6 ms over three poles, measured in real recordings)."""


@kernel
def move_switch(g: Record, p: Record, phases: Any, command: int) -> None:
    """Move the switch's poles for one sample towards the controller's order."""
    if command != p["switch_target"]:
        p["switch_target"] = command
        p["switch_ticks"] = 0
    p["switch_ticks"] += 1
    ticks = p["switch_ticks"]
    if command:
        if ticks == g["close_delay_ticks"]:
            for k in range(g["phases"]):
                phases[k]["switch_closed"] = 1
        return
    at_zero = g["switch_kind"] >= NATURAL
    for k in range(g["phases"]):
        if phases[k]["switch_stuck"]:
            continue
        if phases[k]["switch_closed"] and ticks >= g["open_delay_ticks"] + k * g["pole_scatter_ticks"]:
            if not at_zero:
                phases[k]["switch_closed"] = 0
            elif phases[k]["i_switch"] * phases[k]["i_before"] <= 0.0:
                # i_before holds the previous sample's current through this pole: it has changed sign.
                phases[k]["switch_closed"] = 0


@kernel
def poles_closed(g: Record, phases: Any) -> int:
    """Count the poles that conduct, as the auxiliary contacts report them."""
    count = 0
    for k in range(g["phases"]):
        count += phases[k]["switch_closed"]
    return count
