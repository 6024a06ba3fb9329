"""A vector that follows three phases, or one, with a time constant: a motor's voltage, an inverter's reference."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

INVERSE_SQRT3: Final = 0.5773502691896258
SLOWEST_SHARE: Final = 0.3
FASTEST_SHARE: Final = 1.3
"""Bounds of the speed on the nominal one; a motor that has run down so far carries no voltage that matters."""
FOLLOWER_S: Final = 5e-3
"""How fast PV inverters and the genset's regulator follow the bus: their current is a sine of their own, not a
copy of each instant's voltage, which would be a negative resistance to the filter's resonance."""


@kernel
def seen_vector(single: int, a: float, b: float, c: float) -> Any:
    """Return the (alpha, beta) of three phases; one phase shows alpha only."""
    if single:
        return a, 0.0
    return (2.0 * a - b - c) * (1.0 / 3.0), (b - c) * INVERSE_SQRT3


@kernel
def turned_vector(
    e_cos: float,
    e_sin: float,
    omega: float,
    x: float,
    y: float,
    single: int,
    fed: float,
    rate: float,
    drop: float,
    slowing: float,
    nominal: float,
    dt_s: float,
) -> Any:
    """Return a vector (cos, sin) and its speed [rad/s] one sample on.

    Towards the seen vector (x, y) as far as ``fed``, behind it by ``drop`` [pu]; the rest of it decays and slows
    down. The speed follows what is seen, critically damped. One phase is driven doubly on the axis that it
    shows, as a resonator is.
    """
    pull_cos = x + drop * e_sin - e_cos
    pull_sin = y - drop * e_cos - e_sin
    if single:
        pull_cos *= 2.0
        pull_sin = 0.0
    cross = pull_sin * e_cos - pull_cos * e_sin
    omega += fed * 0.25 * rate * rate / dt_s * cross - (1.0 - fed) * slowing
    omega = min(max(omega, SLOWEST_SHARE * nominal), FASTEST_SHARE * nominal)
    angle = omega * dt_s
    unfed = 1.0 - fed
    e_cos, e_sin = e_cos + rate * (fed * pull_cos - unfed * e_cos), e_sin + rate * (fed * pull_sin - unfed * e_sin)
    square = angle * angle
    turn_cos = 1.0 - square * (0.5 - square * (1.0 / 24.0))
    turn_sin = angle * (1.0 - square * (1.0 / 6.0))
    return e_cos * turn_cos - e_sin * turn_sin, e_sin * turn_cos + e_cos * turn_sin, omega


@kernel
def follow_bus(g: Record, p: Record, phases: Any) -> None:
    """Advance the bus voltage as PV inverters and the genset see it."""
    single = int(g["phases"] == 1)
    x, y = seen_vector(single, phases[0]["v"], phases[1]["v"], phases[2]["v"])
    e_cos, e_sin, omega = turned_vector(
        p["bus_cos"], p["bus_sin"], p["bus_w"], x, y, single, 1.0, g["dt_s"] / FOLLOWER_S, 0.0, 0.0,
        g["nominal_rad_s"], g["dt_s"],
    )  # fmt: skip
    p["bus_cos"] = e_cos
    p["bus_sin"] = e_sin
    p["bus_w"] = omega
