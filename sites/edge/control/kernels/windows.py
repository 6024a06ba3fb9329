"""Windows of the grid code: voltage, frequency and its rate of change, each stage with its own clock in ms.

To trip here means to open the static switch: the site leaves the grid and its load goes on. A stage's clock runs
while its quantity is beyond the level and starts anew when it comes back. The voltage is each phase's r.m.s. over
a whole number of half cycles at the utility side, the worst phase counts; the frequency is the PLL's, which a jump
of the phase moves by less than half a hertz for a tenth of a second.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.records import (
    CAUSE_FREQUENCY,
    CAUSE_NONE,
    CAUSE_ROCOF,
    CAUSE_VOLTAGE,
    ROCOF_STEPS,
)

VOLTAGE_BELOW: Final = 0
VOLTAGE_ABOVE: Final = 1
FREQUENCY_BELOW: Final = 2
FREQUENCY_ABOVE: Final = 3
ROCOF_ABOVE: Final = 4
EDGE: Final = 1e-9
"""A voltage at the level itself is not beyond it, whatever its square rounds to."""


@kernel
def gather_squares(k: Record, c: Record, m: Record) -> None:
    """Add one sample of the utility side's voltages to this millisecond [pu of peak, squared]."""
    square = c["grid_square"]
    square[0] += m["ua"] * m["ua"]
    if k["phases"] == 3:
        square[1] += m["ub"] * m["ub"]
        square[2] += m["uc"] * m["uc"]


@kernel
def reset_windows(k: Record, c: Record, frequency_hz: float) -> None:
    """Begin as on a healthy grid: after a change of the switch the past says nothing."""
    for phase in range(3):
        for at in range(k["rms_ms"]):
            c["grid_ring"][phase][at] = 0.5 * k["ticks_per_ms"]
        c["grid_sum"][phase] = 0.5 * k["ticks_per_ms"] * k["rms_ms"]
        c["grid_square"][phase] = 0.0
    for at in range(ROCOF_STEPS):
        c["rocof_ring"][at] = frequency_hz
    c["rocof_hz_per_s"] = 0.0
    for stage in range(k["stages"]):
        c["stage_ms"][stage] = 0


@kernel
def close_millisecond(k: Record, c: Record, phase: int) -> float:
    """Move one phase's sliding mean on by a millisecond; return its mean square [1 = nominal]."""
    at = c["grid_at"]
    ring = c["grid_ring"][phase]
    square = c["grid_square"][phase]
    c["grid_square"][phase] = 0.0
    if not abs(square) < 1e9:
        # A sample that is no number: the window is filled with what it held, and forgets it in time.
        square = ring[at]
    c["grid_sum"][phase] += square - ring[at]
    ring[at] = square
    if at == 0:
        # Exact again once per window: rounding must not add up over years.
        total = 0.0
        for j in range(k["rms_ms"]):
            total += ring[j]
        c["grid_sum"][phase] = total
    return c["grid_sum"][phase] * 2.0 / (k["ticks_per_ms"] * k["rms_ms"])


@kernel
def measure_rocof(k: Record, c: Record, frequency_hz: float) -> None:
    """Follow the rate of change of the frequency over the stage's window, in steps of a tenth of it."""
    c["rocof_ms"] += 1
    if c["rocof_ms"] < k["rocof_step_ms"]:
        return
    c["rocof_ms"] = 0
    at = c["rocof_at"]
    c["rocof_hz_per_s"] = (frequency_hz - c["rocof_ring"][at]) * 1000.0 / (ROCOF_STEPS * k["rocof_step_ms"])
    c["rocof_ring"][at] = frequency_hz
    c["rocof_at"] = (at + 1) % ROCOF_STEPS


@kernel
def count_stage(kind: int, level: float, clock_ms: int, low: float, high: float, hz: float, rocof: float) -> int:
    """Return a stage's clock after this millisecond [ms]; for a rate of change negative while it falls."""
    if kind == VOLTAGE_BELOW:
        return clock_ms + 1 if low < level * level - EDGE else 0
    if kind == VOLTAGE_ABOVE:
        return clock_ms + 1 if high > level * level + EDGE else 0
    if kind == FREQUENCY_BELOW:
        return clock_ms + 1 if hz < level else 0
    if kind == FREQUENCY_ABOVE:
        return clock_ms + 1 if hz > level else 0
    # A blip rises and falls again: two rates of opposite sign are no lasting one.
    if rocof > level:
        return max(clock_ms, 0) + 1
    if rocof < -level:
        return min(clock_ms, 0) - 1
    return 0


@kernel
def watch_windows(k: Record, c: Record, frequency_hz: float) -> int:
    """Run all stages once per millisecond; return the cause of the first whose time has come, or 0."""
    low = close_millisecond(k, c, 0)
    high = low
    if k["phases"] == 3:
        for phase in range(1, 3):
            square = close_millisecond(k, c, phase)
            low = min(low, square)
            high = max(high, square)
    at = c["grid_at"] + 1
    c["grid_at"] = at if at < k["rms_ms"] else 0
    measure_rocof(k, c, frequency_hz)
    for stage in range(k["stages"]):
        kind = k["stage_kind"][stage]
        level = k["stage_level"][stage]
        clock = count_stage(kind, level, c["stage_ms"][stage], low, high, frequency_hz, c["rocof_hz_per_s"])
        c["stage_ms"][stage] = clock
        if abs(clock) >= k["stage_hold_ms"][stage]:
            if kind <= VOLTAGE_ABOVE:
                return CAUSE_VOLTAGE
            return CAUSE_ROCOF if kind == ROCOF_ABOVE else CAUSE_FREQUENCY
    return CAUSE_NONE
