"""From a DC site's nameplates to the numbers of its plant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.plant.dc_records import DC_METERS, DC_PLANT, DC_PLANT_PARAMETERS
from sites.edge.plant.parameters import SiteParameters

StructuredArray = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of battery cell on a DC bus; certainty of all numbers [B], engineering knowledge."""

    cells_48: int
    cells_400: int
    nominal_v: float
    soc: tuple[float, ...]
    open_circuit_v: tuple[float, ...]
    low_v: float
    """Its own protection opens below [V per cell]."""
    high_v: float
    string_ah: float
    cell_ohm: float
    """Of one cell of a string of ``string_ah``."""
    charge_efficiency: float
    charge_v: float
    """Constant-voltage end of charge [V per cell]."""
    float_v: float
    """Held for good [V per cell at 25 °C]."""
    float_v_per_k: float
    """Change of that with the battery's temperature [V per cell and K]."""
    charge_per_h: float
    """Largest charge current over the capacity [1/h]."""
    discharge_per_h: float


CELLS: Final = {
    # 16S 51.2 V 100 Ah, 8 mOhm a string: 0.5 mOhm a cell; open circuit as in islanding.md, section 5.
    "lfp": Cell(
        cells_48=16,
        cells_400=112,
        nominal_v=3.2,
        soc=(0.0, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 0.95, 1.0),
        open_circuit_v=(2.60, 3.05, 3.20, 3.25, 3.29, 3.305, 3.335, 3.36, 3.45),
        low_v=2.5,
        high_v=3.65,
        string_ah=100.0,
        cell_ohm=0.5e-3,
        charge_efficiency=0.995,
        charge_v=3.5,
        float_v=3.40,
        float_v_per_k=0.0,
        charge_per_h=0.5,
        discharge_per_h=1.0,
    ),
    # Valve-regulated lead-acid, 24 cells, 100 Ah: rest voltage 0.85 + acid density, 1.95-2.15 V.
    "vrla": Cell(
        cells_48=24,
        cells_400=168,
        nominal_v=2.0,
        soc=(0.0, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 0.95, 1.0),
        open_circuit_v=(1.90, 1.945, 1.96, 1.98, 2.02, 2.06, 2.10, 2.13, 2.14),
        low_v=1.60,
        high_v=2.45,
        string_ah=100.0,
        cell_ohm=0.5e-3,
        charge_efficiency=0.90,
        charge_v=2.35,
        float_v=2.27,
        float_v_per_k=-0.003,
        charge_per_h=0.10,
        discharge_per_h=0.5,
    ),
}

WINDOW_V: Final = {"dc48": (40.5, 57.0), "dc400": (260.0, 400.0)}
"""Normal service voltage at the loads' terminals: ETSI EN 300 132-2 (magnitude; −48 V systems are earthed at
plus) and EN 300 132-3; [B]."""
LOSS_IDLE: Final = 0.006
LOSS_LINEAR: Final = 0.019
LOSS_SQUARE: Final = 0.019
"""Losses over the rating: 96.1 % at half load, 95.8 % at full, 92.5 % at a tenth; a 96 % telecom module [B]."""
DROOP_RATIO: Final = 0.02
"""Fall of the rectifiers' voltage from nothing to rated current."""
PV_DROOP_RATIO: Final = 0.01
HOLD_UP_S: Final = 0.040
"""Energy of the modules' DC links over the rated power; what lies above 0.75 of their voltage bridges 17 ms."""
LINK_LOW_SHARE: Final = 0.5625
BUS_S: Final = 0.012
"""Energy of the capacitors on the bus over the rated power: some 40 mF at 53 V and 5 kW."""
POLARIZATION: Final = ((0.6, 30.0), (0.6, 400.0))
"""Two time constants of the cells: resistance over the ohmic part, and time [s]."""
TIER_SHARES: Final = (0.30, 0.30, 0.40)
"""Share of the DC load in tier 0 (kept to the last), 1 and 2 (capacity layers, first to go)."""
OWN_USE_RATIO: Final = 0.005
"""What site controller and modules draw from the bus, over the rating."""
INVERTER_EFFICIENCY: Final = 0.90
COMMAND_CYCLE_S: Final = 0.01
"""Cycle of the bus (CAN) over which modules take their set points."""
TRANSFER_S: Final = 0.004
"""Transfer switch of the auxiliaries: a relay without arc, 4 ms."""


def cells_of(site: SiteParameters) -> int:
    """Return the number of cells in series in one string of a DC site."""
    cell = CELLS[site.battery_chemistry]
    return cell.cells_48 if site.bus == "dc48" else cell.cells_400


def nominal_bus_v(site: SiteParameters) -> float:
    """Return the nominal voltage of a DC site's bus [V]: its battery's, 51.2 V of 16 LFP cells."""
    return cells_of(site) * CELLS[site.battery_chemistry].nominal_v


def battery_ah(site: SiteParameters) -> float:
    """Return the capacity of all strings of a DC site [Ah]."""
    return site.battery_kwh * 1000.0 / nominal_bus_v(site)


def battery_ohm(site: SiteParameters) -> float:
    """Return the ohmic resistance of all strings of a DC site in parallel, with their cables [Ohm]."""
    cell = CELLS[site.battery_chemistry]
    return cells_of(site) * cell.cell_ohm * cell.string_ah / battery_ah(site)


def rectifier_droop_ohm(site: SiteParameters) -> float:
    """Return the slope of the rectifiers' voltage over their current, all modules together [Ohm]."""
    nominal_v = nominal_bus_v(site)
    return DROOP_RATIO * nominal_v / (site.pcs_kva * 1000.0 / nominal_v)


def autonomy_h(site: SiteParameters, soc_ratio: float, empty_ratio: float = 0.05) -> float:
    """Return for how long the battery alone carries the declared DC load from a state of charge [h]."""
    if site.load_kw <= 0.0:
        return float("inf")
    return max(0.0, soc_ratio - empty_ratio) * site.battery_kwh / site.load_kw


def dc_plant_parameters(site: SiteParameters, dt_s: float) -> StructuredArray:
    """Return one element of the DC plant's parameter record."""
    cell = CELLS[site.battery_chemistry]
    nominal_v = nominal_bus_v(site)
    rated_w = site.pcs_kva * 1000.0
    ohm = battery_ohm(site)
    ampere_hours = battery_ah(site)
    low_v, _ = WINDOW_V[site.bus]
    values = {
        "nominal_v": nominal_v,
        "rectifier_w": rated_w,
        # Constant power down to 48 V of a 51.2 V system, constant current below.
        "rectifier_a": rated_w / (0.9375 * nominal_v),
        "droop_ohm": rectifier_droop_ohm(site),
        "current_share": 1.0 - float(np.exp(-dt_s / 0.3e-3)),
        "loss_idle_w": LOSS_IDLE * rated_w,
        "loss_linear": LOSS_LINEAR,
        "loss_square_per_w": LOSS_SQUARE / rated_w,
        "input_low_pu": 0.40,
        "input_high_pu": 1.30,
        "link_j": HOLD_UP_S * rated_w,
        "link_low_j": LINK_LOW_SHARE * HOLD_UP_S * rated_w,
        "link_gain": 25.0,
        "input_share": dt_s / 0.010,
        "square_share": dt_s / 0.020,
        "walk_in_w_s": rated_w / max(site.walk_in_s, 1e-3),
        "bus_f_per_dt": 2.0 * BUS_S * rated_w / nominal_v**2 / dt_s,
        "bleed_s": OWN_USE_RATIO * rated_w / nominal_v**2,
        "battery_ohm": ohm,
        "fast_ohm": POLARIZATION[0][0] * ohm,
        "fast_s": POLARIZATION[0][1],
        "slow_ohm": POLARIZATION[1][0] * ohm,
        "slow_s": POLARIZATION[1][1],
        "battery_as": ampere_hours * 3600.0,
        "charge_efficiency": cell.charge_efficiency,
        "cell_low_v": cell.low_v,
        "cell_high_v": cell.high_v,
        "trip_a": 2.0 * ampere_hours,
        "cells": cells_of(site),
        "pv_droop_ohm": PV_DROOP_RATIO * nominal_v**2 / max(site.pv_kw * 1000.0, 1.0),
        "pv_share": 1.0 - float(np.exp(-dt_s / 2e-3)),
        "pv_max_a": site.pv_kw * 1000.0 / (0.8 * nominal_v),
        # Loads run down to 38 V of 40.5 V and start again from their normal window.
        "load_low_v": low_v - 0.05 * nominal_v,
        "load_start_v": low_v + 0.02 * nominal_v,
        "auxiliary_w": site.auxiliary_kw * 1000.0,
        "inverter_efficiency": INVERTER_EFFICIENCY,
        "genset_w": 0.9 * site.genset_kw * 1000.0,
        "command_ticks": round(COMMAND_CYCLE_S / dt_s),
        "transfer_ticks": max(1, round(TRANSFER_S / dt_s)),
        "modules": site.rectifier_modules,
        "radio_profile": int(site.load_profile == "radio"),
    }
    dg = np.zeros(1, DC_PLANT_PARAMETERS)
    for name, value in values.items():
        dg[name] = value
    dg["tier_w"] = np.array(TIER_SHARES) * (site.load_kw * 1000.0)
    dg["ocv_soc"] = cell.soc
    dg["ocv_v"] = cell.open_circuit_v
    return dg


def dc_plant_state(site: SiteParameters, dg: StructuredArray) -> StructuredArray:
    """Return one element of the DC plant's state record: mains present, battery at rest on the bus."""
    d = np.zeros(1, DC_PLANT)
    cell = CELLS[site.battery_chemistry]
    rest_v = cells_of(site) * float(np.interp(site.soc_ratio, cell.soc, cell.open_circuit_v))
    pv_w = site.pv_kw * site.pv_now_ratio * 1000.0
    load_w = site.load_kw * 1000.0
    rectifier_a = max(load_w - pv_w, 0.0) / rest_v
    set_v = rest_v + float(dg["droop_ohm"][0]) * rectifier_a
    values = {
        "bus_v": rest_v,
        "emf_v": rest_v,
        "rectifier_a": rectifier_a,
        "pv_a": pv_w / rest_v,
        "pv_w": pv_w,
        "load_a": load_w / rest_v,
        "link_j": float(dg["link_j"][0]),
        "input_g": max(load_w - pv_w, 0.0) / (site.pcs_kva * 1000.0),
        "input_square": 1.0,
        "walk_in_w": float(dg["rectifier_w"][0]),
        "load_factor": 1.0,
        "set_v": set_v,
        "next_v": set_v,
        "set_a": float(dg["rectifier_a"][0]),
        "next_a": float(dg["rectifier_a"][0]),
        "tier_on": 1,
        "loads_up": 1,
        "modules": site.rectifier_modules,
        "battery_closed": 1,
        "rectifier_on": 1,
        "command_ticks": int(dg["command_ticks"][0]),
    }
    for name, value in values.items():
        d[name] = value
    return d


def dc_meters() -> StructuredArray:
    """Return one element of the DC meters' record, nothing counted yet."""
    dw = np.zeros(1, DC_METERS)
    dw["low_v"] = np.inf
    dw["high_v"] = -np.inf
    return dw
