"""The mode machine as one transition table, and the typed face of the control kernels.

Whatever a mode does not expect leads to lockout: converter blocked, switch open, alarm latched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import ResponseCurve
from sites.edge.control.kernels import detector, modes, records
from sites.edge.control.kernels.controller import control_step

StructuredArray = npt.NDArray[np.void]

MODE_NAMES: Final = ("grid_tied", "islanding", "islanded", "resynchronizing", "black_start", "lockout")
EVENT_NAMES: Final = (
    "nothing",
    "grid_lost",
    "switch_opened",
    "switch_stuck",
    "grid_fit",
    "grid_unfit",
    "switch_closed",
    "bus_fault",
    "bus_up",
    "start_requested",
)
CAUSE_NAMES: Final = {
    detector.CAUSE_NONE: "",
    detector.CAUSE_PHASE_LOST: "phase_lost",
    detector.CAUSE_DEEP_DIP: "deep_dip",
    detector.CAUSE_LONG_DIP: "long_dip",
    detector.CAUSE_OVERVOLTAGE: "overvoltage",
    detector.CAUSE_FREQUENCY: "frequency",
    detector.CAUSE_OVERLOAD: "overload",
}

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    ("grid_tied", "grid_lost"): "islanding",
    ("islanding", "switch_opened"): "islanded",
    ("islanding", "switch_stuck"): "lockout",
    ("islanded", "grid_fit"): "resynchronizing",
    ("islanded", "bus_fault"): "lockout",
    ("resynchronizing", "switch_closed"): "grid_tied",
    ("resynchronizing", "grid_unfit"): "islanded",
    ("resynchronizing", "bus_fault"): "lockout",
    ("black_start", "bus_up"): "islanded",
    ("black_start", "bus_fault"): "lockout",
    ("lockout", "start_requested"): "black_start",
}
"""(mode, event) -> next mode. A pair that does not stand here is unexpected and means lockout."""


def transition_table() -> npt.NDArray[np.int64]:
    """Return the table as the kernels read it, [mode, event] -> mode or ``modes.UNEXPECTED``."""
    table = np.full((len(MODE_NAMES), modes.EVENT_COUNT), modes.UNEXPECTED, dtype=np.int64)
    table[:, modes.NOTHING] = range(len(MODE_NAMES))
    for (mode, event), following in TRANSITIONS.items():
        table[MODE_NAMES.index(mode), EVENT_NAMES.index(event)] = MODE_NAMES.index(following)
    # A site that is locked out stays so whatever else happens.
    table[modes.LOCKOUT][table[modes.LOCKOUT] == modes.UNEXPECTED] = modes.LOCKOUT
    return table


def alarm_text(alarm: int) -> str:
    """Name a latched alarm, such as ``islanding: switch_stuck``; empty when there is none."""
    if alarm == 0:
        return ""
    mode, event = divmod(int(alarm) - 1, modes.EVENT_COUNT)
    return f"{MODE_NAMES[mode]}: {EVENT_NAMES[event]}"


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Settings of one site's controller; defaults are those of a 50 Hz site."""

    phases: int = 3
    rate_hz: float = 10_000.0
    nominal_hz: float = 50.0
    filter_x_pu: float = 0.12
    filter_r_pu: float = 0.005
    virtual_r_pu: float = 0.05
    capacity_pu_h: float = 1.0
    """Battery energy over the converter's rating [h]."""
    reserve_ratio: float = 0.2
    discharge_efficiency: float = 0.95
    enter_service_delay_s: float = 300.0
    """IEEE 1547's default; 20 s by ENA G99."""
    enter_low_hz: float = 47.5
    enter_high_hz: float = 51.5
    low_hz: float = 47.5
    high_hz: float = 52.0
    frequency_hold_ms: int = 200
    sync_angle_deg: float = 8.0
    """Closes well inside IEEE 1547's 20 degrees."""
    sync_slip_hz: float = 0.25
    sync_voltage_pu: float = 0.08
    genset_fitted: bool = False


def control_parameters(settings: ControlSettings) -> StructuredArray:
    """Return one element of the kernels' parameter record."""
    k = np.zeros(1, records.PARAMETERS)
    dt_s = 1.0 / settings.rate_hz
    nominal_rad_s = 2.0 * math.pi * settings.nominal_hz
    scale = settings.nominal_hz / 50.0
    memory_s = 0.5e-3
    values = {
        "phases": settings.phases,
        "rate_hz": settings.rate_hz,
        "dt_s": dt_s,
        "nominal_rad_s": nominal_rad_s,
        "ticks_per_ms": round(settings.rate_hz / 1000.0),
        "filter_l_over_dt": settings.filter_x_pu / nominal_rad_s / dt_s,
        "filter_x": settings.filter_x_pu,
        "filter_r": settings.filter_r_pu,
        "virtual_r": settings.virtual_r_pu,
        # Natural frequency 70 rad/s, damping 0.8: about 1 mHz of noise at 0.3 %, 25 ms of lag.
        "pll_kp": 112.0,
        "pll_ki": 4900.0,
        "lost_share": 0.4,
        "lost_memory": 1.0 - math.exp(-dt_s / memory_s),
        "lost_hold_ticks": max(1, round(0.3e-3 * settings.rate_hz)),
        "overload_pu": 1.2,
        "overload_hold_ticks": max(1, round(0.2e-3 * settings.rate_hz)),
        "overvoltage_pu": 1.3,
        "overvoltage_hold_ticks": round(2e-3 * settings.rate_hz),
        "low_hz": settings.low_hz * scale,
        "high_hz": settings.high_hz * scale,
        "frequency_hold_ms": settings.frequency_hold_ms,
        "blanking_ticks": round(0.02 * settings.rate_hz),
        "switch_timeout_ticks": round(0.1 * settings.rate_hz),
        "power_gain_rad_s": 9.0,
        # 1 % of frequency at full load.
        "island_droop_rad_s": 0.01 * nominal_rad_s,
        "service_ramp_per_ms": 0.02,
        "base_ramp_per_ms": 0.0002,
        "enter_delay_ticks": round(settings.enter_service_delay_s * settings.rate_hz),
        "enter_low_hz": settings.enter_low_hz * scale,
        "enter_high_hz": settings.enter_high_hz * scale,
        "enter_low_pu": 0.9,
        "enter_high_pu": 1.1,
        "sync_angle_rad": math.radians(settings.sync_angle_deg),
        "sync_slip_rad_s": 2.0 * math.pi * settings.sync_slip_hz,
        "sync_voltage_pu": settings.sync_voltage_pu,
        "sync_dwell_ms": 50,
        "black_start_ms": 1000,
        "reserve_ratio": settings.reserve_ratio,
        "capacity_pu_s": settings.capacity_pu_h * 3600.0,
        "discharge_efficiency": settings.discharge_efficiency,
        "genset_fitted": int(settings.genset_fitted),
        "genset_start_ratio": 0.2,
        "genset_stop_ratio": 0.5,
    }
    for name, value in values.items():
        k[name] = value
    return k


def initial_state(k: StructuredArray, *, starts_dead: bool = False) -> StructuredArray:
    """Return the state of a controller in step with a healthy grid, or before a black start."""
    c = np.zeros(1, records.STATE)
    nominal_rad_s = float(k["nominal_rad_s"][0])
    values = {
        "cos_u": 1.0,
        "x_alpha": 1.0,
        "q_beta": -1.0,
        "omega_u": nominal_rad_s,
        "level_u": 1.0,
        "reference": 1.0,
        "cos_e": 1.0,
        "omega_e": nominal_rad_s,
        "level_e": 1.0,
        "limit_pu": 1.5,
        "voltage_pu": 1.0,
        "frequency_hz": nominal_rad_s / (2.0 * math.pi),
        "pv_limit_ratio": 1.0,
        "switch_command": 1,
        "converter_on": 1,
        "mode": modes.GRID_TIED,
        "ea": 1.0,
        "eb": -0.5,
        "ec": -0.5,
        "ticks_to_ms": int(k["ticks_per_ms"][0]),
        "points": 2,
    }
    if starts_dead:
        values |= {"switch_command": 0, "mode": modes.BLACK_START, "level_e": 0.0, "ea": 0.0, "eb": 0.0, "ec": 0.0}
        values |= {"x_alpha": 0.0, "q_beta": 0.0, "level_u": 0.0, "voltage_pu": 0.0}
    for name, value in values.items():
        c[name] = value
    c["weight"] = 0.1
    c["v2_ring"] = 0.0 if starts_dead else 1.0
    return c


def arm_curve(
    c: StructuredArray, curve: ResponseCurve, *, power_pu: float, baseline_pu: float, starts: int, ends: int
) -> None:
    """Write an assignment's curve, power and window (samples) into one controller's state."""
    state = c[0]
    state["armed"] = 0
    state["points"] = len(curve.points)
    for j, (deviation_hz, share) in enumerate(curve.points):
        state["curve_hz"][j] = deviation_hz
        state["curve_share"][j] = share
    state["armed_sign"] = float(curve.sign)
    state["armed_pu"] = power_pu
    state["baseline_pu"] = baseline_pu
    state["armed_starts"] = starts
    state["armed_ends"] = ends
    state["armed"] = 1


class Controller:
    """One site's controller alone: samples in, outputs out. What the compiled closed loop runs, by hand."""

    def __init__(self, settings: ControlSettings, *, starts_dead: bool = False) -> None:
        self.parameters = control_parameters(settings)
        self.state = initial_state(self.parameters, starts_dead=starts_dead)
        self._table = transition_table()
        self._sample = 0

    @property
    def mode(self) -> str:
        """Name of the present mode."""
        return MODE_NAMES[int(self.state["mode"][0])]

    @property
    def frequency_hz(self) -> float:
        """The PLL's estimate of the utility side's frequency [Hz]."""
        return float(self.state["omega_u"][0]) / (2.0 * math.pi)

    def step(self, samples: StructuredArray) -> None:
        """Take samples in order, an array of ``records.SAMPLES`` of any length."""
        for m in samples:
            control_step(self.parameters[0], self.state[0], m, self._table, self._sample)
            self._sample += 1
