"""A diesel set: engine, governor, turbocharger, alternator behind its reactance, and its own panel.

The alternator is a voltage behind a reactance in each phase with an angle and a speed of its own, solved with
the rest of the circuit on every sample; engine and panel move once per millisecond while the set turns.

Engine: fuel acts after a dead time and a lag; the turbocharger lets no more than about half the rating on at
once (ISO 8528-5 steps 0-50-80-100 %). On the bus the panel holds the ordered power, with a speed term that helps
the bus at once; alone it holds the speed. Breaker on a live bus only, in step only.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.genset import COOLING, FAILED, ON_BUS, READY, STARTING, STOPPED

HALF_SQRT3: Final = 0.8660254037844386
START_MS: Final = 9000
"""From order to rated speed: 8-10 s (NFPA 110 type 10)."""
INERTIA_S: Final = 1.0
LAG_S: Final = 0.1
DEAD_MS: Final = 30
TURBO_S: Final = 1.5
FIRST_STEP: Final = 0.55
"""Share of the rating that the engine gives without boost; with full boost 10 % over the rating."""
HIGHEST: Final = 1.1
FRICTION: Final = 0.03
DAMPER: Final = 15.0
"""Torque of the damper windings per unit of slip against the bus."""
SPEED_GAIN: Final = 15.0
SPEED_RESET: Final = 12.0
SPEED_LEAD_S: Final = 0.8
POWER_RESET: Final = 0.7
"""How fast the panel brings the power to its order [1/s]."""
VOLTAGE_GAIN: Final = 8.0
VOLTAGE_S: Final = 0.1
SYNC_ANGLE_RAD: Final = 0.06
SYNC_SLIP_RAD_S: Final = 0.4
SYNC_VOLTAGE_PU: Final = 0.07
SYNC_MS: Final = 100
COOL_MS: Final = 60_000
REVERSE_SHARE: Final = 0.1
REVERSE_MS: Final = 2000
SLOWEST: Final = 0.85
LIVE_PU: Final = 0.85
DEAD_PU: Final = 0.5
DEAD_BUS_MS: Final = 500


@kernel
def alternator(g: Record, p: Record, ph: Record, e_cos: float) -> float:
    """Return the current [pu] that the alternator's branch would give one phase at no voltage."""
    return g["genset_g"] * (p["gen_e"] * e_cos + g["genset_l"] * ph["i_genset"])


@kernel
def turn_genset(g: Record, p: Record, power_pu: float, run: int, close: int, target_pu: float, alone: int) -> None:
    """Advance a set that is not stopped by one sample; ``power_pu`` is what it gave the bus in the last one."""
    angle = p["gen_w"] * g["dt_s"]
    square = angle * angle
    turn_cos = 1.0 - square * (0.5 - square * (1.0 / 24.0))
    turn_sin = angle * (1.0 - square * (1.0 / 6.0))
    cos_e = p["gen_cos"] * turn_cos - p["gen_sin"] * turn_sin
    sin_e = p["gen_sin"] * turn_cos + p["gen_cos"] * turn_sin
    length = 1.5 - 0.5 * (cos_e * cos_e + sin_e * sin_e)
    p["gen_cos"] = cos_e * length
    p["gen_sin"] = sin_e * length
    p["gen_p_sum"] += power_pu
    p["gen_ticks"] += 1
    if p["gen_ticks"] >= g["ticks_per_ms"]:
        power = p["gen_p_sum"] / p["gen_ticks"]
        p["gen_ticks"] = 0
        p["gen_p_sum"] = 0.0
        # What its meter shows: over about 20 ms.
        p["genset_pu"] += 0.05 * (power - p["genset_pu"])
        move_panel(g, p, run, close)
        if p["genset_state"] != STOPPED and p["genset_state"] != STARTING:
            move_engine(g, p, power, target_pu, alone)


@kernel
def move_panel(g: Record, p: Record, run: int, close: int) -> None:
    """One millisecond of the set's own panel: start, synchronizing, breaker, its protection, cooling down."""
    state = p["genset_state"]
    p["gen_ms"] += 1
    bus = math.sqrt(p["bus_cos"] * p["bus_cos"] + p["bus_sin"] * p["bus_sin"])
    nominal = g["nominal_rad_s"]
    if state == STARTING:
        if run == 0:
            enter(p, STOPPED)
        elif p["gen_ms"] >= START_MS:
            p["gen_w"] = nominal
            p["gen_e"] = 1.0
            p["gen_torque"] = FRICTION
            p["gen_sum"] = FRICTION
            p["gen_turbo"] = 0.0
            p["gen_orders"][:] = FRICTION
            enter(p, READY)
    elif state == READY:
        if run == 0:
            enter(p, COOLING)
        elif close and bus > LIVE_PU:
            near = abs(p["gen_angle"]) < SYNC_ANGLE_RAD and abs(p["gen_w"] - p["bus_w"]) < SYNC_SLIP_RAD_S
            near = near and abs(p["gen_e"] - bus) < SYNC_VOLTAGE_PU
            p["gen_sync_ms"] = p["gen_sync_ms"] + 1 if near else 0
            if p["gen_sync_ms"] >= SYNC_MS:
                enter(p, ON_BUS)
    elif state == ON_BUS:
        reverse = p["genset_pu"] < -REVERSE_SHARE * g["genset_rated_pu"]
        p["gen_reverse_ms"] = p["gen_reverse_ms"] + 1 if reverse else 0
        p["gen_dead_ms"] = p["gen_dead_ms"] + 1 if bus < DEAD_PU else 0
        if p["gen_reverse_ms"] >= REVERSE_MS or p["gen_w"] < SLOWEST * nominal:
            enter(p, FAILED)
        elif run == 0:
            enter(p, COOLING)
        elif close == 0 or p["gen_dead_ms"] >= DEAD_BUS_MS:
            enter(p, READY)
    elif state == COOLING:
        if run:
            enter(p, READY)
        elif p["gen_ms"] >= COOL_MS:
            enter(p, STOPPED)
    elif state == FAILED and run == 0:
        enter(p, STOPPED)


@kernel
def enter(p: Record, state: int) -> None:
    """Enter a state of the panel; leaving the bus opens the breaker."""
    p["genset_state"] = state
    p["gen_ms"] = 0
    p["gen_sync_ms"] = 0
    p["gen_reverse_ms"] = 0
    p["gen_dead_ms"] = 0
    if state != ON_BUS:
        p["genset_pu"] = 0.0
        p["gen_sum"] = FRICTION
    else:
        p["gen_sum"] = p["gen_torque"]


@kernel
def move_engine(g: Record, p: Record, power_pu: float, target_pu: float, alone: int) -> None:
    """One millisecond of governor, engine, shaft and voltage regulator; shares of the set's own rating."""
    dt = 0.001
    nominal = g["nominal_rad_s"]
    on_bus = p["genset_state"] == ON_BUS
    load = power_pu / g["genset_rated_pu"] if on_bus else 0.0
    speed = p["gen_w"] / nominal
    bus = math.sqrt(p["bus_cos"] * p["bus_cos"] + p["bus_sin"] * p["bus_sin"])
    slope = (speed - p["gen_speed"]) / dt
    p["gen_speed"] = speed
    p["gen_slope"] += 0.05 * (slope - p["gen_slope"])
    wanted = 1.0
    if on_bus and not alone:
        # Share of load: the order's ramp comes from the controller; the sum holds the power, not the speed.
        share = target_pu / g["genset_rated_pu"]
        p["gen_sum"] += POWER_RESET * (share - p["genset_pu"] / g["genset_rated_pu"]) * dt
    else:
        if not on_bus and bus > LIVE_PU:
            cross = p["gen_sin"] * p["bus_cos"] - p["gen_cos"] * p["bus_sin"]
            dot = p["gen_cos"] * p["bus_cos"] + p["gen_sin"] * p["bus_sin"]
            p["gen_angle"] = math.atan2(cross, dot)
            wanted = (p["bus_w"] - min(max(1.5 * p["gen_angle"], -1.0), 1.0)) / nominal
        p["gen_sum"] += SPEED_RESET * (wanted - speed) * dt
    p["gen_sum"] = min(max(p["gen_sum"], 0.0), HIGHEST)
    order = p["gen_sum"] + SPEED_GAIN * (wanted - speed) - SPEED_LEAD_S * p["gen_slope"]
    limit = min(HIGHEST, FIRST_STEP * (1.0 + p["gen_turbo"]))
    order = min(max(order, 0.0), limit)
    at = p["gen_at"]
    p["gen_at"] = (at + 1) % DEAD_MS
    late = p["gen_orders"][at]
    p["gen_orders"][at] = order
    p["gen_torque"] += (late - p["gen_torque"]) * dt / LAG_S
    p["gen_turbo"] += (p["gen_torque"] - p["gen_turbo"]) * dt / TURBO_S
    damper = DAMPER * (p["gen_w"] - p["bus_w"]) / nominal if on_bus and not alone else 0.0
    torque = p["gen_torque"] - FRICTION * speed - load - damper
    p["gen_w"] += nominal * torque * dt / (2.0 * INERTIA_S)
    target_e = 1.0 + VOLTAGE_GAIN * (1.0 - bus) if on_bus else max(bus, LIVE_PU)
    target_e = min(max(target_e, 0.6), 1.6)
    p["gen_e"] += (target_e - p["gen_e"]) * dt / VOLTAGE_S


@kernel
def start_or_stop(g: Record, p: Record, m: Record, run: int) -> None:
    """Every 10 ms: the order to start, the emergency stop's own wire to the set, and what the panel reports."""
    if m["emergency_stop"] or m["fire"]:
        if p["genset_state"] != STOPPED:
            enter(p, STOPPED)
    elif run and p["genset_state"] == STOPPED and g["genset_rated_pu"] > 0.0:
        enter(p, STARTING)
    m["genset_state"] = p["genset_state"]
    m["genset_pu"] = p["genset_pu"]


@kernel
def burnt_fuel_ul(g: Record, state: int, genset_j: float, duration_s: float) -> float:
    """Fuel of a turning set [ul]: F0 · rating · time + F1 · energy (HOMER's line)."""
    if state in (STOPPED, FAILED):
        return 0.0
    return g["fuel_idle_ul_s"] * duration_s + g["fuel_ul_j"] * max(genset_j, 0.0)
