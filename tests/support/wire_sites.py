"""A site's edge session with every kind of asset and plausible values, for tests of the wire."""

from __future__ import annotations

from typing import Any

from sites.wire.edge_session import EdgeSession
from sites.wire.messages import Message
from sites.wire.metrics import ASSET_METRICS, CONTROL_METRICS, NODE_METRICS, MetricType
from sites.wire.payload import Metric

NODE_VALUES: dict[str, Any] = {
    "frequency_hz": 49.987,
    "voltage_pu": 1.01,
    "mode": "grid_tied",
    "service_kw": 12.5,
    "stream_kw": -2.5,
    "required_kw": 12.0,
    "discharge_kw": 80.0,
    "charge_kw": 60.0,
    "usable_energy_kwh": 120.0,
    "absorbable_energy_kwh": 33.0,
    "saturates_in_s": 86_400.0,
    "samples_late": 0,
}
BATTERY_VALUES: dict[str, Any] = {"power_kw": 12.5, "soc_ratio": 0.61, "temperature_c": 25.0}
REPORTED_IDLE: dict[str, Any] = {
    "reported/state": "idle",
    "reported/hash": "",
    "reported/sequence": 0,
    "reported/refused_hash": "",
    "reported/refusal": "",
    "reported/refused_sequence": 0,
    "reported_stream/state": "idle",
    "reported_stream/hash": "",
    "reported_stream/sequence": 0,
    "reported_stream/refused_hash": "",
    "reported_stream/refusal": "",
    "reported_stream/refused_sequence": 0,
    "answer/state": "none",
    "answer/hash": "",
    "answer/sequence": 0,
    "answer/error": "",
    "keys/ids": "00" * 8,
    "keys/generation": 0,
    "keys/hash": "",
    "keys/refused_hash": "",
    "keys/refusal": "",
}
METER: dict[str, Any] = {
    "meter_class": "0.5S",
    "meter_calibrated_at": 1_750_000_000_000,
    "meter_uncertainty_ratio": 0.005,
}
DEVICE_VALUES: dict[str, dict[str, Any]] = {
    "pcc": {"power_kw": -3.0, "rated_kw": 100.0, "export_limit_kw": 50.0, **METER},
    "battery": {**BATTERY_VALUES, "rated_kw": 100.0, "capacity_kwh": 200.0, "reserve_kwh": 40.0, **METER},
    "pv": {"power_kw": 8.0, "rated_kw": 20.0, **METER},
    "genset": {"power_kw": 0.0, "running": False, "rated_kw": 60.0, **METER},
    "load": {"power_kw": -17.5, "rated_kw": 40.0, **METER},
    "control": REPORTED_IDLE,
}


def an_edge_session(site_id: str = "site-1", host_id: str = "vpp", bd_seq: int = 1) -> EdgeSession:
    """Return a session of a site with one asset of each kind and the control device, its will taken."""
    devices = {kind: list(declarations) for kind, declarations in ASSET_METRICS.items()}
    session = EdgeSession(site_id, host_id, list(NODE_METRICS), {**devices, "control": list(CONTROL_METRICS)})
    session.will(bd_seq)
    return session


def births_of(session: EdgeSession, now_ms: int) -> list[Message]:
    """Return a session's births with plausible values."""
    return session.births(now_ms, NODE_VALUES, DEVICE_VALUES)


def interval_metrics(number: int, starts_at_ms: int) -> list[Metric]:
    """Return one numbered interval of an asset."""
    whole = {"into_bus_uwh": 5_000, "from_bus_uwh": 0, "service_into_uwh": 4_000, "service_from_uwh": 0, "fuel_ul": 0}
    whole |= {"register_into_uwh": 5_000 * number, "register_from_uwh": 0}
    return [
        Metric("interval/number", type=MetricType.INT64, value=number),
        Metric("interval/starts_at", type=MetricType.DATETIME, value=starts_at_ms),
        Metric("interval/ends_at", type=MetricType.DATETIME, value=starts_at_ms + 60_000),
        *(Metric(f"interval/{name}", type=MetricType.INT64, value=value) for name, value in whole.items()),
        Metric("interval/quality", type=MetricType.STRING, value="good"),
    ]
