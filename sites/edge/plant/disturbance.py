"""What the source of each phase shows: fundamental, harmonics, and the transients that events have started."""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

HALF_SQRT3: Final = 0.8660254037844386
RING_ENDS_PU: Final = 1e-3
NOTCH_ANGLE_RAD: Final = 0.5235987755982988
"""A six-pulse rectifier commutates 30 degrees after each phase's peak and trough at full delay of its valves."""
NOTCH_COS: Final = math.cos(NOTCH_ANGLE_RAD)
NOTCH_SIN: Final = math.sin(NOTCH_ANGLE_RAD)


@kernel
def harmonics(p: Record) -> Any:
    """Return (alpha, beta) of the source's harmonics [pu], from powers of its phasor.

    The 5th and 11th turn backward, the 7th and 13th forward.
    """
    c1 = p["cos_g"]
    s1 = p["sin_g"]
    c2 = c1 * c1 - s1 * s1
    s2 = 2.0 * c1 * s1
    c4 = c2 * c2 - s2 * s2
    s4 = 2.0 * c2 * s2
    c5 = c4 * c1 - s4 * s1
    s5 = s4 * c1 + c4 * s1
    c7 = c5 * c2 - s5 * s2
    s7 = s5 * c2 + c5 * s2
    h5 = p["h5"]
    h7 = p["h7"]
    alpha = h5 * c5 + h7 * c7
    beta = h7 * s7 - h5 * s5
    h11 = p["h11"]
    h13 = p["h13"]
    if h11 != 0.0 or h13 != 0.0:
        c11 = c7 * c4 - s7 * s4
        s11 = s7 * c4 + c7 * s4
        alpha += h11 * c11 + h13 * (c11 * c2 - s11 * s2)
        beta += h13 * (s11 * c2 + c11 * s2) - h11 * s11
    return alpha, beta


@kernel
def phase_source(ph: Record, level: float, cosine: float, sine: float, harmonic: float) -> float:
    """Return one phase's source [pu] at the phase's own cosine and sine of the grid's angle."""
    return level * ph["level"] * (cosine * ph["turn_cos"] - sine * ph["turn_sin"]) + harmonic


@kernel
def move_transients(p: Record) -> float:
    """Advance what is common to the phases by a sample; return the factor on the source's level."""
    factor = 1.0
    if p["dip_pu"] != 0.0:
        factor -= p["dip_pu"]
        p["dip_pu"] *= p["dip_memory"]
        if abs(p["dip_pu"]) < RING_ENDS_PU:
            p["dip_pu"] = 0.0
    if p["flicker_pu"] != 0.0:
        # A symplectic step keeps the length of the slow phasor.
        p["flicker_cos"] -= p["flicker_turn"] * p["flicker_sin"]
        p["flicker_sin"] += p["flicker_turn"] * p["flicker_cos"]
        factor += 0.5 * p["flicker_pu"] * p["flicker_cos"]
    ring_cos = p["ring_cos"]
    ring_sin = p["ring_sin"]
    p["ring_cos"] = ring_cos * p["ring_turn_cos"] - ring_sin * p["ring_turn_sin"]
    p["ring_sin"] = ring_sin * p["ring_turn_cos"] + ring_cos * p["ring_turn_sin"]
    if abs(ring_cos) + abs(ring_sin) < RING_ENDS_PU:
        p["ring_cos"] = 0.0
        p["ring_sin"] = 0.0
    return factor


@kernel
def disturbed_source(p: Record, ph: Record, source: float, cosine: float, sine: float) -> float:
    """Return one phase's source [pu] with notches, the ring of a capacitor bank and an impulse on it."""
    if p["notch_pu"] != 0.0:
        place = cosine * NOTCH_COS + sine * NOTCH_SIN
        if abs(place) > p["notch_cos_half"]:
            source *= 1.0 - p["notch_pu"]
    source += ph["ring_share"] * p["ring_cos"]
    if ph["impulse_ticks"] > 0:
        ph["impulse_ticks"] -= 1
        source += ph["impulse_pu"]
    return source


@kernel
def is_disturbed(p: Record, phases: Any, count: int) -> int:
    """Return 1 while a transient is under way."""
    left = p["dip_pu"] != 0.0 or p["flicker_pu"] != 0.0 or p["notch_pu"] != 0.0 or p["ring_cos"] != 0.0
    left = left or p["ring_sin"] != 0.0
    for k in range(count):
        left = left or phases[k]["impulse_ticks"] > 0
    return int(left)
