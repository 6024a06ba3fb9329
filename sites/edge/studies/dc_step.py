"""The fused step of DC sites: plant, controller, meters and recorder, beside ``fleet_step`` for AC sites.

A kernel of its own: a fleet without DC sites neither compiles nor pays for it.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.dc_bus import dc_control_step
from sites.edge.plant.dc_battery import advance_cells, guard_cells
from sites.edge.plant.dc_load import move_load
from sites.edge.plant.dc_site import advance_dc_site, sense_dc
from sites.edge.plant.dc_sources import advance_dc_sources, burnt_dc_fuel_ul
from sites.edge.plant.events import take_events
from sites.edge.studies.fleet_step import ROWS_PER_BLOCK, close_block, end_sample, is_kept, write_row

DAY_S: Final = 86_400.0


@kernel
def keep_dc_sample(
    m: Record, dm: Record, phases: Any, w: Record, c: Record, dk: Record, ring: Any, count: int, sample: int, post: int
) -> None:
    """Write one sample of the waveform ring, in the order of ``DC_WAVEFORM_COLUMNS``."""
    if is_kept(w):
        return
    row = ring[w["ring_at"]]
    row[0] = m["ua"]
    row[1] = m["ub"]
    row[2] = m["uc"]
    row[3] = m["ia"]
    row[4] = m["ib"]
    row[5] = m["ic"]
    row[6] = dm["bus_v"] / dk["nominal_v"]
    row[7] = dm["battery_a"]
    row[8] = dm["rectifier_a"]
    row[9] = dm["pv_a"]
    row[10] = dm["load_a"]
    row[11] = dm["rectifier_on"]
    end_sample(m, phases, w, c, ring, count, sample, post)


@kernel
def close_dc_row(
    g: Record, p: Record, c: Record, m: Record, w: Record, dg: Record, d: Record, dw: Record, out: Any,
    ticks: int, sample: int, charge_as: float, second_of_day: float,
) -> None:  # fmt: skip
    """Close a row of 10 ms: slow states of the DC plant, and a line of the 100 Hz record."""
    duration_s = ticks * g["dt_s"]
    to_w = g["base_w"] / ticks
    advance_cells(dg, d, p, charge_as, duration_s)
    guard_cells(dg, d)
    move_load(dg, d, p, second_of_day)
    advance_dc_sources(g, p, dg, d, duration_s, c["genset_run"])
    w["fuel_ul"] += burnt_dc_fuel_ul(g, p, w["row"][3] * to_w * duration_s, duration_s)
    write_row(g, p, c, m, w, out, ticks, sample, w["row"][1] * to_w, w["row"][0] * to_w)


@kernel
def advance_dc_fleet(
    members: Any, gs: Any, ps: Any, phases: Any, schedules: Any, ks: Any, cs: Any, ms: Any, ws: Any,
    dgs: Any, ds: Any, dks: Any, dcs: Any, dms: Any, dws: Any, table: Any,
    rings: Any, grid_hz: Any, first_sample: int, offset: int, row_ticks: int, post_ticks: int,
    starts_s: float, rows: Any,
) -> None:  # fmt: skip
    """Advance the DC sites ``members`` by ``len(grid_hz)`` samples; the DC records stand in their order.

    ``starts_s`` is the time of day at sample 0 [s], for the loads; all else as in ``advance_fleet``.
    """
    block_ticks = row_ticks * ROWS_PER_BLOCK
    for j in range(members.shape[0]):
        i = members[j]
        g = gs[i]
        p = ps[i]
        ph = phases[i]
        schedule = schedules[i]
        k = ks[i]
        c = cs[i]
        m = ms[i]
        w = ws[i]
        dg = dgs[j]
        d = ds[j]
        dk = dks[j]
        dc = dcs[j]
        dm = dms[j]
        dw = dws[j]
        place = offset
        row = 0
        for s in range(grid_hz.shape[0]):
            sample = first_sample + s
            if sample >= p["event_at"]:
                take_events(g, p, ph, schedule, sample)
            advance_dc_site(g, p, ph, c, w, dg, d, dc, dw, grid_hz[s])
            sense_dc(g, p, ph, d, m, dm)
            dc_control_step(k, c, m, dk, dc, dm, table, sample)
            for asset in range(5):
                w["row"][asset] += w["now"][asset]
            w["frequency_sum"] += c["frequency_hz"]
            keep_dc_sample(m, dm, ph, w, c, dk, rings[i], g["phases"], sample, post_ticks)
            place += 1
            if place % row_ticks == 0:
                second_of_day = (starts_s + sample * g["dt_s"]) % DAY_S
                charge_as = dw["battery_as"] - d["row_as"]
                d["row_as"] = dw["battery_as"]
                close_dc_row(g, p, c, m, w, dg, d, dw, rows[row, i], row_ticks, sample, charge_as, second_of_day)
                row += 1
                if place == block_ticks:
                    place = 0
                    close_block(g, w, block_ticks)
