"""Loads that are no plain resistance: a parallel R, L, C and motors at the neighbors, motors and rectifiers on site.

A motor is a voltage behind a reactance. While something magnetizes it, that voltage follows the terminals with
the motor's time constant, behind them by the angle of its load; else it decays with the time constant and its
frequency sags as the load brakes it. What magnetizes: the grid; when the feeder is open, the converter, as far
as its current reaches for the neighbors' load. Left out: inrush and torque of a motor that is caught out of step.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.rotating import seen_vector, turned_vector

HALF_SQRT3: Final = 0.8660254037844386


@kernel
def utility_loads(g: Record, ph: Record) -> Any:
    """Return (conductance, current) that R, L, C and motors add at U."""
    more_g = g["tank_g"] + g["tank_l_g"] + g["tank_c"]
    more_j = g["tank_c"] * ph["u"] - ph["i_coil"]
    motor_g = g["motor_g"]
    more_g += motor_g
    more_j += motor_g * (ph["e_motor"] - g["motor_l"] * ph["i_motor"])
    return more_g, more_j


@kernel
def bus_loads(g: Record, ph: Record) -> Any:
    """Return (conductance, current) that the site's motors and rectifiers add at V."""
    motor_g = g["own_motor_g"]
    more_g = motor_g
    more_j = motor_g * (ph["e_own"] - g["own_motor_l"] * ph["i_own"])
    v = ph["v"]
    if g["rectifier_pu"] > 0.0 and abs(v) > ph["v_rectifier"]:
        # The diodes conduct, seen from the sample before.
        more_g += g["rectifier_g"]
        more_j += g["rectifier_g"] * (ph["v_rectifier"] if v > 0.0 else -ph["v_rectifier"])
    return more_g, more_j


@kernel
def keep_currents(g: Record, ph: Record, u: float, v: float) -> None:
    """Keep the branches' currents at the voltages that the sample found; ``ph`` still holds those before."""
    ph["i_coil"] += g["tank_l_g"] * u
    ph["i_motor"] = g["motor_g"] * (u - ph["e_motor"] + g["motor_l"] * ph["i_motor"])
    ph["i_own"] = g["own_motor_g"] * (v - ph["e_own"] + g["own_motor_l"] * ph["i_own"])
    if g["rectifier_pu"] > 0.0:
        before = ph["v"]
        direct = ph["v_rectifier"]
        current = 0.0
        if abs(before) > direct:
            current = g["rectifier_g"] * (v - (direct if before > 0.0 else -direct))
        ph["i_rectifier"] = current
        charge = abs(current) if current * before >= 0.0 else -abs(current)
        # Constant power behind it, twice the mean of a phase's; at half voltage the supplies give up.
        drawn = 0.5 * g["rectifier_pu"] / max(direct, 0.5) if direct > 0.5 else 0.0
        ph["v_rectifier"] = direct + (charge - drawn) / g["rectifier_c"]


@kernel
def turn_motors(g: Record, p: Record, phases: Any, converter_on: int) -> None:
    """Advance the voltages behind the motors' reactances by one sample."""
    count = g["phases"]
    breaker = 0
    switch = 0
    for k in range(count):
        breaker += phases[k]["breaker_closed"]
        switch += phases[k]["switch_closed"]
    single = int(count == 1)
    a = phases[0]
    b = phases[1]
    d = phases[2]
    if g["motor_g"] > 0.0:
        fed = 1.0 if breaker else (g["motor_hold"] if switch and converter_on else 0.0)
        x, y = seen_vector(single, a["u"], b["u"], d["u"])
        e_cos, e_sin, omega = turned_vector(
            p["motor_cos"], p["motor_sin"], p["motor_w"], x, y, single, fed,
            g["motor_rate"], g["motor_drop"], g["motor_slowing"], g["nominal_rad_s"], g["dt_s"],
        )  # fmt: skip
        p["motor_cos"] = e_cos
        p["motor_sin"] = e_sin
        p["motor_w"] = omega
        a["e_motor"] = e_cos
        b["e_motor"] = HALF_SQRT3 * e_sin - 0.5 * e_cos
        d["e_motor"] = -HALF_SQRT3 * e_sin - 0.5 * e_cos
    if g["own_motor_g"] > 0.0:
        fed = 1.0 if (breaker and switch) or converter_on else 0.0
        x, y = seen_vector(single, a["v"], b["v"], d["v"])
        e_cos, e_sin, omega = turned_vector(
            p["own_cos"], p["own_sin"], p["own_w"], x, y, single, fed,
            g["own_motor_rate"], g["own_motor_drop"], g["own_motor_slowing"], g["nominal_rad_s"], g["dt_s"],
        )  # fmt: skip
        p["own_cos"] = e_cos
        p["own_sin"] = e_sin
        p["own_w"] = omega
        a["e_own"] = e_cos
        b["e_own"] = HALF_SQRT3 * e_sin - 0.5 * e_cos
        d["e_own"] = -HALF_SQRT3 * e_sin - 0.5 * e_cos
