"""One simulated site, sample by sample: grid, switch, converter, load; and what its sensors show."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.grid import command_breaker, jump_source, next_random, turn_source
from sites.edge.plant.network import solve_phase
from sites.edge.plant.switch import move_switch, poles_closed

HALF_SQRT3: Final = 0.8660254037844386
TWO_PI: Final = 6.283185307179586
TO_UNIT: Final = 2.0 / 2097152.0


@kernel
def advance_phase(
    g: Record, ph: Record, w: Record, source: float, converter: float, on: int, load_g: float, pv_g: float, gen_g: float
) -> None:
    """Advance one phase and add its powers to the sample's meters [pu]."""
    v_before = ph["v"]
    solve_phase(g, ph, source, converter, on, load_g, pv_g + gen_g)
    v = ph["v"]
    now = w["now"]
    now[0] += v * ph["i_switch"]
    # The filter's capacitor and the arrester belong to the converter: the battery's meter stands behind them.
    now[1] += v * (ph["i_filter"] - ph["i_arrester"] - g["filter_c"] * (v - v_before))
    now[2] += v * pv_g * v_before
    now[3] += v * gen_g * v_before
    now[4] -= v * load_g * v


@kernel
def advance_site(g: Record, p: Record, phases: Any, c: Record, w: Record, grid_hz: float, sample: int) -> None:
    """Advance a site's plant by one sample under the controller's outputs ``c``.

    ``w["now"]`` holds the sample's powers afterwards, of pcc, battery, PV, genset and load [pu].
    """
    turn_source(g, p, grid_hz)
    jump_source(p, sample)
    command_breaker(p, phases, g["phases"], sample)
    move_switch(g, p, phases, c["switch_command"])
    now = w["now"]
    for j in range(5):
        now[j] = 0.0
    cos_g = p["cos_g"]
    sin_g = p["sin_g"]
    level = g["grid_pu"]
    # Fifth (backward) and seventh (forward) harmonic from powers of the phasor.
    c2 = cos_g * cos_g - sin_g * sin_g
    s2 = 2.0 * cos_g * sin_g
    c4 = c2 * c2 - s2 * s2
    s4 = 2.0 * c2 * s2
    c5 = c4 * cos_g - s4 * sin_g
    s5 = s4 * cos_g + c4 * sin_g
    c7 = c5 * c2 - s5 * s2
    s7 = s5 * c2 + c5 * s2
    h5 = g["fifth_pu"]
    h7 = g["seventh_pu"]
    alpha = level * cos_g + h5 * c5 + h7 * c7
    beta = level * sin_g - h5 * s5 + h7 * s7
    on = c["converter_on"]
    # Constant-power sources as conductances on the last sample; at half voltage their current ends.
    square = max(p["v2"], 0.25)
    pv_g = p["pv_pu"] / square
    gen_g = p["genset_pu"] / square
    load_g = p["load_pu"]
    advance_phase(g, phases[0], w, alpha, c["ea"], on, load_g, pv_g, gen_g)
    v2 = phases[0]["v"] * phases[0]["v"]
    if g["phases"] == 3:
        half = 0.5 * alpha
        side = HALF_SQRT3 * beta
        advance_phase(g, phases[1], w, side - half, c["eb"], on, load_g, pv_g, gen_g)
        advance_phase(g, phases[2], w, -side - half, c["ec"], on, load_g, pv_g, gen_g)
        v2 += phases[1]["v"] * phases[1]["v"] + phases[2]["v"] * phases[2]["v"]
    scale = 2.0 / g["phases"]
    p["v2"] += 0.005 * (v2 * scale - p["v2"])
    for j in range(5):
        now[j] *= scale


@kernel
def sense(g: Record, p: Record, phases: Any, m: Record) -> None:
    """Write what the site's sensors show now; the only way from the plant to the controller."""
    bits = next_random(p)
    width = g["noise_pu"]
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
