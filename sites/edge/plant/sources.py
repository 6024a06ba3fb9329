"""PV and load between the samples: their slow states, once per 10 ms."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.grid import MASK, next_random

PV_TIME_S: Final = 0.2
"""PV inverter's power tracking."""


@kernel
def advance_sources(g: Record, p: Record, duration_s: float, pv_limit_ratio: float) -> None:
    """Move load and sun by a step."""
    noise = next_random(p) / MASK - 0.5
    # A slow random walk held near the declared load, +-2 %.
    p["load_pu"] += 0.002 * g["load_pu"] * noise + 0.002 * (g["load_pu"] - p["load_pu"])
    target = g["pv_pu"] * pv_limit_ratio
    p["pv_pu"] += (target - p["pv_pu"]) * duration_s / PV_TIME_S
