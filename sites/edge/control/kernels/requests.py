"""What people at the site, the owner's page or the dispatcher ask for; never past a protection.

A request that the present mode or a latched input does not allow is refused and counted.
"""

from __future__ import annotations

from typing import Any

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.modes import change_mode


@kernel
def active_latches(m: Record) -> int:
    """Return the latch bits whose contact is still tripped."""
    bits = 0
    if m["emergency_stop"]:
        bits |= modes.LATCH_EMERGENCY
    if m["fire"]:
        bits |= modes.LATCH_FIRE
    if m["bms_trip"]:
        bits |= modes.LATCH_BMS
    return bits


@kernel
def tripped_event(m: Record) -> int:
    """Return the event of the contact that wins over everything now, or 0."""
    if m["emergency_stop"]:
        return modes.EMERGENCY_STOP
    if m["fire"]:
        return modes.FIRE
    return modes.BMS_TRIP if m["bms_trip"] else modes.NOTHING


@kernel
def take_requests(k: Record, c: Record, m: Record, table: Any) -> None:
    """Grant or refuse what was asked for since the last millisecond."""
    asked = c["request"]
    c["request"] = 0
    # Turning the key counts, not leaving it turned: a bridged contact would clear every latch to come.
    turned = m["local_reset"] != 0 and c["key_was"] == 0
    c["key_was"] = m["local_reset"]
    if turned:
        asked |= modes.REQUEST_START_LOCAL
    if asked == 0:
        return
    if asked & modes.REQUEST_START_LOCAL:
        start(c, m, True)
    if asked & modes.REQUEST_START_REMOTE:
        start(c, m, False)
    if asked & modes.REQUEST_ISLAND:
        ask_island(k, c, table)
    if asked & modes.REQUEST_RECONNECT:
        ask_reconnect(c)
    if asked & modes.REQUEST_MAINTENANCE:
        blocked = c["mode"] == modes.LOCKOUT and c["latched"] == 0
        if c["mode"] == modes.GRID_TIED or blocked:
            change_mode(k, c, table, modes.MAINTENANCE_BEGAN)
        else:
            c["refusals"] += 1
    if asked & modes.REQUEST_SERVICE:
        if c["mode"] == modes.MAINTENANCE:
            change_mode(k, c, table, modes.MAINTENANCE_ENDED)
        else:
            c["refusals"] += 1


@kernel
def start(c: Record, m: Record, local: bool) -> None:
    """Leave lockout: from the site after clearing what is latched, from afar only when nothing is."""
    if local:
        c["latched"] &= active_latches(m)
        c["warnings"] = 0
        c["genset_failures"] = 0
    if c["mode"] == modes.LOCKOUT and c["latched"] == 0:
        c["start_wanted"] = 1
    elif not local or c["latched"] != 0:
        c["refusals"] += 1


@kernel
def ask_island(k: Record, c: Record, table: Any) -> None:
    """Planned island: tied, bring the exchange to zero first; alone already, stay alone until asked."""
    mode = c["mode"]
    if mode == modes.GRID_TIED:
        if c["island_wanted"] == 0:
            c["island_wanted"] = 1
            c["wanted_ms"] = 0
            c["planned_pu"] = c["base_pu"] + c["service_pu"]
    elif mode == modes.ISLANDING or mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        c["hold_island"] = 1
        if mode == modes.RESYNCHRONIZING and c["switch_command"] == 0:
            change_mode(k, c, table, modes.GRID_UNFIT)
    else:
        c["refusals"] += 1


@kernel
def ask_reconnect(c: Record) -> None:
    """Return to the grid as soon as it is fit and in step; the delay and the windows stay."""
    mode = c["mode"]
    if mode == modes.GRID_TIED:
        c["island_wanted"] = 0
    elif mode == modes.ISLANDING or mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        c["hold_island"] = 0
    else:
        c["refusals"] += 1
