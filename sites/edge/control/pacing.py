"""The clock of a paced loop: deadlines, lateness and what it cost, counted without the interpreter's lock.

A Python thread can hold the interpreter for milliseconds (measured: p99 of 6.4 ms beside a thread that parses
JSON), so the loop that must wake each millisecond does not come back to Python at all: a driver enters one
compiled call that sleeps, runs its samples and counts until ``stop`` is set. Deadlines are absolute: a late
wake-up is caught up tick by tick, and no sample is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numba.core.config
import numpy as np
import numpy.typing as npt
from numba import types

from sites.edge.control.kernels.compiled import Record, kernel

StructuredArray = npt.NDArray[np.void]
Int64Array = npt.NDArray[np.int64]

CLOCK_MONOTONIC: Final = 1
TIMER_ABSTIME: Final = 1
NS_PER_S: Final = 1_000_000_000
KEPT_TICKS: Final = 65_536
"""Ticks whose wake latency and step time are kept: the last minute of a 1 kHz loop."""

PACE: Final = np.dtype(
    [
        (name, np.int64)
        for name in (
            # Schedule: tick n is due at starts_ns + (n + 1) * period_ns of the monotonic clock.
            "period_ns", "starts_ns", "ticks", "began_ns", "in_time", "stop",
            # Counters.
            "late", "overruns", "worst_wake_ns", "worst_step_ns",
            # Place in the samples, the record and the metering intervals.
            "sample", "offset", "rows", "rows_public", "next_boundary", "interval_samples", "boundaries",
            "boundaries_public",
        )
    ],
    align=True,
)  # fmt: skip

_compiler: Any = numba.core.config
if _compiler.DISABLE_JIT:

    def monotonic_ns(clock: Any) -> int:
        """Read the monotonic clock [ns]."""
        return time.clock_gettime_ns(CLOCK_MONOTONIC)

    def sleep_until_ns(clock: Any, deadline_ns: int) -> int:
        """Sleep until an instant of the monotonic clock; a signal may end it early. Returns the clock [ns]."""
        time.sleep(max(0, deadline_ns - monotonic_ns(clock)) / NS_PER_S)
        return monotonic_ns(clock)

else:
    _clock_gettime: Callable[..., int] = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
    _clock_nanosleep: Callable[..., int] = types.ExternalFunction(
        "clock_nanosleep", types.int32(types.int32, types.int32, types.uintp, types.uintp)
    )

    @kernel
    def monotonic_ns(clock: Any) -> int:
        """Read the monotonic clock [ns]; ``clock`` is room for a timespec, int64[2]."""
        _clock_gettime(types.int32(CLOCK_MONOTONIC), clock.ctypes.data)
        return clock[0] * NS_PER_S + clock[1]

    @kernel
    def sleep_until_ns(clock: Any, deadline_ns: int) -> int:
        """Sleep until an instant of the monotonic clock; a signal may end it early. Returns the clock [ns]."""
        clock[0] = deadline_ns // NS_PER_S
        clock[1] = deadline_ns % NS_PER_S
        _clock_nanosleep(types.int32(CLOCK_MONOTONIC), types.int32(TIMER_ABSTIME), clock.ctypes.data, np.uintp(0))
        return monotonic_ns(clock)


@kernel
def begin_tick(q: Record, clock: Any, wakes: Any) -> None:
    """Wait until the next tick is due and note how late the wake-up came."""
    deadline = q["starts_ns"] + (q["ticks"] + 1) * q["period_ns"]
    now = monotonic_ns(clock)
    if now < deadline:
        # What passed before the loop first stood in time is its start, not its lateness.
        q["in_time"] = 1
    while now < deadline and q["stop"] == 0:
        now = sleep_until_ns(clock, deadline)
    wake = max(now - deadline, 0) * q["in_time"]
    wakes[q["ticks"] % wakes.shape[0]] = wake
    q["worst_wake_ns"] = max(q["worst_wake_ns"], wake)
    if wake > q["period_ns"]:
        q["late"] += 1
    q["began_ns"] = now


@kernel
def end_tick(q: Record, clock: Any, steps: Any) -> None:
    """Note what the tick's samples cost; counts the tick."""
    step = monotonic_ns(clock) - q["began_ns"]
    steps[q["ticks"] % steps.shape[0]] = step
    q["worst_step_ns"] = max(q["worst_step_ns"], step)
    if step > q["period_ns"]:
        q["overruns"] += 1
    q["ticks"] += 1


@dataclass(frozen=True, slots=True)
class PaceFigures:
    """What a paced loop counted."""

    ticks: int
    late: int
    """Ticks that began more than one period after their time."""
    overruns: int
    """Ticks whose samples took longer than one period."""
    wake_us: dict[str, float]
    """Wake latency [us] over the kept ticks: p50, p99, p99.99; max over all."""
    step_us: dict[str, float]
    """Time for the samples of one tick [us], the same."""


class Pace:
    """Schedule and counters of one paced loop, in memory that its thread and others share.

    Everything is allocated here, before the loop's thread asks for real time.
    """

    def __init__(self, *, period_ns: int, starts_ns: int, kept_ticks: int = KEPT_TICKS) -> None:
        """``starts_ns``: instant of the loop's first sample on the monotonic clock; its tick ends a period later."""
        self.record: StructuredArray = np.zeros(1, PACE)
        self.record["period_ns"] = period_ns
        self.record["starts_ns"] = starts_ns
        self.record["next_boundary"] = -1
        self.wake_ns: Int64Array = np.zeros(kept_ticks, np.int64)
        self.step_ns: Int64Array = np.zeros(kept_ticks, np.int64)
        self.clock: Int64Array = np.zeros(2, np.int64)

    def stop(self) -> None:
        """Let the loop return after its present tick; from any thread."""
        self.record["stop"] = 1

    @property
    def ticks(self) -> int:
        """Ticks run so far."""
        return int(self.record["ticks"][0])

    @property
    def late_or_overrun(self) -> int:
        """Ticks so far that began too late or took too long."""
        return int(self.record["late"][0] + self.record["overruns"][0])

    def lag_s(self, now_ns: int) -> float:
        """Return how far the samples are behind the clock [s], 0 when the next tick is not due yet."""
        q = self.record[0]
        return max(0.0, float(now_ns - (q["starts_ns"] + (q["ticks"] + 1) * q["period_ns"])) / NS_PER_S)

    def figures(self) -> PaceFigures:
        """Return what was counted, once the loop stands."""
        q = self.record[0]
        return PaceFigures(
            ticks=int(q["ticks"]),
            late=int(q["late"]),
            overruns=int(q["overruns"]),
            wake_us=percentiles_us(self.wake_ns[: self.ticks], int(q["worst_wake_ns"])),
            step_us=percentiles_us(self.step_ns[: self.ticks], int(q["worst_step_ns"])),
        )


def percentiles_us(values_ns: Int64Array, worst_ns: int) -> dict[str, float]:
    """Return p50, p99, p99.99 and the largest [us]; zeros when there is nothing."""
    if not len(values_ns):
        return {"p50": 0.0, "p99": 0.0, "p99.99": 0.0, "max": 0.0}
    p50, p99, p9999 = np.percentile(values_ns, (50.0, 99.0, 99.99)) / 1000.0
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "p99.99": round(float(p9999), 1)} | {
        "max": round(worst_ns / 1000.0, 1)
    }
