"""The live aggregate of many sites: what pages and operators see once a second."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sites.metering.batches import LiveRow

MAX_ISLANDED: Final = 50
"""Islanded sites told by name; ``islanded_total`` counts all."""


@dataclass(frozen=True, slots=True)
class LiveAggregate:
    """Sums over the sites whose last value is fresh; a site that is silent counts in the total only."""

    at: datetime
    sites_total: int
    sites_fresh: int
    by_mode: dict[str, int]
    frequency_hz: float | None
    """Median over the fresh sites on the grid: an island's own frequency says nothing about the grid."""
    service_kw: float
    """Delivered above the declared baselines, positive into the buses [kW]."""
    required_kw: float
    """Due by the armed curves at the sites' own frequencies [kW]."""
    discharge_kw: float
    charge_kw: float
    usable_energy_kwh: float
    islanded: list[str]
    """Site ids that keep their load alone, first by name, at most MAX_ISLANDED."""
    islanded_total: int

    def to_json(self) -> bytes:
        """Return the message on ``vpp/live/…``: UTF-8 JSON, rounded to what a page shows."""
        return json.dumps(
            {
                "at": self.at.isoformat(timespec="milliseconds"),
                "sites_total": self.sites_total,
                "sites_fresh": self.sites_fresh,
                "by_mode": self.by_mode,
                "frequency_hz": None if self.frequency_hz is None else round(self.frequency_hz, 4),
                "service_kw": round(self.service_kw, 3),
                "required_kw": round(self.required_kw, 3),
                "discharge_kw": round(self.discharge_kw, 3),
                "charge_kw": round(self.charge_kw, 3),
                "usable_energy_kwh": round(self.usable_energy_kwh, 3),
                "islanded": self.islanded,
                "islanded_total": self.islanded_total,
            },
            separators=(",", ":"),
        ).encode()


def aggregate(rows: Iterable[LiveRow], *, at: datetime, fresh_within_s: float, sites_total: int) -> LiveAggregate:
    """Return the aggregate of the newest rows, one per site.

    A row older than ``fresh_within_s`` adds to nothing: an old value summed in would look delivered.
    """
    oldest = at - timedelta(seconds=fresh_within_s)
    fresh = [row for row in rows if row.measured_at >= oldest]
    on_grid = [
        row.values["frequency_hz"]
        for row in fresh
        if row.values.get("mode") == "grid_tied" and row.values.get("frequency_hz") is not None
    ]
    islanded = sorted(row.site_id for row in fresh if row.values.get("mode") in {"islanding", "islanded"})

    def total(name: str) -> float:
        return float(sum(row.values.get(name) or 0.0 for row in fresh))

    modes: Counter[str] = Counter(_mode(row.values) for row in fresh)
    return LiveAggregate(
        at=at,
        sites_total=sites_total,
        sites_fresh=len(fresh),
        by_mode=dict(sorted(modes.items())),
        frequency_hz=statistics.median(on_grid) if on_grid else None,
        service_kw=total("service_kw"),
        required_kw=total("required_kw"),
        discharge_kw=total("discharge_kw"),
        charge_kw=total("charge_kw"),
        usable_energy_kwh=total("usable_energy_kwh"),
        islanded=islanded[:MAX_ISLANDED],
        islanded_total=len(islanded),
    )


def _mode(values: dict[str, Any]) -> str:
    return str(values.get("mode") or "unknown")
