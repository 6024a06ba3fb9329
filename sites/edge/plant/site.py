"""One simulated site, sample by sample: grid, switch, converter, load; and what its sensors show."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.genset import ON_BUS as GENSET_ON_BUS
from sites.edge.control.kernels.genset import STOPPED
from sites.edge.plant.dc_link import modulated, move_dc_link, rest_dc_link
from sites.edge.plant.disturbance import (
    disturbed_source,
    harmonics,
    is_disturbed,
    move_transients,
    phase_source,
)
from sites.edge.plant.events import NOWHERE, ON_BUS
from sites.edge.plant.genset import alternator, turn_genset
from sites.edge.plant.grid import next_random, turn_source
from sites.edge.plant.loads import turn_motors
from sites.edge.plant.network import mark_arrester, seen_from_fault, settle_fault, solve_phase
from sites.edge.plant.rotating import follow_bus
from sites.edge.plant.switch import move_switch, poles_closed

HALF_SQRT3: Final = 0.8660254037844386
STANDING_G: Final = 0.002
"""What a bus without load still takes: transformers of the meters, discharge resistors. Else a capacitor would hold
its charge for ever, and no bus would ever be dead."""
TO_UNIT: Final = 2.0 / 2097152.0


@kernel
def advance_phase(
    g: Record,
    p: Record,
    ph: Record,
    w: Record,
    source: float,
    converter: float,
    on: int,
    load_g: float,
    pv: float,
    gen: float,
    gen_g: float,
) -> None:
    """Advance one phase and add its powers to the sample's meters [pu].

    ``pv`` is a current; ``gen`` and ``gen_g`` the alternator's branch as current at no voltage and conductance.
    """
    v_before = ph["v"]
    solve_phase(g, p, ph, source, converter, on, load_g + gen_g, pv + gen)
    v = ph["v"]
    i_genset = gen - gen_g * v
    ph["i_genset"] = i_genset
    now = w["now"]
    now[0] += v * ph["i_switch"]
    # The filter's capacitor and the arrester belong to the converter: the battery's meter stands behind them.
    now[1] += v * (ph["i_filter"] - ph["i_arrester"] - g["filter_c"] * (v - v_before))
    now[2] += v * pv
    now[3] += v * i_genset
    now[4] -= v * load_g * v
    if g["special_loads"]:
        now[4] -= v * (ph["i_own"] + ph["i_rectifier"])
    if p["fault_where"] == ON_BUS:
        # What a fault on the bus takes counts with the load: there is no meter of its own.
        now[4] -= v * ph["fault_g"] * (v - ph["fault_v"])


@kernel
def join_faulted_phases(
    g: Record,
    p: Record,
    phases: Any,
    a: float,
    b: float,
    d: float,
    e_a: float,
    e_b: float,
    e_c: float,
    on: int,
    load_g: float,
    inj_a: float,
    inj_b: float,
    inj_c: float,
) -> None:
    """Find the voltage of the point at which a fault without earth joins its phases: its currents add up to zero."""
    point = 0.0
    for k in range(3):
        phases[k]["arrester_side"] = 0.0
    # First without arresters; then with those of the phases that would stand above their knee.
    for attempt in range(2):
        w0, j0 = seen_from_fault(g, p, phases[0], a, e_a, on, load_g, inj_a)
        w1, j1 = seen_from_fault(g, p, phases[1], b, e_b, on, load_g, inj_b)
        w2, j2 = seen_from_fault(g, p, phases[2], d, e_c, on, load_g, inj_c)
        weight = w0 + w1 + w2
        point = (j0 + j1 + j2) / weight if weight > 0.0 else 0.0
        if attempt == 1 or p["fault_where"] != ON_BUS:
            break
        over = mark_arrester(phases[0], w0, j0, point) + mark_arrester(phases[1], w1, j1, point)
        over += mark_arrester(phases[2], w2, j2, point)
        if over == 0:
            break
    for k in range(3):
        phases[k]["fault_v"] = point


@kernel
def advance_site(g: Record, p: Record, phases: Any, c: Record, w: Record, grid_hz: float) -> None:
    """Advance a site's plant by one sample under the controller's outputs ``c``.

    ``w["now"]`` holds the sample's powers afterwards, of pcc, battery, PV, genset and load [pu].
    """
    turn_source(g, p, grid_hz)
    move_switch(g, p, phases, c["switch_command"])
    now = w["now"]
    for j in range(5):
        now[j] = 0.0
    cos_a = p["cos_g"]
    sin_a = p["sin_g"]
    level = g["grid_pu"]
    if p["disturbed"]:
        level *= move_transients(p)
    alpha, beta = harmonics(p)
    source_a = phase_source(phases[0], level, cos_a, sin_a, alpha)
    if p["disturbed"]:
        source_a = disturbed_source(p, phases[0], source_a, cos_a, sin_a)
    on = c["converter_on"] and not p["blocked"] and not p["bridge_stopped"]
    e_a = c["ea"]
    e_b = c["eb"]
    e_c = c["ec"]
    linked = g["dc_store_s"] > 0.0
    if linked:
        e_a = modulated(e_a, p["dc_share"])
        e_b = modulated(e_b, p["dc_share"])
        e_c = modulated(e_c, p["dc_share"])
    if g["special_loads"]:
        turn_motors(g, p, phases, on)
    # Constant power at the voltage they follow; at half voltage their current ends.
    follow_bus(g, p, phases)
    z_cos = p["bus_cos"]
    z_sin = p["bus_sin"]
    inverse = 1.0 / max(z_cos * z_cos + z_sin * z_sin, 0.25)
    pv = p["pv_pu"] * inverse * c["pv_connected"]
    load_g = max(max(p["load_pu"] - g["own_motor_pu"] - g["rectifier_pu"], 0.0) * p["tier_share"], STANDING_G)
    gen_g = 0.0
    gen_a = 0.0
    gen_b = 0.0
    gen_c = 0.0
    if p["genset_state"] != STOPPED:
        turn_genset(g, p, p["gen_now"], c["genset_run"], c["genset_close"], c["genset_target_pu"], 0)
        if p["genset_state"] == GENSET_ON_BUS:
            gen_g = g["genset_g"]
            e_cos = p["gen_cos"]
            gen_a = alternator(g, p, phases[0], e_cos)
            if g["phases"] == 3:
                side = HALF_SQRT3 * p["gen_sin"]
                gen_b = alternator(g, p, phases[1], side - 0.5 * e_cos)
                gen_c = alternator(g, p, phases[2], -side - 0.5 * e_cos)
    if g["phases"] == 3:
        cos_b = HALF_SQRT3 * sin_a - 0.5 * cos_a
        sin_b = -HALF_SQRT3 * cos_a - 0.5 * sin_a
        cos_c = -HALF_SQRT3 * sin_a - 0.5 * cos_a
        sin_c = HALF_SQRT3 * cos_a - 0.5 * sin_a
        source_b = phase_source(phases[1], level, cos_b, sin_b, HALF_SQRT3 * beta - 0.5 * alpha)
        source_c = phase_source(phases[2], level, cos_c, sin_c, -HALF_SQRT3 * beta - 0.5 * alpha)
        z_b = HALF_SQRT3 * z_sin - 0.5 * z_cos
        z_c = -HALF_SQRT3 * z_sin - 0.5 * z_cos
        if p["disturbed"]:
            source_b = disturbed_source(p, phases[1], source_b, cos_b, sin_b)
            source_c = disturbed_source(p, phases[2], source_c, cos_c, sin_c)
        if p["fault_where"] != NOWHERE and not p["fault_to_earth"]:
            inj_a = pv * z_cos + gen_a
            inj_b = pv * z_b + gen_b
            inj_c = pv * z_c + gen_c
            join_faulted_phases(
                g, p, phases, source_a, source_b, source_c, e_a, e_b, e_c, on, load_g + gen_g, inj_a, inj_b, inj_c
            )
        advance_phase(g, p, phases[0], w, source_a, e_a, on, load_g, pv * z_cos, gen_a, gen_g)
        advance_phase(g, p, phases[1], w, source_b, e_b, on, load_g, pv * z_b, gen_b, gen_g)
        advance_phase(g, p, phases[2], w, source_c, e_c, on, load_g, pv * z_c, gen_c, gen_g)
    else:
        advance_phase(g, p, phases[0], w, source_a, e_a, on, load_g, pv * z_cos, gen_a, gen_g)
    if p["fault_where"] != NOWHERE:
        settle_fault(p, phases, g["phases"])
    if p["disturbed"]:
        p["disturbed"] = is_disturbed(p, phases, g["phases"])
    scale = 2.0 / g["phases"]
    if linked and on:
        bridge = e_a * phases[0]["i_filter"] + e_b * phases[1]["i_filter"] + e_c * phases[2]["i_filter"]
        move_dc_link(g, p, scale * bridge)
    elif not c["converter_on"]:
        rest_dc_link(p)
    for j in range(5):
        now[j] *= scale
    p["gen_now"] = now[3]


@kernel
def sense(g: Record, p: Record, phases: Any, m: Record) -> None:
    """Write what the site's sensors show now; the only way from the plant to the controller."""
    bits = next_random(p)
    width = p["noise_pu"]
    n0 = ((bits & 0x1FFFFF) * TO_UNIT - 1.0) * width
    a = phases[0]
    m["va"] = a["v"] + n0
    m["ua"] = a["u"] - n0
    m["ia"] = a["i_switch"]
    m["pa"] = a["i_filter"]
    if g["phases"] == 3:
        n1 = (((bits >> 21) & 0x1FFFFF) * TO_UNIT - 1.0) * width
        n2 = (((bits >> 42) & 0x1FFFFF) * TO_UNIT - 1.0) * width
        b = phases[1]
        d = phases[2]
        m["vb"] = b["v"] + n1
        m["ub"] = b["u"] - n1
        m["ib"] = b["i_switch"]
        m["pb"] = b["i_filter"]
        m["vc"] = d["v"] + n2
        m["uc"] = d["u"] - n2
        m["ic"] = d["i_switch"]
        m["pc"] = d["i_filter"]
    m["poles_closed"] = poles_closed(g, phases)
    m["pcs_running"] = int(p["blocked"] == 0 and p["bridge_stopped"] == 0)
    m["dc_link_share"] = p["dc_share"]
