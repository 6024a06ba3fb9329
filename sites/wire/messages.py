"""What a session hands to a broker's client, and the host's retained state."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from sites.wire.errors import PayloadMalformed, PayloadTooLarge
from sites.wire.topics import state_topic

MAX_STATE_BYTES: Final = 1024


class Message(NamedTuple):
    """One MQTT message to publish, or a will to leave with the broker."""

    topic: str
    payload: bytes
    qos: int = 0
    """Data and commands 0 on clean sessions; wills and STATE 1. Desired/reported state and the gap
    audit guarantee delivery, not the broker."""
    retain: bool = False


def state_message(host_id: str, online: bool, now_ms: int) -> Message:
    """Return a host's retained STATE: published when online, left as will when offline.

    The will carries the instant of its connection, as the standard wants: a site then knows which
    birth of the host it ends.
    """
    body = json.dumps({"online": online, "timestamp": now_ms}, separators=(",", ":")).encode()
    return Message(state_topic(host_id), body, qos=1, retain=True)


def read_state(payload: bytes) -> tuple[bool, int]:
    """Return (online, timestamp [ms]) of a host's STATE; raise PayloadTooLarge or PayloadMalformed."""
    if len(payload) > MAX_STATE_BYTES:
        raise PayloadTooLarge(f"STATE has {len(payload)} bytes, accepted: up to {MAX_STATE_BYTES}")
    try:
        raw: Any = json.loads(payload)
    except (ValueError, RecursionError):
        raise PayloadMalformed("STATE is not JSON") from None
    online = raw.get("online") if isinstance(raw, dict) else None
    timestamp = raw.get("timestamp") if isinstance(raw, dict) else None
    if not isinstance(online, bool) or isinstance(timestamp, bool) or not isinstance(timestamp, int):
        raise PayloadMalformed('STATE is not {"online": true or false, "timestamp": ms}')
    return online, timestamp
