"""From a site's nameplates to the numbers of its circuit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.plant.auxiliaries import FREE
from sites.edge.plant.battery import open_circuit_pu
from sites.edge.plant.events import NEVER
from sites.edge.plant.load_values import FILTER_B_PU, MOTOR_LOAD, load_values
from sites.edge.plant.parameters import SWITCH_KINDS, SiteParameters
from sites.edge.plant.records import PHASE, PLANT, PLANT_PARAMETERS
from sites.edge.plant.store_values import store_values
from sites.edge.plant.switch import CLOSE_DELAY_S

StructuredArray = npt.NDArray[np.void]

FILTER_X_PU: Final = 0.12
"""Converter's series filter, 0.1-0.15 pu."""
FILTER_R_PU: Final = 0.005
GRID_X_OVER_R: Final = 5.0
NEIGHBOR_POWER_FACTOR: Final = 0.95
SWITCH_R_PU: Final = 0.002
GENSET_X_PU: Final = 0.2
"""Transient reactance of the alternator on its own rating."""
GENSET_R_PU: Final = 0.02
FUEL_F0_L_KWH: Final = 0.033
FUEL_F1_L_KWH: Final = 0.273
"""Litres per kWh: HOMER's line for a 50 kW set."""


def plant_parameters(site: SiteParameters, dt_s: float) -> StructuredArray:
    """Return one element of the plant's parameter record."""
    omega = 2.0 * math.pi * site.nominal_hz
    grid_x = 1.0 / site.short_circuit_ratio / math.sqrt(1.0 + 1.0 / GRID_X_OVER_R**2)
    grid_l = grid_x / omega / dt_s
    static_pu = max(site.neighbor_load_pu * (1.0 - site.neighbor_motor_share), 1e-3)
    neighbor_r = NEIGHBOR_POWER_FACTOR / static_pu
    neighbor_l = math.sqrt(1.0 - NEIGHBOR_POWER_FACTOR**2) / static_pu / omega / dt_s
    # The feeder's transformer is tapped so that the site sees its voltage at the usual load.
    usual_y = 1.0 / complex(neighbor_r, neighbor_l * omega * dt_s)
    usual_y += site.neighbor_load_pu * site.neighbor_motor_share * MOTOR_LOAD
    usual_y += complex(site.island_load_kw, -site.island_load_kvar) / site.pcs_kva
    usual_y += (site.load_kw - site.pv_kw * site.pv_now_ratio) / site.pcs_kva
    tap = abs(1.0 + complex(grid_x / GRID_X_OVER_R, grid_x) * usual_y)
    filter_l = FILTER_X_PU / omega / dt_s
    kind = SWITCH_KINDS.index(site.switch_kind)
    base_w = site.pcs_kva * 1000.0
    # A site without a set keeps the branch of a small one that is never connected.
    genset_pu = max(site.genset_kw / site.pcs_kva, 1e-3)
    genset_l = GENSET_X_PU / genset_pu / omega / dt_s
    values = {
        "dt_s": dt_s,
        "nominal_rad_s": omega,
        "bias_rad_s": 2.0 * math.pi * site.meter_bias_hz,
        "grid_pu": site.grid_voltage_pu * tap,
        "grid_g": 1.0 / (grid_x / GRID_X_OVER_R + grid_l),
        "grid_l": grid_l,
        "neighbor_g": 1.0 / (neighbor_r + neighbor_l),
        "neighbor_l": neighbor_l,
        "filter_g": 1.0 / (FILTER_R_PU + filter_l),
        "filter_l": filter_l,
        "filter_c": FILTER_B_PU / omega / dt_s,
        "switch_g": 1.0 / SWITCH_R_PU,
        "base_w": base_w,
        "load_pu": site.load_kw / site.pcs_kva,
        "pv_pu": site.pv_kw * site.pv_now_ratio / site.pcs_kva,
        "genset_rated_pu": site.genset_kw / site.pcs_kva,
        "genset_g": 1.0 / (GENSET_R_PU / genset_pu + genset_l),
        "genset_l": genset_l,
        "tier_shares": np.cumsum((0.0, *site.load_tiers)),
        "ticks_per_ms": round(1e-3 / dt_s),
        "fuel_idle_ul_s": FUEL_F0_L_KWH * site.genset_kw * 1e6 / 3600.0,
        "fuel_ul_j": FUEL_F1_L_KWH * 1e6 / 3.6e6,
        "phases": site.phases,
        "switch_kind": kind,
        "close_delay_ticks": max(1, math.ceil(CLOSE_DELAY_S[kind] / dt_s - 1e-9)),
    }
    values |= load_values(site, dt_s)
    values |= store_values(site)
    g = np.zeros(1, PLANT_PARAMETERS)
    for name, value in values.items():
        g[name] = value
    return g


def plant_state(site: SiteParameters, seed: int, index: int) -> StructuredArray:
    """Return one element of the plant's state record, grid at phase zero."""
    p = np.zeros(1, PLANT)
    p["cos_g"] = 1.0
    p["load_pu"] = site.load_kw / site.pcs_kva
    p["pv_pu"] = site.pv_kw * site.pv_now_ratio / site.pcs_kva
    p["soc_ratio"] = site.soc_ratio
    p["temperature_c"] = site.ambient_c
    p["cell_pu"] = open_circuit_pu(site.soc_ratio)
    p["dc_share"] = 1.0
    p["random"] = int(np.random.default_rng([seed, index]).integers(1, 2**62))
    p["event_at"] = NEVER
    p["noise_pu"] = site.noise_pu
    level = 0.0 if site.starts_dead else 1.0
    p["motor_cos"] = p["own_cos"] = p["bus_cos"] = level
    p["motor_w"] = p["own_w"] = p["bus_w"] = 2.0 * math.pi * site.nominal_hz
    p["h5"] = site.fifth_harmonic_pu
    p["h7"] = 0.5 * site.fifth_harmonic_pu
    p["tier_share"] = 0.0 if site.starts_dead else 1.0
    p["tiers_ordered"] = 0 if site.starts_dead else len(site.load_tiers)
    p["bond_held"] = FREE
    p["gen_cos"] = 1.0
    p["switch_target"] = 0 if site.starts_dead else 1
    return p


def phase_states(sites: Sequence[SiteParameters]) -> StructuredArray:
    """Return the phases' records [sites, 3] in step with the grid at phase zero, or dead."""
    phases = np.zeros((len(sites), 3), PHASE)
    closed = np.array([not site.starts_dead for site in sites])[:, None]
    for name in ("breaker_closed", "breaker_command", "switch_closed"):
        phases[name] = closed
    phases["v"] = phases["u"] = np.where(closed, [[1.0, -0.5, -0.5]], 0.0)
    phases["v_rectifier"] = np.where(closed, 0.95, 0.0)
    phases["level"] = phases["turn_cos"] = 1.0
    return phases
