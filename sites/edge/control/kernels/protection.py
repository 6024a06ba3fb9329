"""Protection of the island and the lockout: what wins over everything else.

Emergency stop, fire and the battery management's trip are contacts read on every millisecond in every
mode. What they latch is cleared by the key at the site alone, and only once the contact is back.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.genset import ATTEMPTS
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.synchronism import watch_enter_service

DEAD_PU: Final = 0.1
"""Below this a bus counts as dead."""
DEAD_MS: Final = 50
LEAK_PU: Final = 0.08
"""Current through a switch that was ordered open: its contacts lie, or a pole is welded."""
LEAK_MS: Final = 60
BYPASS_LOST_MS: Final = 1000
"""How long the grid behind a closed switch is waited for before a blocked site opens it to start alone."""
WARNING_BOND: Final = 1
WARNING_BATTERY: Final = 2
WARNING_GENSET: Final = 4
"""Bits of ``warnings``: bond closed beside the grid's, battery parted by its management, set that does not start."""


@kernel
def watch_inputs(k: Record, c: Record, m: Record, table: Any) -> None:
    """Read the contacts that win over everything; called once per millisecond before anything else."""
    if m["emergency_stop"]:
        c["latched"] |= modes.LATCH_EMERGENCY
        change_mode(k, c, table, modes.EMERGENCY_STOP)
    if m["fire"]:
        c["latched"] |= modes.LATCH_FIRE
        change_mode(k, c, table, modes.FIRE)
    if m["bms_trip"]:
        c["latched"] |= modes.LATCH_BMS
        change_mode(k, c, table, modes.BMS_TRIP)
    if c["latched"] & (modes.LATCH_EMERGENCY | modes.LATCH_FIRE):
        # Also where a trip of the battery had left the load on the grid.
        c["switch_command"] = 0
        c["tiers_closed"] = 0
    # A converter that its battery lets down is told; what it means for the bus, the bus shows.
    c["warnings"] &= ~WARNING_BATTERY
    if m["pcs_running"] == 0:
        c["warnings"] |= WARNING_BATTERY
    if c["genset_failures"] >= ATTEMPTS:
        c["warnings"] |= WARNING_GENSET
    event = watch_bond(k, c, m)
    if event != modes.NOTHING:
        change_mode(k, c, table, event)


@kernel
def watch_bond(k: Record, c: Record, m: Record) -> int:
    """Neutral to earth: an island needs its own bond, the grid brings one and must be the only one.

    Returns an event, or 0. The time that a wrong state may last is ``bond_hold_ms``.
    """
    if k["bond_fitted"] == 0:
        return modes.NOTHING
    mode = c["mode"]
    alone = mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING
    if mode == modes.GRID_TIED:
        wrong = m["neutral_earth_closed"] != 0
    elif alone:
        wrong = m["neutral_earth_closed"] == 0
    else:
        wrong = False
    if not wrong:
        c["bond_ms"] = 0
        return modes.NOTHING
    c["bond_ms"] += 1
    if c["bond_ms"] < k["bond_hold_ms"]:
        return modes.NOTHING
    if alone:
        return modes.BOND_OPEN
    c["warnings"] |= WARNING_BOND
    return modes.BOND_CLOSED if k["bond_refuses"] else modes.NOTHING


@kernel
def watch_leak(k: Record, c: Record, m: Record) -> int:
    """Return 1 when current flows through a switch that should be open; once per millisecond."""
    current = max(abs(m["ia"]), max(abs(m["ib"]), abs(m["ic"])))
    if current > LEAK_PU:
        c["leak_ms"] += 1
    else:
        # One phase passes through zero every half cycle: run back, do not begin anew, or it would never add up.
        c["leak_ms"] = max(0, c["leak_ms"] - 1)
    return int(c["leak_ms"] >= LEAK_MS)


@kernel
def watch_dead_bus(c: Record, m: Record) -> int:
    """Return 1 when the load bus has shown no voltage for 50 ms; once per millisecond."""
    voltage = max(abs(m["va"]), max(abs(m["vb"]), abs(m["vc"])))
    c["dead_ms"] = c["dead_ms"] + 1 if voltage < DEAD_PU else 0
    return int(c["dead_ms"] >= DEAD_MS)


@kernel
def note_voltage(k: Record, c: Record, m: Record) -> None:
    """Count the bus voltage while the converter, which does it on every sample, is off; once per millisecond."""
    square = m["va"] * m["va"]
    if k["phases"] == 3:
        square += m["vb"] * m["vb"] + m["vc"] * m["vc"]
    c["v2_sum"] += square * k["ticks_per_ms"]


@kernel
def supervise_lockout(k: Record, c: Record, m: Record, table: Any) -> None:
    """Blocked: only a request leads out, or the grid's return to a site that had run out of energy.

    Called once per millisecond. A latched input keeps the site here whatever is wanted.
    """
    c["required_pu"] = 0.0
    watch_enter_service(k, c)
    if c["latched"] != 0:
        c["start_wanted"] = 0
        return
    if c["switch_command"] == 1 and c["start_wanted"]:
        if m["poles_closed"] == k["phases"] and c["fit_ticks"] >= k["enter_delay_ticks"]:
            change_mode(k, c, table, modes.SERVICE_ENTERED)
        elif watch_dead_bus(c, m) and c["dead_ms"] >= BYPASS_LOST_MS:
            # The grid is gone as well: the load gets what the site can give.
            c["switch_command"] = 0
    elif c["start_wanted"]:
        if m["poles_closed"] == 0:
            change_mode(k, c, table, modes.START_REQUESTED)
        elif c["mode_ticks"] > k["switch_timeout_ticks"]:
            c["start_wanted"] = 0
            c["refusals"] += 1
    elif c["energy_out"] and m["poles_closed"] == 0 and c["fit_ticks"] >= max(k["enter_delay_ticks"], 1):
        change_mode(k, c, table, modes.GRID_RETURNED)


@kernel
def supervise_maintenance(c: Record) -> None:
    """Blocked for work at the site: nothing is due and nothing starts by itself."""
    c["required_pu"] = 0.0
