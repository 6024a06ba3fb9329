"""Enter-service delay and synchronism check before the static switch closes.

Two checks stand one behind the other: angle, slip and voltage have to stay inside the window for the dwell
time before the order, and until the poles touch every sample compares both sides, so that a feeder that falls
away or comes back out of step in the meantime withdraws the order.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

TWO_PI: Final = 6.283185307179586
APART_TICKS: Final = 3
"""Samples in a row that withdraw an order: noise and a notch's edge do not."""


@kernel
def watch_enter_service(k: Record, c: Record) -> None:
    """Count how long the utility side has been fit to return to; more than 3 ms unfit in a row start anew.

    Called once per millisecond. Fit: positive sequence and frequency inside the enter-service window
    and the PLL locked.
    """
    frequency_hz = c["omega_u"] / TWO_PI
    fit = (
        k["enter_low_pu"] <= c["level_u"] <= k["enter_high_pu"]
        and k["enter_low_hz"] <= frequency_hz <= k["enter_high_hz"]
        and abs(c["cross_u"]) < 0.1
    )
    if fit:
        c["fit_ticks"] += k["ticks_per_ms"]
        c["unfit_ms"] = 0
    else:
        c["unfit_ms"] += 1
        if c["unfit_ms"] > 3:
            c["fit_ticks"] = 0


@kernel
def watch_angle(k: Record, c: Record, v_alpha: float, v_beta: float) -> None:
    """Follow the angle of the load bus against the utility side's phasor, one sample [pu]."""
    dot = v_alpha * c["cos_u"] + v_beta * c["sin_u"]
    cross = v_beta * c["cos_u"] - v_alpha * c["sin_u"]
    # About 3 ms for three phases; one phase carries a double-frequency ripple and takes 20 ms.
    share = 0.03 if k["phases"] == 3 else 0.005
    c["sync_dot"] += share * (dot - c["sync_dot"])
    c["sync_cross"] += share * (cross - c["sync_cross"])


@kernel
def guard_closing(k: Record, c: Record, alpha: float, beta: float, poles_closed: int) -> None:
    """Take the difference of both sides' vectors at one sample [pu]; withdraw the order when they are apart.

    ``in_sync_ms`` starts anew, so that nothing closes before another full dwell time.
    """
    if alpha * alpha + beta * beta > k["apart_square"]:
        c["apart_ticks"] += 1
        if c["apart_ticks"] >= APART_TICKS:
            c["in_sync_ms"] = 0
            if c["switch_command"] == 1 and poles_closed < k["phases"]:
                c["switch_command"] = 0
                c["withdrawals"] += 1
    else:
        c["apart_ticks"] = 0


@kernel
def bus_lead(k: Record, c: Record) -> float:
    """Angle by which the load bus leads the utility side [rad]."""
    if k["phases"] == 3:
        return math.atan2(c["sync_cross"], c["sync_dot"])
    # One phase has no instantaneous vector: take the converter's own angle less the drop on its filter.
    lead = math.atan2(
        c["sin_e"] * c["cos_u"] - c["cos_e"] * c["sin_u"], c["cos_e"] * c["cos_u"] + c["sin_e"] * c["sin_u"]
    )
    return lead - math.atan(k["filter_x"] * c["power_pu"])


@kernel
def watch_synchronism(k: Record, c: Record, lead_rad: float) -> int:
    """Return 1 when angle, slip and voltage have stayed inside the window for the dwell time.

    Called once per millisecond; any one outside starts the dwell anew.
    """
    # One phase's mean over 10 ms carries a ripple off 50 Hz: about 20 ms of memory take it out.
    share = 1.0 if k["phases"] == 3 else 0.05
    c["sync_gap_pu"] += share * (c["voltage_pu"] - c["level_u"] - c["sync_gap_pu"])
    inside = (
        abs(lead_rad) <= k["sync_angle_rad"]
        and abs(c["omega_e"] - c["omega_u"]) <= k["sync_slip_rad_s"]
        and abs(c["sync_gap_pu"]) <= k["sync_voltage_pu"]
    )
    c["in_sync_ms"] = c["in_sync_ms"] + 1 if inside else 0
    return int(c["in_sync_ms"] >= k["sync_dwell_ms"])
