"""The armed product curve: what power a site owes at its own measured frequency."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

READY: Final = 0
RUNNING: Final = 1
RELEASING: Final = 2
RESTING: Final = 3

EARLY_HZ: Final = 0.001
"""A trigger fires this much before its threshold: at the threshold itself the estimate's noise would toss a coin."""


@kernel
def follow(value: float, target: float, step: float) -> float:
    """Move a value towards a target by at most a step."""
    return min(max(target, value - step), value + step)


@kernel
def curve_share(c: Record, deviation_hz: float) -> float:
    """Return the share of contracted power [0..1] at a deviation in the curve's own direction [Hz]."""
    if deviation_hz <= c["curve_hz"][0]:
        # Left of the first point nothing is due, also where the curve starts above zero.
        return c["curve_share"][0] if deviation_hz == c["curve_hz"][0] else 0.0
    last = c["points"] - 1
    for j in range(last):
        x1 = c["curve_hz"][j + 1]
        if deviation_hz <= x1:
            x0 = c["curve_hz"][j]
            y0 = c["curve_share"][j]
            return y0 + (c["curve_share"][j + 1] - y0) * (deviation_hz - x0) / (x1 - x0)
    return c["curve_share"][last]


@kernel
def run_trigger(k: Record, c: Record, sample: int, outside: bool) -> float:
    """Advance a latched response by one millisecond; return its share of the contracted power [0..1].

    Ramp, full share, release, rest: in this order whatever the frequency does, so that crossing the
    threshold again changes nothing. It is ready again once the frequency has been back inside. Its clock
    is the samples': it goes on while the site is islanded and nobody asks.
    """
    stage = c["trigger_stage"]
    full = c["curve_share"][0]
    share = c["trigger_share"]
    elapsed_ms = (sample - c["trigger_since"]) // k["ticks_per_ms"]
    if stage == READY:
        share = 0.0
        if outside:
            stage = RUNNING
    if stage == RUNNING:
        if share < full:
            share = min(share + c["trigger_ramp_per_ms"], full)
            c["trigger_since"] = sample
        elif elapsed_ms >= c["trigger_sustain_ms"]:
            stage = RELEASING
    elif stage == RELEASING:
        share = max(share - c["trigger_release_per_ms"], 0.0)
        if share == 0.0:
            stage = RESTING
            c["trigger_since"] = sample
    elif stage == RESTING and elapsed_ms >= c["trigger_rest_ms"] and not outside:
        stage = READY
    c["trigger_stage"] = stage
    c["trigger_share"] = share
    return share


@kernel
def required_power(k: Record, c: Record, sample: int, frequency_hz: float) -> float:
    """Return the service power due now [pu], positive into the bus; 0 outside the armed window.

    Called once per millisecond: a trigger's clock runs in here. ``armed_sign`` 0 is a symmetric curve.
    """
    if c["armed"] == 0 or sample < c["armed_starts"] or sample >= c["armed_ends"]:
        return 0.0
    c["armed_pu"] = follow(c["armed_pu"], c["armed_goal_pu"], c["armed_step_pu"])
    deviation_hz = k["nominal_rad_s"] / 6.283185307179586 - frequency_hz
    sign = c["armed_sign"]
    if sign == 0.0:
        sign = 1.0 if deviation_hz > 0.0 else -1.0
    if c["armed_latches"]:
        share = run_trigger(k, c, sample, deviation_hz * sign >= c["curve_hz"][0] - EARLY_HZ)
    else:
        share = curve_share(c, deviation_hz * sign)
    return sign * c["armed_pu"] * share


@kernel
def stream_power(c: Record, sample: int) -> float:
    """Return the power of a setpoint stream [pu], positive into the bus; it ramps to 0 when no signal is fresh.

    Called once per millisecond.
    """
    goal = c["stream_goal_pu"] if sample < c["stream_until"] else 0.0
    c["stream_pu"] = follow(c["stream_pu"], goal, c["stream_ramp_per_ms"])
    return c["stream_pu"]


@kernel
def usable_energy(k: Record, soc_ratio: float) -> float:
    """Energy above the reserve, at the converter's terminals [pu·s of its rating], >= 0."""
    return max(0.0, soc_ratio - k["reserve_ratio"]) * k["capacity_pu_s"] * k["discharge_efficiency"]


@kernel
def absorbable_energy(k: Record, soc_ratio: float) -> float:
    """Room for charging up to 95 %, at the converter's terminals [pu·s of its rating], >= 0.

    The cells' own: what converter and resistance lose on the way would come on top, but little of it at a small
    power, and the promise has to hold at any.
    """
    return max(0.0, 0.95 - soc_ratio) * k["capacity_pu_s"]


@kernel
def limit_by_energy(k: Record, soc_ratio: float, power_pu: float) -> float:
    """Fade a power out within the last two seconds of usable or absorbable energy."""
    if power_pu > 0.0:
        return min(power_pu, usable_energy(k, soc_ratio) * 0.5)
    return max(power_pu, -absorbable_energy(k, soc_ratio) * 0.5)
