"""TOML -> frozen EdgeConfig; an error names file, key and accepted range."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

from sites.core.event_recording import RecordedSite, phase_voltage_v
from sites.core.gridcodes import CATALOGUE, GridCodeError, GridCodeProfile, profile_for
from sites.core.readings import METER_CLASSES
from sites.edge.drivers.inputs import FAIL_SAFE, InputLine
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.mqtt.address import ACCEPTED, OPEN_ALLOWED, BrokerAddress, BrokerAddressError

SITE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
KEY_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
DRIVERS: Final = ("simulated",)


class ConfigError(Exception):
    """A configuration that the edge does not start with; the message names file, key and what is accepted."""

    name = "config_invalid"


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """One site's edge."""

    path: Path
    site_id: str
    name: str
    nominal_hz: float
    nominal_voltage_v: float
    """RMS, phase to neutral for one phase, phase to phase for three [V]."""
    phases: int
    grid_code: GridCodeProfile
    """What the site keeps to; ``[site] grid_code``, without one the default of its nominal frequency."""
    anti_islanding: bool
    """``[site] anti_islanding``: the active method against unintended islands, on unless it is said otherwise."""
    feeder: str
    """``[site] feeder``: sites behind the same one carry the same name, and probe together."""
    runtime_dir: Path
    """Holds the shared block, the lock and the outbox; only the edge's user may enter."""
    identity_dir: Path
    """``[link] identity_dir``: key and certificate, as `vpp-edge enrol` writes them."""
    broker: BrokerAddress
    host_id: str
    platform_keys: tuple[bytes, ...]
    key_authority: bytes | None
    """Public Ed25519 keys whose assignments are taken; two while the platform changes its key."""
    policy: LinkLossPolicy
    interval_s: int
    outbox_max_bytes: int
    outbox_reserve_bytes: int
    keep_stored_s: float
    events_max_bytes: int
    """Bound of the folder with the events' recordings."""
    driver: str
    plant: Mapping[str, Any]
    """Parameters of the simulated plant, checked by its driver."""
    assets: tuple[AssetNameplate, ...]
    inputs: Mapping[str, InputLine]
    """``[inputs]``: protection contact -> the line that shows it; a site without the table has none wired."""

    @property
    def block_path(self) -> Path:
        """The memory shared by this site's two processes."""
        return self.runtime_dir / f"{self.site_id}.block"

    @property
    def recorded_site(self) -> RecordedSite:
        """What turns the recorder's per-unit values into volts and amperes."""
        return RecordedSite(
            site_id=self.site_id,
            nominal_hz=self.nominal_hz,
            phase_v=phase_voltage_v(self.nominal_voltage_v, self.phases),
            phases=self.phases,
            rated_kva=next(asset.rated_kw for asset in self.assets if asset.kind == "battery"),
        )

    @property
    def profile(self) -> SiteProfile:
        """The part that the link tells the platform."""
        return SiteProfile(self.site_id, self.assets, self.policy)


def load_config(path: Path, environment: Mapping[str, str]) -> EdgeConfig:
    """Read one site's file; the broker's address comes from VPP_EDGE_BROKER_URL when that is set.

    Raises ConfigError naming the file, the key, what it holds and what is accepted.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}), accepted: a readable TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error}), accepted: TOML 1.0 in UTF-8") from None
    root = _Table(path, "", raw)
    site, link, plant = root.table("site"), root.table("link"), root.table("plant")
    config = EdgeConfig(
        path=path,
        site_id=site.text("id", pattern=SITE_ID, accepted="1 to 64 of A-Z a-z 0-9 _ -"),
        name=site.text("name"),
        nominal_hz=float(site.choice("nominal_hz", (50, 60))),
        nominal_voltage_v=site.number("nominal_voltage_v", 100.0, 20_000.0),
        phases=int(site.choice("phases", (1, 3))),
        grid_code=_grid_code(site),
        anti_islanding=bool(site.take("anti_islanding", True)),
        feeder=site.text("feeder", default=""),
        runtime_dir=(path.parent / site.text("runtime_dir")).absolute(),
        identity_dir=_identity_dir(path, site, link),
        broker=_broker(link, environment),
        host_id=link.text("host_id", pattern=SITE_ID, accepted="1 to 64 of A-Z a-z 0-9 _ -"),
        platform_keys=_keys(link),
        key_authority=_authority(link),
        policy=LinkLossPolicy(
            LossOfLink(link.choice("loss_of_link", tuple(choice.value for choice in LossOfLink))),
            link.number("loss_grace_s", 0.0, 3600.0, default=10.0),
        ),
        interval_s=_interval(link),
        outbox_max_bytes=int(link.number("outbox_max_mb", 1.0, 100_000.0, default=512.0) * 1e6),
        outbox_reserve_bytes=int(link.number("outbox_reserve_mb", 0.0, 1_000.0, default=8.0) * 1e6),
        keep_stored_s=link.number("keep_stored_days", 0.0, 366.0, default=14.0) * 86_400.0,
        events_max_bytes=int(link.number("events_max_mb", 1.0, 100_000.0, default=64.0) * 1e6),
        driver=str(plant.choice("driver", DRIVERS)),
        plant={key: value for key, value in plant.raw.items() if key != "driver"},
        assets=_assets(root),
        inputs=_inputs(root, path.parent),
    )
    for table in (site, link, root):
        table.refuse_unknown()
    return config


def _broker(link: _Table, environment: Mapping[str, str]) -> BrokerAddress:
    written = link.text("broker_url", default="")
    url = environment.get("VPP_EDGE_BROKER_URL", "") or written
    if not url:
        raise link.wrong("broker_url", None, f"{ACCEPTED} here or in VPP_EDGE_BROKER_URL")
    try:
        broker = BrokerAddress.parse(url)
        broker.require_closed(open_allowed=environment.get(OPEN_ALLOWED, "") == "1")
        return broker
    except BrokerAddressError as error:
        raise ConfigError(f"{link.path}: link.broker_url: {error}") from None


def _identity_dir(path: Path, site: _Table, link: _Table) -> Path:
    written = link.text("identity_dir", default="")
    beside = Path(site.text("runtime_dir")) / f"{site.text('id')}.identity"
    return (path.parent / (written or beside)).absolute()


def _grid_code(site: _Table) -> GridCodeProfile:
    name = site.text("grid_code", default="")
    try:
        return profile_for(name, float(site.choice("nominal_hz", (50, 60))))
    except GridCodeError as error:
        fitting = sorted(code.name for code in CATALOGUE.values() if code.nominal_hz == site.raw["nominal_hz"])
        raise site.wrong("grid_code", name, f"one of {', '.join(fitting)} ({error})") from None


def _keys(link: _Table) -> tuple[bytes, ...]:
    keys = link.take("platform_keys", None)
    if not isinstance(keys, list) or not 1 <= len(keys) <= 4:
        raise link.wrong("platform_keys", keys, "a list of 1 to 4 public keys, 64 hexadecimal digits each")
    for key in keys:
        if not isinstance(key, str) or not KEY_HEX.match(key):
            raise link.wrong("platform_keys", key, "64 hexadecimal digits, lower case")
    return tuple(bytes.fromhex(key) for key in keys)


def _authority(link: _Table) -> bytes | None:
    key = link.text("key_authority", default="")
    if key and not KEY_HEX.match(key):
        raise link.wrong("key_authority", key, "64 hexadecimal digits, lower case, or nothing")
    return bytes.fromhex(key) or None


def _interval(link: _Table) -> int:
    seconds = int(link.number("interval_s", 1.0, 3600.0, default=60.0))
    if 3600 % seconds:
        raise link.wrong("interval_s", seconds, "a whole number of seconds that divides an hour")
    return seconds


def _assets(root: _Table) -> tuple[AssetNameplate, ...]:
    raw = root.take("assets", None)
    if not isinstance(raw, list) or not raw:
        raise root.wrong("assets", raw, "one [[assets]] table each for pcc, battery and what else stands there")
    assets = []
    for position, item in enumerate(raw):
        table = _Table(root.path, f"assets[{position}].", item)
        kind = str(table.choice("kind", ("pcc", "battery", "pv", "genset", "load")))
        assets.append(
            AssetNameplate(
                name=kind,
                kind=kind,
                rated_kw=table.number("rated_kw", 0.0, 1e6),
                export_limit_kw=table.number("export_limit_kw", 0.0, 1e6, default=0.0),
                capacity_kwh=table.number("capacity_kwh", 0.0, 1e7, default=0.0),
                reserve_kwh=table.number("reserve_kwh", 0.0, 1e7, default=0.0),
                **_meter(table),
            )
        )
        table.refuse_unknown()
    kinds = [asset.kind for asset in assets]
    if len(set(kinds)) != len(kinds) or not {"pcc", "battery"} <= set(kinds):
        raise root.wrong("assets", kinds, "each kind once, pcc and battery among them")
    return tuple(assets)


def _meter(table: _Table) -> dict[str, Any]:
    """Return what is known of an asset's meter."""
    known: dict[str, Any] = {}
    if (accuracy := table.text("meter_class", default="")) != "":
        if accuracy not in METER_CLASSES:
            raise table.wrong("meter_class", accuracy, ", ".join(METER_CLASSES))
        known["meter_class"] = accuracy
    calibrated_on = table.take("meter_calibrated_on", None)
    if calibrated_on is not None:
        if not isinstance(calibrated_on, date) or isinstance(calibrated_on, datetime):
            raise table.wrong("meter_calibrated_on", calibrated_on, "a date such as 2026-03-01")
        noon = datetime.combine(calibrated_on, time(12), UTC)
        known["meter_calibrated_at"] = round(noon.timestamp() * 1000)
    uncertainty = table.number("meter_uncertainty_ratio", 0.0, 1.0, default=0.0)
    return known | ({"meter_uncertainty_ratio": uncertainty} if uncertainty else {})


def _inputs(root: _Table, folder: Path) -> dict[str, InputLine]:
    if "inputs" not in root.raw:
        return {}
    table = root.table("inputs")
    lines = {}
    for name in FAIL_SAFE:
        if name in table.raw:
            line = table.table(name)
            is_trip = FAIL_SAFE[name] == 1
            lines[name] = InputLine(
                path=(folder / line.text("path")).absolute(),
                is_normally_closed=line.flag("normally_closed", default=is_trip),
            )
            line.refuse_unknown()
    table.refuse_unknown(FAIL_SAFE)
    return lines


class _Table:
    """One TOML table that remembers which keys were asked for."""

    def __init__(self, path: Path, prefix: str, raw: object) -> None:
        self.path = path
        self._prefix = prefix
        if not isinstance(raw, dict):
            raise ConfigError(f"{path}: {prefix.rstrip('.')} is {raw!r}, accepted: a table")
        self.raw: dict[str, Any] = raw
        self._asked: set[str] = set()

    def wrong(self, key: str, value: object, accepted: str) -> ConfigError:
        held = "is missing" if value is None else f"is {value!r}"
        return ConfigError(f"{self.path}: {self._prefix}{key} {held}, accepted: {accepted}")

    def take(self, key: str, default: object) -> Any:
        self._asked.add(key)
        return self.raw.get(key, default)

    def table(self, key: str) -> _Table:
        value = self.take(key, None)
        if not isinstance(value, dict):
            raise self.wrong(key, value, f"a table [{key}]")
        return _Table(self.path, f"{key}.", value)

    def text(
        self, key: str, *, default: str | None = None, pattern: re.Pattern[str] | None = None, accepted: str = ""
    ) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or (default is None and not 1 <= len(value) <= 200):
            raise self.wrong(key, value, accepted or "a text of 1 to 200 characters")
        if pattern is not None and not pattern.match(value):
            raise self.wrong(key, value, accepted)
        return value

    def number(self, key: str, low: float, high: float, *, default: float | None = None) -> float:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise self.wrong(key, value, f"{low:g} to {high:g}")
        return float(value)

    def choice(self, key: str, choices: tuple[object, ...]) -> Any:
        value = self.take(key, None)
        if value not in choices:
            raise self.wrong(key, value, ", ".join(str(choice) for choice in choices))
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true, false")
        return value

    def refuse_unknown(self, known_keys: Iterable[str] = ()) -> None:
        """Raise ConfigError on a key that nothing reads: most often a misspelling."""
        unknown = sorted(set(self.raw) - self._asked - set(known_keys))
        if unknown:
            known = ", ".join(sorted(self._asked | set(known_keys)))
            raise ConfigError(f"{self.path}: {self._prefix}{unknown[0]} is not known, accepted: {known}")
