"""Slow windows of the loss detection, once per millisecond: frequency."""

from __future__ import annotations

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import CAUSE_FREQUENCY, CAUSE_NONE


@kernel
def watch_frequency(k: Record, c: Record, frequency_hz: float) -> int:
    """Run the slow window once per millisecond; return a cause, or 0."""
    if frequency_hz < k["low_hz"] or frequency_hz > k["high_hz"]:
        c["off_frequency_ms"] += 1
    else:
        c["off_frequency_ms"] = 0
    return CAUSE_FREQUENCY if c["off_frequency_ms"] >= k["frequency_hold_ms"] else CAUSE_NONE
