"""One phase's circuit, solved once per sample with backward-Euler companion models.

    source - Z grid - breaker - U (neighbors' R-L load) - static switch - V (load, filter C, PV, genset)
                                                                       V - filter L - converter's voltage
                                                                       V - surge arrester

Unconditionally stable, and nothing rings when a pole cuts a current. Currents at V add up to zero, so the
meters of all assets do. Everything in per unit; currents are positive into the bus V.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

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
def solve_phase(
    g: Record, ph: Record, source: float, converter: float, converter_on: int, load_g: float, injected_g: float
) -> float:
    """Advance one phase by one sample; return the current that PV and genset give [pu].

    ``injected_g`` is their power as a conductance on the bus voltage of the sample before.
    """
    # Utility side.
    neighbor_g = g["neighbor_g"]
    u_g = neighbor_g
    u_j = -neighbor_g * g["neighbor_l"] * ph["i_neighbor"]
    grid_j = 0.0
    grid_g = 0.0
    if ph["breaker_closed"]:
        grid_g = g["grid_g"]
        grid_j = grid_g * (source + g["grid_l"] * ph["i_grid"])
        u_g += grid_g
        u_j += grid_j
    # Load bus.
    v_before = ph["v"]
    cap = g["filter_c"]
    injected = injected_g * v_before
    v_g = load_g + cap
    v_j = cap * v_before + injected
    filter_g = 0.0
    filter_j = 0.0
    if converter_on:
        filter_g = g["filter_g"]
        filter_j = filter_g * (converter + g["filter_l"] * ph["i_filter"])
        v_g += filter_g
        v_j += filter_j
    switch_g = g["switch_g"] if ph["switch_closed"] else 0.0
    u, v, i_switch = node_voltages(u_g, u_j, v_g, v_j, switch_g)
    ph["i_arrester"] = 0.0
    if abs(v) > ARRESTER_PU:
        knee = math.copysign(ARRESTER_PU, v)
        u, v, i_switch = node_voltages(u_g, u_j, v_g + ARRESTER_G, v_j + ARRESTER_G * knee, switch_g)
        ph["i_arrester"] = ARRESTER_G * (v - knee)
    i_grid = grid_j - grid_g * u
    if ph["breaker_closed"] and ph["breaker_command"] == 0 and i_grid * ph["i_grid"] <= 0.0:
        # The pole goes out at its current zero; the other poles at theirs.
        ph["breaker_closed"] = 0
        i_grid = 0.0
    ph["i_grid"] = i_grid
    ph["i_neighbor"] = neighbor_g * (u + g["neighbor_l"] * ph["i_neighbor"])
    ph["i_filter"] = filter_j - filter_g * v
    ph["i_before"] = ph["i_switch"]
    ph["i_switch"] = i_switch
    ph["u"] = u
    ph["v"] = v
    return injected
