"""The special loads' nameplates as numbers of the circuit, and the load of the anti-islanding tests."""

from __future__ import annotations

import cmath
import dataclasses
import math
from typing import Final

from sites.edge.plant.parameters import SiteParameters

MOTOR_X_PU: Final = 0.2
"""Transient reactance on the motor's own rating: locked-rotor current five times the rated one."""
MOTOR_R_PU: Final = 0.03
MOTOR_LOAD: Final = 0.8
"""Working point on the motor's rating."""
MOTOR_INERTIA_S: Final = 0.5
"""Inertia constant of motor and driven machine: unfed it slows by 40 Hz/s at the working point."""
CONVERTER_REACH_PU: Final = 1.2
"""Current that the converter can give for long enough to hold motors up."""
RECTIFIER_R_PU: Final = 0.05
"""Line and diodes before the rectifier's capacitor, on the rectifier's power."""
RECTIFIER_HOLD_S: Final = 0.02
"""Energy of the capacitor over the power it feeds: a cycle."""
FILTER_B_PU: Final = 0.05
"""Converter's filter capacitor."""


def load_values(site: SiteParameters, dt_s: float) -> dict[str, float]:
    """Return the special loads' part of the plant's parameters."""
    omega = 2.0 * math.pi * site.nominal_hz
    values: dict[str, float] = _tank_values(site, omega, dt_s)
    load_pu = site.load_kw / site.pcs_kva
    own_pu = site.load_motor_share * load_pu
    own = _motor_values(own_pu, site.load_motor_tau_s, omega, dt_s)
    values |= {f"own_{name}": value for name, value in own.items()}
    values["own_motor_pu"] = own_pu * MOTOR_LOAD
    values |= _motor_values(site.neighbor_motor_share * site.neighbor_load_pu, site.neighbor_motor_tau_s, omega, dt_s)
    values["motor_hold"] = min(1.0, CONVERTER_REACH_PU / max(site.neighbor_load_pu, 1e-3))
    rectifier_pu = site.load_rectifier_share * load_pu
    values["rectifier_pu"] = rectifier_pu
    values["rectifier_g"] = rectifier_pu / RECTIFIER_R_PU
    # Energy C/2 V^2 against the mean power of a phase, half of peak voltage times peak current.
    values["rectifier_c"] = max(rectifier_pu, 1e-6) * RECTIFIER_HOLD_S / dt_s
    values["special_loads"] = int(values["tank_g"] > 0.0 or own_pu > 0.0 or values["motor_g"] > 0.0 or rectifier_pu > 0)
    return values


def _motor_values(rated_pu: float, tau_s: float, omega: float, dt_s: float) -> dict[str, float]:
    if rated_pu <= 0.0:
        return {"motor_g": 0.0, "motor_l": 0.0, "motor_rate": 0.0, "motor_drop": 0.0, "motor_slowing": 0.0}
    memory = MOTOR_X_PU / rated_pu / omega / dt_s
    return {
        "motor_g": 1.0 / (MOTOR_R_PU / rated_pu + memory),
        "motor_l": memory,
        "motor_rate": 1.0 - math.exp(-dt_s / tau_s),
        "motor_drop": MOTOR_X_PU * MOTOR_LOAD,
        "motor_slowing": omega * MOTOR_LOAD / (2.0 * MOTOR_INERTIA_S) * dt_s,
    }


def _tank_values(site: SiteParameters, omega: float, dt_s: float) -> dict[str, float]:
    """R, L and C whose *sampled* admittance at nominal frequency is the asked one.

    Backward Euler adds to each of L and C a conductance of omega dt / 2 of its susceptance: 3 % of the power
    at a quality of 1, as much as the mismatch under test. It is taken back from R.
    """
    if site.island_load_kw <= 0.0:
        return {"tank_g": 0.0, "tank_l_g": 0.0, "tank_c": 0.0}
    power_pu = site.island_load_kw / site.pcs_kva
    net_pu = site.island_load_kvar / site.pcs_kva
    swing_pu = site.island_load_quality * power_pu
    # The product of both susceptances is the quality's; their difference is what L takes more.
    coil_b = 0.5 * net_pu + math.sqrt(0.25 * net_pu * net_pu + swing_pu * swing_pu)
    capacitor_b = coil_b - net_pu
    step = 1.0 - cmath.exp(-1j * omega * dt_s)
    tank_c = capacitor_b / step.imag
    tank_l_g = -coil_b / (1.0 / step).imag
    parasitic = tank_c * step.real + tank_l_g * (1.0 / step).real
    return {"tank_g": power_pu - parasitic, "tank_l_g": tank_l_g, "tank_c": tank_c}


def with_island_load(
    site: SiteParameters,
    *,
    battery_kw: float = 0.0,
    quality: float = 1.0,
    p_mismatch: float = 0.0,
    q_mismatch: float = 0.0,
) -> SiteParameters:
    """Return the site with a parallel R, L, C instead of its neighbors, tuned to what it exports.

    ``battery_kw`` is what its converter gives besides the sun (its armed baseline). At a mismatch of zero the
    feeder's breaker carries no current at nominal voltage and frequency. ``p_mismatch`` is by how much the load
    takes more active power than the site exports, ``q_mismatch`` by how much more inductive than the site's
    export it is, both as a share of the exported active power (IEC 62116: within ±5 %).
    Raises ValueError when the site exports nothing.
    """
    export_kw = site.pv_kw * site.pv_now_ratio + battery_kw - site.load_kw
    if export_kw <= 0.0:
        raise ValueError(f"site {site.site_id!r}: exports {export_kw:g} kW, accepted: more than 0 for an island load")
    # The filter's capacitor gives reactive power into the grid, and the load's coil takes it.
    kvar = FILTER_B_PU * site.pcs_kva + q_mismatch * export_kw
    return dataclasses.replace(
        site,
        neighbor_load_pu=0.0,
        neighbor_motor_share=0.0,
        island_load_kw=export_kw * (1.0 + p_mismatch),
        island_load_quality=quality,
        island_load_kvar=kvar,
    )
