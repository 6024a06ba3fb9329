"""The frequency that the response and the slow windows follow: robust means of the grid's angle, once per ms.

The PLL follows the angle itself, for synchronizing: a phase step of 20 degrees reads as 0.3 Hz on it, as real
to a trigger as a lost power plant. Here five consecutive windows give a mean frequency each; a phase step spoils
one or two of them, and those that stand apart from their median are left out. A real change is in three of them
after 60 ms. A window is 20 ms at 50 Hz and 25 ms at 60 Hz, whole periods of twice the frequency: harmonics and
unbalance turn the angle in those. A last mean over half a cycle (50 Hz) or a cycle (60 Hz) takes out what they
leave off nominal frequency.

What is no frequency is taken out of the angle before: the sequence filter's own phase error while the PLL
catches up, and the angle that the converter's power turns over the grid's commissioned reactance.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.sequence import SOGI_GAIN

TWO_PI: Final = 6.283185307179586
APART_RAD_PER_MS: Final = TWO_PI * 0.05 * 0.001
"""How far a window may stand from the median: 50 mHz. Noise leaves 10 mHz on a window, a phase step of one degree
140."""
DEAD_SQUARE_PU: Final = 0.09
"""Below 0.3 pu the voltage says nothing about frequency: the estimate holds, and five windows beyond."""


@kernel
def turned_angle(k: Record, c: Record) -> float:
    """Return how far the grid's angle turned against nominal in the last millisecond [rad]."""
    x = c["level_u"] * c["cos_u"] - c["cross_u"] * c["sin_u"]
    y = c["level_u"] * c["sin_u"] + c["cross_u"] * c["cos_u"]
    dot = x * c["angle_x"] + y * c["angle_y"]
    cross = y * c["angle_x"] - x * c["angle_y"]
    c["angle_x"] = x
    c["angle_y"] = y
    # Right after a dead voltage both are 0, and so is the angle.
    turned = math.atan2(cross * k["turn_cos"] - dot * k["turn_sin"], dot * k["turn_cos"] + cross * k["turn_sin"])
    # The filter is tuned to the PLL's frequency, and lags by its gain times the relative error of that.
    error = (TWO_PI * c["response_hz"] - c["omega_u"]) / k["nominal_rad_s"]
    shift = SOGI_GAIN * error - k["grid_x"] * c["power_pu"]
    turned += shift - c["angle_shift"]
    c["angle_shift"] = shift
    return turned


@kernel
def typical_turn(k: Record, c: Record, at: int) -> float:
    """Return the mean turn per millisecond of the windows that agree [rad/ms]; ``at``: place of the newest angle."""
    ring = c["angle_ring"]
    step = k["window_ms"]
    length = 5 * step
    a1 = ring[(at + 4 * step) % length]
    a2 = ring[(at + 3 * step) % length]
    a3 = ring[(at + 2 * step) % length]
    a4 = ring[(at + step) % length]
    w0 = ring[at] - a1
    w1 = a1 - a2
    w2 = a2 - a3
    w3 = a3 - a4
    # The oldest angle of the fifth window has just been overwritten: it is kept aside.
    w4 = a4 - c["angle_oldest"]
    # Median of five: of four, the smallest and the largest go; then the middle of three.
    low = max(min(w0, w1), min(w2, w3))
    high = min(max(w0, w1), max(w2, w3))
    median = max(min(low, high), min(max(low, high), w4))
    total = 0.0
    count = 0
    for w in (w0, w1, w2, w3, w4):
        if abs(w - median) < APART_RAD_PER_MS * step:
            total += w
            count += 1
    return total / (count * step)


@kernel
def estimate_frequency(k: Record, c: Record) -> float:
    """Advance the estimate by one millisecond; return it [Hz]."""
    turned = turned_angle(k, c)
    alive = c["angle_x"] * c["angle_x"] + c["angle_y"] * c["angle_y"] > DEAD_SQUARE_PU
    if not (alive and abs(turned) < TWO_PI):
        # Dead, or no number at all: begin again with the voltage.
        c["angle_x"] = 0.0
        c["angle_y"] = 0.0
        c["angle_shift"] = 0.0
        c["angle_rad"] = 0.0
        c["angle_count"] = 0
        return c["response_hz"]
    length = 5 * k["window_ms"]
    c["angle_rad"] += turned
    at = c["angle_at"] + 1 if c["angle_at"] + 1 < length else 0
    c["angle_at"] = at
    c["angle_oldest"] = c["angle_ring"][at]
    c["angle_ring"][at] = c["angle_rad"]
    if c["angle_count"] <= length:
        c["angle_count"] += 1
        return c["response_hz"]
    place = c["smooth_at"] + 1 if c["smooth_at"] + 1 < k["smooth_ms"] else 0
    c["smooth_at"] = place
    c["smooth_ring"][place] = typical_turn(k, c, at)
    total = 0.0
    for j in range(k["smooth_ms"]):
        total += c["smooth_ring"][j]
    c["response_hz"] = (k["nominal_rad_s"] + total / k["smooth_ms"] * 1000.0) / TWO_PI
    return c["response_hz"]
