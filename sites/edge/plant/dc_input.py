"""The AC input of a DC site: the public grid up to the terminals, input contactor, what the site draws there."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.disturbance import disturbed_source, harmonics, is_disturbed, move_transients, phase_source
from sites.edge.plant.events import NOWHERE
from sites.edge.plant.grid import turn_source
from sites.edge.plant.loads import keep_currents, turn_motors
from sites.edge.plant.network import settle_fault, utility_branches

HALF_SQRT3: Final = 0.8660254037844386


@kernel
def drawn_g(ph: Record, input_g: float, auxiliary_g: float) -> float:
    """Conductance that the site shows to one phase of its AC input [pu], never negative."""
    return auxiliary_g + (input_g if ph["switch_closed"] else 0.0)


@kernel
def solve_input(g: Record, p: Record, ph: Record, source: float, input_g: float, auxiliary_g: float) -> float:
    """Advance one phase of the AC side by one sample; return the current into the site [pu].

    Backward Euler as in ``network.py``. Nothing at the site stores energy on this side, so what it draws has
    the sign of the voltage at every instant. A fault, wherever it is ordered, stands before the input contactor.
    """
    site_g = drawn_g(ph, input_g, auxiliary_g)
    u_g, u_j, grid_g, grid_j = utility_branches(g, ph, source)
    if p["fault_where"] != NOWHERE:
        u_g += ph["fault_g"]
        u_j += ph["fault_g"] * ph["fault_v"]
    u = u_j / (u_g + site_g)
    i_grid = grid_j - grid_g * u
    if ph["breaker_closed"] and ph["breaker_command"] == 0 and i_grid * ph["i_grid"] <= 0.0:
        # The pole goes out at its current zero; the other poles at theirs.
        ph["breaker_closed"] = 0
        i_grid = 0.0
    ph["i_grid"] = i_grid
    ph["i_neighbor"] = g["neighbor_g"] * (u + g["neighbor_l"] * ph["i_neighbor"])
    if g["special_loads"]:
        keep_currents(g, ph, u, 0.0)
    ph["u"] = u
    ph["v"] = u if ph["switch_closed"] else 0.0
    ph["i_before"] = ph["i_switch"]
    ph["i_switch"] = input_g * ph["v"]
    return u * site_g


@kernel
def join_faulted_inputs(
    g: Record, phases: Any, a: float, b: float, d: float, input_g: float, auxiliary_g: float
) -> None:
    """Find the voltage of the point at which a fault without earth joins its phases: its currents add up to zero."""
    weight = 0.0
    weighted = 0.0
    for k in range(3):
        ph = phases[k]
        fault_g = ph["fault_g"]
        if fault_g > 0.0:
            source = a if k == 0 else (b if k == 1 else d)
            u_g, u_j, _, _ = utility_branches(g, ph, source)
            seen_g = u_g + drawn_g(ph, input_g, auxiliary_g if k == 0 else 0.0)
            share = seen_g * fault_g / (seen_g + fault_g)
            weight += share
            weighted += share * u_j / seen_g
    for k in range(3):
        phases[k]["fault_v"] = weighted / weight if weight > 0.0 else 0.0


@kernel
def advance_input(g: Record, p: Record, phases: Any, grid_hz: float, input_g: float, auxiliary_g: float) -> Any:
    """Advance the AC side by one sample; return its powers (all, rectifiers) and the mean squared voltage there [pu].

    Auxiliaries are a single-phase load and stand on the first phase.
    """
    turn_source(g, p, grid_hz)
    count = g["phases"]
    cos_a = p["cos_g"]
    sin_a = p["sin_g"]
    level = g["grid_pu"]
    if p["disturbed"]:
        level *= move_transients(p)
    alpha, beta = harmonics(p)
    source_a = phase_source(phases[0], level, cos_a, sin_a, alpha)
    source_b = 0.0
    source_c = 0.0
    if g["special_loads"]:
        turn_motors(g, p, phases, 0)
    if p["disturbed"]:
        source_a = disturbed_source(p, phases[0], source_a, cos_a, sin_a)
    if count == 3:
        cos_b = HALF_SQRT3 * sin_a - 0.5 * cos_a
        sin_b = -HALF_SQRT3 * cos_a - 0.5 * sin_a
        cos_c = -HALF_SQRT3 * sin_a - 0.5 * cos_a
        sin_c = HALF_SQRT3 * cos_a - 0.5 * sin_a
        source_b = phase_source(phases[1], level, cos_b, sin_b, HALF_SQRT3 * beta - 0.5 * alpha)
        source_c = phase_source(phases[2], level, cos_c, sin_c, -HALF_SQRT3 * beta - 0.5 * alpha)
        if p["disturbed"]:
            source_b = disturbed_source(p, phases[1], source_b, cos_b, sin_b)
            source_c = disturbed_source(p, phases[2], source_c, cos_c, sin_c)
        if p["fault_where"] != NOWHERE and not p["fault_to_earth"]:
            join_faulted_inputs(g, phases, source_a, source_b, source_c, input_g, auxiliary_g * count)
    pcc = 0.0
    rectified = 0.0
    square = 0.0
    for k in range(count):
        source = source_a if k == 0 else (source_b if k == 1 else source_c)
        ph = phases[k]
        current = solve_input(g, p, ph, source, input_g, auxiliary_g * count if k == 0 else 0.0)
        pcc += current * ph["u"]
        rectified += input_g * ph["v"] * ph["v"]
        square += ph["v"] * ph["v"]
    if p["fault_where"] != NOWHERE:
        settle_fault(p, phases, count)
    if p["disturbed"]:
        p["disturbed"] = is_disturbed(p, phases, count)
    scale = 2.0 / count
    return pcc * scale, rectified * scale, square * scale
