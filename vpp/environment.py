"""Read settings from the environment; a bad value stops the start and names the variable.

`.env` in the checkout (ignored, mode 0600, written by `make install`) fills what the environment
does not set.
"""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


def load_env_file(path: Path) -> None:
    """Add the file's ``NAME=value`` lines to the environment; what is set there already wins."""
    try:
        lines = path.read_text().splitlines() if path.is_file() else []
    except PermissionError:
        # Written by whoever installed; a service that runs as a user of its own is told everything by its unit.
        return
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ImproperlyConfigured(f"{path.name} line {number} is {text[:40]!r}, accepted: NAME=value")
        os.environ.setdefault(name, value)


def text(name: str, default: str | None = None, *, min_length: int = 0) -> str:
    """Return a text; raise ImproperlyConfigured when it is missing or too short."""
    value = os.environ.get(name, default)
    if value is None or value == "":
        if default is not None:
            return default
        raise ImproperlyConfigured(f"{name} is not set; `make install` writes it into .env")
    if len(value) < min_length:
        raise ImproperlyConfigured(f"{name} has {len(value)} characters, accepted: {min_length} or more")
    return value


def flag(name: str, default: bool) -> bool:
    """Return a switch; accepted: 0, 1, true, false, yes, no."""
    value = os.environ.get(name, "").lower()
    if value == "":
        return default
    if value in {"1", "true", "yes"}:
        return True
    if value in {"0", "false", "no"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}, accepted: 0, 1, true, false, yes, no")


def number(name: str, default: float, low: float, high: float) -> float:
    """Return a number within a range, both ends included."""
    value = os.environ.get(name, "")
    if value == "":
        return default
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not low <= parsed <= high:
        raise ImproperlyConfigured(f"{name} is {value!r}, accepted: a number from {low:g} to {high:g}")
    return parsed


def whole(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number within a range, both ends included."""
    value = os.environ.get(name, "")
    if value == "":
        return default
    try:
        parsed = int(value)
    except ValueError:
        parsed = low - 1
    if not low <= parsed <= high:
        raise ImproperlyConfigured(f"{name} is {value!r}, accepted: a whole number from {low} to {high}")
    return parsed


def hosts(name: str, default: str) -> list[str]:
    """Return host names that are separated by commas; ``*`` is refused.

    The same list decides which pages may open a websocket: with ``*`` any page on the web could.
    """
    names = [part.strip() for part in text(name, default).split(",")]
    if not all(names) or any("*" in part or "/" in part for part in names):
        raise ImproperlyConfigured(f"{name} is {','.join(names)!r}, accepted: host names separated by commas, no *")
    return names


def networks(name: str) -> list[str]:
    """Return IP addresses and networks that are separated by commas; none when it is not set."""
    held = text(name, "")
    found = []
    for part in held.split(",") if held else ():
        try:
            network = ip_network(part.strip())
        except ValueError:
            network = None
        # A network of everybody would let anybody choose the address that is counted.
        if network is None or network.prefixlen == 0:
            accepted = "IP addresses and networks such as 127.0.0.1,10.0.0.0/24, not of everybody"
            raise ImproperlyConfigured(f"{name} is {held!r}, accepted: {accepted}")
        found.append(str(network))
    return found


def url(name: str, default: str | None, schemes: tuple[str, ...]) -> SplitResult:
    """Return an address split into its parts; raise when its scheme or host is not accepted."""
    value = text(name, default)
    try:
        parts = urlsplit(value)
        port_is_valid = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        port_is_valid, parts = False, urlsplit("")
    if parts.scheme not in schemes or not parts.hostname or not port_is_valid:
        accepted = " or ".join(f"{scheme}://host:port" for scheme in schemes)
        # The value itself may hold a password, so only the name is told.
        raise ImproperlyConfigured(f"{name} is not an accepted address, accepted: {accepted}")
    return parts


def addresses(name: str, schemes: tuple[str, ...]) -> list[str]:
    """Return addresses that are separated by commas; none when it is not set."""
    held = text(name, "")
    found = [part.strip() for part in held.split(",")] if held else []
    for part in found:
        try:
            split = urlsplit(part)
            is_right = split.scheme in schemes and bool(split.hostname) and split.username is None and split.port != 0
        except ValueError:
            is_right = False
        if not is_right:
            accepted = " or ".join(f"{scheme}://host:port" for scheme in schemes)
            raise ImproperlyConfigured(f"{name} is not a list of accepted addresses, accepted: {accepted}, no user")
    return found


def choice(name: str, default: str, accepted: tuple[str, ...]) -> str:
    """Return one of the accepted words."""
    value = text(name, default)
    if value not in accepted:
        raise ImproperlyConfigured(f"{name} is {value!r}, accepted: {', '.join(accepted)}")
    return value


def keys_hex(name: str, most: int) -> tuple[bytes, ...]:
    """Return 32-byte keys, each written as 64 hexadecimal digits, separated by commas; none where it is not set."""
    keys = []
    written = text(name, "")
    if not written:
        return ()
    for part in written.split(","):
        try:
            keys.append(bytes.fromhex(part.strip()))
        except ValueError:
            keys.append(b"")
    # The value itself is a secret, so only the name is told.
    if not all(len(key) == 32 for key in keys) or not 1 <= len(set(keys)) == len(keys) <= most:
        raise ImproperlyConfigured(
            f"{name} is not 1 to {most} keys, accepted: 64 hexadecimal digits each, commas between, none twice"
        )
    return tuple(keys)
