"""The always grid-forming converter: power synchronization, voltage, current limit.

The converter is a voltage behind its filter, tied to the grid or not; an open circuit upstream needs
no hand-over. Tied, its angle follows the PLL's frequency plus a term in the power error, so that the
power follows its reference on any grid frequency. Alone, it follows a P-f droop.

While the current limit holds, the power no longer rises with the angle, and a power loop alone would drive the
phasor on until it loses step with the grid. So the volts that the limit takes back turn and shorten the phasor
itself, tied to the grid, until it asks for no more than the limit lets through: the phasor stays beside the
grid's whatever the grid does, and phases are cut only for the first milliseconds.

A grid of which one phase has jumped (IEEE 1547-2018, 6.5.2.6: up to 60 degrees) fits no balanced phasor. There each
phase of the converter, a bridge leg of its own against the neutral, turns by what its own limit takes back: ``skew``.
"""

from __future__ import annotations

import math
from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.records import RING_MS
from sites.edge.control.kernels.sequence import rotation_cos, rotation_sin

HALF_SQRT3: Final = 0.8660254037844386
HARD_LIMIT_PU: Final = 1.5
"""Peak phase current for 20 ms, after that 1.2 pu for 10 s, after that the rating."""
WARM_LIMIT_PU: Final = 1.2
RATED_LIMIT_PU: Final = 1.05
"""The rating itself plus what a sample's noise adds to its peak."""
VOLTAGE_LIMIT_PU: Final = 1.35
"""What the DC link can modulate."""
YIELD_SHARE: Final = 0.03
"""Radians a sample for each volt [pu] taken back, over three phases: a phasor that stands 20 degrees off is
brought back in a few milliseconds."""
YIELD_MOST_RAD: Final = 0.02
LEVEL_SHARE: Final = 0.03
"""Volts of the phasor's length a sample for each volt taken back, over three phases."""
SKEW_MOST_RAD: Final = 0.04
SKEW_ENDS_RAD: Final = 1e-3


@kernel
def limited_voltage(k: Record, c: Record, wanted: float, voltage: float, current: float) -> float:
    """Return the phase voltage [pu] that keeps the next sample's current inside the limit.

    Predicts the current one sample ahead over the filter's inductance and takes back what is too much:
    the hard limit of a converter with a fast current loop, one sample late as that loop is.
    """
    stiffness = k["filter_l_over_dt"]
    following = current + (wanted - voltage - k["filter_r"] * current) / stiffness
    limit = c["limit_pu"]
    if following > limit:
        wanted = voltage + k["filter_r"] * current + (limit - current) * stiffness
    elif following < -limit:
        wanted = voltage + k["filter_r"] * current + (-limit - current) * stiffness
    return min(max(wanted, -VOLTAGE_LIMIT_PU), VOLTAGE_LIMIT_PU)


@kernel
def yield_to_limit(k: Record, c: Record, in_phase: float, in_quadrature: float) -> None:
    """Turn and shorten the phasor against the volts that the current limit took back from it this sample [pu].

    ``in_phase`` and ``in_quadrature`` are those volts along the phasor and along its derivative, summed over the
    phases: a step down the gradient of their square. Tied only: an island's frequency is nobody else's business.
    """
    share = YIELD_SHARE * 3.0 / k["phases"]
    angle = min(max(share * in_quadrature, -YIELD_MOST_RAD), YIELD_MOST_RAD)
    cos_e = c["cos_e"]
    sin_e = c["sin_e"]
    c["cos_e"] = cos_e - sin_e * angle
    c["sin_e"] = sin_e + cos_e * angle
    c["level_cut"] = min(max(c["level_cut"] + LEVEL_SHARE * 3.0 / k["phases"] * in_phase, -0.3), c["level_e"])


@kernel
def skew_phase(c: Record, phase: int, apart: float) -> None:
    """Turn one phase's own voltage against the common phasor [rad of this sample]."""
    angle = min(max(apart, -SKEW_MOST_RAD), SKEW_MOST_RAD)
    cosine = c["skew_cos"][phase]
    sine = c["skew_sin"][phase]
    turned_cos = cosine - sine * angle
    turned_sin = sine + cosine * angle
    length = 1.5 - 0.5 * (turned_cos * turned_cos + turned_sin * turned_sin)
    c["skew_cos"][phase] = turned_cos * length
    c["skew_sin"][phase] = turned_sin * length


@kernel
def relax_skew(k: Record, c: Record) -> None:
    """Let the phases' own turns fade: slowly beside a grid whose phases may have jumped apart, soon alone."""
    share = k["skew_memory"] if c["switch_command"] else k["skew_memory_alone"]
    most = 0.0
    for phase in range(3):
        sine = c["skew_sin"][phase]
        skew_phase(c, phase, -share * sine)
        most = max(most, abs(sine))
    if most < SKEW_ENDS_RAD:
        straighten(c)


@kernel
def straighten(c: Record) -> None:
    """All phases a third of a turn apart again."""
    for phase in range(3):
        c["skew_cos"][phase] = 1.0
        c["skew_sin"][phase] = 0.0
    c["skewed"] = 0


@kernel
def form_voltage(k: Record, c: Record, m: Record) -> None:
    """Turn the converter's phasor by one sample and set the phase voltages for the next one."""
    angle = c["omega_e"] * k["dt_s"]
    turn_cos = rotation_cos(angle)
    turn_sin = rotation_sin(angle)
    cos_e = c["cos_e"] * turn_cos - c["sin_e"] * turn_sin
    sin_e = c["sin_e"] * turn_cos + c["cos_e"] * turn_sin
    length = 1.5 - 0.5 * (cos_e * cos_e + sin_e * sin_e)
    cos_e *= length
    sin_e *= length
    c["cos_e"] = cos_e
    c["sin_e"] = sin_e
    # Full voltage again within a few cycles; at once when the switch is open and the load is its alone.
    c["level_cut"] = c["level_cut"] * k["level_memory"] if c["switch_command"] else 0.0
    level = c["level_e"] - c["level_cut"]
    damping = k["virtual_r"]
    if k["phases"] == 3:
        half = 0.5 * cos_e
        side = HALF_SQRT3 * sin_e
        half_sin = 0.5 * sin_e
        side_cos = HALF_SQRT3 * cos_e
        cos_a = cos_e
        sin_a = sin_e
        cos_b = side - half
        sin_b = -half_sin - side_cos
        cos_c = -side - half
        sin_c = side_cos - half_sin
        if c["skewed"]:
            relax_skew(k, c)
            cos_a, sin_a = turned(c, 0, cos_a, sin_a)
            cos_b, sin_b = turned(c, 1, cos_b, sin_b)
            cos_c, sin_c = turned(c, 2, cos_c, sin_c)
        wanted = level * cos_a - damping * m["pa"]
        c["ea"] = limited_voltage(k, c, wanted, m["va"], m["pa"])
        cut_a = wanted - c["ea"]
        wanted = level * cos_b - damping * m["pb"]
        c["eb"] = limited_voltage(k, c, wanted, m["vb"], m["pb"])
        cut_b = wanted - c["eb"]
        wanted = level * cos_c - damping * m["pc"]
        c["ec"] = limited_voltage(k, c, wanted, m["vc"], m["pc"])
        cut_c = wanted - c["ec"]
        if c["switch_command"] and (cut_a != 0.0 or cut_b != 0.0 or cut_c != 0.0):
            across_a = cut_a * sin_a
            across_b = cut_b * sin_b
            across_c = cut_c * sin_c
            across = across_a + across_b + across_c
            yield_to_limit(k, c, cut_a * cos_a + cut_b * cos_b + cut_c * cos_c, across)
            # What the common turn cannot mend: a phase of the grid's that stands apart from the others.
            skew_phase(c, 0, YIELD_SHARE * (3.0 * across_a - across))
            skew_phase(c, 1, YIELD_SHARE * (3.0 * across_b - across))
            skew_phase(c, 2, YIELD_SHARE * (3.0 * across_c - across))
            c["skewed"] = 1
        peak = max(abs(m["pa"]), max(abs(m["pb"]), abs(m["pc"])))
        c["p_sum"] += m["va"] * m["pa"] + m["vb"] * m["pb"] + m["vc"] * m["pc"]
        c["v2_sum"] += m["va"] * m["va"] + m["vb"] * m["vb"] + m["vc"] * m["vc"]
    else:
        wanted = level * cos_e - damping * m["pa"]
        c["ea"] = limited_voltage(k, c, wanted, m["va"], m["pa"])
        cut = wanted - c["ea"]
        if c["switch_command"] and cut != 0.0:
            yield_to_limit(k, c, cut * cos_e, cut * sin_e)
        peak = abs(m["pa"])
        c["p_sum"] += m["va"] * m["pa"]
        c["v2_sum"] += m["va"] * m["va"]
    c["peak_pu"] = max(c["peak_pu"], peak)


@kernel
def turned(c: Record, phase: int, cosine: float, sine: float) -> tuple[float, float]:
    """Return a phase's cosine and sine with its own turn in them."""
    own_cos = c["skew_cos"][phase]
    own_sin = c["skew_sin"][phase]
    return cosine * own_cos - sine * own_sin, sine * own_cos + cosine * own_sin


@kernel
def measure_power(k: Record, c: Record) -> None:
    """Close one millisecond: sliding means of power and voltage over 10 ms, and the current's clocks.

    Half a cycle at 50 Hz removes the double-frequency ripple of one phase or of unbalance.
    """
    scale = 2.0 / (k["phases"] * k["ticks_per_ms"])
    at = c["ring_at"]
    c["p_ring"][at] = c["p_sum"] * scale
    c["v2_ring"][at] = c["v2_sum"] * scale
    c["p_sum"] = 0.0
    c["v2_sum"] = 0.0
    c["ring_at"] = (at + 1) % RING_MS
    power = 0.0
    square = 0.0
    for j in range(RING_MS):
        power += c["p_ring"][j]
        square += c["v2_ring"][j]
    c["power_pu"] = power / RING_MS
    c["voltage_pu"] = math.sqrt(square / RING_MS)
    # Peaks come once per half cycle in a phase: the clocks run back slower than they run up.
    if c["peak_pu"] > WARM_LIMIT_PU:
        c["hot_ms"] = min(c["hot_ms"] + 1, 60)
    elif c["hot_ms"] > 0 and c["limit_pu"] >= HARD_LIMIT_PU:
        c["hot_ms"] -= 1
    if c["peak_pu"] > RATED_LIMIT_PU:
        c["warm_ms"] = min(c["warm_ms"] + 1, 10_000)
    elif c["warm_ms"] > 0:
        c["warm_ms"] -= 1
    if c["warm_ms"] >= 10_000:
        c["limit_pu"] = RATED_LIMIT_PU
    elif c["hot_ms"] >= 20:
        c["limit_pu"] = WARM_LIMIT_PU
    if c["peak_pu"] < 0.95 * c["limit_pu"] and c["warm_ms"] < 9_000:
        # Back below the limit: the short-time rating recovers over a second.
        c["hot_ms"] = 0 if c["warm_ms"] == 0 else c["hot_ms"]
        if c["warm_ms"] == 0:
            c["limit_pu"] = HARD_LIMIT_PU
    c["peak_pu"] = 0.0
