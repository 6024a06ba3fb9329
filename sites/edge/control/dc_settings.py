"""Settings of a DC site's controller, its transitions, and the records that its kernels start with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.kernels.dc_records import DC_PARAMETERS, DC_STATE, TIERS

StructuredArray = npt.NDArray[np.void]

DC_TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    ("grid_tied", "grid_lost"): "islanded",
    ("grid_tied", "bus_fault"): "lockout",
    ("islanded", "grid_fit"): "resynchronizing",
    ("islanded", "bus_fault"): "black_start",
    ("resynchronizing", "switch_closed"): "grid_tied",
    ("resynchronizing", "grid_unfit"): "islanded",
    ("resynchronizing", "bus_fault"): "lockout",
    ("black_start", "grid_fit"): "resynchronizing",
    ("black_start", "bus_up"): "islanded",
    ("black_start", "bus_fault"): "lockout",
    ("lockout", "start_requested"): "islanded",
}
"""(mode, event) -> next mode of a DC site. Modes and events bear an AC site's names: islanded is "on battery",
resynchronizing "rectifiers walk in", black_start "the bus is dead and waits for a source". There is no islanding:
the DC loads are on the battery's bus already."""


@dataclass(frozen=True, slots=True)
class DcSettings:
    """Settings of one DC site's controller. Voltages of the whole battery; defaults: 16 LFP cells, 48 V."""

    rectifier_w: float
    battery_ah: float
    battery_ohm: float
    """Ohmic resistance of battery and cables, known from commissioning [Ohm]."""
    droop_ohm: float
    """Slope of the rectifiers' voltage, all modules together [Ohm]."""
    modules: int = 4
    """Rectifier modules fitted; one more than the load needs is usual."""
    nominal_v: float = 51.2
    window_v: tuple[float, float] = (40.5, 57.0)
    charge_v: float = 56.0
    float_v: float = 54.4
    float_v_per_k: float = 0.0
    charge_per_h: float = 0.5
    discharge_per_h: float = 1.0
    holds_float: bool = False
    """Lead is kept on float for good; lithium rests between recharges."""
    recharge_ratio: float = 0.5
    full_ratio: float = 0.9
    import_w: float = 1e9
    """DC power that the mains' connection leaves for the rectifiers [W]."""
    genset_w: float = 0.0
    tier_off_v: tuple[float, ...] = (44.8, 47.2, 48.8)
    """Tiers 0 (last), 1, 2 (first): disconnected below [V]; 2.80, 2.95 and 3.05 V per LFP cell."""
    tier_on_v: tuple[float, ...] = (50.4, 51.2, 51.2)
    tier_off_ratio: tuple[float, ...] = (0.0, 0.10, 0.20)
    """Disconnected below this state of charge without mains: an LFP cell's voltage says little before its end."""
    tier_off_ms: int = 5000
    tier_on_ms: int = 10_000
    reconnect_ratio: float = 0.25
    battery_off_v: float = 43.2
    """The battery itself: 2.70 V per LFP cell."""
    mains_return_delay_s: float = 5.0
    walk_in_s: float = 8.0


def dc_control_parameters(settings: DcSettings) -> StructuredArray:
    """Return one element of the DC kernels' parameter record.

    Raises ValueError when tiers or voltages are out of order.
    """
    low_v, high_v = settings.window_v
    _check_order(settings)
    values = {
        "base_w": settings.rectifier_w,
        "nominal_v": settings.nominal_v,
        "loop_ohm": settings.battery_ohm + settings.droop_ohm,
        "droop_ohm": settings.droop_ohm,
        # Time constant 60 ms: six cycles of the modules' bus.
        "trim_share": 1.0 / 60.0,
        "rectifier_w": settings.rectifier_w,
        "rectifier_a": settings.rectifier_w / (0.9375 * settings.nominal_v),
        "genset_w": settings.genset_w,
        "import_w": settings.import_w,
        "charge_v": settings.charge_v,
        "float_v": settings.float_v,
        "float_v_per_k": settings.float_v_per_k,
        "lowest_v": low_v,
        "highest_v": 1.02 * high_v,
        # Room for what the sun's converters stand above the battery's limit, and for their droop.
        "ceiling_v": high_v - 0.01 * settings.nominal_v,
        "charge_a": settings.charge_per_h * settings.battery_ah,
        "discharge_a": settings.discharge_per_h * settings.battery_ah,
        "recharge_ratio": settings.recharge_ratio,
        "full_ratio": settings.full_ratio,
        "pv_lead_v": 0.005 * settings.nominal_v,
        "close_v": 0.02 * settings.nominal_v,
        "battery_off_v": settings.battery_off_v,
        "reconnect_ratio": settings.reconnect_ratio,
        "tier_off_ms": settings.tier_off_ms,
        "tier_on_ms": settings.tier_on_ms,
        "return_ms": round(settings.mains_return_delay_s * 1000.0),
        "walk_in_ms": round(settings.walk_in_s * 1000.0),
        "holds_float": int(settings.holds_float),
        "modules": settings.modules,
    }
    dk = np.zeros(1, DC_PARAMETERS)
    for name, value in values.items():
        dk[name] = value
    for name in ("tier_off_v", "tier_on_v", "tier_off_ratio"):
        dk[name] = getattr(settings, name)
    return dk


def _check_order(settings: DcSettings) -> None:
    for name in ("tier_off_v", "tier_on_v", "tier_off_ratio"):
        value = getattr(settings, name)
        if len(value) != TIERS or list(value) != sorted(value):
            raise ValueError(f"{name} is {value}, accepted: {TIERS} values that do not fall from tier to tier")
    low_v, high_v = settings.window_v
    ladder = (low_v, settings.battery_off_v, *settings.tier_off_v, settings.float_v, settings.charge_v, high_v)
    if list(ladder) != sorted(ladder):
        raise ValueError(
            f"voltages {ladder}, accepted: window, battery's disconnect, tiers, float, charge, window in rising order"
        )
    for off_v, on_v in zip(settings.tier_off_v, settings.tier_on_v, strict=True):
        if not off_v < on_v < settings.float_v:
            raise ValueError(f"a tier reconnects at {on_v} V, accepted: between {off_v} and {settings.float_v} V")


def dc_initial_state(dk: StructuredArray, *, bus_v: float, load_a: float, pv_a: float) -> StructuredArray:
    """Return the state of a DC controller with mains present and the battery at rest."""
    dc = np.zeros(1, DC_STATE)
    rectifier_a = max(load_a - pv_a, 0.0)
    droop_ohm = float(dk["droop_ohm"][0])
    values = {
        "bus_v": bus_v,
        "load_a": load_a,
        "pv_a": pv_a,
        "rectifier_a": rectifier_a,
        "trim_v": bus_v,
        "charge_limit_a": float(dk["charge_a"][0]),
        "target_ratio": float(dk["full_ratio"][0]),
        "upper_v": float(dk["float_v"][0]),
        "v_ref_v": bus_v + droop_ohm * rectifier_a,
        "limit_a": float(dk["rectifier_a"][0]),
        "pv_v_ref_v": float(dk["float_v"][0] + dk["pv_lead_v"][0]),
        "tier_command": 1,
        "battery_command": 1,
    }
    for name, value in values.items():
        dc[name] = value
    return dc
