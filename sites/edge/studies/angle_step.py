"""A site beside a calm grid in steps of a millisecond: angles instead of waves, the same controller's response.

Where no wave is disturbed, filter and grid are two reactances between three angles, and what is left of a site is
its slow part: estimate of the frequency, droop, service and limits, drive, battery and meters, by the kernels that run
on waves, too. Left out: the detector and the windows (the study runs waves where there is anything to see), the probe
against islands, the sensors' noise. Some twenty times as fast; `tests/unit/sites/edge/studies/test_angle_step.py`
holds it against the waves.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.anti_islanding import probe_power, watch_probe
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.frequency import estimate_frequency
from sites.edge.control.kernels.grid_forming import measure_power
from sites.edge.control.kernels.records import CAUSE_NONE
from sites.edge.control.kernels.sequence import Q_CLAMP, rotation_cos, rotation_sin
from sites.edge.control.kernels.service import drive_power, power_reference, share_granted
from sites.edge.control.kernels.transfer import steer_exchange
from sites.edge.studies.fleet_step import ROWS_PER_BLOCK, close_block, close_row

MS_S: Final = 1e-3
FILTER_S: Final = 4.5e-3
"""The sequence filter's memory: 1 / (0.71 · 314 rad/s)."""
GRID: Final = 0
CONVERTER: Final = 1
SEEN: Final = 2
FOLLOWED: Final = 3
"""Places of the angles against a phasor of nominal frequency [rad]: the stiff grid's, the converter's, the bus's
through the sequence filter, the PLL's."""
ANGLES: Final = 4
LEFT: Final = -1


@kernel
def begin_angles(g: Record, p: Record, c: Record, angles: Any) -> None:
    """Set the angles from what flows: the bus's is zero."""
    load_pu = p["load_pu"] * p["tier_share"]
    angles[GRID] = (load_pu - c["power_pu"]) * grid_reactance(g)
    angles[CONVERTER] = c["power_pu"] * filter_reactance(g)
    angles[SEEN] = 0.0
    angles[FOLLOWED] = 0.0


@kernel
def grid_reactance(g: Record) -> float:
    """Return the reactance between the stiff grid and the bus [pu]."""
    return g["grid_l"] * g["dt_s"] * g["nominal_rad_s"]


@kernel
def filter_reactance(g: Record) -> float:
    """Return the converter's own series reactance [pu]."""
    return g["filter_l"] * g["dt_s"] * g["nominal_rad_s"]


@kernel
def follow_angle(k: Record, c: Record, angles: Any, bus: float) -> None:
    """Move sequence filter and PLL by a millisecond towards the bus's angle [rad]; leave what they show in ``c``."""
    run = (c["omega_u"] - k["nominal_rad_s"]) * MS_S
    turned = run + (bus - angles[SEEN] - run) * (1.0 - math.exp(-MS_S / FILTER_S))
    angles[SEEN] += turned
    error = angles[SEEN] - angles[FOLLOWED]
    angles[FOLLOWED] += run + k["pll_kp"] * MS_S * error
    c["omega_u"] += k["pll_ki"] * MS_S * min(max(error, -Q_CLAMP), Q_CLAMP)
    turn_cos = rotation_cos(turned)
    turn_sin = rotation_sin(turned)
    x = c["cos_u"] * turn_cos - c["sin_u"] * turn_sin
    y = c["sin_u"] * turn_cos + c["cos_u"] * turn_sin
    cos_u = x * k["turn_cos"] - y * k["turn_sin"]
    sin_u = y * k["turn_cos"] + x * k["turn_sin"]
    length = 1.5 - 0.5 * (cos_u * cos_u + sin_u * sin_u)
    c["cos_u"] = cos_u * length
    c["sin_u"] = sin_u * length
    c["level_u"] = 1.0
    c["cross_u"] = 0.0


@kernel
def advance_angles(
    g: Record, p: Record, phases: Any, k: Record, c: Record, m: Record, w: Record,
    angles: Any, grid_hz: Any, first_ms: int, place: int, rows: Any,
) -> int:  # fmt: skip
    """Advance a grid-tied site by ``len(grid_hz)`` milliseconds; write its 100 Hz record [rows, columns].

    ``place`` is the row inside its metering block of 100 ms; returns that after the last, or ``LEFT`` where the active
    method takes the grid for lost: what comes then is for waves.
    """
    ticks = k["ticks_per_ms"]
    per_power = 0.5 * g["phases"]
    grid_x = grid_reactance(g)
    filter_x = filter_reactance(g)
    # What backward Euler takes from a wave in the filter's capacitor: a thousandth of the rating, before the meter.
    lost_pu = g["filter_c"] * (1.0 - math.cos(g["nominal_rad_s"] * g["dt_s"]))
    row = 0
    for n in range(grid_hz.shape[0]):
        sample = (first_ms + n) * ticks
        angles[GRID] += (6.283185307179586 * grid_hz[n] - g["nominal_rad_s"] + g["bias_rad_s"]) * MS_S
        angles[CONVERTER] += (c["omega_e"] - k["nominal_rad_s"]) * MS_S
        load_pu = p["load_pu"] * p["tier_share"]
        total = 1.0 / filter_x + 1.0 / grid_x
        bus = (angles[CONVERTER] / filter_x + angles[GRID] / grid_x - load_pu - lost_pu) / total
        converter_pu = (angles[CONVERTER] - bus) / filter_x
        battery_pu = converter_pu - lost_pu
        pcc_pu = load_pu - battery_pu
        follow_angle(k, c, angles, bus)
        c["mode_ticks"] += ticks
        c["p_sum"] = converter_pu * per_power * ticks
        c["v2_sum"] = per_power * ticks
        c["peak_pu"] = abs(converter_pu)
        measure_power(k, c)
        c["frequency_hz"] = estimate_frequency(k, c)
        m["va"] = 1.0
        m["vb"] = 0.0
        m["vc"] = 0.0
        m["ia"] = pcc_pu * per_power
        m["pa"] = converter_pu * per_power
        probe_ms = first_ms + n + k["probe_offset_ms"]
        c["news_size"] = 0.0
        if watch_probe(k, c, probe_ms) != CAUSE_NONE:
            return LEFT
        wanted = steer_exchange(k, c, m, power_reference(k, c, m, sample, c["frequency_hz"]))
        lowest = -m["charge_limit_pu"]
        highest = m["discharge_limit_pu"]
        wanted = min(max(wanted, lowest), highest)
        share_granted(c, wanted)
        drive_power(k, c, probe_power(k, c, probe_ms, wanted, max(lowest, -1.0), min(highest, 1.0)))
        w["row"][0] += pcc_pu * ticks
        w["row"][1] += battery_pu * ticks
        w["row"][4] -= load_pu * ticks
        w["frequency_sum"] += c["frequency_hz"] * ticks
        if n % 10 == 9:
            close_row(g, p, phases, c, m, w, rows[row], 10 * ticks, sample)
            row += 1
            place += 1
            if place == ROWS_PER_BLOCK:
                place = 0
                close_block(g, w, ROWS_PER_BLOCK * 10 * ticks)
    return place
