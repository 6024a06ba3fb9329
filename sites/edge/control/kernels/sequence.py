"""Positive-sequence extraction and phase-locked loop on the utility side of the static switch.

A second-order generalized integrator per axis (DSOGI) removes negative sequence and most harmonics;
a synchronous-frame PLL follows its output. One phase alone uses one integrator and its quadrature.

Source: Rodriguez et al., "Decoupled double synchronous reference frame / DSOGI PLL", IEEE 2006-2007.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sites.edge.control.kernels.compiled import Record, inlined, kernel

Sequence: TypeAlias = tuple[float, float, float, float, float, float, float]

SOGI_GAIN: Final = 1.4142
"""Damping of the integrator: settles in about half a cycle."""
Q_CLAMP: Final = 0.012
"""Largest phase error that may drive the frequency [rad]. A phase jump is no change of frequency; the clamp
leaves 9 Hz/s of slew, which no grid exceeds, and keeps a jump of 8 degrees from reading as half a hertz."""
DEAD_PU: Final = 0.3
"""Below this the voltage says nothing about frequency: the estimate holds."""


@inlined
def rotation_cos(angle: float) -> float:
    """Cosine of a small angle [rad], |angle| < 0.06: series error below 1e-11."""
    a2 = angle * angle
    return 1.0 - a2 * (0.5 - a2 * (1.0 / 24.0))


@inlined
def rotation_sin(angle: float) -> float:
    """Sine of a small angle [rad], |angle| < 0.06: series error below 1e-12."""
    a2 = angle * angle
    return angle * (1.0 - a2 * (1.0 / 6.0 - a2 * (1.0 / 120.0)))


@inlined
def follow_sequence(
    u_alpha: float,
    u_beta: float,
    three: bool,
    dt_s: float,
    gains: tuple[float, float],
    nominal_rad_s: float,
    kept: Sequence,
) -> tuple[Sequence, float, float]:
    """Take one sample of the utility side's voltage [pu]; return what is kept, and the positive sequence in phase and
    in quadrature [pu].

    Kept are the integrators of both axes, the phasor for the next sample and its frequency [rad/s]; ``gains`` are the
    loop's, proportional and integral. Without a branch, for a site as for a tile of a fleet.
    """
    x_alpha, q_before, x_beta, p_before, cos_u, sin_u, omega = kept
    step = omega * dt_s
    # Leapfrog: the quadrature state stands half a sample behind, so its mean is in time.
    x_alpha = x_alpha + step * (SOGI_GAIN * (u_alpha - x_alpha) - q_before)
    q_alpha = q_before + step * x_alpha
    mid_alpha = 0.5 * (q_before + q_alpha)
    x_beta = x_beta + step * (SOGI_GAIN * (u_beta - x_beta) - p_before)
    q_beta = p_before + step * x_beta
    mid_beta = 0.5 * (p_before + q_beta)
    plus_alpha = 0.5 * (x_alpha - mid_beta)
    plus_beta = 0.5 * (mid_alpha + x_beta)
    plus_alpha = plus_alpha if three else x_alpha
    plus_beta = plus_beta if three else mid_alpha
    level = plus_alpha * cos_u + plus_beta * sin_u
    cross = plus_beta * cos_u - plus_alpha * sin_u
    size = abs(level) + abs(cross)
    alive = size > DEAD_PU
    error = cross / (size if alive else 1.0)
    pulled = step + gains[0] * dt_s * error
    angle = pulled if alive else step
    clamped = error if error > -Q_CLAMP else -Q_CLAMP
    clamped = clamped if clamped < Q_CLAMP else Q_CLAMP
    moved = omega + gains[1] * dt_s * clamped
    low = 0.8 * nominal_rad_s
    high = 1.2 * nominal_rad_s
    moved = moved if moved > low else low
    moved = moved if moved < high else high
    omega = moved if alive else omega
    turn_cos = rotation_cos(angle)
    turn_sin = rotation_sin(angle)
    turned_cos = cos_u * turn_cos - sin_u * turn_sin
    turned_sin = sin_u * turn_cos + cos_u * turn_sin
    # One Newton step towards length one: rounding would let the phasor shrink over hours.
    length = 1.5 - 0.5 * (turned_cos * turned_cos + turned_sin * turned_sin)
    return (x_alpha, q_alpha, x_beta, q_beta, turned_cos * length, turned_sin * length, omega), level, cross


@kernel
def track_sequence(k: Record, c: Record, u_alpha: float, u_beta: float) -> None:
    """Advance the PLL by one sample of the utility side's voltage [pu].

    Leaves ``cos_u, sin_u`` (phase for the *next* sample), ``omega_u`` [rad/s], ``level_u`` (positive
    sequence in phase [pu]) and ``cross_u`` (in quadrature [pu]).
    """
    kept = (c["x_alpha"], c["q_alpha"], c["x_beta"], c["q_beta"], c["cos_u"], c["sin_u"], c["omega_u"])
    gains = (k["pll_kp"], k["pll_ki"])
    kept, level, cross = follow_sequence(u_alpha, u_beta, k["phases"] == 3, k["dt_s"], gains, k["nominal_rad_s"], kept)
    c["x_alpha"] = kept[0]
    c["q_alpha"] = kept[1]
    c["x_beta"] = kept[2]
    c["q_beta"] = kept[3]
    c["cos_u"] = kept[4]
    c["sin_u"] = kept[5]
    c["omega_u"] = kept[6]
    c["level_u"] = level
    c["cross_u"] = cross
