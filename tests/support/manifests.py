"""Enrolment manifests for tests."""

from __future__ import annotations

from typing import Any


def a_manifest(count: int = 1, *, assets: tuple[str, ...] = ("pcc", "battery", "load"), **values: Any) -> list[dict]:
    """Return a manifest of sites ``site-0001`` …, each with one asset of each kind."""
    return [
        {
            "site_id": f"site-{index + 1:04d}",
            "name": f"Site {index + 1}",
            "grid_zone": "GB",
            "time_zone": "Europe/London",
            "nominal_hz": 50.0,
            "nominal_voltage_v": 230.0,
            "phases": 3,
            "loss_of_link": "hold",
            "assets": [
                {"name": kind, "kind": kind, "rated_kw": 50.0, "capacity_kwh": 100.0, "reserve_kwh": 20.0}
                for kind in assets
            ],
            **values,
        }
        for index in range(count)
    ]
