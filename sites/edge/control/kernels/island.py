"""Island supervision: frequency droop, voltage, load tiers, storage and genset, and the way back to the grid."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import genset, modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import follow
from sites.edge.control.kernels.genset import supervise_genset
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.protection import watch_leak
from sites.edge.control.kernels.synchronism import bus_lead, watch_enter_service, watch_synchronism
from sites.edge.control.kernels.tiers import supervise_tiers
from sites.edge.control.kernels.transfer import return_delay

ISLAND_SLEW_RAD_S2: Final = 6.0
"""How fast an island's frequency returns to its droop line: about 1 Hz/s."""
SHARED_SLEW_RAD_S2: Final = 120.0
"""The same beside a machine: the droop damps its swing and must follow it."""
SLIP_RAD_S: Final = 1.2
"""Largest slip used to turn an island's angle towards the grid: about 0.2 Hz."""
FAULT_MS: Final = 500
"""Low voltage that downstream breakers have not cleared by then is a fault of the bus."""
UNDER_PU: Final = 0.85
UNDER_MS: Final = 2000
"""Under-voltage with nothing left to shed."""
STUCK_CONTACTS_MS: Final = 200
CLOSE_TIMEOUT_MS: Final = 500
"""Poles that have not all closed by then do not close."""
EMPTY_RATIO: Final = 0.05
"""The battery's management fades the discharge out below this, and parts the battery soon after."""
LOW_RATIO: Final = 0.1
EMPTY_MS: Final = 1000
"""An empty battery's last order, the tiers open, has this long to take effect."""
SYNC_SHARE: Final = 0.8
"""Share of the permitted slip that turns the angle: the rest is for what the estimate does not see."""


@kernel
def supervise_island(k: Record, c: Record, m: Record, table: Any) -> None:
    """Islanded or on the way back; once per millisecond."""
    c["required_pu"] = 0.0
    c["island_ms"] += 1
    watch_enter_service(k, c)
    # Voltage: the level rises until the bus is at its target, slow against the converter's own stiffness.
    target = 1.0
    if c["mode"] == modes.RESYNCHRONIZING:
        target = min(max(c["level_u"], 0.9), 1.1)
        event = return_to_grid(k, c, m)
    else:
        event = stay_alone(k, c, m)
    c["level_e"] = min(max(c["level_e"] + 0.01 * (target - c["voltage_pu"]), 0.85), 1.15)
    supported = m["genset_state"] == genset.ON_BUS
    supervise_tiers(k, c, m["soc_ratio"], supported)
    following = watch_supply(c, m["soc_ratio"], m["pcs_running"], supported)
    if following != modes.NOTHING:
        event = following
    # Diesel last: only alone, and only when the battery is low.
    if k["genset_fitted"]:
        leaves = c["fit_ticks"] >= return_delay(k, c) and c["hold_island"] == 0
        supervise_genset(k, c, m["soc_ratio"], m["genset_state"], m["genset_pu"], int(leaves))
    # A full battery cannot take the sun's surplus: hold the PV back until the converter no longer charges.
    if m["soc_ratio"] > 0.97 or c["power_pu"] < -m["charge_limit_pu"]:
        c["pv_limit_ratio"] = min(max(c["pv_limit_ratio"] + 0.005 * c["power_pu"], 0.0), 1.0)
    else:
        c["pv_limit_ratio"] = follow(c["pv_limit_ratio"], 1.0, 0.0002)
    if event != modes.NOTHING:
        change_mode(k, c, table, event)


@kernel
def stay_alone(k: Record, c: Record, m: Record) -> int:
    """Frequency by the droop; return the event that ends the island, or 0."""
    beside = m["genset_state"] == genset.ON_BUS
    slew = SHARED_SLEW_RAD_S2 if beside else ISLAND_SLEW_RAD_S2
    droop = k["nominal_rad_s"] - k["island_droop_rad_s"] * c["power_pu"]
    c["omega_e"] = follow(c["omega_e"], droop, slew * 0.001)
    if c["mode_ticks"] > STUCK_CONTACTS_MS * k["ticks_per_ms"]:
        if m["poles_closed"] > 0:
            return modes.SWITCH_CLOSED
        if watch_leak(k, c, m):
            return modes.SWITCH_STUCK
    if c["hold_island"] == 0 and m["poles_closed"] == 0 and c["fit_ticks"] >= return_delay(k, c) and not beside:
        return modes.GRID_FIT
    return modes.NOTHING


@kernel
def return_to_grid(k: Record, c: Record, m: Record) -> int:
    """Turn the bus into step with the grid and close; return an event, or 0."""
    lead = bus_lead(k, c)
    largest = min(SLIP_RAD_S, SYNC_SHARE * k["sync_slip_rad_s"])
    slip = min(max(-4.0 * lead, -largest), largest)
    c["omega_e"] = follow(c["omega_e"], c["omega_u"] + slip, ISLAND_SLEW_RAD_S2 * 0.001)
    if c["switch_command"] == 0:
        c["stuck_ms"] = 0
        if c["fit_ticks"] == 0 or c["hold_island"]:
            return modes.GRID_UNFIT
        if watch_synchronism(k, c, lead) and c["apart_ticks"] == 0:
            c["switch_command"] = 1
        return modes.NOTHING
    if m["poles_closed"] == k["phases"]:
        return modes.SWITCH_CLOSED
    if c["unfit_ms"] > 3:
        # Fallen away between the order and the poles.
        c["switch_command"] = 0
        c["withdrawals"] += 1
        return modes.GRID_UNFIT
    c["stuck_ms"] += 1
    return modes.SWITCH_STUCK if c["stuck_ms"] > CLOSE_TIMEOUT_MS else modes.NOTHING


@kernel
def watch_supply(c: Record, soc_ratio: float, pcs_running: int, supported: int) -> int:
    """Fault of the bus, overload with nothing left to shed, battery at its end; return an event, or 0."""
    c["fault_ms"] = c["fault_ms"] + 1 if c["voltage_pu"] < 0.5 else 0
    if c["fault_ms"] >= FAULT_MS:
        # An empty battery's management parts it by itself: no fault, and the grid's return mends it.
        return modes.ENERGY_OUT if pcs_running == 0 and soc_ratio < LOW_RATIO else modes.BUS_FAULT
    empty = soc_ratio < EMPTY_RATIO and not supported
    low = c["voltage_pu"] < UNDER_PU and c["tiers_closed"] == 0
    if low or (empty and c["tiers_closed"] == 0 and c["energy_out"] == 0):
        c["under_ms"] += 1
    else:
        c["under_ms"] = 0
    if c["under_ms"] < EMPTY_MS:
        return modes.NOTHING
    if empty:
        return modes.ENERGY_OUT
    return modes.OVERLOADED if c["under_ms"] >= UNDER_MS else modes.NOTHING
