"""Frames for the fleet page's websocket: figures as numbers, for the page to write with their units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vpp.console.aggregates import FleetFrame


def fleet_frame(
    frame: FleetFrame, *, polled: Mapping[str, Any], is_linked: bool, refused_aggregates: int, at_s: float
) -> dict[str, Any]:
    """Return the fleet page's frame: figures as numbers, for the page to write with their units."""
    return {
        "type": "fleet",
        "at_ms": round(at_s * 1000),
        "data_at_ms": None if frame.data_at_s is None else round(frame.data_at_s * 1000),
        "data_age_s": None if frame.data_at_s is None else round(max(0.0, at_s - frame.data_at_s), 1),
        "is_linked": is_linked,
        "frequency_hz": None if frame.frequency_hz is None else round(frame.frequency_hz, 4),
        "service_kw": round(frame.service_kw, 1),
        "required_kw": round(frame.required_kw, 1),
        "sites_total": frame.sites_total,
        "sites_fresh": frame.sites_fresh,
        "by_mode": dict(frame.by_mode),
        "islanded": list(frame.islanded),
        "islanded_total": frame.islanded_total,
        "workers": [{"name": name, "age_s": age_s} for name, age_s in frame.workers],
        "refused_aggregates": refused_aggregates,
        "figures": dict(polled),
    }


def history_frame(points: Iterable[tuple[float, float | None, float, float]]) -> dict[str, Any]:
    """Return the last ten minutes as columns for the charts."""
    rows = list(points)
    return {
        "type": "history",
        "t_s": [round(row[0], 2) for row in rows],
        "frequency_hz": [None if row[1] is None else round(row[1], 4) for row in rows],
        "required_kw": [round(row[2], 1) for row in rows],
        "service_kw": [round(row[3], 1) for row in rows],
    }
