"""From which addresses a site's sessions came, as its broker tells: Mosquitto by its log, NATS by its list."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sites.core import bodies
from sites.identity.authority import identity_name

LOG_TOPIC: Final = "$SYS/broker/log/N"
"""Where Mosquitto writes its notices when ``log_dest topic`` is set."""
MAX_CLIENTS: Final = 100_000
"""Clients whose addresses are remembered; of more, those that came longest ago are forgotten."""
MAX_ADDRESSES: Final = 8
"""Addresses kept of one client, the newest."""
MAX_LINE_BYTES: Final = 1_000
MAX_LIST_BYTES: Final = 4_000_000
ANSWER_WITHIN_S: Final = 3.0
_CONNECTED: Final = re.compile(
    r"(?:[0-9T:+-]+: )?New client connected from "
    r"(?P<address>[0-9A-Fa-f:.]{2,45}):[0-9]{1,5} as (?P<client>[^ ]{1,256}) \("
)


class BrokerSilent(Exception):
    """A broker that does not tell who is connected; the message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A session that came from an address."""

    address: str
    at: datetime


@dataclass(slots=True)
class ConnectionLog:
    """What Mosquitto's log said of connections since the keeper listens."""

    _seen: OrderedDict[str, dict[str, datetime]] = field(default_factory=OrderedDict)
    """Client id -> address -> when last, the client that came last at the end."""

    def note(self, line: bytes, *, at: datetime) -> None:
        """Take a line of the log; one that tells of no connection says nothing here."""
        found = _CONNECTED.match(line[:MAX_LINE_BYTES].decode(errors="replace"))
        if found is None:
            return
        client, address = found["client"], found["address"]
        seen = self._seen.setdefault(client, {})
        self._seen.move_to_end(client)
        # Written anew, so that the order is that of time.
        seen.pop(address, None)
        seen[address] = at
        if len(seen) > MAX_ADDRESSES:
            del seen[next(iter(seen))]
        if len(self._seen) > MAX_CLIENTS:
            self._seen.popitem(last=False)

    def of(self, client_id: str) -> list[Seen]:
        """Return from where a client came, the newest last."""
        # A copy in one step: lines come in on another thread.
        return [Seen(address, at) for address, at in list(self._seen.get(client_id, {}).items())]


def nats_sessions(monitors: Sequence[str], identity: str) -> list[Seen]:
    """Return from where the sessions of a site's certificate came, open and ended ones, from every node's monitor.

    ``monitors`` are addresses such as ``http://127.0.0.1:8222``. Raises BrokerSilent when none of them answers.
    """
    query = urllib.parse.urlencode({"state": "any", "auth": "1", "user": identity_name(identity), "limit": "256"})
    found: dict[str, datetime] = {}
    faults = []
    # No proxy of the environment: these addresses are the brokers' own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for monitor in monitors:
        try:
            with opener.open(f"{monitor}/connz?{query}", timeout=ANSWER_WITHIN_S) as answer:
                rows = _connections(answer.read(MAX_LIST_BYTES + 1))
        except (OSError, bodies.BodyError) as error:
            faults.append(f"{monitor}: {error}")
            continue
        for seen in rows:
            found[seen.address] = max(seen.at, found.get(seen.address, seen.at))
    if len(faults) == len(monitors):
        raise BrokerSilent("; ".join(faults) or "no monitor is declared, accepted: --monitor http://host:port")
    return newest(Seen(address, at) for address, at in found.items())


def newest(seen: Iterable[Seen]) -> list[Seen]:
    """Return the newest sessions, the newest last, as many as are kept."""
    return sorted(seen, key=lambda session: session.at)[-MAX_ADDRESSES:]


def _connections(body: bytes) -> list[Seen]:
    raw = bodies.object_from(body, what="list of connections", max_bytes=MAX_LIST_BYTES)
    rows: Any = raw.get("connections")
    found = []
    for row in rows if isinstance(rows, list) else ():
        address, start = (row.get("ip"), row.get("start")) if isinstance(row, dict) else (None, None)
        at = _instant(start)
        if isinstance(address, str) and 0 < len(address) <= 45 and at is not None:
            found.append(Seen(address, at))
    return found


def _instant(value: Any) -> datetime | None:
    try:
        # NATS writes nanoseconds, which no datetime holds.
        at = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", value)) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at.astimezone(UTC)


def as_json(seen: Iterable[Seen]) -> list[list[str]]:
    """Return sessions as an alarm keeps them."""
    return [[session.address, session.at.isoformat(timespec="seconds")] for session in seen]


def from_json(rows: Any) -> list[Seen]:
    """Return the sessions that an alarm keeps."""
    return [Seen(str(address), datetime.fromisoformat(at)) for address, at in rows]
