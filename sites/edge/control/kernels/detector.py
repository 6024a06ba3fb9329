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

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.cycle import cycle_known, cycles_settled, forget_cycle, keep_cycle
from sites.edge.control.kernels.dips import WINDOW_MS, clear_windows, watch_decay, watch_window
from sites.edge.control.kernels.jump import fitted, watch_jump
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
from sites.edge.control.kernels.upstream import ONSET_PU, all_stand, stands, watch_upstream

TWO_PI: Final = 6.283185307179586
HALF_SQRT3: Final = 0.8660254037844386

DEAD_SHARE: Final = 0.18
DEAD_FLOOR_PU: Final = 0.02
"""A phase is silent below this share of its last cycle; at a zero crossing the floor keeps noise from speaking for
it."""
LACK_FLOOR_PU: Final = 0.05
REVIVED: Final = 3.0
"""How much faster a phase that shows voltage clears itself than silence accuses it."""
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


@kernel
def watch_phase(k: Record, c: Record, phase: int, cosine: float, sine: float, voltage: float, current: float) -> int:
    """Take one sample of one phase and of the converter's current into it [pu]; return 2 while it is found dead, 1
    while it sags although the converter pushes.

    ``lack`` is the part of the expected wave that is missing, weighted with the wave itself over half a millisecond.
    ``dead_area`` is the wave of the last cycle that should have been seen since the phase fell silent: a zero crossing
    that has only moved, by a jump of up to 60 degrees, is over before enough of it is missed.
    """
    along = voltage * cosine
    across = voltage * sine
    window = c["window"][phase]
    window[0] += along
    window[1] += across
    window[2] += cosine * cosine
    window[3] += cosine * sine
    memory = k["phasor_memory"]
    c["phasor_c"][phase] += memory * (along - c["phasor_c"][phase])
    c["phasor_s"][phase] += memory * (across - c["phasor_s"][phase])
    past = abs(c["v_past"][phase])
    size = abs(voltage)
    area = c["dead_area"][phase]
    area = area + past if size < DEAD_SHARE * past + DEAD_FLOOR_PU else max(0.0, area - REVIVED * size)
    c["dead_area"][phase] = area
    memory = k["sag_memory"]
    lack = c["lack"][phase] + memory * (cosine * (c["reference"] * cosine - voltage) - c["lack"][phase])
    weight = c["weight"][phase] + memory * (cosine * cosine - c["weight"][phase])
    c["lack"][phase] = lack
    c["weight"][phase] = weight
    if area > k["dead_area"]:
        return 0 if stands(c, phase) else 2
    if lack < k["sag_share"] * c["reference"] * weight or lack < LACK_FLOOR_PU:
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
def watch_news(k: Record, c: Record, m: Record) -> float:
    """Compare the voltages with their last cycle; return how much of it is left in them (1: all)."""
    memory = k["news_memory"]
    past = c["v_past"][0]
    v = m["va"]
    like = v * past
    own = past * past
    size = v * v
    news = c["news"][0] + memory * (v - past - c["news"][0])
    c["news"][0] = news
    raw = abs(v - past)
    total = news * news
    if k["phases"] == 3:
        past = c["v_past"][1]
        v = m["vb"]
        like += v * past
        own += past * past
        size += v * v
        news = c["news"][1] + memory * (v - past - c["news"][1])
        raw = max(raw, abs(v - past))
        c["news"][1] = news
        total += news * news
        past = c["v_past"][2]
        v = m["vc"]
        like += v * past
        own += past * past
        size += v * v
        news = c["news"][2] + memory * (v - past - c["news"][2])
        raw = max(raw, abs(v - past))
        c["news"][2] = news
        total = (total + news * news) * (2.0 / 3.0)
    c["news_raw"] = raw
    c["news_size"] = total
    c["news_peak"] = max(c["news_peak"], total)
    memory = k["decay_memory"]
    c["slow_like"] += memory * (like - c["slow_like"])
    c["slow_own"] += memory * (own - c["slow_own"])
    memory = k["ratio_memory"]
    c["like"] += memory * (like - c["like"])
    c["own"] += memory * (own - c["own"])
    c["size"] += memory * (size - c["size"])
    return c["like"] / max(c["own"], 0.02)


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
    cos_u = c["cos_u"]
    sin_u = c["sin_u"]
    memory = k["phasor_memory"]
    c["phasor_c2"] += memory * (cos_u * cos_u - sin_u * sin_u - c["phasor_c2"])
    c["phasor_s2"] += memory * (2.0 * sin_u * cos_u - c["phasor_s2"])
    pushed = 0
    lost = 0
    ratio = watch_news(k, c, m)
    known = cycle_known(c)
    if k["up_fitted"] and known and (c["up_left"] != 0 or c["news_raw"] > ONSET_PU):
        lost = watch_upstream(k, c, m)
    dead = watch_phase(k, c, 0, cos_u, sin_u, m["va"], m["pa"])
    if k["phases"] == 3:
        half = 0.5 * cos_u
        side = HALF_SQRT3 * sin_u
        half_s = 0.5 * sin_u
        side_c = HALF_SQRT3 * cos_u
        dead |= watch_phase(k, c, 1, side - half, -side_c - half_s, m["vb"], m["pb"])
        dead |= watch_phase(k, c, 2, -side - half, side_c - half_s, m["vc"], m["pc"])
        square = v_alpha * v_alpha + v_beta * v_beta
        short = PUSHED_INTACT_SHARE * c["reference"]
        if square < short * short and abs(m["va"] + m["vb"] + m["vc"]) > LOPSIDED_PU:
            pushed = is_pushed(k, c, 0, cos_u, m["va"], m["pa"])
            pushed |= is_pushed(k, c, 1, side - half, m["vb"], m["pb"])
            pushed |= is_pushed(k, c, 2, -side - half, m["vc"], m["pc"])
    else:
        square = m["va"] * m["va"]
        pushed = is_pushed(k, c, 0, cos_u, m["va"], m["pa"])
    if k["current_known"]:
        watch_poles(k, c, m["ia"], m["ib"], m["ic"])
    falling = ratio < c["trend"] - COLLAPSE_TREND
    c["trend"] += k["trend_memory"] * (ratio - c["trend"])
    gone = k["phases"] == 3 and known and ratio < LOST_RATIO and c["size"] < LOST_SIZE * c["own"]
    c["lost_ticks"] = c["lost_ticks"] + 1 if gone else 0
    c["sag_ticks"] = c["sag_ticks"] + 1 if dead & 1 and known else 0
    c["collapse_ticks"] = c["collapse_ticks"] + 1 if falling and known and k["phases"] == 3 else 0
    c["overload_ticks"] = c["overload_ticks"] + 1 if pushed else 0
    if square > k["overvoltage_pu"] * k["overvoltage_pu"]:
        c["over_ticks"] += 1
    elif c["over_ticks"] > 0:
        c["over_ticks"] -= 1
    if c["lost_ticks"] >= k["lost_hold_ticks"]:
        c["path"] = PATH_MAGNITUDE
        return CAUSE_PHASE_LOST
    if lost:
        c["path"] = PATH_CURRENT
        return CAUSE_PHASE_LOST
    if dead >= 2 and known:
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
