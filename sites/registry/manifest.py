"""What an enrolment manifest may hold: a JSON list of sites, checked field by field, pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sites.core.readings import METER_CLASSES

ASSET_KINDS: Final = ("pcc", "battery", "pv", "genset", "load")
LOSS_OF_LINK: Final = ("hold", "release")
RESERVED_NAMES: Final = ("control", "record", "waveform")
"""Names that a site's virtual device and its numbered streams already have on the wire."""
MAX_SITES: Final = 100_000
MAX_ASSETS: Final = 64

SITE_FIELDS: Final = (
    "site_id", "name", "grid_zone", "time_zone", "nominal_hz", "nominal_voltage_v", "phases", "loss_of_link", "assets"
)  # fmt: skip
METER_FIELDS: Final = ("meter_class", "meter_calibrated_on", "meter_uncertainty_ratio")
ASSET_FIELDS: Final = ("name", "kind", "rated_kw", "export_limit_kw", "capacity_kwh", "reserve_kwh", *METER_FIELDS)
OPTIONAL_ASSET_FIELDS: Final = ("export_limit_kw", "capacity_kwh", "reserve_kwh")


class ManifestError(ValueError):
    """A manifest that cannot be enrolled; the message names site, field, what it held and what is accepted."""


@dataclass(frozen=True, slots=True)
class AssetEntry:
    """One asset as the manifest gives it."""

    name: str
    kind: str
    rated_kw: float
    export_limit_kw: float
    capacity_kwh: float
    reserve_kwh: float
    meter_class: str = ""
    meter_calibrated_on: date | None = None
    meter_uncertainty_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """One site as the manifest gives it."""

    site_id: str
    name: str
    grid_zone: str
    time_zone: str
    nominal_hz: float
    nominal_voltage_v: float
    phases: int
    loss_of_link: str
    assets: tuple[AssetEntry, ...]


def parse_manifest(manifest: object) -> list[SiteEntry]:
    """Return the sites of a manifest.

    Raises ManifestError on the first field that is missing, unknown or out of its range.
    """
    if not isinstance(manifest, list) or not 1 <= len(manifest) <= MAX_SITES:
        raise ManifestError(f"manifest is {_short(manifest)}, accepted: a list of 1 to {MAX_SITES} sites")
    sites = [_site(raw, f"site number {index + 1}") for index, raw in enumerate(manifest)]
    seen: set[str] = set()
    for site in sites:
        if site.site_id in seen:
            raise ManifestError(f"site {site.site_id}: site_id stands twice, accepted: each site once")
        seen.add(site.site_id)
    return sites


def _site(raw: object, where: str) -> SiteEntry:
    if not isinstance(raw, dict):
        raise ManifestError(f"{where} is {_short(raw)}, accepted: an object")
    site_id = _text(raw, "site_id", where, r"[A-Za-z0-9_-]{1,64}", "1 to 64 of A-Z a-z 0-9 _ -")
    where = f"site {site_id}"
    _only(raw, SITE_FIELDS, where)
    assets_raw = raw.get("assets")
    if not isinstance(assets_raw, list) or not 1 <= len(assets_raw) <= MAX_ASSETS:
        raise ManifestError(f"{where}: assets is {_short(assets_raw)}, accepted: a list of 1 to {MAX_ASSETS} assets")
    assets = tuple(_asset(asset, where) for asset in assets_raw)
    names = [asset.name for asset in assets]
    for name in names:
        if names.count(name) > 1:
            raise ManifestError(f"{where}: assets name {name!r} twice, accepted: each name once")
    if sum(asset.kind == "pcc" for asset in assets) != 1:
        raise ManifestError(f"{where}: assets hold {sum(a.kind == 'pcc' for a in assets)} pcc, accepted: exactly one")
    return SiteEntry(
        site_id=site_id,
        name=_text(raw, "name", where, r"[^\x00-\x1f]{1,100}", "1 to 100 printable characters"),
        grid_zone=_text(raw, "grid_zone", where, r"[A-Za-z0-9_-]{1,16}", "1 to 16 of A-Z a-z 0-9 _ -"),
        time_zone=_time_zone(raw, where),
        nominal_hz=_number(raw, "nominal_hz", where, lambda x: x in {50.0, 60.0}, "50 or 60"),
        nominal_voltage_v=_number(raw, "nominal_voltage_v", where, lambda x: 50.0 <= x <= 36_000.0, "50 to 36000"),
        phases=int(_number(raw, "phases", where, lambda x: x in {1.0, 3.0}, "1 or 3")),
        loss_of_link=_choice(raw, "loss_of_link", where, LOSS_OF_LINK),
        assets=assets,
    )


def _asset(raw: object, where: str) -> AssetEntry:
    if not isinstance(raw, dict):
        raise ManifestError(f"{where}: an asset is {_short(raw)}, accepted: an object")
    name = _text(raw, "name", f"{where}: asset", r"[A-Za-z0-9_-]{1,32}", "1 to 32 of A-Z a-z 0-9 _ -")
    if name in RESERVED_NAMES:
        raise ManifestError(f"{where}: asset name is {name!r}, accepted: any but {', '.join(RESERVED_NAMES)}")
    where = f"{where}: asset {name}"
    _only(raw, ASSET_FIELDS, where)
    kind = _choice(raw, "kind", where, ASSET_KINDS)

    def amount(key: str) -> float:
        if key in OPTIONAL_ASSET_FIELDS and key not in raw:
            return 0.0
        return _number(raw, key, where, lambda x: 0.0 <= x <= 1e6, "0 to 1000000")

    capacity_kwh, reserve_kwh = amount("capacity_kwh"), amount("reserve_kwh")
    if reserve_kwh > capacity_kwh:
        raise ManifestError(f"{where}: reserve_kwh is {reserve_kwh:g}, accepted: up to its capacity {capacity_kwh:g}")
    nameplate = (name, kind, amount("rated_kw"), amount("export_limit_kw"), capacity_kwh, reserve_kwh)
    return AssetEntry(*nameplate, *_meter(raw, where))


def _meter(raw: dict[Any, Any], where: str) -> tuple[str, date | None, float | None]:
    """Return accuracy class, day of calibration and uncertainty of an asset's meter, each where it is given."""
    accuracy = _choice(raw, "meter_class", where, METER_CLASSES) if "meter_class" in raw else ""
    calibrated_on, text = None, raw.get("meter_calibrated_on")
    if text is not None:
        try:
            calibrated_on = date.fromisoformat(text)
        except (TypeError, ValueError):
            raise ManifestError(
                f"{where}: meter_calibrated_on is {_short(text)}, accepted: a date such as 2026-03-01"
            ) from None
    uncertainty = None
    if "meter_uncertainty_ratio" in raw:
        uncertainty = _number(raw, "meter_uncertainty_ratio", where, lambda x: 0.0 <= x <= 1.0, "0 to 1")
    return accuracy, calibrated_on, uncertainty


def _only(raw: dict[Any, Any], fields: tuple[str, ...], where: str) -> None:
    for key in raw:
        if key not in fields:
            raise ManifestError(f"{where}: {_short(key)} is not a field, accepted: {', '.join(fields)}")


def _text(raw: dict[Any, Any], key: str, where: str, pattern: str, accepted: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
        raise ManifestError(f"{where}: {key} is {_short(value)}, accepted: {accepted}")
    return value


def _choice(raw: dict[Any, Any], key: str, where: str, choices: tuple[str, ...]) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or value not in choices:
        raise ManifestError(f"{where}: {key} is {_short(value)}, accepted: {', '.join(choices)}")
    return value


def _number(raw: dict[Any, Any], key: str, where: str, accepts: Callable[[float], bool], accepted: str) -> float:
    value: Any = raw.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not accepts(float(value)):
        raise ManifestError(f"{where}: {key} is {_short(value)}, accepted: {accepted}")
    return float(value)


def _time_zone(raw: dict[Any, Any], where: str) -> str:
    value = raw.get("time_zone")
    try:
        if not isinstance(value, str):
            raise ZoneInfoNotFoundError
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{where}: time_zone is {_short(value)}, accepted: a name of the IANA data base such as Europe/London"
        raise ManifestError(message) from None


def _short(value: object) -> str:
    """Return a value as an error message may show it."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(value)[:60]
