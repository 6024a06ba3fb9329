"""What the meter book keeps of a metric: whether it is stored, under which live column, and what is refused."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

from sites.metering.instants import OLDEST, instant_of_ms
from sites.wire.metrics import (
    ASSET_DECLARED,
    MAPPED_REGISTERS,
    NAMEPLATE_NAMES,
    NAMES_TEXT,
    NODE_METRICS,
    STANDING_METRICS,
    SYSTEM_METRICS,
    MetricType,
    by_name,
)

NODE_DECLARED: Final = {declaration.name: declaration for declaration in (*NODE_METRICS, *STANDING_METRICS)}
ASSET_STORED: Final = ASSET_DECLARED | by_name(MAPPED_REGISTERS)
NODE_UNSTORED: Final = frozenset(declaration.name for declaration in SYSTEM_METRICS)
"""The nameplate in births is not stored either: the registry holds the enrolled values, which decide."""
LIVE_TEXTS: Final = frozenset({MetricType.STRING})
"""Live values that are no readings."""

LIVE_FIELDS: Final = (
    "frequency_hz", "voltage_pu", "mode", "pcc_kw", "battery_kw", "pv_kw", "genset_kw", "load_kw", "soc_ratio",
    "temperature_c", "genset_running", "samples_late", "service_kw", "required_kw", "discharge_kw", "charge_kw",
    "usable_energy_kwh", "absorbable_energy_kwh", "saturates_in_s",
)  # fmt: skip
STANDING_FIELDS: Final = tuple(declaration.name for declaration in STANDING_METRICS)
STANDING: Final = frozenset(STANDING_FIELDS)
_LIVE: Final = frozenset(LIVE_FIELDS)


def problem_with(
    name: str, value: Any, asset: str, at: datetime | None, received_at: datetime, max_clock_ahead_s: float
) -> tuple[str, str] | None:
    """Return (error, detail) of a value that cannot be stored, or None."""
    declared = (ASSET_STORED if asset else NODE_DECLARED).get(name)
    if declared is None or "/" in name:
        return "metric_unknown", "not declared for " + ("an asset" if asset else "a site")
    if at is None or at < OLDEST:
        return "value_out_of_range", f"timestamp is {at}, accepted: from {OLDEST.year}"
    if at > received_at + timedelta(seconds=max_clock_ahead_s):
        return "timestamp_in_future", f"{at.isoformat()}, accepted: up to {max_clock_ahead_s:g} s ahead"
    if value is None:
        return None
    if declared.type is MetricType.BOOLEAN:
        return None if isinstance(value, bool) else ("metric_type_mismatch", f"{value!r:.60}, accepted: a boolean")
    if declared.type is MetricType.STRING:
        if declared.choices:
            if value in declared.choices:
                return None
            return "value_out_of_range", f"{value!r:.60}, accepted: {', '.join(declared.choices)}"
        if isinstance(value, str) and NAMES_TEXT.match(value):
            return None
        return "value_out_of_range", f"{value!r:.60}, accepted: up to 200 of a-z 0-9 _ : , and blanks"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "metric_type_mismatch", f"{value!r:.60}, accepted: a number"
    if not math.isfinite(value):
        return "value_out_of_range", f"{value!r}, accepted: a finite number"
    return None


def live_value(value: Any, kind: MetricType | None) -> Any:
    """Return a value as the live state holds it: an instant as one, a text that is not known as an empty one."""
    if kind is MetricType.DATETIME:
        return instant_of_ms(value)
    return "" if value is None and kind is MetricType.STRING else value


def is_unstored(name: str, asset: str, is_birth: bool) -> bool:
    if asset:
        return is_birth and (name in NAMEPLATE_NAMES or "/" in name)
    return name in NODE_UNSTORED or (is_birth and "/" in name)


def live_name(name: str, asset: str) -> str | None:
    """Return the column of the live state that a metric fills, or None."""
    if not asset:
        return name if name in _LIVE else None
    if name == "power_kw":
        column = f"{asset}_kw"
        return column if column in _LIVE else None
    if asset == "battery" and name in {"soc_ratio", "temperature_c"}:
        return name
    return "genset_running" if (asset, name) == ("genset", "running") else None
