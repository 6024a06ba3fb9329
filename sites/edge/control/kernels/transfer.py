"""Between tied and alone: the exchange with the grid, planned islands, the ramp after entering service."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import follow
from sites.edge.control.kernels.records import CAUSE_PLANNED
from sites.edge.control.kernels.tiers import restore_tiers

EXCHANGE_PU: Final = 0.03
"""Exchange with the grid that counts as none when the switch opens on request."""
SETTLED_MS: Final = 200
PLANNED_RAMP_PER_MS: Final = 0.001
PLANNED_TIMEOUT_MS: Final = 30_000
"""A load beyond the converter's rating cannot be taken over: the request lapses and is counted as refused."""


@kernel
def watch_exchange(k: Record, c: Record, m: Record) -> None:
    """Follow the power through the switch into the bus over about 20 ms [pu]; once per millisecond."""
    power = m["va"] * m["ia"]
    if k["phases"] == 3:
        power += m["vb"] * m["ib"] + m["vc"] * m["ic"]
    c["pcc_pu"] += 0.05 * (power * 2.0 / k["phases"] - c["pcc_pu"])


@kernel
def steer_exchange(k: Record, c: Record, m: Record, wanted: float) -> float:
    """Return the power to hold beside the grid [pu]: ``wanted``, the ramp of a fresh entry, or a planned island.

    IEEE 1547-2018 4.10.3: after entering service the power changes no faster than the profile's ramp.
    """
    watch_exchange(k, c, m)
    restore_tiers(c)
    if c["island_wanted"]:
        c["planned_pu"] = follow(c["planned_pu"], c["power_pu"] + c["pcc_pu"], PLANNED_RAMP_PER_MS)
        return min(max(c["planned_pu"], -1.0), 1.0)
    if c["entry_room_pu"] < 2.0:
        c["entry_room_pu"] += k["entry_ramp_per_ms"]
        low = min(c["entry_pu"], 0.0) - c["entry_room_pu"]
        high = max(c["entry_pu"], 0.0) + c["entry_room_pu"]
        return min(max(wanted, low), high)
    return wanted


@kernel
def planned_event(c: Record) -> int:
    """Return ISLAND_PLANNED once the exchange has stayed at about zero, or 0. Once per millisecond."""
    if c["island_wanted"] == 0:
        return modes.NOTHING
    if abs(c["pcc_pu"]) < EXCHANGE_PU:
        c["in_sync_ms"] += 1
    else:
        c["in_sync_ms"] = 0
    c["wanted_ms"] += 1
    if c["in_sync_ms"] >= SETTLED_MS:
        return modes.ISLAND_PLANNED
    if c["wanted_ms"] > PLANNED_TIMEOUT_MS:
        c["island_wanted"] = 0
        c["refusals"] += 1
    return modes.NOTHING


@kernel
def return_delay(k: Record, c: Record) -> int:
    """Return the samples that the grid must be fit before this island may return.

    A profile that permits momentary islands lets a short one return at once; any other waits as for entering
    service.
    """
    by_detector = c["cause"] != 0 and c["cause"] < CAUSE_PLANNED
    if k["momentary_ms"] > 0 and by_detector:
        # How long the grid was away: the island's age less the time that it has been fit again.
        away_ms = c["island_ms"] - c["fit_ticks"] // k["ticks_per_ms"]
        if away_ms <= k["momentary_ms"]:
            c["momentary"] = 1
            return k["momentary_delay_ticks"]
    c["momentary"] = 0
    return k["enter_delay_ticks"]
