"""Loss-of-grid detector, the paths that decide on every sample.

The PLL's phasor barely moves within two milliseconds, so it is the frozen frame: each phase is compared with what the
grid would have shown. And a cycle ago the grid has shown it, harmonics and all: what differs from that is new. The
paths:

- *magnitude*: the three voltages together have less than half of their last cycle in them, and not elsewhere in phase
  either;
- *per phase*: a phase is silent while its last cycle should be seen, for longer than a zero crossing that only moved;
- *deviation*: the voltage keeps falling away from its last cycle, as motors do when they run out, fast (here) or slowly
  (dips.py). A phase that only jumped fits a sine of full amplitude over ``phasor_memory``, and the PLL is turned to it
  (jump.py);
- *current*: a pole upstream has gone out (poles.py) and the voltage changes with it, however little; or the converter
  pushes more than its rating into a phase whose voltage stays behind all the same: it hides the loss behind it until
  its limit;
- *clock*: dips against the ITIC curve (dips.py); and the slow windows (windows.py).
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, inlined, kernel
from sites.edge.control.kernels.cycle import cycle_known, cycles_settled, forget_cycle, keep_cycle
from sites.edge.control.kernels.dips import WINDOW_MS, clear_windows, watch_decay, watch_window
from sites.edge.control.kernels.jump import fitted, watch_jump
from sites.edge.control.kernels.phases import HALF_SQRT3
from sites.edge.control.kernels.poles import watch_poles
from sites.edge.control.kernels.records import (
    CAUSE_COLLAPSE,
    CAUSE_NONE,
    CAUSE_OVERLOAD,
    CAUSE_OVERVOLTAGE,
    CAUSE_PHASE_LOST,
    CAUSE_POLE_OPEN,
    PATH_CLOCK,
    PATH_CURRENT,
    PATH_DEVIATION,
    PATH_MAGNITUDE,
    PATH_PER_PHASE,
)
from sites.edge.control.kernels.tracking import track_currents, track_ratio, track_voltages
from sites.edge.control.kernels.upstream import ONSET_PU, all_stand, stands, watch_upstream

TWO_PI: Final = 6.283185307179586

LACK_FLOOR_PU: Final = 0.05
LOST_RATIO: Final = 0.50
LOST_SIZE: Final = 0.36
"""The three voltages together: less than this of their last cycle is a loss, more is for the clock of the ITIC
curve."""
COLLAPSE_RATIO: Final = 0.72
COLLAPSE_TREND: Final = 0.03
SEVERAL_PU: Final = 0.08
"""Voltage below 0.72 of its last cycle and 0.05 below its own mean over a millisecond: still falling; and in two
phases at least (one of three may stand at its zero crossing): a single phase that has jumped swings the projection,
too."""
PUSHED_LACK_PU: Final = 0.12
"""Voltage that an overloaded phase lacks at an instant before the load on it is taken for a lost grid's."""
PUSHED_AMPLITUDE: Final = 0.85
PUSHED_ALONE: Final = 0.72
PUSHED_INTACT_SHARE: Final = 0.93
"""Three phases whose vector keeps this share of its length are not short of voltage."""
LOPSIDED_PU: Final = 0.15
"""Sum of the three phase voltages from which on they are lopsided. A jump of the grid's phase drives the current as
high, but turns all three alike; poles that open apart leave one phase behind the others."""
LONG_FLAT: Final = 4.0
NEWS_LEAST_PU: Final = 0.01
NEWS_LOW_PU: Final = 0.02
NEWS_HIGH_PU: Final = 0.08
"""How much of the voltage has to be new before a pole that went out counts: between these, twice what is usual here."""


@inlined
def lacks_wave(lack: float, weight: float, share: float, reference: float) -> bool:
    """Return whether a phase lacks more than a share of its expected wave."""
    return (lack >= share * reference * weight) & (lack >= LACK_FLOOR_PU)


@kernel
def is_sagging(k: Record, c: Record, phase: int, cosine: float, current: float) -> int:
    """Return 1 when a phase lacks its wave although the converter pushes, and no jump explains it."""
    if not lacks_wave(c["lack"][phase], c["weight"][phase], k["sag_share"], c["reference"]):
        return 0
    if current * cosine < k["pushed_back"] * abs(cosine) or stands(c, phase):
        return 0
    a, b = fitted(c, phase)
    least = k["sag_amplitude"] * c["reference"]
    return int(a * a + b * b < least * least)


@kernel
def is_pushed(k: Record, c: Record, phase: int, expected: float, voltage: float, current: float) -> int:
    """Return 1 when the converter drives more than its rating into a phase whose voltage stays behind [pu]."""
    missing = c["reference"] * expected - voltage
    if current < 0.0:
        missing = -missing
        current = -current
    if current < k["overload_pu"] or missing < PUSHED_LACK_PU or stands(c, phase):
        return 0
    a, b = fitted(c, phase)
    least = (PUSHED_AMPLITUDE if k["phases"] == 3 else PUSHED_ALONE) * c["reference"]
    return int(a * a + b * b < least * least)


@kernel
def several_fall(c: Record) -> int:
    """Return 1 when two phases or more differ from their last cycle."""
    count = 0
    for phase in range(3):
        if abs(c["news"][phase]) > SEVERAL_PU:
            count += 1
    return int(count >= 2)


@kernel
def watch_samples(k: Record, c: Record, m: Record, v_alpha: float, v_beta: float) -> int:
    """Run the fast paths on one sample of the load bus; return a cause, or 0.

    Works in the frame of the PLL *before* it takes this sample. ``path`` names the one that decided.
    """
    keep_cycle(k, c, m)
    three = k["phases"] == 3
    known = k["current_known"] != 0
    va, vb, vc = m["va"], m["vb"], m["vc"]
    ia, ib, ic = m["ia"], m["ib"], m["ic"]
    vb = vb if three else 0.0
    vc = vc if three else 0.0
    ia = ia if known else 0.0
    ib = ib if three & known else 0.0
    ic = ic if three & known else 0.0
    track_voltages(k, c, va, vb, vc)
    ratio, above = track_ratio(k, c, va, vb, vc)
    track_currents(k, c, ia, ib, ic)
    square = v_alpha * v_alpha + v_beta * v_beta
    if is_quiet(k, c, square, va + vb + vc, m["pa"], ratio, above):
        return CAUSE_NONE
    return judge_sample(k, c, m, square, ratio, above)


@inlined
def is_noticed(area: float, dead_area: float, lack: float, weight: float, share: float, reference: float) -> bool:
    """Return whether a phase is silent, or lacks its wave."""
    return (area > dead_area) | lacks_wave(lack, weight, share, reference)


@inlined
def is_missed(flat: float, area: float, usual: float, cycle_ticks: float, flat_area: float) -> bool:
    """Return whether a pole may be out: more current is missed than a zero crossing that moved leaves out."""
    return (flat > 0.0) & (flat <= cycle_ticks) & (area * area >= flat_area * flat_area * 2.0 * usual)


@inlined
def is_quiet(k: Record, c: Record, square: float, lopsided: float, pushed: float, ratio: float, above: float) -> bool:
    """Return whether no condition of ``judge_sample`` holds and nothing that it counts is under way: it would return
    0 and leave everything as it is."""
    share = k["sag_share"]
    reference = c["reference"]
    dead = k["dead_area"]
    ticks = c["cycle_ticks"]
    flat = k["flat_area"]
    noticed = False
    for phase in range(3):
        noticed |= is_noticed(
            c["dead_area"][phase], dead, c["lack"][phase], c["weight"][phase], share, reference
        ) | is_missed(c["flat_ticks"][phase], c["flat_area"][phase], c["i_square"][phase], ticks, flat)
    short = PUSHED_INTACT_SHARE * reference
    if k["phases"] == 3:
        noticed |= (square < short * short) & (abs(lopsided) > LOPSIDED_PU)
    else:
        noticed |= abs(pushed) >= k["overload_pu"]
    noticed |= (above > COLLAPSE_TREND) | (ratio < LOST_RATIO)
    noticed |= square > k["overvoltage_pu"] * k["overvoltage_pu"]
    noticed |= (k["up_fitted"] != 0) & (c["news_raw"] > ONSET_PU)
    return not (noticed | (c["pending"] != 0))


@kernel
def judge_sample(k: Record, c: Record, m: Record, square: float, ratio: float, above: float) -> int:
    """Hold what a sample has shown against every fast path; return a cause, or 0."""
    known = cycle_known(c)
    lost = 0
    if k["up_fitted"] and known and (c["up_left"] != 0 or c["news_raw"] > ONSET_PU):
        lost = watch_upstream(k, c, m)
    pushed = 0
    silent = 0
    sagging = 0
    three = k["phases"] == 3
    cos_u = c["cos_u"]
    half = 0.5 * cos_u
    side = HALF_SQRT3 * c["sin_u"]
    for phase in range(k["phases"]):
        expected, voltage, current = cos_u, m["va"], m["pa"]
        if phase == 1:
            expected, voltage, current = side - half, m["vb"], m["pb"]
        elif phase == 2:
            expected, voltage, current = -side - half, m["vc"], m["pc"]
        if c["dead_area"][phase] > k["dead_area"]:
            silent |= 1 - stands(c, phase)
        else:
            sagging |= is_sagging(k, c, phase, expected, current)
        pushed |= is_pushed(k, c, phase, expected, voltage, current)
    short = PUSHED_INTACT_SHARE * c["reference"]
    if three and not (square < short * short and abs(m["va"] + m["vb"] + m["vc"]) > LOPSIDED_PU):
        pushed = 0
    watch_poles(k, c)
    gone = three and known and ratio < LOST_RATIO and c["size"] < LOST_SIZE * c["own"]
    c["lost_ticks"] = c["lost_ticks"] + 1 if gone else 0
    c["sag_ticks"] = c["sag_ticks"] + 1 if sagging and known else 0
    c["collapse_ticks"] = c["collapse_ticks"] + 1 if above > COLLAPSE_TREND and known and three else 0
    c["overload_ticks"] = c["overload_ticks"] + 1 if pushed else 0
    if square > k["overvoltage_pu"] * k["overvoltage_pu"]:
        c["over_ticks"] += 1
    elif c["over_ticks"] > 0:
        c["over_ticks"] -= 1
    counted = c["lost_ticks"] + c["sag_ticks"] + c["collapse_ticks"] + c["overload_ticks"] + c["over_ticks"]
    c["pending"] = int(counted + c["open_ticks"] > 0 or c["flat_longest"] > 0.0 or c["up_left"] != 0)
    if c["lost_ticks"] >= k["lost_hold_ticks"]:
        c["path"] = PATH_MAGNITUDE
        return CAUSE_PHASE_LOST
    if lost:
        c["path"] = PATH_CURRENT
        return CAUSE_PHASE_LOST
    if silent and known:
        c["path"] = PATH_PER_PHASE
        return CAUSE_PHASE_LOST
    if c["open_ticks"] > 0 and c["moving_ms"] == 0 and cycles_settled(c):
        least = NEWS_LEAST_PU if c["flat_longest"] > LONG_FLAT * k["flat_area"] else NEWS_LOW_PU
        needed = min(max(2.0 * c["news_usual"], least), NEWS_HIGH_PU)
        if c["news_size"] > needed * needed:
            c["path"] = PATH_CURRENT
            return CAUSE_POLE_OPEN
    if c["sag_ticks"] >= k["sag_hold_ticks"]:
        c["path"] = PATH_CURRENT
        return CAUSE_PHASE_LOST
    if c["collapse_ticks"] >= k["collapse_ticks"] and ratio < COLLAPSE_RATIO and several_fall(c) and not all_stand(c):
        c["path"] = PATH_DEVIATION
        return CAUSE_COLLAPSE
    if c["overload_ticks"] >= k["overload_hold_ticks"]:
        c["path"] = PATH_CURRENT
        return CAUSE_OVERLOAD
    if c["over_ticks"] >= k["overvoltage_hold_ticks"]:
        c["path"] = PATH_MAGNITUDE
        return CAUSE_OVERVOLTAGE
    return CAUSE_NONE


@kernel
def watch_millisecond(k: Record, c: Record, ms: int) -> int:
    """Run the paths for which a millisecond is soon enough; return a cause, or 0."""
    # How much of the voltage is new from cycle to cycle on a usual day, and how long a cycle is.
    peak = math.sqrt(c["news_peak"])
    c["news_peak"] = 0.0
    share = 0.03 if peak > c["news_usual"] else 0.01
    c["news_usual"] += share * (min(peak, 0.1) - c["news_usual"])
    c["cycle_ticks"] = TWO_PI * k["rate_hz"] / c["omega_u"]
    watch_jump(k, c)
    cause = watch_decay(k, c)
    if cause != CAUSE_NONE:
        c["path"] = PATH_DEVIATION
    if ms % WINDOW_MS == 0:
        dip = watch_window(k, c)
        if dip != CAUSE_NONE and cause == CAUSE_NONE:
            c["path"] = PATH_CLOCK
            cause = dip
    return cause


@kernel
def reset_detector(c: Record) -> None:
    """Forget everything seen so far: after a change of the switch the past says nothing."""
    c["pending"] = 0
    for phase in range(3):
        c["dead_area"][phase] = 0.0
        c["lack"][phase] = 0.0
        c["weight"][phase] = 0.1
        c["news"][phase] = 0.0
        c["flat_ticks"][phase] = 0
        c["flat_area"][phase] = 0.0
        c["half_a"][phase] = c["reference"]
        c["half_b"][phase] = 0.0
    c["up_left"] = 0
    c["lost_ticks"] = 0
    c["sag_ticks"] = 0
    c["collapse_ticks"] = 0
    c["overload_ticks"] = 0
    c["over_ticks"] = 0
    c["open_ticks"] = 0
    c["deep_windows"] = 0
    c["middle_windows"] = 0
    c["shallow_windows"] = 0
    c["decay_ms"] = 0
    for n in range(4):
        c["ratio_ms"][n] = 1.0
    c["like"] = 1.0
    c["own"] = 1.0
    c["size"] = 1.0
    c["slow_like"] = 1.0
    c["slow_own"] = 1.0
    c["trend"] = 1.0
    clear_windows(c)
    forget_cycle(c)
