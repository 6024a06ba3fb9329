"""Rectifier modules of a DC site: AC input, DC link, voltage source with droop and limits.

All modules together, sharing evenly. Power flows one way: the input is a conductance on the AC side that is
never negative, so nothing is exported whatever the controller orders.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

DERATED_SQUARE: Final = 0.64
"""Squared input voltage below which the output's limit falls with it: 0.8 pu, 176-184 V at 230 V."""


@kernel
def rectifier_loss_w(dg: Record, d: Record, output_w: float) -> float:
    """Losses of the modules at an output [W]: idle, proportional and square part, shared by those that work."""
    share = max(d["modules"], 1) / dg["modules"]
    square_w = dg["loss_square_per_w"] * output_w * output_w / share
    return dg["loss_idle_w"] * share + dg["loss_linear"] * output_w + square_w


@kernel
def draw_input(dg: Record, d: Record, used_w: float, limit_w: float) -> None:
    """Set the conductance that the modules show to their AC input, from the DC link's energy.

    The power factor correction keeps the link full: its slow loop (10-20 Hz) follows the power that is used (output
    and losses) and what the link lacks. ``limit_w`` bounds what may be drawn. Leaves ``input_g`` [pu of the rating].
    """
    # A sagging input must not be drawn down further: below the window the conductance rises no more.
    square = max(d["input_square"], dg["input_low_pu"] * dg["input_low_pu"])
    if not d["rectifier_on"]:
        d["input_g"] = 0.0
        return
    wanted_w = used_w + dg["link_gain"] * (dg["link_j"] - d["link_j"])
    wanted_w = min(max(wanted_w, 0.0), limit_w)
    d["input_g"] += dg["input_share"] * (wanted_w / (square * dg["rectifier_w"]) - d["input_g"])


@kernel
def watch_input(dg: Record, d: Record, duration_s: float, square_pu: float) -> None:
    """Follow the input's squared voltage [pu², 1 at nominal]; outside the window the modules switch off.

    On return they walk in: the output's limit rises from nothing over the walk-in time.
    """
    d["input_square"] += dg["square_share"] * (square_pu - d["input_square"])
    low = dg["input_low_pu"]
    high = dg["input_high_pu"]
    if d["rectifier_on"]:
        # The link bridges a dip; modules give up when the input is outside their window.
        if d["input_square"] < 0.9 * low * low or d["input_square"] > high * high:
            d["rectifier_on"] = 0
            d["input_g"] = 0.0
    elif low * low <= d["input_square"] <= 0.97 * high * high:
        d["rectifier_on"] = 1
        d["walk_in_w"] = 0.0
    if d["rectifier_on"]:
        d["walk_in_w"] = min(d["walk_in_w"] + dg["walk_in_w_s"] * duration_s, dg["rectifier_w"])


@kernel
def drive_output(dg: Record, d: Record) -> None:
    """Move the output current by one sample towards (set voltage − bus voltage) / droop, inside its limits."""
    v = d["bus_v"]
    share = d["modules"] / dg["modules"]
    limit_a = min(dg["rectifier_a"] * share, d["set_a"])
    limit_w = min(d["walk_in_w"], dg["rectifier_w"] * min(d["input_square"] / DERATED_SQUARE, share))
    limit_a = min(limit_a, limit_w / max(v, 0.5 * dg["nominal_v"]))
    if d["link_j"] <= dg["link_low_j"]:
        # What the link can still give ends with it: the converter stage blocks.
        limit_a = 0.0
    wanted_a = (d["set_v"] - v) / dg["droop_ohm"]
    d["limiting"] = 1 if wanted_a > limit_a else 0
    wanted_a = min(max(wanted_a, 0.0), limit_a)
    if limit_a <= 0.0:
        d["rectifier_a"] = 0.0
    else:
        d["rectifier_a"] += dg["current_share"] * (wanted_a - d["rectifier_a"])


@kernel
def take_set_points(dg: Record, d: Record, v_ref_v: float, limit_a: float) -> None:
    """Pass the controller's set points on over the modules' bus: once per cycle, one cycle late."""
    d["command_ticks"] -= 1
    if d["command_ticks"] > 0:
        return
    d["command_ticks"] = dg["command_ticks"]
    d["set_v"] = d["next_v"]
    d["set_a"] = d["next_a"]
    d["next_v"] = v_ref_v
    d["next_a"] = limit_a
