"""Positive-sequence extraction and phase-locked loop on the utility side of the static switch.

A second-order generalized integrator per axis (DSOGI) removes negative sequence and most harmonics;
a synchronous-frame PLL follows its output. One phase alone uses one integrator and its quadrature.

Source: Rodriguez et al., "Decoupled double synchronous reference frame / DSOGI PLL", IEEE 2006-2007.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

SOGI_GAIN: Final = 1.4142
"""Damping of the integrator: settles in about half a cycle."""
Q_CLAMP: Final = 0.012
"""Largest phase error that may drive the frequency [rad]. A phase jump is no change of frequency; the clamp
leaves 9 Hz/s of slew, which no grid exceeds, and keeps a jump of 8 degrees from reading as half a hertz."""
DEAD_PU: Final = 0.3
"""Below this the voltage says nothing about frequency: the estimate holds."""


@kernel
def rotation_cos(angle: float) -> float:
    """Cosine of a small angle [rad], |angle| < 0.06: series error below 1e-11."""
    a2 = angle * angle
    return 1.0 - a2 * (0.5 - a2 * (1.0 / 24.0))


@kernel
def rotation_sin(angle: float) -> float:
    """Sine of a small angle [rad], |angle| < 0.06: series error below 1e-12."""
    a2 = angle * angle
    return angle * (1.0 - a2 * (1.0 / 6.0 - a2 * (1.0 / 120.0)))


@kernel
def track_sequence(k: Record, c: Record, u_alpha: float, u_beta: float) -> None:
    """Advance the PLL by one sample of the utility side's voltage [pu].

    Leaves ``cos_u, sin_u`` (phase for the *next* sample), ``omega_u`` [rad/s], ``level_u`` (positive
    sequence in phase [pu]) and ``cross_u`` (in quadrature [pu]).
    """
    dt = k["dt_s"]
    step = c["omega_u"] * dt
    # Leapfrog: the quadrature state stands half a sample behind, so its mean is in time.
    x_alpha = c["x_alpha"] + step * (SOGI_GAIN * (u_alpha - c["x_alpha"]) - c["q_alpha"])
    q_alpha = c["q_alpha"] + step * x_alpha
    mid_alpha = 0.5 * (c["q_alpha"] + q_alpha)
    c["x_alpha"] = x_alpha
    c["q_alpha"] = q_alpha
    if k["phases"] == 3:
        x_beta = c["x_beta"] + step * (SOGI_GAIN * (u_beta - c["x_beta"]) - c["q_beta"])
        q_beta = c["q_beta"] + step * x_beta
        mid_beta = 0.5 * (c["q_beta"] + q_beta)
        c["x_beta"] = x_beta
        c["q_beta"] = q_beta
        plus_alpha = 0.5 * (x_alpha - mid_beta)
        plus_beta = 0.5 * (mid_alpha + x_beta)
    else:
        plus_alpha = x_alpha
        plus_beta = mid_alpha
    level = plus_alpha * c["cos_u"] + plus_beta * c["sin_u"]
    cross = plus_beta * c["cos_u"] - plus_alpha * c["sin_u"]
    c["level_u"] = level
    c["cross_u"] = cross
    size = abs(level) + abs(cross)
    angle = step
    if size > DEAD_PU:
        error = cross / size
        angle += k["pll_kp"] * dt * error
        omega = c["omega_u"] + k["pll_ki"] * dt * min(max(error, -Q_CLAMP), Q_CLAMP)
        nominal = k["nominal_rad_s"]
        c["omega_u"] = min(max(omega, 0.8 * nominal), 1.2 * nominal)
    turn_cos = rotation_cos(angle)
    turn_sin = rotation_sin(angle)
    cos_u = c["cos_u"] * turn_cos - c["sin_u"] * turn_sin
    sin_u = c["sin_u"] * turn_cos + c["cos_u"] * turn_sin
    # One Newton step towards length one: rounding would let the phasor shrink over hours.
    length = 1.5 - 0.5 * (cos_u * cos_u + sin_u * sin_u)
    c["cos_u"] = cos_u * length
    c["sin_u"] = sin_u * length
