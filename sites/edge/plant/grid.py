"""The public grid at the site: its phasor, random numbers for what nobody steers, poles of the feeder's breaker."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

TWO_PI: Final = 6.283185307179586
MASK: Final = 0x7FFFFFFFFFFFFFFF


@kernel
def turn_source(g: Record, p: Record, grid_hz: float) -> None:
    """Turn the grid's phasor by one sample of the site's own clock.

    A sampling clock that runs slow by some ppm sees every frequency too high by as much: the bias is
    put where it arises, between the grid's phase and the instants of the samples.
    """
    angle = (TWO_PI * grid_hz + g["bias_rad_s"]) * g["dt_s"]
    square = angle * angle
    turn_cos = 1.0 - square * (0.5 - square * (1.0 / 24.0))
    turn_sin = angle * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0)))
    cos_g = p["cos_g"] * turn_cos - p["sin_g"] * turn_sin
    sin_g = p["sin_g"] * turn_cos + p["cos_g"] * turn_sin
    length = 1.5 - 0.5 * (cos_g * cos_g + sin_g * sin_g)
    p["cos_g"] = cos_g * length
    p["sin_g"] = sin_g * length


@kernel
def next_random(p: Record) -> int:
    """Return 63 random bits (xorshift, Marsaglia 2003, shifts 13-7-17 on 63 bits)."""
    x = p["random"]
    x = x ^ ((x << 13) & MASK)
    x = x ^ (x >> 7)
    x = x ^ ((x << 17) & MASK)
    p["random"] = x
    return x


@kernel
def command_breaker(phases: Any, mask: int, count: int, closes: int) -> None:
    """Pass an order on to the poles of the feeder's breaker that ``mask`` names.

    A pole closes at once; it opens at its next current zero (``network.solve_phase``).
    """
    for k in range(count):
        if (mask >> k) & 1:
            phases[k]["breaker_command"] = closes
            if closes and phases[k]["breaker_closed"] == 0:
                phases[k]["breaker_closed"] = 1
                phases[k]["i_grid"] = 0.0
