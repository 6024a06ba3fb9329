"""Grid-tied supervision: power reference, voltage reference, slow paths of the loss detection."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.anti_islanding import probe_power, reset_probe, watch_probe
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import watch_millisecond
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.records import CAUSE_NONE, PATH_ACTIVE, PATH_WINDOW
from sites.edge.control.kernels.service import drive_power, power_reference, share_granted
from sites.edge.control.kernels.transfer import planned_event, steer_exchange
from sites.edge.control.kernels.windows import reset_windows, watch_windows

OWN_MOVE_PU_MS: Final = 0.001
OWN_MOVE_MS: Final = 60
"""The site's own power moves when its reference does, by more than 1 pu/s, and some cycles after."""
STUCK_CONTACTS_MS: Final = 200
"""After closing, contacts that have not all reported closed by then were not closed by us."""


@kernel
def supervise_tied(k: Record, c: Record, m: Record, table: Any, sample: int) -> None:
    """Grid-tied: power reference, voltage reference, slow loss detectors."""
    ms = sample // k["ticks_per_ms"]
    event = modes.NOTHING
    cause = watch_millisecond(k, c, ms)
    if cause != CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
        c["cause"] = cause
        event = modes.GRID_LOST
    probe_ms = ms + k["probe_offset_ms"]
    if c["mode_ticks"] <= k["ticks_per_ms"]:
        reset_windows(k, c, c["frequency_hz"])
        reset_probe(c)
    path = PATH_WINDOW
    cause = watch_windows(k, c, c["frequency_hz"])
    if cause == CAUSE_NONE:
        path = PATH_ACTIVE
        cause = watch_probe(k, c, probe_ms)
    if cause != CAUSE_NONE:
        c["cause"] = cause
        c["path"] = path
        event = modes.GRID_LOST
    if m["poles_closed"] < k["phases"] and c["mode_ticks"] > STUCK_CONTACTS_MS * k["ticks_per_ms"]:
        # Contacts that open without a command: nothing in the table expects it.
        event = modes.SWITCH_OPENED
    wanted = power_reference(k, c, m, sample, c["frequency_hz"])
    wanted = steer_exchange(k, c, m, wanted)
    if event == modes.NOTHING:
        event = planned_event(c)
    # What the battery's own management allows at this moment wins over every promise.
    lowest = -m["charge_limit_pu"]
    highest = m["discharge_limit_pu"]
    wanted = min(max(wanted, lowest), highest)
    share_granted(c, wanted)
    # A current through the switch that fades because the site moves its own power is no pole that opens.
    c["moving_ms"] = OWN_MOVE_MS if abs(wanted - c["wanted_pu"]) > OWN_MOVE_PU_MS else max(c["moving_ms"] - 1, 0)
    drive_power(k, c, probe_power(k, c, probe_ms, wanted, max(lowest, -1.0), min(highest, 1.0)))
    # The level that exchanges no reactive power at the bus: its voltage plus the drop of the power.
    drop = k["filter_x"] * wanted
    level = c["reference"] + (k["virtual_r"] + k["filter_r"]) * wanted + 0.5 * drop * drop
    c["level_e"] += 0.002 * (min(max(level, 0.9), 1.12) - c["level_e"])
    if event != modes.NOTHING:
        change_mode(k, c, table, event)
