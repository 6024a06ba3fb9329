"""Loss-of-grid detector: fast paths per phase, clock of the ITIC curve for dips, slow frequency window.

The PLL's phasor barely moves within two milliseconds, so it is the frozen frame: each phase is compared
with what the grid would have shown. ``lack`` is the part of the expected wave that is missing, weighted
with the wave itself over ``lost_memory``; a phase near its zero crossing has little weight and cannot
trip by noise, nor is it mistaken for a healthy one.

A converter that forms the voltage hides the loss at first: it pushes current into the neighbors' load
until its limit, and only then the voltage falls. So a phase counts as lost, too, while the converter
pushes more than its rating into it and its voltage stays behind all the same.

The upper side of the ITIC curve is kept from 1.3 pu on only: a swell of the grid between 1.1 and 1.3 pu is
ridden through, as a grid code asks, and reaches the load for as long as it lasts.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

HALF_SQRT3: Final = 0.8660254037844386

CAUSE_NONE: Final = 0
CAUSE_PHASE_LOST: Final = 1
CAUSE_DEEP_DIP: Final = 2
CAUSE_LONG_DIP: Final = 3
CAUSE_OVERVOLTAGE: Final = 4
CAUSE_FREQUENCY: Final = 5
CAUSE_OVERLOAD: Final = 6

LACK_FLOOR_PU: Final = 0.05
"""Missing wave below this is noise or notch, whatever its weight."""
INTACT_SHARE: Final = 0.92
"""Three phases whose vector keeps this share of its length have jumped in phase, not been lost."""
PUSHED_LACK_PU: Final = 0.12
"""Voltage that an overloaded phase lacks at an instant before the load on it is taken for a lost grid's."""
PUSHED_INTACT_SHARE: Final = 0.93
"""Three phases whose vector keeps this share of its length are not short of voltage."""
LOPSIDED_PU: Final = 0.15
"""Sum of the three phase voltages from which on they are lopsided. A jump of the grid's phase drives the
current as high, but turns all three alike; poles that open apart leave one phase behind the others. Measured
on 720 sites in full delivery: jumps up to 10 degrees are ridden through; at 15 degrees 0.5 % of the three-phase
and 42 % of the single-phase sites leave the grid, at 20 degrees 11 % and 72 %."""
WINDOW_MS: Final = 5
"""Quarter of a cycle at 50 Hz; two neighboring windows make the half cycle that is judged."""
DEEP_PU: Final = 0.70
MIDDLE_PU: Final = 0.80
SHALLOW_PU: Final = 0.90
"""Steps of the ITIC curve: below 0.7 pu 20 ms, below 0.8 pu 0.5 s, below 0.9 pu 10 s."""
DEEP_WINDOWS: Final = 1
MIDDLE_WINDOWS: Final = 80
SHALLOW_WINDOWS: Final = 1600
"""Windows of 5 ms that are waited: 80 % of the curve's time, and for deep dips at once."""


@kernel
def watch_phase(k: Record, c: Record, phase: int, expected: float, voltage: float) -> int:
    """Take one sample of one phase [pu]; return 1 while that phase looks lost."""
    missing = expected * (c["reference"] * expected - voltage)
    square = expected * expected
    memory = k["lost_memory"]
    lack = c["lack"][phase] + memory * (missing - c["lack"][phase])
    weight = c["weight"][phase] + memory * (square - c["weight"][phase])
    c["lack"][phase] = lack
    c["weight"][phase] = weight
    c["window_lack"][phase] += missing
    c["window_weight"][phase] += square
    return int(lack > k["lost_share"] * c["reference"] * weight and lack > LACK_FLOOR_PU)


@kernel
def is_pushed(k: Record, c: Record, expected: float, voltage: float, current: float) -> int:
    """Return 1 when the converter drives more than its rating into a phase whose voltage stays behind [pu]."""
    missing = c["reference"] * expected - voltage
    if current > k["overload_pu"]:
        return int(missing > PUSHED_LACK_PU)
    if current < -k["overload_pu"]:
        return int(missing < -PUSHED_LACK_PU)
    return 0


@kernel
def watch_samples(k: Record, c: Record, m: Record, v_alpha: float, v_beta: float) -> int:
    """Run the fast path on one sample of the load bus; return a cause, or 0.

    Works in the frame of the PLL *before* it takes this sample.
    """
    cos_u = c["cos_u"]
    if k["phases"] == 3:
        lost = watch_phase(k, c, 0, cos_u, m["va"])
        half = 0.5 * cos_u
        side = HALF_SQRT3 * c["sin_u"]
        lost |= watch_phase(k, c, 1, side - half, m["vb"])
        lost |= watch_phase(k, c, 2, -side - half, m["vc"])
        square = v_alpha * v_alpha + v_beta * v_beta
        pushed = is_pushed(k, c, cos_u, m["va"], m["pa"])
        pushed |= is_pushed(k, c, side - half, m["vb"], m["pb"])
        pushed |= is_pushed(k, c, -side - half, m["vc"], m["pc"])
        short = PUSHED_INTACT_SHARE * c["reference"]
        if square > short * short or abs(m["va"] + m["vb"] + m["vc"]) < LOPSIDED_PU:
            pushed = 0
        intact = INTACT_SHARE * c["reference"]
        if square > intact * intact:
            lost = 0
        over = k["overvoltage_pu"] * k["overvoltage_pu"]
    else:
        lost = watch_phase(k, c, 0, cos_u, m["va"])
        square = m["va"] * m["va"]
        # One phase has no vector to tell a jump of the grid's phase from its loss.
        pushed = 0
        over = k["overvoltage_pu"] * k["overvoltage_pu"]
    if lost:
        c["lost_ticks"] += 1
    else:
        c["lost_ticks"] = 0
    c["overload_ticks"] = c["overload_ticks"] + 1 if pushed else 0
    if square > over:
        c["over_ticks"] += 1
    elif c["over_ticks"] > 0:
        c["over_ticks"] -= 1
    if c["lost_ticks"] >= k["lost_hold_ticks"]:
        return CAUSE_PHASE_LOST
    if c["overload_ticks"] >= k["overload_hold_ticks"]:
        return CAUSE_OVERLOAD
    if c["over_ticks"] >= k["overvoltage_hold_ticks"]:
        return CAUSE_OVERVOLTAGE
    return CAUSE_NONE


@kernel
def watch_window(k: Record, c: Record) -> int:
    """Judge the last half cycle at the end of a window of 5 ms; return a cause, or 0.

    The smallest phase counts: a load behind one phase does not live on the mean of three.
    """
    smallest = 2.0
    for phase in range(k["phases"]):
        weight = c["window_weight"][phase] + c["previous_weight"][phase]
        lack = c["window_lack"][phase] + c["previous_lack"][phase]
        if weight > 0.0:
            smallest = min(smallest, c["reference"] - lack / weight)
        c["previous_weight"][phase] = c["window_weight"][phase]
        c["previous_lack"][phase] = c["window_lack"][phase]
        c["window_weight"][phase] = 0.0
        c["window_lack"][phase] = 0.0
    c["deep_windows"] = c["deep_windows"] + 1 if smallest < DEEP_PU else 0
    c["middle_windows"] = c["middle_windows"] + 1 if smallest < MIDDLE_PU else 0
    c["shallow_windows"] = c["shallow_windows"] + 1 if smallest < SHALLOW_PU else 0
    # The reference follows the healthy grid over 0.5 s and stands still in a dip.
    if smallest > 0.85:
        c["reference"] += 0.01 * (min(max(c["level_u"], 0.85), 1.15) - c["reference"])
    if c["deep_windows"] >= DEEP_WINDOWS:
        return CAUSE_DEEP_DIP
    if c["middle_windows"] >= MIDDLE_WINDOWS or c["shallow_windows"] >= SHALLOW_WINDOWS:
        return CAUSE_LONG_DIP
    return CAUSE_NONE


@kernel
def reset_detector(c: Record) -> None:
    """Forget everything seen so far: after a change of the switch the past says nothing."""
    for phase in range(3):
        c["lack"][phase] = 0.0
        c["weight"][phase] = 0.1
        c["window_lack"][phase] = 0.0
        c["window_weight"][phase] = 0.0
        c["previous_lack"][phase] = 0.0
        c["previous_weight"][phase] = 0.0
    c["lost_ticks"] = 0
    c["overload_ticks"] = 0
    c["over_ticks"] = 0
    c["deep_windows"] = 0
    c["middle_windows"] = 0
    c["shallow_windows"] = 0
