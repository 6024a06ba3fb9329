"""What a site tells of itself once a second: its controller's measurements as metrics of the contract."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from sites.edge.control.exchange import LIMIT_NAMES, MODE_NAMES, Counts
from sites.edge.control.names import CAUSE_NAMES, PATH_NAMES, active_inputs, alarm_text, standing_alarms
from sites.edge.link.profile import AssetNameplate
from sites.wire.metrics import ASSET_METRICS, NAMEPLATE_NAMES, NODE_METRICS

LIVE_NAMES: Final = tuple(d.name for d in NODE_METRICS if d.name not in {"mode", "samples_late"})


def node_values(measured: np.void, counts: Counts) -> dict[str, Any]:
    """Return the live values of the site from one MEASURED_DTYPE row and the loop's counters."""
    values: dict[str, Any] = {name: known(measured[name]) for name in LIVE_NAMES}
    values["mode"] = mode_of(measured)
    values["samples_late"] = counts.samples_late
    return values


def standing_values(measured: np.void, counts: Counts) -> dict[str, Any]:
    """Return what the site stands at."""
    alarms = standing_alarms(measured)
    decided_at_us = int(measured["decided_at_us"])
    return {
        "alarms": ",".join(alarm.name for alarm in alarms if alarm.is_latched),
        "warnings": ",".join(alarm.name for alarm in alarms if not alarm.is_latched),
        "lockout_cause": alarm_text(int(measured["alarm"])),
        "inputs": ",".join(active_inputs(measured)),
        "tiers_closed": int(measured["tiers_closed"]),
        "limited_by": LIMIT_NAMES[int(measured["limited_by"])],
        "decided_at": decided_at_us // 1000 if decided_at_us else None,
        "decision_cause": CAUSE_NAMES[int(measured["decided_cause"])],
        "decision_path": PATH_NAMES[int(measured["decided_path"])],
        "requests_refused": int(measured["refusals"]),
        "ticks_overrun": counts.overruns,
        "samples_caught_up": counts.samples_caught_up,
    }


def asset_values(kind: str, measured: np.void) -> dict[str, Any]:
    """Return the live values of the asset of a kind."""
    values: dict[str, Any] = {"power_kw": known(measured[f"{kind}_kw"])}
    if kind == "battery":
        values["soc_ratio"] = known(measured["soc_ratio"])
        values["temperature_c"] = known(measured["temperature_c"])
    elif kind == "genset":
        values["running"] = bool(measured["genset_running"])
    return values


def nameplate_values(asset: AssetNameplate) -> dict[str, Any]:
    """Return what an asset tells in births only."""
    names = (declaration.name for declaration in ASSET_METRICS[asset.kind])
    return {name: getattr(asset, name) for name in names if name in NAMEPLATE_NAMES}


def mode_of(measured: np.void) -> str:
    """Return the name of the mode that the site is in."""
    return MODE_NAMES[int(measured["mode"])]


def known(value: Any) -> float | None:
    """Return a measurement, or None where none is known: a NaN has no place on the wire."""
    number = float(value)
    return number if math.isfinite(number) else None
