"""What happens to a site's grid and switch: a schedule of events per site, each taken at its sample.

The schedule is an array per site in the order of the samples, so that one closed loop runs hundreds of sites
with different events. A sample without an event costs one comparison.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.grid import command_breaker

NEVER: Final = 0x7FFFFFFFFFFFFFFF
"""Sample of an event that is done, or that is not there."""

OPEN_FEEDER: Final = 1
CLOSE_FEEDER: Final = 2
LEVEL: Final = 3
JUMP: Final = 4
FAULT: Final = 5
CLEAR_FAULT: Final = 6
HARMONICS: Final = 7
NOISE: Final = 8
CAPACITOR: Final = 9
DIP: Final = 10
FLICKER: Final = 11
NOTCHES: Final = 12
IMPULSE: Final = 13
STICK_POLE: Final = 14
OPEN_POLE: Final = 15

NOWHERE: Final = 0
ON_FEEDER: Final = 1
ON_BUS: Final = 2


@kernel
def turn(x: float, y: float, angle: float) -> Any:
    """Return the vector (x, y) turned by an angle [rad]."""
    c = math.cos(angle)
    s = math.sin(angle)
    return x * c - y * s, y * c + x * s


@kernel
def begin_fault(p: Record, phases: Any, count: int, mask: int, where: int, to_earth: int, ohms_pu: float) -> None:
    """Join the phases of ``mask`` through a resistance each [pu]: with earth, or with each other only."""
    p["fault_where"] = where
    p["fault_to_earth"] = to_earth
    for k in range(count):
        hit = (mask >> k) & 1
        phases[k]["fault_g"] = 1.0 / ohms_pu if hit else 0.0
        phases[k]["fault_command"] = hit
        phases[k]["fault_v"] = 0.0
        phases[k]["i_fault"] = 0.0


@kernel
def switch_capacitor(
    g: Record, p: Record, phases: Any, count: int, ring_hz: float, height: float, decay_s: float
) -> None:
    """Start the ring of a capacitor bank that is switched in: each phase first falls towards zero.

    Its height is that of a phase switched at its peak [pu]; a phase at its zero crossing does not ring.
    """
    dt_s = g["dt_s"]
    angle = 2.0 * math.pi * ring_hz * dt_s
    share = math.exp(-dt_s / decay_s)
    p["ring_cos"] = height
    p["ring_sin"] = 0.0
    p["ring_turn_cos"] = math.cos(angle) * share
    p["ring_turn_sin"] = math.sin(angle) * share
    for k in range(count):
        wave = turn(p["cos_g"], p["sin_g"], -2.0 * math.pi * k / 3.0)
        phases[k]["ring_share"] = -wave[0]


@kernel
def apply_event(g: Record, p: Record, phases: Any, event: Record) -> None:
    """Let one event begin."""
    kind = event["kind"]
    mask = event["mask"]
    value = event["value"]
    count = g["phases"]
    every = mask & ((1 << count) - 1) == (1 << count) - 1
    if kind in (OPEN_FEEDER, CLOSE_FEEDER):
        command_breaker(phases, mask, count, int(kind == CLOSE_FEEDER))
    elif kind == LEVEL:
        for k in range(count):
            phases[k]["level"] = value[k]
    elif kind == JUMP and every:
        # Harmonics turn with it, as behind a line that opens.
        turned = turn(p["cos_g"], p["sin_g"], value[0])
        p["cos_g"] = turned[0]
        p["sin_g"] = turned[1]
    elif kind == JUMP:
        for k in range(count):
            if (mask >> k) & 1:
                turned = turn(phases[k]["turn_cos"], phases[k]["turn_sin"], value[0])
                phases[k]["turn_cos"] = turned[0]
                phases[k]["turn_sin"] = turned[1]
    elif kind == FAULT:
        begin_fault(p, phases, count, mask, int(value[0]), int(value[1]), value[2])
    elif kind == CLEAR_FAULT:
        for k in range(count):
            if (mask >> k) & 1:
                phases[k]["fault_command"] = 0
    elif kind == HARMONICS:
        p["h5"] = value[0]
        p["h7"] = value[1]
        p["h11"] = value[2]
        p["h13"] = value[3]
    elif kind == NOISE:
        p["noise_pu"] = value[0]
    elif kind in (STICK_POLE, OPEN_POLE):
        for k in range(count):
            if (mask >> k) & 1:
                phases[k]["switch_stuck"] = int(kind == STICK_POLE)
                if kind == OPEN_POLE:
                    phases[k]["switch_closed"] = 0
    else:
        p["disturbed"] = 1
        if kind == CAPACITOR:
            switch_capacitor(g, p, phases, count, value[0], value[1], value[2])
        elif kind == DIP:
            p["dip_pu"] = value[0]
            p["dip_memory"] = math.exp(-g["dt_s"] / value[1])
        elif kind == FLICKER:
            p["flicker_pu"] = value[0]
            p["flicker_turn"] = 2.0 * math.pi * value[1] * g["dt_s"]
            p["flicker_cos"] = 0.0
            p["flicker_sin"] = 1.0
        elif kind == NOTCHES:
            p["notch_pu"] = value[0]
            p["notch_cos_half"] = math.cos(0.5 * g["nominal_rad_s"] * value[1])
        elif kind == IMPULSE:
            for k in range(count):
                if (mask >> k) & 1:
                    phases[k]["impulse_pu"] = value[0]
                    phases[k]["impulse_ticks"] = max(1, round(value[1] / g["dt_s"]))


@kernel
def take_events(g: Record, p: Record, phases: Any, schedule: Any, sample: int) -> None:
    """Let every event begin whose sample has come."""
    while sample >= p["event_at"]:
        at = p["event_place"]
        apply_event(g, p, phases, schedule[at])
        schedule[at]["at"] = NEVER
        p["event_place"] = at + 1
        p["event_at"] = schedule[at + 1]["at"] if at + 1 < schedule.shape[0] else NEVER
