"""The converter's DC link between its bridge and the battery's own DC-DC converter.

On a link that the battery feeds directly there is none of this: the bus is stiff. With a DC-DC converter
between, the link's capacitor alone carries a step until that has followed: 12 mF at 800 V hold 1.3 kJ down to
650 V, 2.6 ms at 500 kW. A link that runs low cannot modulate its voltage any more, and stops the bridge.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

FULL_PU: Final = 1.35
"""Peak phase voltage that the full link modulates: 800 V for a 400 V system with third harmonic injected."""
USABLE_SHARE: Final = 1.0 - (650.0 / 800.0) ** 2
"""Part of the link's energy that may go before its voltage no longer reaches the bus."""
LOW_SHARE: Final = (600.0 / 800.0) ** 2
HIGH_SHARE: Final = (900.0 / 800.0) ** 2
"""Energies at which the bridge stops."""
SUPPLY_MOST_PU: Final = 1.25


@kernel
def move_dc_link(g: Record, p: Record, bridge_pu: float) -> None:
    """Take a power out of the link for one sample [pu of the rating]; the supply follows with its time constant."""
    store_s = g["dc_store_s"]
    supply_s = g["dc_supply_s"]
    missing = (1.0 - p["dc_share"]) * store_s / (4.0 * supply_s)
    wanted = min(max(bridge_pu + missing / supply_s, -SUPPLY_MOST_PU), SUPPLY_MOST_PU)
    if p["battery_open"]:
        wanted = 0.0
    dt_s = g["dt_s"]
    p["dc_supply_pu"] += (wanted - p["dc_supply_pu"]) * (1.0 - math.exp(-dt_s / supply_s))
    p["dc_share"] = max(p["dc_share"] + (p["dc_supply_pu"] - bridge_pu) * dt_s / store_s, 0.0)
    if p["dc_share"] < LOW_SHARE or p["dc_share"] > HIGH_SHARE:
        p["bridge_stopped"] = 1


@kernel
def rest_dc_link(p: Record) -> None:
    """The bridge is off: the link is charged again, and a stop is forgotten for the next start."""
    p["dc_share"] = 1.0
    p["dc_supply_pu"] = 0.0
    p["bridge_stopped"] = 0


@kernel
def modulated(voltage: float, share: float) -> float:
    """Return the phase voltage that the link can modulate [pu]."""
    most = FULL_PU * math.sqrt(share)
    return min(max(voltage, -most), most)
