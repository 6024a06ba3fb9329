"""One controller step: the trip path on every sample, supervision once per millisecond."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import detector, modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import watch_frequency, watch_samples, watch_window
from sites.edge.control.kernels.droop import follow, limit_by_energy, required_power
from sites.edge.control.kernels.grid_forming import form_voltage, measure_power
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.kernels.synchronism import bus_lead, watch_angle, watch_enter_service, watch_synchronism

TWO_PI: Final = 6.283185307179586
INVERSE_SQRT3: Final = 0.5773502691896258
ISLAND_SLEW_RAD_S2: Final = 6.0
"""How fast an island's frequency returns to its droop line: about 1 Hz/s."""
SLIP_RAD_S: Final = 1.2
"""Largest slip used to turn an island's angle towards the grid: about 0.2 Hz."""
FAULT_MS: Final = 500
STUCK_CONTACTS_MS: Final = 200


@kernel
def control_step(k: Record, c: Record, m: Record, table: Any, sample: int) -> None:
    """Take one sample, leave the outputs in the state: phase voltages, switch command, genset, PV limit."""
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
    if mode == modes.GRID_TIED:
        cause = watch_samples(k, c, m, v_alpha, v_beta)
        if cause != detector.CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
            c["cause"] = cause
            change_mode(k, c, table, modes.GRID_LOST)
    elif mode == modes.ISLANDING:
        if m["poles_closed"] == 0:
            change_mode(k, c, table, modes.SWITCH_OPENED)
        elif c["mode_ticks"] > k["switch_timeout_ticks"]:
            change_mode(k, c, table, modes.SWITCH_STUCK)
    else:
        watch_angle(k, c, v_alpha, v_beta)
    if not (c["mode"] == modes.ISLANDING and m["poles_closed"] > 0):
        # While the poles still conduct, the utility side shows the converter's own voltage.
        track_sequence(k, c, u_alpha, u_beta)
    else:
        hold_phasor(k, c)
    if c["converter_on"]:
        form_voltage(k, c, m)
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
    measure_power(k, c)
    mode = c["mode"]
    if mode == modes.GRID_TIED or mode == modes.ISLANDING:
        c["frequency_hz"] = c["omega_u"] / TWO_PI
    else:
        c["frequency_hz"] = c["omega_e"] / TWO_PI
    if mode == modes.GRID_TIED:
        supervise_tied(k, c, m, table, sample)
    elif mode == modes.ISLANDED or mode == modes.RESYNCHRONIZING:
        supervise_island(k, c, m, table)
    elif mode == modes.BLACK_START:
        c["required_pu"] = 0.0
        c["level_e"] = min(1.0, c["level_e"] + 1.0 / k["black_start_ms"])
        if c["level_e"] >= 1.0:
            if c["voltage_pu"] > 0.9:
                change_mode(k, c, table, modes.BUS_UP)
            elif c["mode_ticks"] > (k["black_start_ms"] + FAULT_MS) * k["ticks_per_ms"]:
                change_mode(k, c, table, modes.BUS_FAULT)
    elif mode == modes.LOCKOUT:
        c["required_pu"] = 0.0
        if c["request"] == modes.START_REQUESTED:
            change_mode(k, c, table, modes.START_REQUESTED)
    c["request"] = 0


@kernel
def supervise_tied(k: Record, c: Record, m: Record, table: Any, sample: int) -> None:
    """Grid-tied: power reference, voltage reference, slow loss detectors."""
    ms = sample // k["ticks_per_ms"]
    event = modes.NOTHING
    if ms % detector.WINDOW_MS == 0:
        cause = watch_window(k, c)
        if cause != detector.CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
            c["cause"] = cause
            event = modes.GRID_LOST
    cause = watch_frequency(k, c, c["frequency_hz"])
    if cause != detector.CAUSE_NONE:
        c["cause"] = cause
        event = modes.GRID_LOST
    if m["poles_closed"] < k["phases"] and c["mode_ticks"] > STUCK_CONTACTS_MS * k["ticks_per_ms"]:
        # Contacts that open without a command: nothing in the table expects it.
        event = modes.SWITCH_OPENED
    required = required_power(k, c, sample, c["frequency_hz"])
    c["required_pu"] = required
    baseline = c["baseline_pu"] if c["armed"] and c["armed_starts"] <= sample < c["armed_ends"] else 0.0
    c["base_pu"] = follow(c["base_pu"], baseline, k["base_ramp_per_ms"])
    c["service_pu"] = follow(c["service_pu"], required, k["service_ramp_per_ms"])
    wanted = limit_by_energy(k, m["soc_ratio"], c["base_pu"] + c["service_pu"])
    wanted = min(max(wanted, -1.0), 1.0)
    c["omega_e"] = c["omega_u"] + k["power_gain_rad_s"] * (wanted - c["power_pu"])
    # The level that exchanges no reactive power at the bus: its voltage plus the drop of the power.
    drop = k["filter_x"] * wanted
    level = c["reference"] + (k["virtual_r"] + k["filter_r"]) * wanted + 0.5 * drop * drop
    c["level_e"] += 0.002 * (min(max(level, 0.9), 1.12) - c["level_e"])
    if event != modes.NOTHING:
        change_mode(k, c, table, event)


@kernel
def supervise_island(k: Record, c: Record, m: Record, table: Any) -> None:
    """Islanded: frequency droop, voltage, storage and genset, and the way back."""
    c["required_pu"] = 0.0
    watch_enter_service(k, c)
    # Voltage: the level rises until the bus is at its target, slow against the converter's own stiffness.
    target = 1.0
    event = modes.NOTHING
    droop = k["nominal_rad_s"] - k["island_droop_rad_s"] * c["power_pu"]
    slew = ISLAND_SLEW_RAD_S2 * 0.001
    if c["mode"] == modes.RESYNCHRONIZING:
        lead = bus_lead(k, c)
        target = min(max(c["level_u"], 0.9), 1.1)
        slip = min(max(-4.0 * lead, -SLIP_RAD_S), SLIP_RAD_S)
        c["omega_e"] = follow(c["omega_e"], c["omega_u"] + slip, slew)
        if c["switch_command"] == 0:
            if c["fit_ticks"] == 0:
                event = modes.GRID_UNFIT
            elif watch_synchronism(k, c, lead):
                c["switch_command"] = 1
        elif m["poles_closed"] == k["phases"]:
            event = modes.SWITCH_CLOSED
    else:
        c["omega_e"] = follow(c["omega_e"], droop, slew)
        if m["poles_closed"] > 0 and c["mode_ticks"] > STUCK_CONTACTS_MS * k["ticks_per_ms"]:
            event = modes.SWITCH_CLOSED
        elif c["fit_ticks"] >= k["enter_delay_ticks"]:
            event = modes.GRID_FIT
    c["level_e"] = min(max(c["level_e"] + 0.01 * (target - c["voltage_pu"]), 0.85), 1.15)
    if c["voltage_pu"] < 0.5:
        c["fault_ms"] += 1
        if c["fault_ms"] >= FAULT_MS:
            event = modes.BUS_FAULT
    else:
        c["fault_ms"] = 0
    # Diesel last: only alone, and only when the battery is low.
    if k["genset_fitted"]:
        if m["soc_ratio"] < k["genset_start_ratio"]:
            c["genset_run"] = 1
        elif m["soc_ratio"] > k["genset_stop_ratio"]:
            c["genset_run"] = 0
    # A full battery cannot take the sun's surplus: hold the PV back until the converter no longer charges.
    if m["soc_ratio"] > 0.97:
        c["pv_limit_ratio"] = min(max(c["pv_limit_ratio"] + 0.005 * c["power_pu"], 0.0), 1.0)
    else:
        c["pv_limit_ratio"] = follow(c["pv_limit_ratio"], 1.0, 0.0002)
    if event != modes.NOTHING:
        change_mode(k, c, table, event)
