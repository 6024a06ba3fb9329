"""Groups of load behind contactors of their own: shed from the last, restored from the first.

Shed at once when the converter alone cannot carry the load, and one after the other as the battery
empties; restored with hysteresis and a pause, and only when the rated load of the tier fits.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.records import TIERS

OVERLOAD_PU: Final = 1.1
LOW_PU: Final = 0.88
"""Voltage that the current limit leaves when the load asks for more."""
OVERLOAD_MS: Final = 8
"""Means of power and voltage already cover 10 ms: with the contactor the load falls after 20-40 ms."""
SHED_PAUSE_MS: Final = 40
"""A contactor's time and the means' own: what the last shedding did must be seen before the next."""
HYSTERESIS_RATIO: Final = 0.05
ROOM_PU: Final = 0.9
"""Load that a restored tier may bring the converter to."""
TIED_STEP_MS: Final = 500


@kernel
def shed(c: Record) -> None:
    """Open the contactor of the last tier that is closed."""
    c["tiers_closed"] -= 1
    c["sheds"] += 1
    c["tier_wait_ms"] = 0


@kernel
def allowed_tiers(k: Record, soc_ratio: float) -> int:
    """Count the tiers that the battery's charge allows."""
    allowed = 0
    for tier in range(TIERS):
        if soc_ratio >= k["tier_low_ratio"][tier]:
            allowed = tier + 1
        else:
            break
    return allowed


@kernel
def supervise_tiers(k: Record, c: Record, soc_ratio: float, supported: int) -> None:
    """Alone: shed by power, shed by charge, restore. Once per millisecond.

    ``supported``: a running genset carries the load, so that the charge does not count.
    """
    c["tier_wait_ms"] += 1
    closed = c["tiers_closed"]
    if c["power_pu"] > OVERLOAD_PU or c["voltage_pu"] < LOW_PU:
        c["overload_ms"] += 1
    else:
        c["overload_ms"] = 0
    if closed > 0 and c["overload_ms"] >= OVERLOAD_MS and c["tier_wait_ms"] >= SHED_PAUSE_MS:
        shed(c)
        return
    allowed = TIERS if supported else allowed_tiers(k, soc_ratio)
    if closed > allowed and c["tier_wait_ms"] >= SHED_PAUSE_MS:
        shed(c)
    elif closed < TIERS and c["tier_wait_ms"] >= k["tier_restore_ms"]:
        fits = c["power_pu"] + k["tier_pu"][closed] <= ROOM_PU and c["voltage_pu"] > 0.95
        charged = supported or soc_ratio >= k["tier_low_ratio"][closed] + HYSTERESIS_RATIO
        if fits and charged and c["energy_out"] == 0:
            c["tiers_closed"] += 1
            c["tier_wait_ms"] = 0


@kernel
def restore_tiers(c: Record) -> None:
    """Beside the grid: close what was shed, half a second apart. Once per millisecond."""
    if c["tiers_closed"] < TIERS:
        c["tier_wait_ms"] += 1
        if c["tier_wait_ms"] >= TIED_STEP_MS:
            c["tiers_closed"] += 1
            c["tier_wait_ms"] = 0
