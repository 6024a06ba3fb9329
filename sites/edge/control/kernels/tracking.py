"""One sample into what the loss detector keeps of its site: loads, the formulas of phases.py, stores.

The same straight run of operations whatever the sample shows, for one phase as for three: a phase that is not there is
a voltage, a current and a reference of 0.
"""

from __future__ import annotations

from typing import Any

from sites.edge.control.kernels.compiled import Record, inlined
from sites.edge.control.kernels.phases import (
    HALF_SQRT3,
    Current,
    Fit,
    Wave,
    follow_current,
    follow_fit,
    follow_ratio,
    follow_wave,
)


@inlined
def fit_of(c: Record, phase: int) -> Fit:
    """Return what a phase's sine is fitted to."""
    return c["window_along"][phase], c["window_across"][phase], c["phasor_c"][phase], c["phasor_s"][phase]


@inlined
def wave_of(c: Record, phase: int) -> Wave:
    """Return what is kept of a phase's voltage."""
    return c["dead_area"][phase], c["lack"][phase], c["weight"][phase], c["news"][phase]


@inlined
def current_of(c: Record, phase: int) -> Current:
    """Return what is kept of a phase's current."""
    return (
        c["i_square"][phase],
        c["i_lately"][phase],
        c["i_mean"][phase],
        c["i_moving"][phase],
        c["flat_ticks"][phase],
        c["gone_ticks"][phase],
        c["flat_area"][phase],
    )


@inlined
def put_three(array: Any, a: float, b: float, c: float) -> None:
    """Write the three phases of a quantity."""
    array[0] = a
    array[1] = b
    array[2] = c


@inlined
def track_voltages(k: Record, c: Record, va: float, vb: float, vc: float) -> None:
    """Take one sample of the voltages [pu] in the frame of the PLL before it takes this sample."""
    memory = k["phasor_memory"]
    memories = (k["sag_memory"], k["news_memory"])
    reference = c["reference"]
    beside = reference if k["phases"] == 3 else 0.0
    cos_u = c["cos_u"]
    sin_u = c["sin_u"]
    half = 0.5 * cos_u
    side = HALF_SQRT3 * sin_u
    half_s = 0.5 * sin_u
    side_c = HALF_SQRT3 * cos_u
    past = c["v_past"]
    fit_a = follow_fit(va, cos_u, sin_u, memory, fit_of(c, 0))
    fit_b = follow_fit(vb, side - half, -side_c - half_s, memory, fit_of(c, 1))
    fit_c = follow_fit(vc, -side - half, side_c - half_s, memory, fit_of(c, 2))
    put_three(c["window_along"], fit_a[0], fit_b[0], fit_c[0])
    put_three(c["window_across"], fit_a[1], fit_b[1], fit_c[1])
    put_three(c["phasor_c"], fit_a[2], fit_b[2], fit_c[2])
    put_three(c["phasor_s"], fit_a[3], fit_b[3], fit_c[3])
    a = follow_wave(va, past[0], cos_u, reference, memories, wave_of(c, 0))
    b = follow_wave(vb, past[1], side - half, beside, memories, wave_of(c, 1))
    d = follow_wave(vc, past[2], -side - half, beside, memories, wave_of(c, 2))
    put_three(c["dead_area"], a[0], b[0], d[0])
    put_three(c["lack"], a[1], b[1], d[1])
    put_three(c["weight"], a[2], b[2], d[2])
    put_three(c["news"], a[3], b[3], d[3])
    # The double angle of phase a's frame: those of the other two follow from it.
    cos_2 = cos_u * cos_u - sin_u * sin_u
    sin_2 = 2.0 * sin_u * cos_u
    c["phasor_c2"] += memory * (cos_2 - c["phasor_c2"])
    c["phasor_s2"] += memory * (sin_2 - c["phasor_s2"])
    c["window_c2"] += cos_2
    c["window_s2"] += sin_2
    c["window_ticks"] += 1.0


@inlined
def track_ratio(k: Record, c: Record, va: float, vb: float, vc: float) -> tuple[float, float]:
    """Compare the voltages with their last cycle; return how much of it is left in them (1: all), and how far that
    stands above its own mean."""
    past = c["v_past"]
    a, b, d = past[0], past[1], past[2]
    like = va * a + vb * b + vc * d
    own = a * a + b * b + d * d
    size = va * va + vb * vb + vc * vc
    news = c["news"]
    whole = news[0] * news[0] + news[1] * news[1] + news[2] * news[2]
    whole *= k["news_share"]
    c["news_size"] = whole
    raw_a = abs(va - a)
    raw_b = abs(vb - b)
    raw_c = abs(vc - d)
    raw = raw_a if raw_a > raw_b else raw_b
    c["news_raw"] = raw if raw > raw_c else raw_c
    c["news_peak"] = max(c["news_peak"], whole)
    kept = (c["slow_like"], c["slow_own"], c["like"], c["own"], c["size"], c["trend"])
    memories = (k["decay_memory"], k["ratio_memory"], k["trend_memory"])
    kept, ratio, above = follow_ratio(like, own, size, memories, kept)
    c["slow_like"] = kept[0]
    c["slow_own"] = kept[1]
    c["like"] = kept[2]
    c["own"] = kept[3]
    c["size"] = kept[4]
    c["trend"] = kept[5]
    return ratio, above


@inlined
def track_currents(k: Record, c: Record, ia: float, ib: float, ic: float) -> None:
    """Take one sample of the currents through the switch [pu]."""
    memories = (k["lately_memory"], k["mean_memory"], k["scale_memory"])
    flat = k["flat_square"]
    ticks = c["cycle_ticks"]
    past = c["i_past"]
    a = follow_current(ia, past[0], ticks, flat, memories, current_of(c, 0))
    b = follow_current(ib, past[1], ticks, flat, memories, current_of(c, 1))
    d = follow_current(ic, past[2], ticks, flat, memories, current_of(c, 2))
    put_three(c["i_square"], a[0], b[0], d[0])
    put_three(c["i_lately"], a[1], b[1], d[1])
    put_three(c["i_mean"], a[2], b[2], d[2])
    put_three(c["i_moving"], a[3], b[3], d[3])
    put_three(c["flat_ticks"], a[4], b[4], d[4])
    put_three(c["gone_ticks"], a[5], b[5], d[5])
    put_three(c["flat_area"], a[6], b[6], d[6])
