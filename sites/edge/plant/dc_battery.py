"""Battery strings on a DC bus: open-circuit voltage, resistance with two time constants, own protection."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.dc_records import OCV_POINTS

AMBIENT_C: Final = 22.0
HEAT_TIME_S: Final = 5400.0
RESET_V_PER_CELL: Final = 0.2
"""How far above its lower limit a cell's rest voltage must be before the battery's protection lets go."""


@kernel
def open_circuit_v(dg: Record, soc_ratio: float) -> float:
    """Open-circuit voltage of the strings [V], linear between the table's points."""
    for j in range(OCV_POINTS - 1):
        s1 = dg["ocv_soc"][j + 1]
        if soc_ratio <= s1 or j == OCV_POINTS - 2:
            s0 = dg["ocv_soc"][j]
            v0 = dg["ocv_v"][j]
            return dg["cells"] * (v0 + (dg["ocv_v"][j + 1] - v0) * (soc_ratio - s0) / (s1 - s0))
    return 0.0


@kernel
def advance_cells(dg: Record, d: Record, p: Record, charge_as: float, duration_s: float) -> None:
    """Move state of charge, polarization and temperature by a row, from the charge that left the cells [As]."""
    current_a = charge_as / duration_s
    efficiency = 1.0 if current_a >= 0.0 else dg["charge_efficiency"]
    p["soc_ratio"] = min(max(p["soc_ratio"] - charge_as * efficiency / dg["battery_as"], 0.0), 1.0)
    d["fast_v"] += (dg["fast_ohm"] * current_a - d["fast_v"]) * duration_s / dg["fast_s"]
    d["slow_v"] += (dg["slow_ohm"] * current_a - d["slow_v"]) * duration_s / dg["slow_s"]
    d["emf_v"] = open_circuit_v(dg, p["soc_ratio"]) - d["fast_v"] - d["slow_v"]
    loss_w = current_a * (dg["battery_ohm"] * current_a + d["fast_v"] + d["slow_v"])
    heat_j_k = 1.9e-3 * dg["battery_as"] * dg["nominal_v"]
    cooling_w = heat_j_k / HEAT_TIME_S * (p["temperature_c"] - AMBIENT_C)
    p["temperature_c"] += (loss_w - cooling_w) * duration_s / heat_j_k


@kernel
def guard_cells(dg: Record, d: Record) -> None:
    """The battery's own protection, once per row: opens its contactor outside the cells' limits.

    After an undervoltage it stays ready for charging: it closes again when the bus is above its rest voltage.
    """
    cell_v = (d["emf_v"] - dg["battery_ohm"] * d["battery_a"]) / dg["cells"]
    if cell_v < dg["cell_low_v"] or cell_v > dg["cell_high_v"] or abs(d["battery_a"]) > dg["trip_a"]:
        d["bms_trip"] = 1
    elif d["bms_trip"] and d["battery_closed"] == 0:
        rested = d["emf_v"] / dg["cells"] > dg["cell_low_v"] + RESET_V_PER_CELL
        if rested or d["bus_v"] > d["emf_v"]:
            d["bms_trip"] = 0
