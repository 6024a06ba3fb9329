"""One phase's circuit, solved once per sample with backward-Euler companion models.

    source - Z grid - breaker - U (neighbors, fault) - static switch - V (load, filter C, PV, genset, fault)
                                                                     V - filter L - converter's voltage
                                                                     V - surge arrester

Unconditionally stable, and nothing rings when a pole cuts a current. Currents at V add up to zero, so the
meters of all assets do. Everything in per unit; currents are positive into the bus V. Each phase stands alone
against earth (four wires); only a fault between phases joins them.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.events import NOWHERE, ON_BUS, ON_FEEDER
from sites.edge.plant.loads import bus_loads, keep_currents, utility_loads

ARRESTER_PU: Final = 1.6
"""Voltage above which the arrester at the converter's terminals conducts: a 275 V varistor on 230 V."""
ARRESTER_G: Final = 20.0
"""Its steepness: 0.05 pu more for each pu of current. A switch that cuts a loaded filter would else leave the
filter's energy to its small capacitor."""


@kernel
def node_voltages(u_g: float, u_j: float, v_g: float, v_j: float, switch_g: float) -> Any:
    """Return (u, v, current through the switch) for two nodes; ``switch_g`` 0 parts them."""
    if switch_g == 0.0:
        return u_j / u_g, v_j / v_g, 0.0
    inverse = 1.0 / (u_g * v_g + switch_g * (u_g + v_g))
    v = ((u_g + switch_g) * v_j + switch_g * u_j) * inverse
    # (u - v) from its own formula: subtracting two nearly equal voltages would lose digits.
    difference = (v_g * u_j - u_g * v_j) * inverse
    return v + difference, v, switch_g * difference


@kernel
def utility_branches(g: Record, ph: Record, source: float) -> Any:
    """Return (u_g, u_j, grid_g, grid_j): conductance and current at U without a fault, and the grid's share."""
    neighbor_g = g["neighbor_g"]
    u_g = neighbor_g
    u_j = -neighbor_g * g["neighbor_l"] * ph["i_neighbor"]
    grid_g = 0.0
    grid_j = 0.0
    if ph["breaker_closed"]:
        grid_g = g["grid_g"]
        grid_j = grid_g * (source + g["grid_l"] * ph["i_grid"])
        u_g += grid_g
        u_j += grid_j
    if g["special_loads"]:
        more_g, more_j = utility_loads(g, ph)
        u_g += more_g
        u_j += more_j
    return u_g, u_j, grid_g, grid_j


@kernel
def bus_branches(g: Record, ph: Record, converter: float, converter_on: int, load_g: float, injected: float) -> Any:
    """Return (v_g, v_j, filter_g, filter_j): conductance and current at V without a fault, and the converter's."""
    cap = g["filter_c"]
    v_g = load_g + cap
    v_j = cap * ph["v"] + injected
    filter_g = 0.0
    filter_j = 0.0
    if converter_on:
        filter_g = g["filter_g"]
        filter_j = filter_g * (converter + g["filter_l"] * ph["i_filter"])
        v_g += filter_g
        v_j += filter_j
    if g["special_loads"]:
        more_g, more_j = bus_loads(g, ph)
        v_g += more_g
        v_j += more_j
    return v_g, v_j, filter_g, filter_j


@kernel
def seen_from_fault(
    g: Record, p: Record, ph: Record, source: float, converter: float, converter_on: int, load_g: float, injected: float
) -> Any:
    """Return (weight, weight * open voltage) of one phase in the voltage of a fault's common point.

    ``arrester_side`` 1 or -1 of the phase takes its arrester in.
    """
    fault_g = ph["fault_g"]
    if fault_g == 0.0:
        return 0.0, 0.0
    u_g, u_j, _, _ = utility_branches(g, ph, source)
    v_g, v_j, _, _ = bus_branches(g, ph, converter, converter_on, load_g, injected)
    if ph["arrester_side"] != 0.0:
        v_g += ARRESTER_G
        v_j += ARRESTER_G * ARRESTER_PU * ph["arrester_side"]
    switch_g = g["switch_g"] if ph["switch_closed"] else 0.0
    u, v, _ = node_voltages(u_g, u_j, v_g, v_j, switch_g)
    if p["fault_where"] == ON_FEEDER:
        seen_g = u_g + switch_g * v_g / (switch_g + v_g)
        voltage = u
    else:
        seen_g = v_g + switch_g * u_g / (switch_g + u_g)
        voltage = v
    weight = seen_g * fault_g / (seen_g + fault_g)
    return weight, weight * voltage


@kernel
def mark_arrester(ph: Record, weight: float, weighted: float, point: float) -> int:
    """Take a faulted phase's arrester in when its bus voltage beside the common point would stand above the knee."""
    if weight == 0.0:
        return 0
    # The current into the fault, over the fault's own resistance.
    voltage = point + (weighted - weight * point) / ph["fault_g"]
    if abs(voltage) <= ARRESTER_PU:
        return 0
    ph["arrester_side"] = math.copysign(1.0, voltage)
    return 1


@kernel
def solve_phase(
    g: Record, p: Record, ph: Record, source: float, converter: float, converter_on: int, load_g: float, injected: float
) -> None:
    """Advance one phase by one sample; ``injected`` is the current of PV and genset [pu]."""
    u_g, u_j, grid_g, grid_j = utility_branches(g, ph, source)
    v_g, v_j, filter_g, filter_j = bus_branches(g, ph, converter, converter_on, load_g, injected)
    if p["fault_where"] == ON_FEEDER:
        u_g += ph["fault_g"]
        u_j += ph["fault_g"] * ph["fault_v"]
    elif p["fault_where"] == ON_BUS:
        v_g += ph["fault_g"]
        v_j += ph["fault_g"] * ph["fault_v"]
    switch_g = g["switch_g"] if ph["switch_closed"] else 0.0
    u, v, i_switch = node_voltages(u_g, u_j, v_g, v_j, switch_g)
    ph["i_arrester"] = 0.0
    joined = p["fault_where"] == ON_BUS and not p["fault_to_earth"] and ph["fault_g"] > 0.0
    if ph["arrester_side"] != 0.0 if joined else abs(v) > ARRESTER_PU:
        knee = ARRESTER_PU * ph["arrester_side"] if joined else math.copysign(ARRESTER_PU, v)
        u, v, i_switch = node_voltages(u_g, u_j, v_g + ARRESTER_G, v_j + ARRESTER_G * knee, switch_g)
        ph["i_arrester"] = ARRESTER_G * (v - knee)
    i_grid = grid_j - grid_g * u
    if ph["breaker_closed"] and ph["breaker_command"] == 0 and i_grid * ph["i_grid"] <= 0.0:
        # The pole goes out at its current zero; the other poles at theirs.
        ph["breaker_closed"] = 0
        i_grid = 0.0
    ph["i_grid"] = i_grid
    ph["i_neighbor"] = g["neighbor_g"] * (u + g["neighbor_l"] * ph["i_neighbor"])
    ph["i_filter"] = filter_j - filter_g * v
    if g["special_loads"]:
        keep_currents(g, ph, u, v)
    ph["i_before"] = ph["i_switch"]
    ph["i_switch"] = i_switch
    ph["u"] = u
    ph["v"] = v


@kernel
def settle_fault(p: Record, phases: Any, count: int) -> None:
    """Keep the fault's currents; a phase that is to be cleared goes out at the zero of its current."""
    burning = 0
    for k in range(count):
        ph = phases[k]
        if ph["fault_g"] == 0.0:
            continue
        voltage = ph["u"] if p["fault_where"] == ON_FEEDER else ph["v"]
        current = ph["fault_g"] * (voltage - ph["fault_v"])
        if ph["fault_command"] == 0 and current * ph["i_fault"] <= 0.0:
            ph["fault_g"] = 0.0
            current = 0.0
        else:
            burning = 1
        ph["i_fault"] = current
    if burning == 0:
        p["fault_where"] = NOWHERE
