"""The static switch: how each kind opens and closes, pole by pole."""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.grid import MASK, next_random

SIC: Final = 0
FORCED: Final = 1
NATURAL: Final = 2
CONTACTOR: Final = 3

SIC_DELAY_S: Final = 50e-6
"""From the order to the end of current, which then goes through the arresters."""
COMMUTATION_L_PU: Final = 0.05
COMMUTATION_PU: Final = 65.0 / 326.6
"""Voltage that forced commutation sets against the current, on the peak of 230 V."""
RECOVERY_S: Final = 150e-6
"""A thyristor must stay without current for so long before it holds voltage."""
CONTACTOR_LEAST_S: Final = 15e-3
CONTACTOR_MOST_S: Final = 40e-3
SCATTER_LEAST_S: Final = 3e-3
SCATTER_MOST_S: Final = 6e-3
"""From the first to the last pole of a contactor (measured in real recordings)."""
CLOSE_DELAY_S: Final = (50e-6, 100e-6, 100e-6, 30e-3)


@kernel
def commutation_s(current_pu: float, nominal_rad_s: float) -> float:
    """Time that forced commutation takes to end a pole's current, L I / V, and the thyristor's recovery [s]."""
    return COMMUTATION_L_PU / nominal_rad_s * abs(current_pu) / COMMUTATION_PU + RECOVERY_S


@kernel
def random_between(p: Record, low: float, high: float) -> float:
    """Return a random number between two others."""
    return low + (high - low) * (next_random(p) / MASK)


@kernel
def order_opening(g: Record, p: Record, phases: Any) -> None:
    """Set after how many samples each pole is out, or may go out at its current zero."""
    kind = g["switch_kind"]
    count = g["phases"]
    first_s = 0.0
    scatter_s = 0.0
    turn = 0
    if kind == CONTACTOR:
        # Each operation of a contactor is a little different, and so is the order of its poles.
        first_s = random_between(p, CONTACTOR_LEAST_S, CONTACTOR_MOST_S)
        scatter_s = random_between(p, SCATTER_LEAST_S, SCATTER_MOST_S)
        turn = next_random(p) % count
    for k in range(count):
        delay_s = 0.0
        if kind == SIC:
            delay_s = SIC_DELAY_S
        elif kind == FORCED:
            delay_s = commutation_s(phases[k]["i_switch"], g["nominal_rad_s"])
        elif kind == CONTACTOR:
            delay_s = first_s + scatter_s * ((k + turn) % count) / max(count - 1, 1)
        phases[k]["open_ticks"] = max(1, math.ceil(delay_s / g["dt_s"] - 1e-9))


@kernel
def move_switch(g: Record, p: Record, phases: Any, command: int) -> None:
    """Move the switch's poles for one sample towards the controller's order."""
    if command != p["switch_target"]:
        p["switch_target"] = command
        p["switch_ticks"] = 0
        if command == 0:
            order_opening(g, p, phases)
    p["switch_ticks"] += 1
    ticks = p["switch_ticks"]
    if command:
        if ticks == g["close_delay_ticks"]:
            for k in range(g["phases"]):
                phases[k]["switch_closed"] = 1
        return
    at_zero = g["switch_kind"] >= NATURAL
    for k in range(g["phases"]):
        if phases[k]["switch_closed"] and ticks >= phases[k]["open_ticks"] and not phases[k]["switch_stuck"]:
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
