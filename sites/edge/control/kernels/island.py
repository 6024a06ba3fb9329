"""Island supervision: frequency droop, voltage, storage and genset, and the way back to the grid."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import follow
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.synchronism import bus_lead, watch_enter_service, watch_synchronism

ISLAND_SLEW_RAD_S2: Final = 6.0
"""How fast an island's frequency returns to its droop line: about 1 Hz/s."""
SLIP_RAD_S: Final = 1.2
"""Largest slip used to turn an island's angle towards the grid: about 0.2 Hz."""
FAULT_MS: Final = 500
STUCK_CONTACTS_MS: Final = 200


@kernel
def supervise_island(k: Record, c: Record, m: Record, table: Any) -> None:
    """Islanded: frequency droop, voltage, storage and genset, and the way back."""
    c["required_pu"] = 0.0
    watch_enter_service(k, c)
    # Voltage: the level rises until the bus is at its target, slow against the converter's own stiffness.
    target = 1.0
    event = modes.NOTHING
    droop = k["nominal_rad_s"] - k["island_droop_rad_s"] * c["power_pu"]
    slew = ISLAND_SLEW_RAD_S2 * 0.001
    if c["mode"] == modes.RESYNCHRONIZING:
        lead = bus_lead(k, c)
        target = min(max(c["level_u"], 0.9), 1.1)
        slip = min(max(-4.0 * lead, -SLIP_RAD_S), SLIP_RAD_S)
        c["omega_e"] = follow(c["omega_e"], c["omega_u"] + slip, slew)
        if c["switch_command"] == 0:
            if c["fit_ticks"] == 0:
                event = modes.GRID_UNFIT
            elif watch_synchronism(k, c, lead):
                c["switch_command"] = 1
        elif m["poles_closed"] == k["phases"]:
            event = modes.SWITCH_CLOSED
    else:
        c["omega_e"] = follow(c["omega_e"], droop, slew)
        if m["poles_closed"] > 0 and c["mode_ticks"] > STUCK_CONTACTS_MS * k["ticks_per_ms"]:
            event = modes.SWITCH_CLOSED
        elif c["fit_ticks"] >= k["enter_delay_ticks"]:
            event = modes.GRID_FIT
    c["level_e"] = min(max(c["level_e"] + 0.01 * (target - c["voltage_pu"]), 0.85), 1.15)
    if c["voltage_pu"] < 0.5:
        c["fault_ms"] += 1
        if c["fault_ms"] >= FAULT_MS:
            event = modes.BUS_FAULT
    else:
        c["fault_ms"] = 0
    # Diesel last: only alone, and only when the battery is low.
    if k["genset_fitted"]:
        if m["soc_ratio"] < k["genset_start_ratio"]:
            c["genset_run"] = 1
        elif m["soc_ratio"] > k["genset_stop_ratio"]:
            c["genset_run"] = 0
    # A full battery cannot take the sun's surplus: hold the PV back until the converter no longer charges.
    if m["soc_ratio"] > 0.97 or c["power_pu"] < -m["charge_limit_pu"]:
        c["pv_limit_ratio"] = min(max(c["pv_limit_ratio"] + 0.005 * c["power_pu"], 0.0), 1.0)
    else:
        c["pv_limit_ratio"] = follow(c["pv_limit_ratio"], 1.0, 0.0002)
    if event != modes.NOTHING:
        change_mode(k, c, table, event)
