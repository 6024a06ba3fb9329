"""The source behind the switch, put together again from voltage and current: what has happened upstream?

A converter that forms the voltage hides what happens behind it: for milliseconds a lost feeder and a jump of the grid's
phase both pull the bus aside and draw its current. What differs is the source. Voltage plus the drop of the current
through the switch over the grid's own impedance, as commissioned, is the voltage behind that impedance: after a jump a
sine of full amplitude elsewhere in phase; behind a pole that has opened only what the neighbors' load leaves, short
and a little late. Both are fitted to what differs from the last cycle, so that the harmonics cancel.

A pole goes out at a zero of its current, which the usual load has shortly behind that of the voltage, one pole alone,
and the site's current has to flow out from then on, ever more: only there a loss is looked for. Neighbors with motors
are a source of their own and keep the amplitude; there the second pole tells, a sixth of a cycle behind the first.

Nothing runs here until a phase differs from its last cycle, and then for a cycle, once. While a source stands intact
elsewhere in phase, the paths that see the bus alone do not accuse its phase (detector.py).
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

HALF_SQRT3: Final = 0.8660254037844386
ONSET_PU: Final = 0.05
"""Voltage that differs from its last cycle: more than noise of 1 % in both, at an instant."""
SKIP_TICKS: Final = 2
"""The step itself rings with the filter's capacitor."""

QUIET: Final = 0
PENDING: Final = 1
"""Its fit is not long enough yet."""
INTACT: Final = 2
SHORT: Final = 3
LOST: Final = 4

ALONE_PU: Final = 0.04
"""Voltage that the other phases may differ from their last cycle beside a pole that has opened: noise of 1 % in both.
No two poles go out at once; a dip or a jump of the grid shows in several phases, sooner or later in their wave."""
LATE_MOST: Final = -0.414
LATE_LEAST: Final = 0.07
"""Tangents of -22.5 and +4 degrees: where behind a pole that has opened the neighbors' load shows its voltage."""
LATE_MOTORS: Final = -0.087
"""-5 degrees: behind motors it is later."""
SHORT_THREE: Final = 0.86
SHORT_ALONE: Final = 0.80
"""Amplitude of the source, on the last cycle's, below which it is none. At a site of one phase jumps of 20 degrees
have to be told from it that three phases show together: there the fit takes longer."""
OUTWARD_PU: Final = 0.37
OUTWARD_MOTORS_PU: Final = 0.28
"""Current that has turned outward by the end of the fit. A swell, a dip to 0.85 or a switched capacitor moves less."""
RISE_PU: Final = 0.6
"""Slope of the last cycle's voltage away from zero, at the end of the first fit: 0.8 ms and a bit behind its zero."""
RISE_LATER_PU: Final = 0.2
WHOLE_PU: Final = 0.8
TURNED: Final = 0.466
TURNED_PU: Final = 0.42
TURNED_LATER_PU: Final = 0.55
TURNED_SOON: Final = 2.5
TURNED_LAST: Final = 7.5
"""Tangent of 25 degrees: a source that has turned so far has jumped, even while the neighbors' load still follows
and makes it look short: 0.42 pu for 2.5 times the length of the fit, 0.55 pu for 7.5 times."""
SECOND_LEAST: Final = 0.1
SECOND_MOST: Final = 0.25
"""From one pole to the next, a sixth of a cycle, in cycles."""


@kernel
def begin_event(c: Record, m: Record, phases: int) -> None:
    """Freeze the frame and the phasors of the last cycle."""
    c["up_cos"] = c["cos_u"]
    c["up_sin"] = c["sin_u"]
    c["up_left"] = int(c["cycle_ticks"])
    c["up_di"][0] = m["ia"] - c["i_past"][0]
    if phases == 3:
        c["up_di"][1] = m["ib"] - c["i_past"][1]
        c["up_di"][2] = m["ic"] - c["i_past"][2]
    for phase in range(phases):
        c["up_verdict"][phase] = QUIET
        c["up_ticks"][phase] = 0
        c["up_pole"][phase] = 0
        c["up_peak"][phase] = 0.0
        c["up_a"][phase] = c["half_a"][phase]
        c["up_b"][phase] = c["half_b"][phase]


@kernel
def follow_phase(k: Record, c: Record, phase: int, cosine: float, sine: float, voltage: float, current: float) -> None:
    """Take one sample of one phase while something is under way; leaves its ``up_verdict``."""
    dv = voltage - c["v_past"][phase]
    di = current - c["i_past"][phase]
    source = dv + k["up_r"] * di + k["up_l_over_dt"] * (di - c["up_di"][phase])
    c["up_di"][phase] = di
    c["up_peak"][phase] = max(c["up_peak"][phase], abs(dv))
    ticks = c["up_ticks"][phase]
    sums = c["up_sums"][phase]
    if ticks == 0:
        if abs(dv) > ONSET_PU:
            c["up_ticks"][phase] = 1
            c["up_verdict"][phase] = PENDING
            for n in range(5):
                sums[n] = 0.0
        return
    c["up_ticks"][phase] = ticks + 1
    if ticks < SKIP_TICKS:
        return
    keep = k["up_memory"]
    sums[0] = keep * sums[0] + cosine * cosine
    sums[1] = keep * sums[1] + cosine * sine
    sums[2] = keep * sums[2] + sine * sine
    sums[3] = keep * sums[3] + source * cosine
    sums[4] = keep * sums[4] + source * sine
    if ticks >= k["up_ticks"]:
        c["up_verdict"][phase] = judge_phase(k, c, phase, ticks, cosine, sine, di)


@kernel
def judge_phase(k: Record, c: Record, phase: int, ticks: int, cosine: float, sine: float, di: float) -> int:
    """Return what one phase's source looks like ``ticks`` samples after it began to differ."""
    sums = c["up_sums"][phase]
    inverse = 1.0 / max(sums[0] * sums[2] - sums[1] * sums[1], 1e-9)
    a0 = c["up_a"][phase]
    b0 = c["up_b"][phase]
    a = a0 + (sums[3] * sums[2] - sums[4] * sums[1]) * inverse
    b = b0 + (sums[4] * sums[0] - sums[3] * sums[1]) * inverse
    # v = a cos + b sin is a phasor a - jb; on that of the last cycle:
    scale = 1.0 / max(a0 * a0 + b0 * b0, 0.25)
    along = (a * a0 + b * b0) * scale
    ahead = (a * b0 - b * a0) * scale
    square = along * along + ahead * ahead
    first = k["up_ticks"]
    if ticks <= 2 * first and LATE_MOST * along < ahead < LATE_LEAST * along and is_alone(c, phase, k["phases"]):
        before = a0 * cosine + b0 * sine
        slope = b0 * cosine - a0 * sine
        if before < 0.0:
            slope = -slope
            di = -di
        rise = RISE_PU if ticks == first else RISE_LATER_PU
        if slope > rise and di < -OUTWARD_MOTORS_PU:
            short = SHORT_THREE if k["phases"] == 3 else SHORT_ALONE
            if ticks == first and ahead < LATE_MOTORS * along:
                c["up_pole"][phase] = 1
                if follows_pole(c, phase, ticks):
                    return LOST
            if di < -OUTWARD_PU and square < short * short and (k["momentary_island"] or not is_dip(along, ahead)):
                return LOST
    if square > WHOLE_PU * WHOLE_PU:
        return INTACT
    turned = ahead * ahead > TURNED * TURNED * along * along or along < 0.0
    least = TURNED_PU if ticks < TURNED_SOON * first else TURNED_LATER_PU
    if turned and square > least * least and ticks < TURNED_LAST * first:
        return INTACT
    return SHORT


@kernel
def is_dip(along: float, ahead: float) -> int:
    """Return 1 for a source that is much shorter at its old phase: a code that forbids to leave in a dip rides it."""
    return int(ahead > LATE_MOTORS * along and along < 0.57)


@kernel
def is_alone(c: Record, phase: int, phases: int) -> int:
    """Return 1 when no other phase has changed, but for poles that had opened before."""
    for other in range(phases):
        if other != phase and c["up_peak"][other] > ALONE_PU and c["up_pole"][other] == 0:
            return 0
    return 1


@kernel
def follows_pole(c: Record, phase: int, ticks: int) -> int:
    """Return 1 when another phase looked like a pole that opens a sixth of a cycle before this one."""
    for other in range(3):
        if other != phase and c["up_pole"][other]:
            apart = c["up_ticks"][other] - ticks
            if SECOND_LEAST * c["cycle_ticks"] < apart < SECOND_MOST * c["cycle_ticks"]:
                return 1
    return 0


@kernel
def watch_upstream(k: Record, c: Record, m: Record) -> int:
    """Take one sample while something is under way, or begin; return 1 when the source of a phase is lost."""
    phases = k["phases"]
    if c["up_left"] < 0:
        # After an event its trace in the last cycle: nothing new until that was quiet.
        c["up_left"] = c["up_left"] + 1 if c["news_raw"] < ONSET_PU else -int(c["cycle_ticks"])
        return 0
    if c["up_left"] == 0:
        begin_event(c, m, phases)
    cos_u = c["up_cos"]
    sin_u = c["up_sin"]
    follow_phase(k, c, 0, cos_u, sin_u, m["va"], m["ia"])
    lost = c["up_verdict"][0] == LOST
    if phases == 3:
        half = 0.5 * cos_u
        side = HALF_SQRT3 * sin_u
        half_s = 0.5 * sin_u
        side_c = HALF_SQRT3 * cos_u
        follow_phase(k, c, 1, side - half, -side_c - half_s, m["vb"], m["ib"])
        follow_phase(k, c, 2, -side - half, side_c - half_s, m["vc"], m["ic"])
        lost = lost or c["up_verdict"][1] == LOST or c["up_verdict"][2] == LOST
    angle = c["omega_u"] * k["dt_s"]
    turn_cos = 1.0 - 0.5 * angle * angle
    c["up_cos"] = cos_u * turn_cos - sin_u * angle
    c["up_sin"] = sin_u * turn_cos + cos_u * angle
    c["up_left"] -= 1
    if c["up_left"] == 0:
        end_event(c, phases)
    return int(lost)


@kernel
def end_event(c: Record, phases: int) -> None:
    """What a phase was accused of while its source stood is void."""
    c["up_left"] = -int(c["cycle_ticks"])
    for phase in range(phases):
        if c["up_verdict"][phase] == INTACT:
            c["dead_area"][phase] = 0.0
            c["lack"][phase] = 0.0


@kernel
def stands(c: Record, phase: int) -> int:
    """Return 1 while the source of a phase that differs from its last cycle is intact, or not known yet."""
    return int(c["up_left"] > 0 and (c["up_verdict"][phase] == PENDING or c["up_verdict"][phase] == INTACT))


@kernel
def all_stand(c: Record) -> int:
    """Return 1 while something is under way and no phase of three has a source that is short."""
    if c["up_left"] <= 0:
        return 0
    for phase in range(3):
        if c["up_verdict"][phase] >= SHORT:
            return 0
    return 1
