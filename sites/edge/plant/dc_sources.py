"""Sun and genset of a DC site between the samples, once per 10 ms."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

PV_TIME_S: Final = 0.2
"""Tracker's way to the maximum power point."""
GENSET_START_S: Final = 9.0
"""From order to load, 5-10 s for a single set."""


@kernel
def advance_dc_sources(g: Record, p: Record, dg: Record, d: Record, duration_s: float, genset_run: int) -> None:
    """Move the sun's power and the genset by a step. ``genset_pu`` is 1 when the set is ready for load."""
    d["pv_w"] += (g["pv_pu"] * g["base_w"] - d["pv_w"]) * duration_s / PV_TIME_S
    p["genset_ticks"] = p["genset_ticks"] + 1 if genset_run else 0
    p["genset_pu"] = 1.0 if p["genset_ticks"] * duration_s > GENSET_START_S else 0.0


@kernel
def burnt_dc_fuel_ul(g: Record, p: Record, genset_j: float, duration_s: float) -> float:
    """Fuel of a running set [ul]: F0 · rating · time + F1 · energy (HOMER's line)."""
    if p["genset_ticks"] == 0:
        return 0.0
    return g["fuel_idle_ul_s"] * duration_s + g["fuel_ul_j"] * genset_j
