"""Where a broker listens and who asks: by password, or by certificate over TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ACCEPTED: Final = (
    "mqtt://user:password@host:port or mqtts://host:port?ca=FILE&cert=FILE&key=FILE, in a cluster with &also=host:port"
)
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
FILES: Final = ("ca", "cert", "key")
ALSO: Final = "also"
MOST_NODES: Final = 16
OPEN_ALLOWED: Final = "VPP_OPEN_BROKER"
"""The variable by which platform and site are told that plain MQTT beyond this machine is meant."""


class BrokerAddressError(ValueError):
    """An address that is not one of ACCEPTED."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a TLS connection is made with; read again before each connection, so that a renewed pair is taken."""

    ca: Path | None
    """Who may have signed the broker's certificate; None: the machine's own list."""
    cert: Path | None = None
    """The certificate that says who we are; None: the broker asks for a password."""
    key: Path | None = None
    """The certificate's key; None: it stands in the same file."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker listens and who asks."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: TlsFiles | None = None
    """None: not encrypted, for the loopback interface."""
    client_id: str = field(default="", repr=False)
    """The MQTT client id that enrollment gave; empty: a new one that nobody can guess."""
    also: tuple[tuple[str, int], ...] = ()
    """Host and port of the cluster's other nodes, tried in turn."""

    @property
    def nodes(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every node, the first one named first."""
        return ((self.host, self.port), *self.also)

    @property
    def asks_certificate(self) -> bool:
        """Whether the broker is reached over TLS and the address does not say by which certificate or password."""
        return self.tls is not None and self.tls.cert is None and not self.user

    @property
    def is_open(self) -> bool:
        """Whether passwords and values would leave this machine for everybody on the way to read and change."""
        return self.tls is None and not all(_is_loopback(host) for host, _ in self.nodes)

    def require_closed(self, *, open_allowed: bool) -> None:
        """Raise BrokerAddressError for an open address, unless somebody said that this is a trial."""
        if self.is_open and not open_allowed:
            raise BrokerAddressError(
                f"broker address {self.host}:{self.port} is plain MQTT beyond this machine, accepted: mqtts://…, "
                f"mqtt:// on the loopback interface, or {OPEN_ALLOWED}=1 for a trial"
            )

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read an address; the error never shows the password."""
        try:
            return cls.of(urlsplit(url))
        except BrokerAddressError:
            raise
        except ValueError:
            raise BrokerAddressError("broker address has no valid host, accepted: a name or an address") from None

    @classmethod
    def of(cls, parts: SplitResult) -> BrokerAddress:
        """Return the address of a URL that was split before."""
        if parts.scheme not in PORTS or not parts.hostname:
            raise BrokerAddressError(
                f"broker address has scheme {parts.scheme!r} and host {parts.hostname!r}, accepted: {ACCEPTED}"
            )
        try:
            port = PORTS[parts.scheme] if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port:
            raise BrokerAddressError("broker address has no valid port, accepted: 1 to 65535")
        if parts.path not in ("", "/") or parts.fragment:
            raise BrokerAddressError(f"broker address goes on after its port, accepted: {ACCEPTED}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        options = parse_qsl(parts.query, keep_blank_values=True)
        others = [value for name, value in options if name == ALSO]
        if len(others) >= MOST_NODES:
            raise BrokerAddressError(f"broker address names {len(others) + 1} nodes, accepted: up to {MOST_NODES}")
        tls = _tls_files(parts.scheme, [option for option in options if option[0] != ALSO])
        also = tuple(_node(text, PORTS[parts.scheme]) for text in others)
        return cls(parts.hostname, port, user, password, tls, also=also)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _node(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, default_port if parts.port is None else parts.port
    except ValueError:
        host, port = None, 0
    if not host or not port or parts.netloc != text or parts.username is not None:
        raise BrokerAddressError("broker address has another node that is none, accepted: also=host:port")
    return host, port


def _tls_files(scheme: str, pairs: list[tuple[str, str]]) -> TlsFiles | None:
    given = dict(pairs)
    if len(given) != len(pairs) or not set(given) <= set(FILES) or not all(given.values()):
        raise BrokerAddressError(
            "broker address has options that are not accepted, accepted: ca, cert, key, once each, and also"
        )
    if scheme == "mqtt":
        if given:
            raise BrokerAddressError("broker address names certificates without TLS, accepted: mqtts://host:port?ca=…")
        return None
    if "key" in given and "cert" not in given:
        raise BrokerAddressError("broker address names a key without its certificate, accepted: cert=FILE&key=FILE")
    files = {name: Path(value) for name, value in given.items()}
    return TlsFiles(files.get("ca"), files.get("cert"), files.get("key"))
