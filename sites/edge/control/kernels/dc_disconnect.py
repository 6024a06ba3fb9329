"""Low-voltage disconnect by tiers of DC load: thresholds, delay, and reconnection with hysteresis."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel

DRAINED_SHARE: Final = 0.02
"""Current out of the battery over its largest from which on it counts as drained."""


@kernel
def supervise_tiers(c: Record, m: Record, dk: Record, dc: Record, dm: Record) -> None:
    """Part and reconnect tiers of load; called once per millisecond.

    A tier goes when the bus has been below its voltage, or without mains the battery below its state of
    charge, for the delay; never while rectifiers carry the load, for then nothing is drawn from the battery. It
    returns, the lower tiers first, when for its delay rectifiers have carried the load with something left, or
    the bus has been above the higher reconnection voltage and the battery has charge again.
    """
    tied = c["mode"] == modes.GRID_TIED
    drained = dc["battery_a"] > DRAINED_SHARE * dk["discharge_a"]
    charged = dc["battery_a"] < -DRAINED_SHARE * dk["discharge_a"]
    carried = tied and dm["rectifier_on"] and not drained and (charged or not dm["limiting"])
    for tier in range(dk["tier_off_v"].shape[0]):
        if dc["tier_command"][tier]:
            low = dc["bus_v"] < dk["tier_off_v"][tier]
            if carried:
                low = False
            elif not tied and m["soc_ratio"] < dk["tier_off_ratio"][tier]:
                low = True
            dc["tier_low_ms"][tier] = dc["tier_low_ms"][tier] + 1 if low else 0
            dc["tier_high_ms"][tier] = 0
            if dc["tier_low_ms"][tier] >= dk["tier_off_ms"]:
                dc["tier_command"][tier] = 0
                dc["tier_low_ms"][tier] = 0
                dc["disconnects"] += 1
        else:
            high = dc["bus_v"] > dk["tier_on_v"][tier] and m["soc_ratio"] >= dk["reconnect_ratio"]
            high = high or carried
            if tier > 0 and dc["tier_command"][tier - 1] == 0:
                high = False
            dc["tier_high_ms"][tier] = dc["tier_high_ms"][tier] + 1 if high else 0
            if dc["tier_high_ms"][tier] >= dk["tier_on_ms"]:
                dc["tier_command"][tier] = 1
                dc["tier_high_ms"][tier] = 0
