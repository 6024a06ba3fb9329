"""The loss detector over many sites at once, laid out for the processor's vector units.

A tile holds ``WIDTH`` sites side by side, each number of their states (records.py: SAMPLE_STATE) in one run of memory.
All runs of a tile lie in one array at constant distances, so the compiler knows that they do not overlap and lays the
sites side by side; the formulas are those of one site (phases.py, sequence.py), bit for bit. A site whose sample shows
anything is judged by the record kernel of one site, with its numbers out of the tile; so is every site at the end of a
millisecond.

What is not here: the windows of the grid code, and the converter's current (none: the paths that ask for it rest).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sites.edge.control.kernels.compiled import Record, inlined, kernel
from sites.edge.control.kernels.detector import (
    COLLAPSE_TREND,
    LOPSIDED_PU,
    LOST_RATIO,
    PUSHED_INTACT_SHARE,
    is_missed,
    is_noticed,
    judge_sample,
    watch_millisecond,
)
from sites.edge.control.kernels.dips import WINDOW_MS
from sites.edge.control.kernels.phases import HALF_SQRT3, drawn, follow_current, follow_fit, share_left, silent_area
from sites.edge.control.kernels.records import CAUSE_NONE, CYCLE_RING, SAMPLE_STATE, STATE
from sites.edge.control.kernels.samples import SENSOR_PU
from sites.edge.control.kernels.sequence import follow_sequence

WIDTH: Final = 32
"""Sites in a tile: its state stays in the first-level cache."""
HISTORY: Final = CYCLE_RING
"""Rows that stand before the samples of a call: the last cycle of each site."""
CHANNELS: Final = 6
THIRD: Final = 1.0 / 3.0
INVERSE_SQRT3: Final = 0.5773502691896258

_STARTS: Final = dict(
    zip(
        (name for name, _ in SAMPLE_STATE),
        np.cumsum([0] + [count for _, count in SAMPLE_STATE])[:-1].tolist(),
        strict=True,
    )
)
NUMBERS: Final = sum(count for _, count in SAMPLE_STATE)
"""Numbers of a site's state that change with every sample, the first of the record."""

EXTRAS: Final = (
    "three", "nominal_rad_s", "sag_share", "dead_area", "current_known", "news_share", "onset", "whole", "part",
    "beside", "old_cos", "old_sin", "ratio", "above", "square", "pending", "awake", "va", "vb", "vc", "ia", "ib", "ic",
)  # fmt: skip
"""What a tile holds beside: of the settings, of the sample just taken, and of the judgment."""
RUNS: Final = NUMBERS + len(EXTRAS)

W: Final = WIDTH
X_ALPHA: Final = _STARTS["x_alpha"] * W
LEVEL: Final = _STARTS["level_u"] * W
CROSS: Final = _STARTS["cross_u"] * W
COS_U: Final = _STARTS["cos_u"] * W
SIN_U: Final = _STARTS["sin_u"] * W
FIT: Final = _STARTS["window_along"] * W
WAVE: Final = _STARTS["dead_area"] * W
CURRENT: Final = _STARTS["i_square"] * W
V_PAST: Final = _STARTS["v_past"] * W
DOUBLE: Final = _STARTS["window_c2"] * W
RATIOS: Final = _STARTS["slow_like"] * W
NEWS: Final = _STARTS["news"] * W
NEWS_RAW: Final = _STARTS["news_raw"] * W
NEWS_SIZE: Final = _STARTS["news_size"] * W
NEWS_PEAK: Final = _STARTS["news_peak"] * W
REFERENCE: Final = _STARTS["reference"] * W
CYCLE: Final = _STARTS["cycle_ticks"] * W
THREE: Final = (NUMBERS + EXTRAS.index("three")) * W
NOMINAL: Final = (NUMBERS + EXTRAS.index("nominal_rad_s")) * W
SHARE: Final = (NUMBERS + EXTRAS.index("sag_share")) * W
DEAD: Final = (NUMBERS + EXTRAS.index("dead_area")) * W
KNOWN: Final = (NUMBERS + EXTRAS.index("current_known")) * W
NEWS_SHARE: Final = (NUMBERS + EXTRAS.index("news_share")) * W
WHOLE: Final = (NUMBERS + EXTRAS.index("whole")) * W
PART: Final = (NUMBERS + EXTRAS.index("part")) * W
ONSET: Final = (NUMBERS + EXTRAS.index("onset")) * W
BESIDE: Final = (NUMBERS + EXTRAS.index("beside")) * W
OLD_COS: Final = (NUMBERS + EXTRAS.index("old_cos")) * W
OLD_SIN: Final = (NUMBERS + EXTRAS.index("old_sin")) * W
RATIO: Final = (NUMBERS + EXTRAS.index("ratio")) * W
ABOVE: Final = (NUMBERS + EXTRAS.index("above")) * W
SQUARE: Final = (NUMBERS + EXTRAS.index("square")) * W
PENDING: Final = (NUMBERS + EXTRAS.index("pending")) * W
AWAKE: Final = (NUMBERS + EXTRAS.index("awake")) * W
NOW: Final = (NUMBERS + EXTRAS.index("va")) * W

FLEET_STATE: Final = np.dtype(
    {
        "names": [*STATE.names, "numbers"],  # type: ignore[misc]
        "formats": [*(STATE.fields[name][0] for name in STATE.names), (np.float64, (NUMBERS,))],  # type: ignore
        "offsets": [*(STATE.fields[name][1] for name in STATE.names), 0],  # type: ignore
        "itemsize": STATE.itemsize,
    },
    align=True,
)
"""A site's record, whose first numbers can also be reached in a row."""


@kernel
def find_past(t: Any, x: Any, s: int) -> None:
    """Write what one cycle ago stood at sample ``s`` of each site: ``v_past`` and ``i_past`` [pu]."""
    low = CYCLE_RING
    high = 0
    for i in range(W):
        whole = int(t[WHOLE + i])
        low = min(low, whole)
        high = max(high, whole)
    at = HISTORY + s
    if high - low > 1:
        for i in range(W):
            whole = int(t[WHOLE + i])
            for channel in range(CHANNELS):
                newer = x[at - whole, channel * W + i]
                older = x[at - whole - 1, channel * W + i]
                t[V_PAST + channel * W + i] = newer + t[PART + i] * (older - newer)
        return
    # Cycles of the same length but for a sample: three rows hold them all.
    first = x[at - low]
    second = x[at - low - 1]
    third = x[at - low - 2] if high > low else second
    for channel in range(CHANNELS):
        for i in range(W):
            j = channel * W + i
            longer = t[WHOLE + i] > low
            a = first[j]
            b = second[j]
            d = third[j]
            newer = b if longer else a
            older = d if longer else b
            t[V_PAST + j] = newer + t[PART + i] * (older - newer)


@kernel
def mend_row(t: Any, row: Any) -> None:
    """Copy a row of samples [6 * WIDTH]: va, vb, vc, ia, ib, ic; what is none is the last cycle's (samples.py)."""
    for j in range(CHANNELS * W):
        sample = np.float64(row[j])
        past = t[V_PAST + j]
        sample = sample if abs(sample) < SENSOR_PU else past
        t[NOW + j] = sample
        row[j] = sample


@inlined
def take_fit(t: Any, k: Record, lane: int, turn_cos: float, turn_sin: float) -> None:
    """Take the voltage of one phase of every site into its fit; ``turn`` is the phase's own angle."""
    memory = k["phasor_memory"]
    for i in range(W):
        cos_u = t[COS_U + i]
        sin_u = t[SIN_U + i]
        cosine = turn_cos * cos_u + turn_sin * sin_u
        sine = turn_cos * sin_u - turn_sin * cos_u
        n = FIT + lane + i
        kept = follow_fit(
            t[NOW + lane + i], cosine, sine, memory, (t[n], t[n + 3 * W], t[n + 6 * W], t[n + 9 * W])
        )  # fmt: skip
        t[n] = kept[0]
        t[n + 3 * W] = kept[1]
        t[n + 6 * W] = kept[2]
        t[n + 9 * W] = kept[3]


@inlined
def take_wave(t: Any, k: Record, lane: int, turn_cos: float, turn_sin: float, references: int) -> None:
    """Take the voltage of one phase of every site beside what it should be; ``lane`` is where its numbers stand."""
    lack_memory = k["sag_memory"]
    news_memory = k["news_memory"]
    for i in range(W):
        reference = t[references + i]
        cosine = turn_cos * t[COS_U + i] + turn_sin * t[SIN_U + i]
        voltage = t[NOW + lane + i]
        past = t[V_PAST + lane + i]
        n = WAVE + lane + i
        area = silent_area(t[n], voltage, past)
        lack = drawn(t[n + 3 * W], cosine * (reference * cosine - voltage), lack_memory)
        weight = drawn(t[n + 6 * W], cosine * cosine, lack_memory)
        t[n] = area
        t[n + 3 * W] = lack
        t[n + 6 * W] = weight
        t[n + 9 * W] = drawn(t[n + 9 * W], voltage - past, news_memory)
        noticed = is_noticed(area, t[DEAD + i], lack, weight, t[SHARE + i], reference)
        t[AWAKE + i] = 1.0 if noticed else t[AWAKE + i]


@inlined
def take_current(t: Any, k: Record, lane: int) -> None:
    """Take the current of one phase of every site."""
    memories = (k["lately_memory"], k["mean_memory"], k["scale_memory"])
    flat_square = k["flat_square"]
    flat_area = k["flat_area"]
    for i in range(W):
        current = t[NOW + 3 * W + lane + i] * t[KNOWN + i]
        ticks = t[CYCLE + i]
        n = CURRENT + lane + i
        kept = follow_current(
            current, t[V_PAST + 3 * W + lane + i], ticks, flat_square, memories,
            (t[n], t[n + 3 * W], t[n + 6 * W], t[n + 9 * W], t[n + 12 * W], t[n + 15 * W], t[n + 18 * W]),
        )  # fmt: skip
        t[n] = kept[0]
        t[n + 3 * W] = kept[1]
        t[n + 6 * W] = kept[2]
        t[n + 9 * W] = kept[3]
        t[n + 12 * W] = kept[4]
        t[n + 15 * W] = kept[5]
        t[n + 18 * W] = kept[6]
        missed = is_missed(kept[4], kept[6], kept[0], ticks, flat_area)
        t[AWAKE + i] = 1.0 if missed else t[AWAKE + i]


@inlined
def take_angle(t: Any, k: Record) -> None:
    """Take the double angle of the frame, for the fits."""
    memory = k["phasor_memory"]
    for i in range(W):
        cos_u = t[COS_U + i]
        sin_u = t[SIN_U + i]
        cos_2 = cos_u * cos_u - sin_u * sin_u
        sin_2 = 2.0 * sin_u * cos_u
        n = DOUBLE + i
        t[n] = t[n] + cos_2
        t[n + W] = t[n + W] + sin_2
        t[n + 2 * W] = t[n + 2 * W] + 1.0
        t[n + 3 * W] = t[n + 3 * W] + memory * (cos_2 - t[n + 3 * W])
        t[n + 4 * W] = t[n + 4 * W] + memory * (sin_2 - t[n + 4 * W])
        t[OLD_COS + i] = cos_u
        t[OLD_SIN + i] = sin_u


@inlined
def take_ratio(t: Any, k: Record) -> None:
    """Hold all phases of every site against their last cycle."""
    slow_memory = k["decay_memory"]
    ratio_memory = k["ratio_memory"]
    trend_memory = k["trend_memory"]
    for i in range(W):
        va = t[NOW + i]
        vb = t[NOW + W + i]
        vc = t[NOW + 2 * W + i]
        a = t[V_PAST + i]
        b = t[V_PAST + W + i]
        d = t[V_PAST + 2 * W + i]
        like = va * a + vb * b + vc * d
        own = a * a + b * b + d * d
        size = va * va + vb * vb + vc * vc
        n = RATIOS + i
        mean_like = drawn(t[n + 2 * W], like, ratio_memory)
        mean_own = drawn(t[n + 3 * W], own, ratio_memory)
        trend = t[n + 5 * W]
        ratio = share_left(mean_like, mean_own)
        t[n] = drawn(t[n], like, slow_memory)
        t[n + W] = drawn(t[n + W], own, slow_memory)
        t[n + 2 * W] = mean_like
        t[n + 3 * W] = mean_own
        t[n + 4 * W] = drawn(t[n + 4 * W], size, ratio_memory)
        t[n + 5 * W] = drawn(trend, ratio, trend_memory)
        t[RATIO + i] = ratio
        t[ABOVE + i] = trend - ratio


@inlined
def take_news(t: Any) -> None:
    """Sum up what differs from the last cycle in all phases of every site; mark those where it is much at once."""
    for i in range(W):
        raw_a = abs(t[NOW + i] - t[V_PAST + i])
        raw_b = abs(t[NOW + W + i] - t[V_PAST + W + i])
        raw_c = abs(t[NOW + 2 * W + i] - t[V_PAST + 2 * W + i])
        raw = raw_a if raw_a > raw_b else raw_b
        raw = raw if raw > raw_c else raw_c
        t[NEWS_RAW + i] = raw
        t[AWAKE + i] = 1.0 if raw > t[ONSET + i] else t[AWAKE + i]
        a = t[NEWS + i]
        b = t[NEWS + W + i]
        d = t[NEWS + 2 * W + i]
        news = (a * a + b * b + d * d) * t[NEWS_SHARE + i]
        peak = t[NEWS_PEAK + i]
        t[NEWS_SIZE + i] = news
        t[NEWS_PEAK + i] = news if news > peak else peak


@inlined
def take_vector(t: Any, k: Record) -> None:
    """Move the sequence filter and the PLL of every site on; mark those of which the vector shows something."""
    gains = (k["pll_kp"], k["pll_ki"])
    dt_s = k["dt_s"]
    most_square = k["overvoltage_pu"] * k["overvoltage_pu"]
    for i in range(W):
        three = t[THREE + i] > 0.5
        va = t[NOW + i]
        vb = t[NOW + W + i]
        vc = t[NOW + 2 * W + i]
        v_alpha = (2.0 * va - vb - vc) * THIRD
        v_beta = (vb - vc) * INVERSE_SQRT3
        v_alpha = v_alpha if three else va
        v_beta = v_beta if three else 0.0
        square = v_alpha * v_alpha + v_beta * v_beta
        t[SQUARE + i] = square
        short = PUSHED_INTACT_SHARE * t[REFERENCE + i]
        lopsided = (square < short * short) & (abs(va + vb + vc) > LOPSIDED_PU) & three
        noticed = lopsided | (t[ABOVE + i] > COLLAPSE_TREND) | (t[RATIO + i] < LOST_RATIO) | (square > most_square)
        t[AWAKE + i] = 1.0 if noticed else t[AWAKE + i]
        n = X_ALPHA + i
        moved, level, cross = follow_sequence(
            v_alpha, v_beta, three, dt_s, gains, t[NOMINAL + i],
            (t[n], t[n + W], t[n + 2 * W], t[n + 3 * W], t[n + 4 * W], t[n + 5 * W], t[n + 6 * W]),
        )  # fmt: skip
        t[n] = moved[0]
        t[n + W] = moved[1]
        t[n + 2 * W] = moved[2]
        t[n + 3 * W] = moved[3]
        t[n + 4 * W] = moved[4]
        t[n + 5 * W] = moved[5]
        t[n + 6 * W] = moved[6]
        t[LEVEL + i] = level
        t[CROSS + i] = cross


@kernel
def take_sample(t: Any, k: Record) -> None:
    """Take the sample of every site of a tile that ``mend_row`` has copied; mark the sites to judge."""
    for i in range(W):
        t[AWAKE + i] = t[PENDING + i]
        t[BESIDE + i] = t[REFERENCE + i] * t[THREE + i]
    take_fit(t, k, 0, 1.0, 0.0)
    take_fit(t, k, W, -0.5, HALF_SQRT3)
    take_fit(t, k, 2 * W, -0.5, -HALF_SQRT3)
    take_wave(t, k, 0, 1.0, 0.0, REFERENCE)
    take_wave(t, k, W, -0.5, HALF_SQRT3, BESIDE)
    take_wave(t, k, 2 * W, -0.5, -HALF_SQRT3, BESIDE)
    take_news(t)
    take_angle(t, k)
    take_ratio(t, k)
    take_current(t, k, 0)
    take_current(t, k, W)
    take_current(t, k, 2 * W)
    take_vector(t, k)


@kernel
def note_decision(decided: Any, sample: int, cause: int, path: int) -> None:
    """Keep the first decision of a site: sample, cause, path."""
    if decided[0] < 0:
        decided[0] = sample
        decided[1] = cause
        decided[2] = path


@kernel
def judge_site(t: Any, i: int, k: Record, c: Record, m: Record) -> int:
    """Hold what the sample of one site has shown against every path, as at a site; return a cause, or 0."""
    for n in range(NUMBERS):
        c["numbers"][n] = t[n * W + i]
    # The frame in which the sample was taken.
    c["cos_u"] = t[OLD_COS + i]
    c["sin_u"] = t[OLD_SIN + i]
    m["va"] = t[NOW + i]
    m["vb"] = t[NOW + W + i]
    m["vc"] = t[NOW + 2 * W + i]
    m["ia"] = t[NOW + 3 * W + i]
    m["ib"] = t[NOW + 4 * W + i]
    m["ic"] = t[NOW + 5 * W + i]
    cause = judge_sample(k, c, m, t[SQUARE + i], t[RATIO + i], t[ABOVE + i])
    for phase in range(3):
        # A source that stood voids what its phase was accused of (upstream.py).
        t[WAVE + phase * W + i] = c["dead_area"][phase]
        t[WAVE + (3 + phase) * W + i] = c["lack"][phase]
    t[PENDING + i] = 1.0 if c["pending"] else 0.0
    return cause


@kernel
def close_millisecond(t: Any, i: int, k: Record, c: Record, ms: int) -> int:
    """Run what a millisecond is soon enough for; return a cause, or 0."""
    for n in range(NUMBERS):
        c["numbers"][n] = t[n * W + i]
    relocks = c["relocks"]
    cause = watch_millisecond(k, c, ms)
    if c["relocks"] != relocks or ms % WINDOW_MS == 0:
        for n in range(NUMBERS):
            t[n * W + i] = c["numbers"][n]
    else:
        # Nothing else was moved.
        t[NEWS_PEAK + i] = c["news_peak"]
        t[CYCLE + i] = c["cycle_ticks"]
    set_cycle(t, i)
    return cause


@kernel
def set_cycle(t: Any, i: int) -> None:
    """Split the length of a site's cycle into whole samples and the part beyond them."""
    ticks = t[CYCLE + i]
    t[WHOLE + i] = int(ticks)
    t[PART + i] = ticks - int(ticks)


@kernel
def watch_tiles(
    tiles: Any, x: Any, kinds: Any, ks: Any, cs: Any, ms: Any, decided: Any, span: Any, start: int, settled: int
) -> None:
    """Take samples of the tiles from ``span[0]`` up to ``span[1]``.

    ``tiles`` [tiles, RUNS * WIDTH], ``x`` [tiles, HISTORY + samples, 6 * WIDTH], of each site ``kinds`` (which of the
    parameters ``ks``), ``cs`` (its record) and ``decided`` (its first decision from sample ``settled`` on); ``start``
    counts the samples of the calls before. One element of ``ms`` serves one thread.
    """
    ticks_per_ms = ks[0]["ticks_per_ms"]
    for tile in range(span[0], span[1]):
        t = tiles[tile]
        for s in range(x.shape[1] - HISTORY):
            sample = start + s
            row = x[tile, HISTORY + s]
            # As at a site: what stands for a sample that is none is what stood before the cycle's next was read.
            mend_row(t, row)
            find_past(t, x[tile], s)
            take_sample(t, ks[0])
            held = min(sample + 1, 4 * CYCLE_RING)
            ends = sample % ticks_per_ms == ticks_per_ms - 1
            for i in range(W):
                at = tile * W + i
                if t[AWAKE + i] > 0.5:
                    cs[at]["ring_held"] = held
                    cause = judge_site(t, i, ks[kinds[at]], cs[at], ms[0])
                    if cause != CAUSE_NONE and sample >= settled:
                        note_decision(decided[at], sample, cause, cs[at]["path"])
            if ends:
                for i in range(W):
                    at = tile * W + i
                    cs[at]["ring_held"] = held
                    cause = close_millisecond(t, i, ks[kinds[at]], cs[at], sample // ticks_per_ms)
                    if cause != CAUSE_NONE and sample >= settled:
                        note_decision(decided[at], sample, cause, cs[at]["path"])
