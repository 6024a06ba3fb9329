"""Where a broker listens and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit


class BrokerAddressError(ValueError):
    """An address that is not mqtt://user:password@host:port."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker listens and who asks."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read ``mqtt://user:password@host:port``; the error never shows the password."""
        try:
            return cls.of(urlsplit(url))
        except BrokerAddressError:
            raise
        except ValueError:
            raise BrokerAddressError("broker address has no valid host, accepted: a name or an address") from None

    @classmethod
    def of(cls, parts: SplitResult) -> BrokerAddress:
        """Return the address of a URL that was split before."""
        try:
            port = 1883 if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port:
            raise BrokerAddressError("broker address has no valid port, accepted: 1 to 65535")
        if parts.scheme != "mqtt" or not parts.hostname:
            raise BrokerAddressError(
                f"broker address has scheme {parts.scheme!r} and host {parts.hostname!r}, "
                "accepted: mqtt://user:password@host:port"
            )
        return cls(parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""))
