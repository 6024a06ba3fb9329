"""What the numbers of a controller's records are called; without the compiler, so that the uplink knows them, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.edge.control.exchange import ALARM_NAMES, INPUT_NAMES, LATCHES, MODE_NAMES
from sites.edge.control.kernels import records

EVENT_NAMES: Final = (
    "nothing",
    "grid_lost",
    "switch_opened",
    "switch_stuck",
    "grid_fit",
    "grid_unfit",
    "switch_closed",
    "bus_fault",
    "bus_up",
    "start_requested",
    "island_planned",
    "emergency_stop",
    "fire",
    "bms_trip",
    "bond_open",
    "bond_closed",
    "bus_live",
    "energy_out",
    "grid_returned",
    "service_entered",
    "maintenance_began",
    "maintenance_ended",
    "overloaded",
)
CAUSE_NAMES: Final = {
    records.CAUSE_NONE: "",
    records.CAUSE_PHASE_LOST: "phase_lost",
    records.CAUSE_DEEP_DIP: "deep_dip",
    records.CAUSE_LONG_DIP: "long_dip",
    records.CAUSE_OVERVOLTAGE: "overvoltage",
    records.CAUSE_FREQUENCY: "frequency",
    records.CAUSE_OVERLOAD: "overload",
    records.CAUSE_POLE_OPEN: "pole_open",
    records.CAUSE_COLLAPSE: "collapse",
    records.CAUSE_DECAY: "decay",
    records.CAUSE_VOLTAGE: "voltage_window",
    records.CAUSE_ROCOF: "rocof_window",
    records.CAUSE_ISLAND: "anti_islanding",
    records.CAUSE_PLANNED: "planned",
    records.CAUSE_SWITCH: "switch",
    records.CAUSE_BOND: "bond",
}

PATH_NAMES: Final = ("", "magnitude", "per_phase", "deviation", "current", "clock", "window", "active")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm that stands."""

    name: str
    """Of ALARM_NAMES."""
    since_us: int
    """When it came up [us since the epoch]."""
    is_latched: bool
    """Only the key at the site clears it; otherwise it is a warning."""


def standing_alarms(measured: np.void) -> list[Alarm]:
    """Return the alarms that a MEASURED_DTYPE row shows, latched ones first."""
    bits = int(measured["latched"]) | int(measured["warnings"]) << LATCHES
    return [
        Alarm(name, int(measured[f"{name}_since_us"]), bit < LATCHES)
        for bit, name in enumerate(ALARM_NAMES)
        if bits >> bit & 1
    ]


def active_inputs(measured: np.void) -> list[str]:
    """Return the contacts that a MEASURED_DTYPE row shows as tripped, turned or closed."""
    bits = int(measured["inputs"])
    return [name for bit, name in enumerate(INPUT_NAMES) if bits >> bit & 1]


def alarm_text(alarm: int) -> str:
    """Name a latched alarm, such as ``islanding: switch_stuck``; empty when there is none."""
    if alarm == 0:
        return ""
    mode, event = divmod(int(alarm) - 1, len(EVENT_NAMES))
    return f"{MODE_NAMES[mode]}: {EVENT_NAMES[event]}"
