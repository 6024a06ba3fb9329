"""DC sites for tests, and a closed loop over them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

SECOND = 10_000
"""Samples."""


def a_dc_site(**given: Any) -> SiteParameters:
    """Return a 48 V telecom site: 6 kW of rectifiers, 3 kW of load, three strings of 100 Ah."""
    values: dict[str, Any] = {
        "site_id": "dc-1",
        "name": "Mast 1",
        "kind": "telecom",
        "nominal_hz": 50.0,
        "nominal_voltage_v": 230.0,
        "phases": 1,
        "pcs_kva": 6.0,
        "battery_kwh": 15.36,
        "soc_ratio": 0.7,
        "reserve_kwh": 5.0,
        "pv_kw": 1.8,
        "pv_now_ratio": 0.25,
        "load_kw": 3.0,
        "genset_kw": 0.0,
        "import_limit_kw": 8.0,
        "export_limit_kw": 0.0,
        "switch_kind": "contactor",
        "bus": "dc48",
    }
    return SiteParameters(**(values | given))


def run(loop: ClosedLoop, seconds: float, grid_hz: float = 50.0) -> None:
    """Advance by a time at a constant frequency of the grid."""
    loop.advance(np.full(round(seconds * SECOND), grid_hz))
