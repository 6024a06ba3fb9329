"""Numbers of modes and events, and the one place where a site changes its mode."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import reset_detector
from sites.edge.control.kernels.records import (
    ALARM_COUNT,
    CAUSE_BOND,
    CAUSE_PLANNED,
    CAUSE_SWITCH,
    LOG_LENGTH,
)
from sites.edge.control.kernels.service import reset_stream

GRID_TIED: Final = 0
ISLANDING: Final = 1
ISLANDED: Final = 2
RESYNCHRONIZING: Final = 3
BLACK_START: Final = 4
LOCKOUT: Final = 5
MAINTENANCE: Final = 6

NOTHING: Final = 0
GRID_LOST: Final = 1
SWITCH_OPENED: Final = 2
SWITCH_STUCK: Final = 3
GRID_FIT: Final = 4
GRID_UNFIT: Final = 5
SWITCH_CLOSED: Final = 6
BUS_FAULT: Final = 7
BUS_UP: Final = 8
START_REQUESTED: Final = 9
ISLAND_PLANNED: Final = 10
EMERGENCY_STOP: Final = 11
FIRE: Final = 12
BMS_TRIP: Final = 13
BOND_OPEN: Final = 14
BOND_CLOSED: Final = 15
BUS_LIVE: Final = 16
ENERGY_OUT: Final = 17
GRID_RETURNED: Final = 18
SERVICE_ENTERED: Final = 19
MAINTENANCE_BEGAN: Final = 20
MAINTENANCE_ENDED: Final = 21
OVERLOADED: Final = 22
EVENT_COUNT: Final = 23

UNEXPECTED: Final = -1
"""Table entry of an event that a mode does not know: lockout with a latched alarm."""

ALARM_NONE: Final = 0

REQUEST_ISLAND: Final = 1
REQUEST_RECONNECT: Final = 2
REQUEST_START_LOCAL: Final = 4
REQUEST_START_REMOTE: Final = 8
REQUEST_MAINTENANCE: Final = 16
REQUEST_SERVICE: Final = 32
REQUEST_GENSET: Final = 64
REQUEST_GENSET_OFF: Final = 128
REQUEST_ACKNOWLEDGE: Final = 256
"""Bits of ``request``; REQUEST_SERVICE ends maintenance. REQUEST_START_LOCAL is the key at the site."""

GRANTED: Final = 1
REFUSED_MODE: Final = 2
REFUSED_LATCHED: Final = 3
REFUSED_FITTED: Final = 4
ANSWER_CODES: Final = 8
"""Codes of an answer: taken up; not in this mode; first clear what is latched; nothing fitted that could do it.
``answer`` holds the number of answers so far times ANSWER_CODES, plus the last one's code."""

LATCH_EMERGENCY: Final = 1
LATCH_FIRE: Final = 2
LATCH_BMS: Final = 4
LATCH_FAULT: Final = 8
"""Bits of ``latched``: what only the key at the site clears, and only when its input is gone."""
LATCHES: Final = 4
ALARMS: Final = ALARM_COUNT
"""Latches, and behind them the warnings of protection.py: bits of what ``alarm_sample`` keeps the times of."""


@kernel
def log_change(c: Record, mode: int, event: int, following: int) -> None:
    """Keep one change of mode for whoever reads it; the oldest gives way."""
    at = c["log_count"] % LOG_LENGTH
    c["log_sample"][at] = c["sample"]
    c["log_mode"][at] = mode
    c["log_event"][at] = event
    c["log_after"][at] = following
    c["log_cause"][at] = c["cause"]
    c["log_count"] += 1


@kernel
def change_mode(k: Record, c: Record, table: Any, event: int) -> None:
    """Look the next mode up and do what entering it means.

    An event that the table does not know locks the site out and latches ``alarm`` =
    1 + mode * EVENT_COUNT + event, so that the report can name both.
    """
    mode = c["mode"]
    following = table[mode, event]
    if following == UNEXPECTED:
        following = LOCKOUT
    back_from_work = mode == MAINTENANCE and event == MAINTENANCE_ENDED
    if following == LOCKOUT and mode != LOCKOUT and not back_from_work:
        c["alarm"] = 1 + mode * EVENT_COUNT + event
    if following == mode:
        return
    if following == ISLANDING:
        name_cause(c, event)
        note_decision(c, event)
    log_change(c, mode, event, following)
    c["mode"] = following
    c["mode_ticks"] = 0
    c["in_sync_ms"] = 0
    c["fault_ms"] = 0
    c["bond_ms"] = 0
    c["leak_ms"] = 0
    c["under_ms"] = 0
    c["island_wanted"] = 0
    if following == GRID_TIED:
        enter_tied(c, mode)
    elif following == ISLANDING:
        enter_islanding(c)
    elif following == ISLANDED:
        c["switch_command"] = 0
        c["service_pu"] = 0.0
        reset_stream(c)
        c["bond_command"] = 1
        c["overload_ms"] = 0
    elif following == BLACK_START:
        enter_black_start(k, c)
    elif following == LOCKOUT:
        enter_lockout(c, mode, event)
    elif following == MAINTENANCE:
        # The load stays where it is, on the grid or dead; nothing of ours gives power.
        block_sources(c)


@kernel
def enter_tied(c: Record, mode: int) -> None:
    """Take up service beside the grid: what the converter carries now is where its reference starts from."""
    if mode == LOCKOUT:
        # The bus already lives from the grid: join it in step, at no current.
        c["converter_on"] = 1
        c["cos_e"] = c["cos_u"]
        c["sin_e"] = c["sin_u"]
        c["omega_e"] = c["omega_u"]
        c["level_e"] = c["level_u"]
        c["power_pu"] = 0.0
        c["alarm"] = ALARM_NONE
    c["base_pu"] = c["power_pu"]
    c["service_pu"] = 0.0
    reset_stream(c)
    c["cause"] = 0
    c["reclosures"] += 1
    c["decided"] = 0
    c["genset_run"] = 0
    c["genset_close"] = 0
    c["genset_wanted"] = 0
    c["pv_limit_ratio"] = 1.0
    c["pv_connected"] = 1
    c["bond_command"] = 0
    c["energy_out"] = 0
    c["start_wanted"] = 0
    c["hold_island"] = 0
    c["entry_pu"] = c["power_pu"]
    c["entry_room_pu"] = 0.0
    c["tier_wait_ms"] = 0
    if c["momentary"]:
        c["momentary_islands"] += 1
    c["momentary"] = 0
    c["reference"] = min(max(c["level_u"], 0.85), 1.15)
    reset_detector(c)


@kernel
def name_cause(c: Record, event: int) -> None:
    """Set why the site leaves the grid where no detector did; two of these wait for somebody to ask it back."""
    if event == ISLAND_PLANNED:
        c["cause"] = CAUSE_PLANNED
        c["hold_island"] = 1
    elif event == SWITCH_OPENED:
        c["cause"] = CAUSE_SWITCH
    elif event == BOND_CLOSED:
        c["cause"] = CAUSE_BOND
        c["hold_island"] = 1


@kernel
def note_decision(c: Record, event: int) -> None:
    """Keep when, why and by which path the site last decided to leave the grid."""
    c["decided_sample"] = c["sample"]
    c["decided_cause"] = c["cause"]
    c["decided_path"] = c["path"] if event == GRID_LOST else 0


@kernel
def enter_islanding(c: Record) -> None:
    """Order the switch open."""
    c["switch_command"] = 0
    c["decided"] = 1
    c["decisions"] += 1
    c["fit_ticks"] = 0
    c["island_ms"] = 0
    c["lost_pu"] = c["power_pu"]
    c["momentary"] = 0


@kernel
def enter_black_start(k: Record, c: Record) -> None:
    """Begin with everything off: the converter starts when the bus has shown that it is dead."""
    block_sources(c)
    c["switch_command"] = 0
    c["tiers_closed"] = 0
    c["bond_command"] = 1
    c["start_stage"] = 0
    c["start_ms"] = 0
    c["stuck_ms"] = 0
    c["level_e"] = 0.0
    c["cause"] = 0
    c["island_ms"] = 0
    c["alarm"] = ALARM_NONE
    c["start_wanted"] = 0
    c["hold_island"] = 0
    c["omega_e"] = k["nominal_rad_s"]
    c["hot_ms"] = 0
    c["warm_ms"] = 0
    c["limit_pu"] = 1.5


@kernel
def enter_lockout(c: Record, mode: int, event: int) -> None:
    """Safe state: nothing of the site's gives power, and the switch is open.

    Two exceptions leave the switch as it is, for the load lives on the grid behind it: a trip of the
    battery's management while the grid is there, and the end of maintenance.
    """
    block_sources(c)
    c["service_pu"] = 0.0
    reset_stream(c)
    c["fit_ticks"] = 0
    c["dead_ms"] = 0
    if mode == MAINTENANCE and event == MAINTENANCE_ENDED:
        c["start_wanted"] = 1
        return
    c["start_wanted"] = 0
    if event == ENERGY_OUT:
        c["energy_out"] = 1
    elif event == EMERGENCY_STOP:
        c["latched"] |= LATCH_EMERGENCY
    elif event == FIRE:
        c["latched"] |= LATCH_FIRE
    elif event == BMS_TRIP:
        c["latched"] |= LATCH_BMS
    else:
        c["latched"] |= LATCH_FAULT
    if not (mode == GRID_TIED and event == BMS_TRIP):
        c["switch_command"] = 0
        c["tiers_closed"] = 0


@kernel
def block_sources(c: Record) -> None:
    """Nothing of the site's may give power: converter, PV, genset."""
    c["converter_on"] = 0
    c["pv_connected"] = 0
    c["genset_run"] = 0
    c["genset_close"] = 0
    c["genset_target_pu"] = 0.0
    c["genset_wanted"] = 0
