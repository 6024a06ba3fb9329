"""One controller step: the trip path on every sample, supervision once per millisecond."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.black_start import supervise_black_start
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import watch_samples
from sites.edge.control.kernels.frequency import estimate_frequency
from sites.edge.control.kernels.grid_following import drive_converter
from sites.edge.control.kernels.grid_forming import measure_power
from sites.edge.control.kernels.island import supervise_island
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.protection import (
    note_voltage,
    supervise_lockout,
    supervise_maintenance,
    watch_inputs,
)
from sites.edge.control.kernels.records import CAUSE_NONE
from sites.edge.control.kernels.requests import note_alarms, take_requests
from sites.edge.control.kernels.samples import mend_sample
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.kernels.synchronism import guard_closing, watch_angle
from sites.edge.control.kernels.tied import supervise_tied
from sites.edge.control.kernels.windows import gather_squares

TWO_PI: Final = 6.283185307179586
INVERSE_SQRT3: Final = 0.5773502691896258


@kernel
def control_step(k: Record, c: Record, m: Record, table: Any, sample: int) -> None:
    """Take one sample, leave the outputs in the state: phase voltages, switch command, genset, PV limit."""
    mend_sample(k, c, m)
    if k["phases"] == 3:
        v_alpha = (2.0 * m["va"] - m["vb"] - m["vc"]) * (1.0 / 3.0)
        v_beta = (m["vb"] - m["vc"]) * INVERSE_SQRT3
        u_alpha = (2.0 * m["ua"] - m["ub"] - m["uc"]) * (1.0 / 3.0)
        u_beta = (m["ub"] - m["uc"]) * INVERSE_SQRT3
    else:
        v_alpha = m["va"]
        v_beta = 0.0
        u_alpha = m["ua"]
        u_beta = 0.0
    mode = c["mode"]
    c["mode_ticks"] += 1
    c["sample"] = sample
    if mode == modes.GRID_TIED:
        gather_squares(k, c, m)
        cause = watch_samples(k, c, m, v_alpha, v_beta)
        if cause != CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
            c["cause"] = cause
            change_mode(k, c, table, modes.GRID_LOST)
    elif mode == modes.ISLANDING:
        if m["poles_closed"] == 0:
            change_mode(k, c, table, modes.SWITCH_OPENED)
        elif c["mode_ticks"] > k["switch_timeout_ticks"]:
            change_mode(k, c, table, modes.SWITCH_STUCK)
    else:
        watch_angle(k, c, v_alpha, v_beta)
        if mode == modes.RESYNCHRONIZING:
            guard_closing(k, c, v_alpha - u_alpha, v_beta - u_beta, m["poles_closed"])
    if not (c["mode"] == modes.ISLANDING and m["poles_closed"] > 0):
        # While the poles still conduct, the utility side shows the converter's own voltage.
        track_sequence(k, c, u_alpha, u_beta)
    else:
        hold_phasor(k, c)
    if c["converter_on"]:
        drive_converter(k, c, m)
    c["ticks_to_ms"] -= 1
    if c["ticks_to_ms"] <= 0:
        c["ticks_to_ms"] = k["ticks_per_ms"]
        supervise(k, c, m, table, sample)


@kernel
def hold_phasor(k: Record, c: Record) -> None:
    """Turn the PLL's phasor at its last frequency, blind."""
    angle = c["omega_u"] * k["dt_s"]
    cos_u = c["cos_u"] * (1.0 - 0.5 * angle * angle) - c["sin_u"] * angle
    sin_u = c["sin_u"] * (1.0 - 0.5 * angle * angle) + c["cos_u"] * angle
    length = 1.5 - 0.5 * (cos_u * cos_u + sin_u * sin_u)
    c["cos_u"] = cos_u * length
    c["sin_u"] = sin_u * length


@kernel
def supervise(k: Record, c: Record, m: Record, table: Any, sample: int) -> None:
    """Everything that a millisecond is soon enough for."""
    if c["converter_on"] == 0:
        note_voltage(k, c, m)
    measure_power(k, c)
    watch_inputs(k, c, m, table)
    take_requests(k, c, m, table)
    grid_hz = estimate_frequency(k, c)
    mode = c["mode"]
    c["mode_ms"][mode] += 1
    if mode == modes.GRID_TIED or mode == modes.ISLANDING or c["converter_on"] == 0:
        c["frequency_hz"] = grid_hz
    else:
        c["frequency_hz"] = c["omega_e"] / TWO_PI
    if mode == modes.GRID_TIED:
        supervise_tied(k, c, m, table, sample)
    elif mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        supervise_island(k, c, m, table)
    elif mode == modes.BLACK_START:
        supervise_black_start(k, c, m, table)
    elif mode == modes.LOCKOUT:
        supervise_lockout(k, c, m, table)
    elif mode == modes.MAINTENANCE:
        supervise_maintenance(c)
    note_alarms(c)
