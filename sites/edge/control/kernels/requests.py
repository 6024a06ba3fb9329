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
    """Grant or refuse what was asked for since the last millisecond; the last answer stands in ``answer``."""
    asked = c["request"]
    if asked != 0:
        # Written only when there was something: a request that comes in between is not wiped out.
        c["request"] = 0
    # Turning the key counts, not leaving it turned: a bridged contact would clear every latch to come.
    turned = m["local_reset"] != 0 and c["key_was"] == 0
    c["key_was"] = m["local_reset"]
    if turned:
        settle(c, start(c, m, True))
    if asked == 0:
        return
    if asked & modes.REQUEST_START_LOCAL:
        answer(c, start(c, m, True))
    if asked & modes.REQUEST_START_REMOTE:
        answer(c, start(c, m, False))
    if asked & modes.REQUEST_ISLAND:
        answer(c, ask_island(k, c, table))
    if asked & modes.REQUEST_RECONNECT:
        answer(c, ask_reconnect(c))
    if asked & modes.REQUEST_MAINTENANCE:
        answer(c, ask_maintenance(k, c, table))
    if asked & modes.REQUEST_SERVICE:
        answer(c, ask_service(k, c, table))
    if asked & modes.REQUEST_GENSET:
        answer(c, ask_genset(k, c))
    if asked & modes.REQUEST_GENSET_OFF:
        c["genset_wanted"] = 0
        answer(c, modes.GRANTED if k["genset_fitted"] else modes.REFUSED_FITTED)
    if asked & modes.REQUEST_ACKNOWLEDGE:
        acknowledge(c)
        answer(c, modes.GRANTED)


@kernel
def settle(c: Record, code: int) -> None:
    """Count a refusal."""
    if code != modes.GRANTED:
        c["refusals"] += 1


@kernel
def answer(c: Record, code: int) -> None:
    """Leave the answer to one request: a count that rises with each, and its code, in one word.

    One store, so that whoever waits beside a running loop reads both or neither.
    """
    settle(c, code)
    c["answer"] = (c["answer"] // modes.ANSWER_CODES + 1) * modes.ANSWER_CODES + code


@kernel
def acknowledge(c: Record) -> None:
    """Take warnings back until their cause shows again, and let the set try anew; nothing latched is touched."""
    c["warnings"] = 0
    c["genset_failures"] = 0


@kernel
def start(c: Record, m: Record, local: bool) -> int:
    """Leave lockout: from the site after clearing what is latched, from afar only when nothing is."""
    if local:
        c["latched"] &= active_latches(m)
        acknowledge(c)
    if c["latched"] != 0:
        return modes.REFUSED_LATCHED
    if c["mode"] == modes.LOCKOUT:
        c["start_wanted"] = 1
    elif not local:
        return modes.REFUSED_MODE
    return modes.GRANTED


@kernel
def ask_island(k: Record, c: Record, table: Any) -> int:
    """Planned island: tied, bring the exchange to zero first; alone already, stay alone until asked."""
    mode = c["mode"]
    if mode == modes.GRID_TIED:
        if c["island_wanted"] == 0:
            c["island_wanted"] = 1
            c["wanted_ms"] = 0
            c["planned_pu"] = c["base_pu"] + c["service_pu"] + c["stream_pu"]
        return modes.GRANTED
    if mode == modes.ISLANDING or mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        c["hold_island"] = 1
        if mode == modes.RESYNCHRONIZING and c["switch_command"] == 0:
            change_mode(k, c, table, modes.GRID_UNFIT)
        return modes.GRANTED
    return modes.REFUSED_MODE


@kernel
def ask_reconnect(c: Record) -> int:
    """Return to the grid as soon as it is fit and in step; the delay and the windows stay."""
    mode = c["mode"]
    if mode == modes.GRID_TIED:
        c["island_wanted"] = 0
    elif mode == modes.ISLANDING or mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        c["hold_island"] = 0
    else:
        return modes.REFUSED_MODE
    return modes.GRANTED


@kernel
def ask_maintenance(k: Record, c: Record, table: Any) -> int:
    """Begin work at a tied site, or at one that stands still without a latch; asked again it goes on."""
    mode = c["mode"]
    if mode == modes.LOCKOUT and c["latched"] != 0:
        return modes.REFUSED_LATCHED
    if mode == modes.GRID_TIED or mode == modes.LOCKOUT:
        change_mode(k, c, table, modes.MAINTENANCE_BEGAN)
    elif mode != modes.MAINTENANCE:
        return modes.REFUSED_MODE
    return modes.GRANTED


@kernel
def ask_service(k: Record, c: Record, table: Any) -> int:
    """End the work."""
    if c["mode"] != modes.MAINTENANCE:
        return modes.REFUSED_MODE
    change_mode(k, c, table, modes.MAINTENANCE_ENDED)
    return modes.GRANTED


@kernel
def ask_genset(k: Record, c: Record) -> int:
    """Let the set carry the island whatever the charge, until it is asked back or the grid returns."""
    if k["genset_fitted"] == 0:
        return modes.REFUSED_FITTED
    if c["mode"] != modes.ISLANDED:
        return modes.REFUSED_MODE
    c["genset_wanted"] = 1
    return modes.GRANTED


@kernel
def note_alarms(c: Record) -> None:
    """Keep the sample at which each latch and warning came up; once per millisecond, after everything else."""
    standing = c["latched"] | (c["warnings"] << modes.LATCHES)
    if standing == c["alarms_were"]:
        return
    for bit in range(modes.ALARMS):
        if standing >> bit & 1 and not c["alarms_were"] >> bit & 1:
            c["alarm_sample"][bit] = c["sample"]
    c["alarms_were"] = standing
