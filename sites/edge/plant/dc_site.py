"""One simulated DC site, sample by sample: AC input, rectifiers, DC bus with battery, PV and loads; its sensors.

    source - Z grid - breaker - U (neighbors' load) - input contactor - rectifiers - link -> DC bus (C)
                              U - transfer switch - AC auxiliaries        battery, PV, loads, inverter on it

The DC bus is solved implicitly at the rate of the AC samples. Its own poles need it: battery resistance times
capacitors is some 0.1 ms, so that at 1 kHz the loss of the mains would be one step of which nothing is seen;
and the AC side is there at 10 kHz anyway. State of charge, polarization, sun and traffic move once per 10 ms.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.dc_input import advance_input
from sites.edge.plant.dc_load import drawn_w
from sites.edge.plant.dc_records import TIERS
from sites.edge.plant.dc_rectifier import draw_input, drive_output, rectifier_loss_w, take_set_points, watch_input
from sites.edge.plant.grid import next_random
from sites.edge.plant.switch import move_switch, poles_closed

TO_UNIT: Final = 2.0 / 2097152.0
DARK_PU: Final = 0.5
"""Missing instantaneous voltage from which on the AC auxiliaries count as dark."""


@kernel
def solve_bus(dg: Record, d: Record, load_w: float) -> None:
    """Advance the DC bus by one sample under what rectifiers and PV give now and loads draw [V, A]."""
    before_v = d["bus_v"]
    floor_v = max(before_v, 0.1 * dg["nominal_v"])
    d["load_a"] = load_w / floor_v
    total_g = dg["bus_f_per_dt"] + dg["bleed_s"]
    total_a = dg["bus_f_per_dt"] * before_v + d["rectifier_a"] + d["pv_a"] - d["load_a"]
    if d["battery_closed"]:
        battery_g = 1.0 / dg["battery_ohm"]
        v = (total_a + battery_g * d["emf_v"]) / (total_g + battery_g)
        d["battery_a"] = battery_g * (d["emf_v"] - v)
    else:
        v = total_a / total_g
        d["battery_a"] = 0.0
    d["bus_v"] = v


@kernel
def drive_pv(dg: Record, d: Record, pv_v_ref_v: float) -> None:
    """Move the PV converter's current by one sample: maximum power, less where the bus stands too high."""
    v = d["bus_v"]
    wanted_a = min(d["pv_w"] / max(v, 0.5 * dg["nominal_v"]), dg["pv_max_a"])
    wanted_a = min(wanted_a, (pv_v_ref_v - v) / dg["pv_droop_ohm"])
    d["pv_a"] += dg["pv_share"] * (max(wanted_a, 0.0) - d["pv_a"])


@kernel
def feed_auxiliaries(g: Record, dg: Record, d: Record, c: Record, dc: Record, phases: Any, dw: Record) -> float:
    """Move the auxiliaries' transfer switch by one sample; return the power they take from the DC bus [W].

    On the mains while these are sound, else on a small inverter that runs along in phase all the time.
    """
    if dg["auxiliary_w"] <= 0.0:
        return 0.0
    wants_inverter = dc["auxiliary_command"]
    if wants_inverter == d["on_inverter"]:
        d["transfer_ticks"] = 0
    else:
        # Between its contacts, fed from nowhere.
        d["transfer_ticks"] += 1
        if d["transfer_ticks"] > dg["transfer_ticks"]:
            d["on_inverter"] = wants_inverter
            d["transfer_ticks"] = 0
    inverter_runs = d["bus_v"] > dg["load_low_v"]
    if d["transfer_ticks"] > 0:
        voltage = 0.0
    elif not d["on_inverter"]:
        voltage = phases[0]["u"]
    elif inverter_runs:
        voltage = c["cos_u"]
    else:
        voltage = 0.0
    d["auxiliary_pu"] = voltage
    if abs(c["cos_u"] - voltage) > DARK_PU:
        dw["auxiliary_dark_s"] += g["dt_s"]
    if d["on_inverter"] and inverter_runs and d["transfer_ticks"] == 0:
        return dg["auxiliary_w"] / dg["inverter_efficiency"]
    return 0.0


@kernel
def advance_dc_site(
    g: Record, p: Record, phases: Any, c: Record, w: Record,
    dg: Record, d: Record, dc: Record, dw: Record, grid_hz: float,
) -> None:  # fmt: skip
    """Advance a DC site's plant by one sample under the controller's outputs ``c`` and ``dc``.

    ``w["now"]`` holds the sample's powers afterwards, of pcc, battery, PV, genset and load [pu], adding up to
    zero. The load's meter stands for all that the site uses: DC loads, auxiliaries, the rectifiers' losses, and
    what their links and the bus's capacitors take up in this sample; ``dw`` tells them apart.
    """
    move_switch(g, p, phases, c["switch_command"])
    dt_s = g["dt_s"]
    base_w = g["base_w"]
    take_set_points(dg, d, dc["v_ref_v"], dc["limit_a"])
    for tier in range(TIERS):
        d["tier_on"][tier] = dc["tier_command"][tier]
    d["battery_closed"] = 1 if dc["battery_command"] and not d["bms_trip"] else 0
    # The changeover switch lets the genset in only where the mains' contactor is open.
    on_genset = c["genset_run"] and p["genset_pu"] > 0.0 and poles_closed(g, phases) == 0
    auxiliary_g = 0.0 if d["on_inverter"] or d["transfer_ticks"] > 0 else dg["auxiliary_w"] / base_w
    input_g = 0.0 if on_genset else d["input_g"]
    pcc_pu, rectified_pu, square = advance_input(g, p, phases, grid_hz, input_g, auxiliary_g)
    auxiliary_pu = pcc_pu - rectified_pu
    genset_pu = 0.0
    if on_genset:
        # Behind the changeover switch; its governor is not modeled here, only rating and start.
        square = 1.0
        genset_pu = d["input_g"] * square
        rectified_pu = genset_pu
    input_w = rectified_pu * base_w
    # Rectifiers.
    limit_w = dg["genset_w"] if on_genset else dg["rectifier_w"] * 1.1
    watch_input(dg, d, dt_s, square)
    before_j = d["link_j"]
    drive_output(dg, d)
    drive_pv(dg, d, dc["pv_v_ref_v"])
    # DC bus.
    inverter_w = feed_auxiliaries(g, dg, d, c, dc, phases, dw)
    dc_load_w = drawn_w(dg, d)
    before_v = d["bus_v"]
    solve_bus(dg, d, dc_load_w + inverter_w)
    v = d["bus_v"]
    output_w = v * d["rectifier_a"]
    loss_w = rectifier_loss_w(dg, d, output_w) if d["rectifier_on"] else 0.0
    d["link_j"] = max(before_j + (input_w - output_w - loss_w) * dt_s, 0.0)
    draw_input(dg, d, output_w + loss_w, limit_w)
    link_w = (d["link_j"] - before_j) / dt_s
    # What an empty link cannot give is not lost either.
    loss_w = input_w - output_w - link_w
    # Meters.
    bus_stored_w = dg["bus_f_per_dt"] * v * (v - before_v)
    drawn_by_all_w = v * d["load_a"]
    bleed_w = dg["bleed_s"] * v * v
    now = w["now"]
    now[0] = pcc_pu
    now[1] = v * d["battery_a"] / base_w
    now[2] = v * d["pv_a"] / base_w
    now[3] = genset_pu
    now[4] = -(drawn_by_all_w + bus_stored_w + bleed_w + loss_w + link_w) / base_w - auxiliary_pu
    dw["rectifier_j"] += output_w * dt_s
    taken_w = dg["inverter_efficiency"] * inverter_w
    dw["loss_j"] += (loss_w + bleed_w + inverter_w - taken_w) * dt_s
    dw["stored_j"] += (bus_stored_w + link_w) * dt_s
    dw["dc_load_j"] += (drawn_by_all_w - inverter_w) * dt_s
    dw["auxiliary_j"] += (auxiliary_pu * base_w + taken_w) * dt_s
    dw["battery_as"] += d["battery_a"] * dt_s
    dw["low_v"] = min(dw["low_v"], v)
    dw["high_v"] = max(dw["high_v"], v)


@kernel
def sense_dc(g: Record, p: Record, phases: Any, d: Record, m: Record, dm: Record) -> None:
    """Write what a DC site's sensors show now; the only way from its plant to its controller.

    One set of voltage transducers stands on the mains' side of the input contactor. Bus and battery are told
    by the site controller's own shunts, to 0.1 A and 10 mV.
    """
    bits = next_random(p)
    n0 = (bits & 0x1FFFFF) * TO_UNIT - 1.0
    n1 = ((bits >> 21) & 0x1FFFFF) * TO_UNIT - 1.0
    n2 = ((bits >> 42) & 0x1FFFFF) * TO_UNIT - 1.0
    width = p["noise_pu"]
    m["ua"] = phases[0]["u"] + n0 * width
    m["va"] = m["ua"]
    m["ia"] = phases[0]["i_switch"]
    if g["phases"] == 3:
        m["ub"] = phases[1]["u"] + n1 * width
        m["vb"] = m["ub"]
        m["ib"] = phases[1]["i_switch"]
        m["uc"] = phases[2]["u"] + n2 * width
        m["vc"] = m["uc"]
        m["ic"] = phases[2]["i_switch"]
    m["poles_closed"] = poles_closed(g, phases)
    dm["bus_v"] = d["bus_v"] + 0.01 * n0
    dm["battery_a"] = d["battery_a"] + 0.1 * n1
    dm["rectifier_a"] = d["rectifier_a"] + 0.1 * n2
    dm["pv_a"] = d["pv_a"]
    dm["load_a"] = d["load_a"]
    dm["battery_v"] = d["emf_v"] if not d["battery_closed"] else dm["bus_v"]
    dm["limiting"] = d["limiting"]
    dm["rectifier_on"] = d["rectifier_on"]
    dm["modules"] = d["modules"]
    dm["battery_closed"] = d["battery_closed"]
    dm["bms_trip"] = d["bms_trip"]
    dm["genset_up"] = 1 if p["genset_pu"] > 0.0 else 0
