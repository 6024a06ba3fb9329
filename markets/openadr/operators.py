"""The table of operators that our VEN speaks to: a TOML file (VPP_OPERATORS), or the settings of one (VPP_VTN_URL)."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from markets.core.events import DEFAULT_OPERATOR
from markets.core.program_seed import ProgramInvalid, ProgramSeed, program_seed
from sites.mqtt.address import BrokerAddress, BrokerAddressError

MAX_FILE_BYTES: Final = 1_000_000
MAX_OPERATORS: Final = 200
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
VERSIONS: Final = ("2.0b", "3.0.1", "3.1.0")
_FILES: Final = ("cert", "key", "ca")
_SHORT_FORM: Final = {
    "url": "VPP_VTN_URL",
    "ven_name": "VPP_VEN_NAME",
    "cert": "VPP_VEN_CERT",
    "key": "VPP_VEN_KEY",
    "ca": "VPP_VEN_CA",
    "vtn_fingerprint": "VPP_VTN_FINGERPRINT",
    "poll_s": "VPP_VEN_POLL_S",
}
"""Which setting stands for which key when there is one operator and no file."""


class ConfigurationInvalid(ValueError):
    """What no connection can be made from; the message names key or setting, and file and table where there is one."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"{key} {detail}")
        self.key = key
        self.detail = detail


@dataclass(frozen=True, slots=True)
class VenConfig:
    """How to reach one operator's OpenADR 2.0b VTN; checked when made."""

    url: str
    ven_name: str
    operator: str = DEFAULT_OPERATOR
    """Its name with us; programs belong to it, metrics and health carry it."""
    cert: str = ""
    key: str = ""
    ca: str = ""
    vtn_fingerprint: str = ""
    poll_s: float = 1.0
    """Not more often than this [s], and not more often than the VTN asks for."""
    programs: tuple[ProgramSeed, ...] = ()
    """Declared with it; ``load_programs`` sets them up."""

    def __post_init__(self) -> None:
        _check_common(self.operator, self.url, self.ven_name, self.poll_s)
        if self.is_secure:
            for name in _FILES:
                _require_file(name, getattr(self, name), "a PEM file, needed for https")
            if not self.vtn_fingerprint:
                raise ConfigurationInvalid("vtn_fingerprint", "is not set; https needs it to check signatures")

    @property
    def is_secure(self) -> bool:
        """Tell whether the connection is mutual TLS with signed messages."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class Ven3Config:
    """How to reach one operator's OpenADR 3 VTN; checked when made."""

    url: str
    """Root of its addresses, such as ``https://vtn.example/openadr3/3.1.0``."""
    ven_name: str
    client_id: str
    client_secret: str = field(repr=False)
    operator: str = DEFAULT_OPERATOR
    version: str = "3.1.0"
    """``3.0.1`` or ``3.1.0``: the words that we send in; read is either."""
    token_url: str = ""
    """Where tokens are had; empty: the VTN tells (``GET auth/server``)."""
    scope: str = ""
    """Scopes that are asked for; empty: what the VTN gives by itself."""
    ca: str = ""
    """Who signed its certificate; empty: the machine's own list."""
    cert: str = ""
    """Our certificate, where the VTN asks for one."""
    key: str = ""
    targets: tuple[str, ...] = ()
    """Targets that mean us beside our name: an event of 3.0.1 for none of them is not ours."""
    poll_s: float = 10.0
    answers: bool = True
    """Whether what was decided on an event is told by a report (OpenADR 3 has no opt)."""
    mqtt: BrokerAddress | None = None
    """The VTN's broker (3.1); None: polls alone."""
    programs: tuple[ProgramSeed, ...] = ()
    """Declared with it; ``load_programs`` sets them up."""

    def __post_init__(self) -> None:
        _check_common(self.operator, self.url, self.ven_name, self.poll_s)
        if self.version not in VERSIONS[1:]:
            raise ConfigurationInvalid("version", f"is {self.version!r}, accepted: {', '.join(VERSIONS[1:])}")
        if not self.client_id or not self.client_secret:
            raise ConfigurationInvalid("client_id", "or the client's secret is empty, accepted: what the operator gave")
        if self.token_url:
            require_tls_address("token_url", self.token_url)
        if self.ca:
            _require_file("ca", self.ca, "a PEM file")
        if bool(self.cert) != bool(self.key):
            raise ConfigurationInvalid("cert", "and key stand for each other, accepted: both or none")
        for name in ("cert", "key") if self.cert else ():
            _require_file(name, getattr(self, name), "a PEM file")
        if self.mqtt is not None and self.version == "3.0.1":
            raise ConfigurationInvalid("mqtt", "is set, accepted: with version 3.1.0 alone")


Config = VenConfig | Ven3Config


def operators() -> list[Config]:
    """Return the operators that the settings declare; raises ConfigurationInvalid.

    ``VPP_OPERATORS`` names the file; without it ``VPP_VTN_URL`` and its neighbors declare one.
    """
    if settings.OPERATORS_FILE:
        if settings.VTN_URL:
            raise ConfigurationInvalid("VPP_VTN_URL", "is set beside VPP_OPERATORS, accepted: one of them")
        return read_operators(Path(settings.OPERATORS_FILE))
    try:
        return [
            VenConfig(
                url=settings.VTN_URL.rstrip("/"),
                ven_name=settings.VEN_NAME,
                cert=settings.VEN_CERT,
                key=settings.VEN_KEY,
                ca=settings.VEN_CA,
                vtn_fingerprint=settings.VTN_FINGERPRINT,
                poll_s=float(settings.VEN_POLL_S),
            )
        ]
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(_SHORT_FORM.get(error.key, error.key), error.detail) from None


def operator_named(name: str) -> Config:
    """Return one declared operator; raises ConfigurationInvalid naming those there are."""
    declared = operators()
    for config in declared:
        if config.operator == name:
            return config
    accepted = ", ".join(config.operator for config in declared)
    raise ConfigurationInvalid("operator", f"is {name!r}, accepted: {accepted}")


def read_operators(path: Path) -> list[Config]:
    """Read the table from a file; raises ConfigurationInvalid naming the file and the line, or the table and key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationInvalid(str(path), f"cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationInvalid(str(path), f"has {len(content)} bytes, accepted: up to {MAX_FILE_BYTES}")
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationInvalid(str(path), f"is no TOML: {error}") from None
    unknown = sorted(set(document) - {"operator"})
    tables = document.get("operator")
    if unknown or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or not tables:
        found = ", ".join(unknown) or "nothing that declares an operator"
        raise ConfigurationInvalid(str(path), f"holds {found}, accepted: [[operator]] tables")
    if len(tables) > MAX_OPERATORS:
        raise ConfigurationInvalid(str(path), f"declares {len(tables)} operators, accepted: up to {MAX_OPERATORS}")
    declared: list[Config] = []
    for number, table in enumerate(tables, 1):
        where = f"{path}: operator {number} ({str(table.get('name', 'without name'))[:64]}):"
        try:
            config = _config(table, path.parent)
        except ConfigurationInvalid as error:
            raise ConfigurationInvalid(where, str(error)) from None
        if any(config.operator == other.operator for other in declared):
            raise ConfigurationInvalid(where, f"name {config.operator} stands twice, accepted: each name once")
        if any((config.url, config.ven_name) == (other.url, other.ven_name) for other in declared):
            raise ConfigurationInvalid(where, f"url {config.url} stands twice for ven_name {config.ven_name}")
        declared.append(config)
    _require_each_once(path, [seed for config in declared for seed in config.programs])
    return declared


def _require_each_once(path: Path, seeds: list[ProgramSeed]) -> None:
    names = [seed.name for seed in seeds]
    contexts = [(seed.operator, seed.market_context) for seed in seeds]
    for twice in [name for name in names if names.count(name) > 1]:
        raise ConfigurationInvalid(f"{path}: program {twice}", "stands twice, accepted: each name once")
    for operator, context in [held for held in contexts if contexts.count(held) > 1]:
        raise ConfigurationInvalid(f"{path}: market_context {context}", f"stands twice with operator {operator}")


def require_tls_address(key: str, url: str) -> None:
    """Raise ConfigurationInvalid unless an address is HTTPS, or HTTP on the loopback interface."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationInvalid(key, f"is {url!r}, accepted: https://host:port/path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationInvalid(key, f"is plain HTTP to {host}, accepted: https, or http on 127.0.0.1")


def _config(table: Mapping[str, Any], folder: Path) -> Config:
    version = table.get("version", "2.0b")
    if version not in VERSIONS:
        raise ConfigurationInvalid("version", f"is {version!r}, accepted: {', '.join(VERSIONS)}")
    made = VenConfig if version == "2.0b" else Ven3Config
    kinds = {one.name: one.type for one in fields(made) if one.name not in ("operator", "programs", "mqtt")}
    secret_keys = {"secret_env", "secret_file", "mqtt", "mqtt_secret_env"} if made is Ven3Config else set()
    accepted = {"name", "version", "program", *kinds, *secret_keys} - {"client_secret"}
    given: dict[str, Any] = {"ven_name": settings.VEN_NAME}
    for key, value in table.items():
        if key not in accepted:
            raise ConfigurationInvalid(key, f"is no key, accepted: {', '.join(sorted(accepted))}")
        if key not in ("name", "program", *secret_keys):
            given[key] = _typed(key, value, str(kinds.get(key, "str")))
    given["operator"] = _typed("name", table.get("name", ""), "str")
    given["programs"] = _programs(table.get("program", []), given["operator"])
    if "url" not in given:
        raise ConfigurationInvalid("url", "is missing, accepted: https://host:port/path")
    given["url"] = given["url"].rstrip("/")
    for name in _FILES:
        # Beside the file, so that it can be moved with them.
        if given.get(name):
            given[name] = str(folder / given[name])
    if made is VenConfig:
        given.pop("version", None)
        return VenConfig(**given)
    if "client_id" not in given:
        raise ConfigurationInvalid("client_id", "is missing, accepted: what the operator gave")
    return Ven3Config(**given, client_secret=_secret(table, folder), mqtt=_broker(table))


def _programs(tables: object, operator: str) -> tuple[ProgramSeed, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigurationInvalid("program", "is no table, accepted: [[operator.program]] tables")
    seeds = []
    for number, table in enumerate(tables, 1):
        try:
            seeds.append(program_seed(table, operator))
        except ProgramInvalid as error:
            raise ConfigurationInvalid(f"program {number}", str(error)) from None
    return tuple(seeds)


def _typed(key: str, value: object, kind: str) -> Any:
    if kind == "float":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationInvalid(key, f"is {value!r}, accepted: a number")
        return float(value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise ConfigurationInvalid(key, f"is {value!r}, accepted: true or false")
        return value
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
            raise ConfigurationInvalid(key, f"is {value!r}, accepted: a list of texts")
        return tuple(value)
    if not isinstance(value, str) or len(value) > 2_000 or not value.isprintable():
        raise ConfigurationInvalid(key, f"is {str(value)[:80]!r}, accepted: a text of up to 2000 characters")
    return value


def _secret(table: Mapping[str, Any], folder: Path) -> str:
    """Return the client's secret from the environment or a file of its own; it never stands in the table."""
    variable, file = table.get("secret_env"), table.get("secret_file")
    if (variable is None) == (file is None):
        raise ConfigurationInvalid("secret_env", "or secret_file is needed, accepted: one of them")
    if variable is not None:
        return _from_environment("secret_env", variable)
    path = folder / str(file)
    try:
        mode, secret = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid("secret_file", f"is {file!r}: {getattr(error, 'strerror', 'no text')}") from None
    if mode & stat.S_IROTH:
        raise ConfigurationInvalid("secret_file", f"is {file!r}, which everybody may read, accepted: mode 0640 or 0600")
    if not secret:
        raise ConfigurationInvalid("secret_file", f"is {file!r}, which is empty")
    return secret


def _from_environment(key: str, variable: object) -> str:
    secret = os.environ.get(variable, "") if isinstance(variable, str) else ""
    if not secret:
        raise ConfigurationInvalid(key, f"names {variable!r}, which the environment does not hold")
    return secret


def _broker(table: Mapping[str, Any]) -> BrokerAddress | None:
    """Return the address of a VTN's broker; its password stands in the environment."""
    text, variable = table.get("mqtt"), table.get("mqtt_secret_env")
    if text is None:
        if variable is not None:
            raise ConfigurationInvalid("mqtt_secret_env", "is set without mqtt")
        return None
    try:
        address = BrokerAddress.parse(_typed("mqtt", text, "str"))
        address.require_closed(open_allowed=False)
    except BrokerAddressError as error:
        raise ConfigurationInvalid("mqtt", f"is refused: {error}") from None
    if address.password:
        raise ConfigurationInvalid("mqtt", "holds a password, accepted: mqtt_secret_env names the variable with it")
    return address if variable is None else replace(address, password=_from_environment("mqtt_secret_env", variable))


def _check_common(operator: str, url: str, ven_name: str, poll_s: float) -> None:
    if not NAME.match(operator):
        raise ConfigurationInvalid("name", f"is {operator!r}, accepted: up to 63 of a-z, 0-9 and -")
    require_tls_address("url", url)
    if not 1 <= len(ven_name) <= 128 or not ven_name.isprintable():
        raise ConfigurationInvalid("ven_name", f"is {ven_name[:40]!r}, accepted: 1 to 128 printable characters")
    if not 1.0 <= poll_s <= 3600.0:
        raise ConfigurationInvalid("poll_s", f"is {poll_s:g}, accepted: 1 to 3600")


def _require_file(key: str, value: str, accepted: str) -> None:
    if not value or not Path(value).is_file():
        raise ConfigurationInvalid(key, f"is {value!r}, accepted: {accepted}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
