"""PV, genset and load between the samples: their slow states, once per 10 ms."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.grid import MASK, next_random

PV_TIME_S: Final = 0.2
"""PV inverter's power tracking."""
GENSET_START_S: Final = 9.0
"""Diesel set from order to load: 8-10 s (NFPA 110 type 10)."""
GENSET_RAMP_S: Final = 3.0
GENSET_SHARE: Final = 0.75
"""Working point in the efficient band of 60-85 %."""


@kernel
def advance_sources(g: Record, p: Record, duration_s: float, pv_limit_ratio: float, genset_run: int) -> None:
    """Move load, sun and genset by a step."""
    noise = next_random(p) / MASK - 0.5
    # A slow random walk held near the declared load, +-2 %.
    p["load_pu"] += 0.002 * g["load_pu"] * noise + 0.002 * (g["load_pu"] - p["load_pu"])
    target = g["pv_pu"] * pv_limit_ratio
    p["pv_pu"] += (target - p["pv_pu"]) * duration_s / PV_TIME_S
    if genset_run:
        p["genset_ticks"] += 1
    else:
        p["genset_ticks"] = 0
    if p["genset_ticks"] * duration_s > GENSET_START_S:
        step = g["genset_rated_pu"] * duration_s / GENSET_RAMP_S
        p["genset_pu"] = min(p["genset_pu"] + step, GENSET_SHARE * g["genset_rated_pu"])
    elif not genset_run:
        p["genset_pu"] = max(p["genset_pu"] - g["genset_rated_pu"] * duration_s / GENSET_RAMP_S, 0.0)


@kernel
def burnt_fuel_ul(g: Record, p: Record, genset_j: float, duration_s: float) -> float:
    """Fuel of a running set [ul]: F0 · rating · time + F1 · energy (HOMER's line)."""
    if p["genset_ticks"] == 0 and p["genset_pu"] <= 0.0:
        return 0.0
    return g["fuel_idle_ul_s"] * duration_s + g["fuel_ul_j"] * genset_j
