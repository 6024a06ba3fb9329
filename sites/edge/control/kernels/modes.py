"""Numbers of modes and events, and the one place where a site changes its mode."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import reset_detector

GRID_TIED: Final = 0
ISLANDING: Final = 1
ISLANDED: Final = 2
RESYNCHRONIZING: Final = 3
BLACK_START: Final = 4
LOCKOUT: Final = 5

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
EVENT_COUNT: Final = 10

UNEXPECTED: Final = -1
"""Table entry of an event that a mode does not know: lockout with a latched alarm."""

ALARM_NONE: Final = 0


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
    if following == LOCKOUT and mode != LOCKOUT:
        c["alarm"] = 1 + mode * EVENT_COUNT + event
    if following == mode:
        return
    c["mode"] = following
    c["mode_ticks"] = 0
    c["in_sync_ms"] = 0
    c["fault_ms"] = 0
    if following == GRID_TIED:
        # What the converter carries now is where its reference starts from.
        c["base_pu"] = c["power_pu"]
        c["service_pu"] = 0.0
        c["cause"] = 0
        c["reclosures"] += 1
        c["decided"] = 0
        c["genset_run"] = 0
        c["pv_limit_ratio"] = 1.0
        c["reference"] = min(max(c["level_u"], 0.85), 1.15)
        reset_detector(c)
    elif following == ISLANDING:
        c["switch_command"] = 0
        c["decided"] = 1
        c["decisions"] += 1
        c["fit_ticks"] = 0
    elif following == ISLANDED:
        c["switch_command"] = 0
        c["service_pu"] = 0.0
        c["fit_ticks"] = 0
    elif following == BLACK_START:
        c["switch_command"] = 0
        c["converter_on"] = 1
        c["level_e"] = 0.0
        c["alarm"] = ALARM_NONE
        c["omega_e"] = k["nominal_rad_s"]
        c["hot_ms"] = 0
        c["warm_ms"] = 0
        c["limit_pu"] = 1.5
    elif following == LOCKOUT:
        # Safe state: converter blocked, switch open; only a request leads out.
        c["switch_command"] = 0
        c["converter_on"] = 0
        c["genset_run"] = 0
        c["service_pu"] = 0.0
