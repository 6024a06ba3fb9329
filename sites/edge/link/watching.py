"""What an uplink tells its watchers: figures for Prometheus, and whether broker and controller are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sites.edge.link.uplink import Uplink
from sites.observability import metrics
from sites.observability.health import Health

CONTROL_WITHIN_S: Final = 5.0
"""A controller that has published nothing for so long stands still or is gone."""
COUNT_EVERY: Final = 10
"""Rows are counted in every tenth report: that reads a table."""


def watch_uplink(uplink: Uplink, health: Health) -> Callable[[], None]:
    """Add an uplink's checks to its process's health; return what is to be called once a second."""

    def control_age_s() -> float:
        return time.time() - uplink.measured_us / 1e6

    def broker_fault() -> str:
        down = [connection.down_reason for connection in uplink.connections if not connection.is_up]
        return f"{len(down)} of {len(uplink.connections)} connections: {down[0]}" if down else ""

    def control_fault() -> str:
        age_s = control_age_s()
        if age_s <= CONTROL_WITHIN_S:
            return ""
        return f"measured nothing for {age_s:.0f} s" if uplink.measured_us else "has not measured anything yet"

    health.watch("broker", broker_fault)
    health.watch("control", control_fault)
    reports = 0

    def report() -> None:
        nonlocal reports
        metrics.EDGE_BORN.set(uplink.born_count)
        metrics.EDGE_DROPPED.set(uplink.dropped_count)
        metrics.EDGE_REFUSED.set(uplink.refused_count)
        metrics.EDGE_SAMPLES_LATE.set(uplink.samples_late)
        if uplink.measured_us:
            metrics.EDGE_CONTROL_AGE_S.set(control_age_s())
        if reports % COUNT_EVERY == 0:
            metrics.EDGE_OUTBOX_ROWS.set(uplink.waiting_rows())
            figures = uplink.outbox_figures()
            metrics.EDGE_OUTBOX_USED.set(figures.used_ratio)
            metrics.EDGE_OUTBOX_AGE_S.set(figures.oldest_s)
            metrics.EDGE_OUTBOX_UNWRITABLE.set(figures.is_unwritable)
            for stream, count in figures.dropped.items():
                metrics.EDGE_OUTBOX_DROPPED.labels(stream).set(count)
        reports += 1

    return report
