"""The voltage part of the trip path over many sites at once, laid out for the processor's vector units.

The formulas of ``sequence.track_sequence`` and of the weighted lack of ``detector.watch_phase``, bit for bit, as a
structure of arrays: a tile holds ``WIDTH`` sites side by side, each quantity of a tile in one run of memory. All
runs of a tile lie in one array at constant distances, so the compiler knows that they do not overlap and vectorizes;
every branch is a selection. A site that never lacks its wave here cannot leave the grid for a lost phase: for studies
over fleets and long times, which hand only the others to the record kernels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sites.edge.control.kernels.compiled import kernel
from sites.edge.control.kernels.phases import HALF_SQRT3
from sites.edge.control.kernels.sequence import DEAD_PU, Q_CLAMP, SOGI_GAIN

WIDTH: Final = 64
"""Sites in a tile: its state stays in the first-level cache."""
FIELDS: Final = (
    "x_alpha", "q_alpha", "x_beta", "q_beta", "cos_u", "sin_u", "omega_u", "level_u", "cross_u",
    "lack_a", "lack_b", "lack_c", "weight_a", "weight_b", "weight_c",
    "reference", "nominal_rad_s", "three_phases", "lost_ticks", "lost_longest",
)  # fmt: skip
"""Quantities of a site in the order of a tile. ``three_phases`` is 1 or 0; ``lost_ticks`` counts samples in a row in
which any phase lacks its wave, ``lost_longest`` the most so far."""

X_ALPHA: Final = 0 * WIDTH
Q_ALPHA: Final = 1 * WIDTH
X_BETA: Final = 2 * WIDTH
Q_BETA: Final = 3 * WIDTH
COS_U: Final = 4 * WIDTH
SIN_U: Final = 5 * WIDTH
OMEGA_U: Final = 6 * WIDTH
LEVEL_U: Final = 7 * WIDTH
CROSS_U: Final = 8 * WIDTH
LACK_A: Final = 9 * WIDTH
LACK_B: Final = 10 * WIDTH
LACK_C: Final = 11 * WIDTH
WEIGHT_A: Final = 12 * WIDTH
WEIGHT_B: Final = 13 * WIDTH
WEIGHT_C: Final = 14 * WIDTH
REFERENCE: Final = 15 * WIDTH
NOMINAL: Final = 16 * WIDTH
THREE: Final = 17 * WIDTH
TICKS: Final = 18 * WIDTH
LONGEST: Final = 19 * WIDTH

LACK_FLOOR_PU: Final = 0.05
"""Missing wave below this is noise or notch, whatever its weight."""
THIRD: Final = 1.0 / 3.0
INVERSE_SQRT3: Final = 0.5773502691896258


@kernel
def watch_tile(t: Any, volts: Any, dt_s: float, kp: float, ki: float, memory: float, share: float) -> None:
    """Take samples of one tile: ``t`` its state [len(FIELDS) * WIDTH], ``volts`` [samples, 3 * WIDTH], phases in turn.

    One voltage stands for both sides of the closed switch. A site of one phase has zeros for the other two.
    """
    for s in range(volts.shape[0]):
        v = volts[s]
        for i in range(WIDTH):
            va = np.float64(v[i])
            vb = np.float64(v[WIDTH + i])
            vc = np.float64(v[2 * WIDTH + i])
            three = t[THREE + i] > 0.5
            cos_u = t[COS_U + i]
            sin_u = t[SIN_U + i]
            reference = t[REFERENCE + i]
            # Per phase: what is missing of the expected wave, weighted with the wave.
            half = 0.5 * cos_u
            side = HALF_SQRT3 * sin_u
            wave_b = side - half
            wave_c = -side - half
            lack_a = t[LACK_A + i]
            lack_a = lack_a + memory * (cos_u * (reference * cos_u - va) - lack_a)
            weight_a = t[WEIGHT_A + i]
            weight_a = weight_a + memory * (cos_u * cos_u - weight_a)
            lack_b = t[LACK_B + i]
            lack_b = lack_b + memory * (wave_b * (reference * wave_b - vb) - lack_b)
            weight_b = t[WEIGHT_B + i]
            weight_b = weight_b + memory * (wave_b * wave_b - weight_b)
            lack_c = t[LACK_C + i]
            lack_c = lack_c + memory * (wave_c * (reference * wave_c - vc) - lack_c)
            weight_c = t[WEIGHT_C + i]
            weight_c = weight_c + memory * (wave_c * wave_c - weight_c)
            t[LACK_A + i] = lack_a
            t[LACK_B + i] = lack_b
            t[LACK_C + i] = lack_c
            t[WEIGHT_A + i] = weight_a
            t[WEIGHT_B + i] = weight_b
            t[WEIGHT_C + i] = weight_c
            least = share * reference
            lost_a = (lack_a > least * weight_a) & (lack_a > LACK_FLOOR_PU)
            lost_b = (lack_b > least * weight_b) & (lack_b > LACK_FLOOR_PU)
            lost_c = (lack_c > least * weight_c) & (lack_c > LACK_FLOOR_PU)
            lost = lost_a | ((lost_b | lost_c) & three)
            ticks = t[TICKS + i] + 1.0 if lost else 0.0
            longest = t[LONGEST + i]
            t[TICKS + i] = ticks
            t[LONGEST + i] = ticks if ticks > longest else longest
            # Positive sequence and PLL.
            v_alpha = (2.0 * va - vb - vc) * THIRD if three else va
            v_beta = (vb - vc) * INVERSE_SQRT3 if three else 0.0
            omega = t[OMEGA_U + i]
            step = omega * dt_s
            q_before = t[Q_ALPHA + i]
            x_alpha = t[X_ALPHA + i]
            x_alpha = x_alpha + step * (SOGI_GAIN * (v_alpha - x_alpha) - q_before)
            q_alpha = q_before + step * x_alpha
            mid_alpha = 0.5 * (q_before + q_alpha)
            t[X_ALPHA + i] = x_alpha
            t[Q_ALPHA + i] = q_alpha
            q_before = t[Q_BETA + i]
            x_beta = t[X_BETA + i]
            x_beta = x_beta + step * (SOGI_GAIN * (v_beta - x_beta) - q_before)
            q_beta = q_before + step * x_beta
            mid_beta = 0.5 * (q_before + q_beta)
            t[X_BETA + i] = x_beta
            t[Q_BETA + i] = q_beta
            plus_alpha = 0.5 * (x_alpha - mid_beta) if three else x_alpha
            plus_beta = 0.5 * (mid_alpha + x_beta) if three else mid_alpha
            level = plus_alpha * cos_u + plus_beta * sin_u
            cross = plus_beta * cos_u - plus_alpha * sin_u
            t[LEVEL_U + i] = level
            t[CROSS_U + i] = cross
            size = abs(level) + abs(cross)
            alive = size > DEAD_PU
            error = cross / (size if alive else 1.0)
            angle = step + kp * dt_s * error if alive else step
            clamped = error if error > -Q_CLAMP else -Q_CLAMP
            clamped = clamped if clamped < Q_CLAMP else Q_CLAMP
            moved = omega + ki * dt_s * clamped
            nominal = t[NOMINAL + i]
            low = 0.8 * nominal
            high = 1.2 * nominal
            moved = moved if moved > low else low
            moved = moved if moved < high else high
            t[OMEGA_U + i] = moved if alive else omega
            square = angle * angle
            turn_cos = 1.0 - square * (0.5 - square * (1.0 / 24.0))
            turn_sin = angle * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0)))
            turned_cos = cos_u * turn_cos - sin_u * turn_sin
            turned_sin = sin_u * turn_cos + cos_u * turn_sin
            length = 1.5 - 0.5 * (turned_cos * turned_cos + turned_sin * turned_sin)
            t[COS_U + i] = turned_cos * length
            t[SIN_U + i] = turned_sin * length


@kernel
def watch_tiles(
    tiles: Any, volts: Any, first: int, last: int, dt_s: float, kp: float, ki: float, memory: float, share: float
) -> None:
    """Take samples of the tiles [first, last); ``tiles`` and ``volts`` have a leading axis over tiles."""
    for tile in range(first, last):
        watch_tile(tiles[tile], volts[tile], dt_s, kp, ki, memory, share)
