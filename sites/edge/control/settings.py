"""Settings of one site's controller, and the records that the kernels start with."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.gridcode_profile import Quantity, Side
from sites.core.gridcodes import GridCodeProfile, profile_for
from sites.edge.control.kernels import modes, records, windows
from sites.edge.control.kernels.anti_islanding import CODE_MS
from sites.edge.control.kernels.parameter_records import PARAMETERS
from sites.edge.control.kernels.service import NOT_SOON_S

StructuredArray = npt.NDArray[np.void]

CONVERTERS: Final = ("grid_forming", "grid_following")
"""Grid-forming all the time, or following the grid until its loss is detected: the latter to compare with."""
# Natural frequency 70 rad/s, damping 0.8: about 1 mHz of noise at 0.3 %, 25 ms of lag.
PLL_KP: Final = 112.0
PLL_KI: Final = 4900.0
POWER_GAIN_RAD_S: Final = 9.0
PROBE_PU: Final = 0.003
DRIVE_PU: Final = 0.05
CLEARING_MARGIN_S: Final = 0.03
"""Of a clearing time: up to a window of 20 ms until the r.m.s. has crossed the level, and the switch."""
UPSTREAM_MEMORY_S: Final = 1.5e-3
UPSTREAM_X: Final = 0.75
UPSTREAM_R: Final = 0.3
"""Share of the commissioned reactance that stands before the neighbors' load in the first millisecond, and what of
it is resistance."""
STAGE_KINDS: Final = {
    (Quantity.VOLTAGE_PU, Side.BELOW): windows.VOLTAGE_BELOW,
    (Quantity.VOLTAGE_PU, Side.ABOVE): windows.VOLTAGE_ABOVE,
    (Quantity.FREQUENCY_HZ, Side.BELOW): windows.FREQUENCY_BELOW,
    (Quantity.FREQUENCY_HZ, Side.ABOVE): windows.FREQUENCY_ABOVE,
    (Quantity.ROCOF_HZ_PER_S, Side.ABOVE): windows.ROCOF_ABOVE,
}
SYNC_SHARE: Final = 0.8
"""Share of the code's synchronism limits that is used: the rest is for the estimates' own error."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Settings of one site's controller; what stands at None follows the site's grid code."""

    phases: int = 3
    rate_hz: float = 10_000.0
    nominal_hz: float = 50.0
    grid_code: str = ""
    """Name in the catalogue of grid codes; empty: the default of the nominal frequency."""
    momentary_island: bool | None = None
    """Whether the site may leave in a dip that the code lets it ride through, for its load's sake, and return."""
    rated_kva: float = 100.0
    """Decides the size class of the synchronism limits."""
    filter_x_pu: float = 0.12
    filter_r_pu: float = 0.005
    virtual_r_pu: float = 0.05
    capacity_pu_h: float = 1.0
    """Battery energy over the converter's rating [h]."""
    reserve_ratio: float = 0.2
    discharge_efficiency: float = 0.95
    enter_service_delay_s: float | None = None
    anti_islanding: bool = True
    """The active method (anti_islanding.py): a probe of half a per cent of the rating."""
    feeder: str = ""
    """Sites behind the same feeder carry the same name here, and probe together."""
    clock_offset_ms: int = 0
    """Milliseconds since the epoch (UTC) at sample 0, so that they do it at the same time."""
    sync_angle_deg: float = 8.0
    """Wanted; the grid code's limit of the size class counts when it is smaller. So for slip and voltage."""
    sync_slip_hz: float = 0.25
    sync_voltage_pu: float = 0.08
    genset_fitted: bool = False
    converter: str = "grid_forming"
    """One of ``CONVERTERS``. One that forms the voltage carries the load through a loss and stirs the current after
    every jump: behind it a current through the switch that is gone has to stay away longer before it counts."""
    current_known: bool = True
    """The current through the static switch is measured, and tells something: rectifiers' follows their voltage."""
    converter_behind: bool = True
    """A converter stands behind the voltage and holds it up. Where none does (a DC site's rectifiers), a phase that
    lacks its wave needs no other witness."""
    # Response (kernels/frequency.py, kernels/service.py).
    grid_x_pu: float = 0.05
    """Reactance from the grid's stiff part up to the site, on the converter's rating, as commissioned."""
    import_limit_pu: float = 100.0
    export_limit_pu: float = 100.0
    """Of the connection, on the converter's rating; 100: none."""
    recovery_stagger_s: float = 0.0
    """The site's own delay before it takes energy back, so that a fleet does not do it at once."""
    # transfer.py
    enter_ramp_s: float | None = None
    """Time over which the power may reach its rating after entering service; 0: at once."""
    momentary_s: float = 1.0
    """Longest absence of the grid after which a site that may leave in a dip returns at once."""
    # protection.py
    bond_fitted: bool = False
    """The site switches its own neutral-earth bond."""
    bond_refuses: bool = False
    """A bond closed beside the grid's own leads to an island; otherwise it is a warning."""
    bond_hold_s: float = 0.5
    # tiers.py: rated load of each tier on the converter's rating, state of charge below which it is shed.
    tier_pu: tuple[float, float, float] = (0.25, 0.15, 0.1)
    tier_low_ratio: tuple[float, float, float] = (0.05, 0.12, 0.25)
    tier_restore_s: float = 10.0
    # genset.py
    genset_rated_pu: float = 0.0
    genset_minimum_run_s: float = 300.0

    def __post_init__(self) -> None:
        """Raise GridCodeError for an unknown code, WrongNominalFrequency for one of another frequency."""
        profile_for(self.grid_code, self.nominal_hz)
        if self.converter not in CONVERTERS:
            raise ValueError(f"converter is {self.converter!r}, accepted: {', '.join(CONVERTERS)}")

    @property
    def profile(self) -> GridCodeProfile:
        """The grid code that the site keeps to."""
        return profile_for(self.grid_code, self.nominal_hz)


def control_parameters(settings: ControlSettings) -> StructuredArray:
    """Return one element of the kernels' parameter record."""
    k = np.zeros(1, PARAMETERS)
    dt_s = 1.0 / settings.rate_hz
    nominal_rad_s = 2.0 * math.pi * settings.nominal_hz
    scale = settings.nominal_hz / 50.0
    profile = settings.profile
    enter = profile.enter_service
    delay_s = enter.delay_s if settings.enter_service_delay_s is None else settings.enter_service_delay_s
    sync = profile.synchronism_for(settings.rated_kva)
    ramp_s = enter.ramp_s if settings.enter_ramp_s is None else settings.enter_ramp_s
    may_island = profile.momentary_island.permitted if settings.momentary_island is None else settings.momentary_island
    forms_voltage = settings.converter == "grid_forming"
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
        "level_memory": math.exp(-dt_s / 30e-3),
        "skew_memory": 1.0 - math.exp(-dt_s / 1.0),
        "skew_memory_alone": 1.0 - math.exp(-dt_s / 5e-3),
        "pll_kp": PLL_KP,
        "pll_ki": PLL_KI,
        # Wave of a phase that has to be missed: peak times 1.05 ms at 50 Hz.
        "dead_area": 1.05e-3 * settings.rate_hz / scale,
        # A code that forbids to leave in a dip has it ridden through down to half the voltage.
        "sag_share": 0.4 if may_island else 0.55,
        "sag_memory": 1.0 - math.exp(-dt_s / 0.5e-3),
        "sag_hold_ticks": max(1, round((0.3e-3 if settings.converter_behind else 0.2e-3) * settings.rate_hz)),
        "sag_amplitude": _sag_amplitude(settings),
        # What a converter has to give into a phase, over its rating, before a sag counts as a lost grid.
        "pushed_back": 0.3 if settings.converter_behind else -math.inf,
        "decay_memory": 1.0 - math.exp(-dt_s / 3.0e-3),
        "decay_ms": 9,
        # Current below 7 % of its own peak is none: 0.07² · 2 of its mean square.
        "flat_square": 0.0098,
        "phasor_memory": 1.0 - math.exp(-dt_s / 1.2e-3),
        "ratio_memory": 1.0 - math.exp(-dt_s / 0.25e-3),
        "trend_memory": 1.0 - math.exp(-dt_s / 0.3e-3),
        "news_memory": 1.0 - math.exp(-dt_s / 0.4e-3),
        "lately_memory": 1.0 - math.exp(-dt_s / 0.1e-3),
        "mean_memory": 1.0 - math.exp(-dt_s / 0.3e-3),
        # Of the squares of all phases: as if one phase, or the vector of three, had it.
        "news_share": 2.0 / 3.0 if settings.phases == 3 else 1.0,
        "scale_memory": 1.0 - math.exp(-dt_s / 20e-3),
        "collapse_ticks": round(1.6e-3 * settings.rate_hz),
        "flat_ticks": round((4e-3 if forms_voltage else 0.6e-3) * settings.rate_hz),
        "flat_poles": settings.phases if forms_voltage else 1,
        # Current that was missed: peak of the phase times 0.15 ms.
        "flat_area": 0.15e-3 * settings.rate_hz,
        "open_latch_ticks": round(30e-3 * settings.rate_hz),
        "current_known": int(settings.current_known),
        "up_fitted": int(settings.current_known and forms_voltage),
        "up_ticks": round(0.8e-3 * settings.rate_hz),
        "up_memory": math.exp(-dt_s / UPSTREAM_MEMORY_S),
        "up_r": UPSTREAM_R * UPSTREAM_X * settings.grid_x_pu,
        "up_l_over_dt": UPSTREAM_X * settings.grid_x_pu / nominal_rad_s / dt_s,
        "deep_windows": 2,
        "lost_hold_ticks": max(1, round(0.4e-3 * settings.rate_hz)),
        "overload_pu": 1.2,
        "overload_hold_ticks": max(1, round(0.2e-3 * settings.rate_hz)),
        "overvoltage_pu": 1.3,
        "overvoltage_hold_ticks": round(2e-3 * settings.rate_hz),
        "blanking_ticks": round(0.02 * settings.rate_hz),
        "switch_timeout_ticks": round(0.1 * settings.rate_hz),
        "power_gain_rad_s": POWER_GAIN_RAD_S,
        # 1 % of frequency at full load.
        "island_droop_rad_s": 0.01 * nominal_rad_s,
        "service_ramp_per_ms": 0.02,
        "base_ramp_per_ms": 0.0002,
        "enter_delay_ticks": round(delay_s * settings.rate_hz),
        "enter_low_hz": enter.low_hz,
        "enter_high_hz": enter.high_hz,
        "enter_low_pu": enter.low_pu,
        "enter_high_pu": enter.high_pu,
        "sync_angle_rad": math.radians(min(settings.sync_angle_deg, SYNC_SHARE * sync.angle_deg)),
        "sync_slip_rad_s": 2.0 * math.pi * min(settings.sync_slip_hz, SYNC_SHARE * sync.slip_hz),
        "sync_voltage_pu": min(settings.sync_voltage_pu, SYNC_SHARE * sync.voltage_pu),
        "momentary_island": int(may_island),
        # A whole number of half cycles and of milliseconds.
        "rms_ms": 20 if settings.nominal_hz == 50.0 else 25,
        "probe_pu": PROBE_PU if settings.anti_islanding else 0.0,
        "drive_pu": DRIVE_PU,
        "probe_code": feeder_code(settings.feeder),
        "probe_offset_ms": settings.clock_offset_ms % CODE_MS,
        # The PLL follows the power loop's detour with the quotient of its gains.
        "island_rad_s2": POWER_GAIN_RAD_S * PLL_KI / PLL_KP,
        "apart_square": (2.0 * math.sin(math.radians(sync.angle_deg) / 2.0)) ** 2 + sync.voltage_pu**2,
        "entry_ramp_per_ms": 2.0 if ramp_s == 0.0 else 0.001 / ramp_s,
        "momentary_ms": round(settings.momentary_s * 1000.0) * int(may_island),
        "momentary_delay_ticks": round(0.2 * settings.rate_hz),
        "bond_fitted": int(settings.bond_fitted),
        "bond_refuses": int(settings.bond_refuses),
        "bond_hold_ms": round(settings.bond_hold_s * 1000.0),
        "tier_pu": settings.tier_pu,
        "tier_low_ratio": settings.tier_low_ratio,
        "tier_restore_ms": round(settings.tier_restore_s * 1000.0),
        "sync_dwell_ms": 50,
        "black_start_ms": 1000,
        "reserve_ratio": settings.reserve_ratio,
        "capacity_pu_s": settings.capacity_pu_h * 3600.0,
        "discharge_efficiency": settings.discharge_efficiency,
        "genset_fitted": int(settings.genset_fitted),
        "grid_following": int(settings.converter == "grid_following"),
        "genset_start_ratio": 0.2,
        "genset_stop_ratio": 0.5,
        "turn_cos": math.cos(0.001 * nominal_rad_s),
        "turn_sin": math.sin(0.001 * nominal_rad_s),
        "window_ms": 20 if settings.nominal_hz == 50.0 else 25,
        # Half a cycle of 50 Hz, a cycle of 60 Hz (16.7 ms): whole periods of what harmonics leave.
        "smooth_ms": 10 if settings.nominal_hz == 50.0 else 17,
        "grid_x": settings.grid_x_pu,
        # Half of the grid's part: the PLL's frequency, which the feed adds to, soon shows the rest by itself.
        "feed_x": settings.filter_x_pu + 0.5 * settings.grid_x_pu,
        # The sliding mean of 10 ms, and the converter's own delay, as a lag of 8 ms.
        "power_memory": 1.0 - math.exp(-1.0 / 8.0),
        "import_limit_pu": settings.import_limit_pu,
        "export_limit_pu": settings.export_limit_pu,
        "recovery_stagger_ms": round(settings.recovery_stagger_s * 1000.0),
        "genset_rated_pu": settings.genset_rated_pu,
        "genset_minimum_run_ms": round(settings.genset_minimum_run_s * 1000.0),
    }
    for name, value in values.items():
        k[name] = value
    _set_stages(k, profile)
    return k


def _sag_amplitude(settings: ControlSettings) -> float:
    """Return the amplitude of the fitted sine, over the usual one, from which on a phase that lacks its wave is not
    lost but has jumped, by up to 60 degrees.

    A converter that forms the voltage holds it up against a lost grid's load; where none does, it falls further.
    """
    if not settings.converter_behind:
        return 0.6
    return 0.72 if settings.phases == 3 else 0.75


def _set_stages(k: StructuredArray, profile: GridCodeProfile) -> None:
    """Write the code's trip stages as the windows count them.

    A code that names a delay is taken at it. One that names only a clearing time gets the longest delay that
    leaves room for what measuring and opening the switch take.
    """
    step_ms = 10
    for at, stage in enumerate(profile.trips):
        hold_s = stage.delay_s or max(0.001, stage.clear_by_s - CLEARING_MARGIN_S)
        k["stage_kind"][0][at] = STAGE_KINDS[stage.quantity, stage.side]
        k["stage_level"][0][at] = stage.level
        k["stage_hold_ms"][0][at] = round(1000.0 * hold_s)
        if stage.window_s:
            step_ms = round(1000.0 * stage.window_s / records.ROCOF_STEPS)
    k["stages"] = len(profile.trips)
    k["rocof_step_ms"] = step_ms


def feeder_code(feeder: str) -> int:
    """Return the 63 signs of a feeder's probe, as many plus as its name's hash gives."""
    digest = hashlib.sha256(feeder.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


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
        "seen": 3,
        "trend": 1.0,
        "smallest_pu": 1.0,
        "news_usual": 0.05,
        "cycle_ticks": float(k["rate_hz"][0]) / (nominal_rad_s / (2.0 * math.pi)),
        "cos_e": 1.0,
        "omega_e": nominal_rad_s,
        "level_e": 1.0,
        "limit_pu": 1.5,
        "voltage_pu": 1.0,
        "frequency_hz": nominal_rad_s / (2.0 * math.pi),
        "response_hz": nominal_rad_s / (2.0 * math.pi),
        "saturates_in_s": NOT_SOON_S,
        "pv_limit_ratio": 1.0,
        "switch_command": 1,
        "converter_on": 1,
        "pv_connected": 1,
        "tiers_closed": records.TIERS,
        "entry_room_pu": 2.0,
        "mode": modes.GRID_TIED,
        "ea": 1.0,
        "eb": -0.5,
        "ec": -0.5,
        "ticks_to_ms": int(k["ticks_per_ms"][0]),
        "points": 2,
    }
    if starts_dead:
        values |= {
            "switch_command": 0,
            "mode": modes.BLACK_START,
            "level_e": 0.0,
            "converter_on": 0,
            "ea": 0.0,
            "eb": 0.0,
            "ec": 0.0,
        }
        values |= {"x_alpha": 0.0, "q_beta": 0.0, "level_u": 0.0, "voltage_pu": 0.0}
        values |= {"pv_connected": 0, "tiers_closed": 0, "bond_command": 1}
    for name, value in values.items():
        c[name] = value
    c["ratio_ms"] = 1.0
    c["skew_cos"] = 1.0
    c["half_a"] = 1.0
    c["weight"] = 0.1
    for name in ("like", "own", "size", "slow_like", "slow_own"):
        c[name] = 1.0
    c["v2_ring"] = 0.0 if starts_dead else 1.0
    return c
