"""Orders to a diesel set in an island: start, share of load, unloading, stop.

The set's own panel synchronizes it to the bus, closes its breaker and cools it down; the converter stays the
master of frequency and voltage and takes what the set does not carry. The set is loaded on a ramp, so that
load passes to it and back without a step, never below its minimum and in its efficient band.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import follow

STOPPED: Final = 0
STARTING: Final = 1
READY: Final = 2
ON_BUS: Final = 3
COOLING: Final = 4
FAILED: Final = 5
"""States that a set's panel reports; READY: at rated speed, its breaker open."""

MINIMUM_SHARE: Final = 0.3
"""Below this a diesel glazes its cylinders (wet stacking)."""
HIGHEST_SHARE: Final = 0.85
RAMP_S: Final = 10.0
"""Zero to rated power."""
CHARGE_PU: Final = 0.3
"""What the converter takes for the battery while the set runs."""
FULL_RATIO: Final = 0.95
UNLOADED_SHARE: Final = 0.05
UNLOAD_TIMEOUT_MS: Final = 30_000
ATTEMPTS: Final = 3
"""Starts that may end in a failure before somebody has to look at the set."""


@kernel
def supervise_genset(k: Record, c: Record, soc_ratio: float, state: int, genset_pu: float, leaves: int) -> None:
    """One millisecond. ``leaves``: the site wants to return to the grid, which the set must not see."""
    if c["genset_run"] == 0:
        low = soc_ratio < k["genset_start_ratio"] or c["genset_wanted"]
        wanted = low and not leaves and c["genset_failures"] < ATTEMPTS
        if wanted and (state in (STOPPED, COOLING)):
            c["genset_run"] = 1
            c["genset_ms"] = 0
            c["genset_leaves"] = 0
            c["genset_target_pu"] = 0.0
        return
    c["genset_ms"] += 1
    rated = k["genset_rated_pu"]
    least = MINIMUM_SHARE * rated
    load = c["power_pu"] + genset_pu
    # A load below the minimum, and a battery that cannot take the rest: the set has to go.
    idle = soc_ratio > FULL_RATIO and load < least
    ran = c["genset_ms"] >= k["genset_minimum_run_ms"]
    done = soc_ratio > k["genset_stop_ratio"] and ran and c["genset_wanted"] == 0
    if (done or idle or leaves) and c["genset_leaves"] == 0:
        c["genset_leaves"] = 1
    if c["genset_leaves"]:
        unload(c, state, genset_pu, rated)
    elif state == ON_BUS:
        charge = CHARGE_PU if soc_ratio < FULL_RATIO else 0.0
        wanted = min(max(load + charge, least), HIGHEST_SHARE * rated)
        c["genset_target_pu"] = follow(c["genset_target_pu"], wanted, rated / (RAMP_S * 1000.0))
    elif state == FAILED:
        c["genset_failures"] += 1
        c["genset_run"] = 0
        c["genset_close"] = 0
    else:
        c["genset_target_pu"] = 0.0
        c["genset_close"] = 1


@kernel
def unload(c: Record, state: int, genset_pu: float, rated: float) -> None:
    """Give the load back on the ramp, part at next to none, and let the panel cool the set down."""
    if state == ON_BUS and c["genset_leaves"] < UNLOAD_TIMEOUT_MS:
        c["genset_leaves"] += 1
        c["genset_target_pu"] = follow(c["genset_target_pu"], 0.0, rated / (RAMP_S * 1000.0))
        if genset_pu > UNLOADED_SHARE * rated:
            return
    c["genset_close"] = 0
    if state != ON_BUS:
        c["genset_run"] = 0
        c["genset_leaves"] = 0
        c["genset_target_pu"] = 0.0
