"""Commands of a host to a site, as messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sites.wire.errors import MetricUnknown
from sites.wire.messages import Message
from sites.wire.metrics import REBIRTH, command_on
from sites.wire.payload import Metric, Payload, Value, encode_payload
from sites.wire.topics import device_topic, node_topic


def rebirth_command(site_id: str, now_ms: int) -> Message:
    """Return the command that asks a site for all its births."""
    return node_command(site_id, now_ms, {REBIRTH: True})


def node_command(site_id: str, now_ms: int, values: Mapping[str, Value | Metric]) -> Message:
    """Return commands to a site by full name, such as ``{"stored_through/battery": 17}``.

    A plain value takes its declared type. Raises MetricUnknown for a name that is no command.
    """
    return Message(node_topic("NCMD", site_id), _payload(None, now_ms, values))


def device_command(site_id: str, device: str, now_ms: int, values: Mapping[str, Value | Metric]) -> Message:
    """Return commands to one device by name, such as ``{"desired": envelope}`` to ``control``."""
    return Message(device_topic("DCMD", site_id, device), _payload(device, now_ms, values))


def _payload(device: str | None, now_ms: int, values: Mapping[str, Value | Metric]) -> bytes:
    metrics = []
    for name, value in values.items():
        declaration = command_on(device, name)
        if declaration is None:
            raise MetricUnknown(f"command {name!r} is not known on {device or 'the node'}")
        if isinstance(value, Metric):
            metrics.append(replace(value, name=name, type=value.type or declaration.type))
        else:
            metrics.append(Metric(name, type=declaration.type, value=value))
    return encode_payload(Payload(now_ms, None, metrics))
