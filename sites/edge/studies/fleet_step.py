"""The fused step: plant, controller, meters and recorder of many sites, sample by sample, compiled."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.controller import control_step
from sites.edge.plant.auxiliaries import move_contactors
from sites.edge.plant.battery import advance_battery, guard_battery, is_blocked, power_limits
from sites.edge.plant.events import take_events
from sites.edge.plant.genset import burnt_fuel_ul, start_or_stop
from sites.edge.plant.site import advance_site, sense
from sites.edge.plant.sources import advance_sources

TWO_PI: Final = 6.283185307179586
ROWS_PER_BLOCK: Final = 10


@kernel
def keep_sample(m: Record, phases: Any, w: Record, c: Record, ring: Any, count: int, sample: int, post: int) -> None:
    """Write one sample of the waveform ring, in the order of ``WAVEFORM_COLUMNS``."""
    if is_kept(w):
        return
    row = ring[w["ring_at"]]
    row[0] = m["va"]
    row[1] = m["vb"]
    row[2] = m["vc"]
    row[3] = m["ua"]
    row[4] = m["ub"]
    row[5] = m["uc"]
    row[6] = m["ia"]
    row[7] = m["ib"]
    row[8] = m["ic"]
    row[9] = m["pa"]
    row[10] = m["pb"]
    row[11] = m["pc"]
    end_sample(m, phases, w, c, ring, count, sample, post)


@kernel
def is_kept(w: Record) -> bool:
    """Tell whether the ring holds a recording that is complete and not fetched yet."""
    return w["trigger_sample"] >= 0 and w["post_ticks"] <= 0


@kernel
def end_sample(m: Record, phases: Any, w: Record, c: Record, ring: Any, count: int, sample: int, post: int) -> None:
    """Write the 0/1 channels of a row of the ring, go on to the next, start a recording at a decision and end it."""
    at = w["ring_at"]
    row = ring[at]
    opened = 0.0
    for k in range(count):
        if phases[k]["breaker_closed"] == 0:
            opened = 1.0
    row[12] = opened
    row[13] = c["decided"]
    row[14] = 1.0 if m["poles_closed"] == 0 else 0.0
    w["ring_at"] = at + 1 if at + 1 < ring.shape[0] else 0
    w["samples"] += 1
    if w["trigger_sample"] >= 0:
        w["post_ticks"] -= 1
    elif c["decided"] and not w["was_decided"]:
        w["trigger_sample"] = sample
        w["trigger_cause"] = c["cause"]
        w["post_ticks"] = post - 1
    w["was_decided"] = c["decided"]


@kernel
def close_row(
    g: Record, p: Record, phases: Any, c: Record, m: Record, w: Record, out: Any, ticks: int, sample: int
) -> None:
    """Close a row of 10 ms: slow states of the plant, service energy, and a line of the 100 Hz record."""
    duration_s = ticks * g["dt_s"]
    base_w = g["base_w"]
    to_w = base_w / ticks
    battery_w = w["row"][1] * to_w
    pcc_w = w["row"][0] * to_w
    genset_j = w["row"][3] * to_w * duration_s
    advance_battery(g, p, battery_w * duration_s, duration_s)
    guard_battery(g, p, battery_w / base_w)
    p["blocked"] = is_blocked(p, phases, g["phases"])
    charge, discharge = power_limits(p)
    m["charge_limit_pu"] = charge
    m["discharge_limit_pu"] = discharge
    advance_sources(g, p, duration_s, c["pv_limit_ratio"])
    w["fuel_ul"] += burnt_fuel_ul(g, p["genset_state"], genset_j, duration_s)
    start_or_stop(g, p, m, c["genset_run"])
    move_contactors(g, p, c, m)
    write_row(g, p, c, m, w, out, ticks, sample, battery_w, pcc_w)


@kernel
def write_row(
    g: Record, p: Record, c: Record, m: Record, w: Record, out: Any, ticks: int, sample: int, battery_w: float,
    pcc_w: float,
) -> None:  # fmt: skip
    """Write a line of the 100 Hz record from a row's mean powers [W], count service energy, begin the next row.

    The battery's power is the declared baseline, the curve's service and the stream's: the stream's part is what
    ``share_granted`` left it, the curve's all that is measured beside. Without a curve that rest is own use.
    """
    base_w = g["base_w"]
    to_w = base_w / ticks
    duration_s = ticks * g["dt_s"]
    # The battery's own management reports whole tenths of a per cent.
    m["soc_ratio"] = int(p["soc_ratio"] * 1000.0) * 0.001
    m["temperature_c"] = p["temperature_c"]
    closed = 1.0 if m["poles_closed"] == g["phases"] else 0.0
    armed = 1.0 if c["armed"] and c["armed_starts"] < sample and sample < c["armed_ends"] + ticks else 0.0
    baseline_w = c["baseline_pu"] * base_w * armed
    serves = closed > 0.0 and c["mode"] == modes.GRID_TIED
    w["stream_w"] = c["stream_given_pu"] * base_w if serves else 0.0
    w["service_w"] = battery_w - baseline_w - w["stream_w"] if serves and armed > 0.0 else 0.0
    w["service_block_j"] += w["service_w"] * duration_s
    w["stream_block_j"] += w["stream_w"] * duration_s
    out[0] = w["frequency_sum"] / ticks
    if g["phases"] == 1:
        # One phase: the mean of a whole cycle, for half a cycle carries ripple off nominal frequency.
        battery_w = 0.5 * (battery_w + w["last_row"][1] * to_w)
        pcc_w = 0.5 * (pcc_w + w["last_row"][0] * to_w)
    out[1] = battery_w * 0.001
    out[2] = baseline_w * 0.001
    out[3] = pcc_w * 0.001
    out[4] = closed
    out[5] = c["armed_pu"] * base_w * 0.001 * armed
    out[6] = w["stream_w"] * 0.001
    w["frequency_sum"] = 0.0
    w["row_ticks"] = 0
    for j in range(5):
        w["block"][j] += w["row"][j]
        w["last_row"][j] = w["row"][j]
        w["row"][j] = 0.0


@kernel
def close_block(g: Record, w: Record, ticks: int) -> None:
    """Close a block of 100 ms: net energy goes by its sign to one register of each asset and of each service."""
    base_w = g["base_w"]
    for j in range(5):
        energy_j = w["block"][j] * base_w * g["dt_s"]
        if energy_j > 0.0:
            w["into_j"][j] += energy_j
        else:
            w["from_j"][j] -= energy_j
        w["mean_w"][j] = w["block"][j] * base_w / ticks
        w["block"][j] = 0.0
    if w["service_block_j"] > 0.0:
        w["service_into_j"] += w["service_block_j"]
    else:
        w["service_from_j"] -= w["service_block_j"]
    w["service_block_j"] = 0.0
    if w["stream_block_j"] > 0.0:
        w["stream_into_j"] += w["stream_block_j"]
    else:
        w["stream_from_j"] -= w["stream_block_j"]
    w["stream_block_j"] = 0.0


@kernel
def advance_fleet(
    members: Any, gs: Any, ps: Any, phases: Any, schedules: Any, ks: Any, cs: Any, ms: Any, ws: Any, table: Any,
    rings: Any, grid_hz: Any, first_sample: int, offset: int, row_ticks: int, post_ticks: int, rows: Any,
) -> None:  # fmt: skip
    """Advance the sites ``members`` (indices) by ``len(grid_hz)`` samples.

    ``offset`` is the sample number, modulo a block, of the first sample since the epoch: rows and blocks
    end on UTC multiples of 10 and 100 ms. ``rows`` [rows, sites, columns] takes the 100 Hz record.
    """
    block_ticks = row_ticks * ROWS_PER_BLOCK
    for i in members:
        g = gs[i]
        p = ps[i]
        ph = phases[i]
        schedule = schedules[i]
        k = ks[i]
        c = cs[i]
        m = ms[i]
        w = ws[i]
        ring = rings[i]
        count = g["phases"]
        place = offset
        row = 0
        for s in range(grid_hz.shape[0]):
            sample = first_sample + s
            if sample >= p["event_at"]:
                take_events(g, p, ph, schedule, sample)
            advance_site(g, p, ph, c, w, grid_hz[s])
            sense(g, p, ph, m)
            control_step(k, c, m, table, sample)
            for j in range(5):
                w["row"][j] += w["now"][j]
            w["frequency_sum"] += c["frequency_hz"]
            keep_sample(m, ph, w, c, ring, count, sample, post_ticks)
            place += 1
            if place % row_ticks == 0:
                close_row(g, p, ph, c, m, w, rows[row, i], row_ticks, sample)
                row += 1
                if place == block_ticks:
                    place = 0
                    close_block(g, w, block_ticks)
