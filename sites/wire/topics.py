"""Topics of the namespace spBv1.0: a site is an edge node, an asset a device, a partition the group."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from sites.wire.errors import TopicInvalid

NAMESPACE: Final = "spBv1.0"
PARTITIONS: Final = 64
NODE_KINDS: Final = ("NBIRTH", "NDATA", "NDEATH", "NCMD")
DEVICE_KINDS: Final = ("DBIRTH", "DDATA", "DDEATH", "DCMD")
UPWARD_NODE_KINDS: Final = ("NBIRTH", "NDATA", "NDEATH")
UPWARD_DEVICE_KINDS: Final = ("DBIRTH", "DDATA", "DDEATH")
STATE: Final = "STATE"
SIGNALS: Final = "vpp/setpoint/"
"""Outside Sparkplug, which has no message to all nodes but STATE."""
MAX_TOPIC_CHARS: Final = 200

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IS_DEVICE_KIND: Final = {**dict.fromkeys(NODE_KINDS, False), **dict.fromkeys(DEVICE_KINDS, True)}


class Topic(NamedTuple):
    """A parsed topic."""

    group: str
    kind: str
    """NBIRTH, NDATA, NDEATH, NCMD, DBIRTH, DDATA, DDEATH, DCMD or STATE."""
    site_id: str
    device: str | None
    """None for the node's own messages."""
    host_id: str | None = None
    """Only for STATE, whose group and site_id are empty."""


def partition_of(site_id: str) -> int:
    """Return the site's partition, 0 to 63: it decides the group and the ingest worker."""
    return zlib.crc32(site_id.encode()) % PARTITIONS


def group_of(site_id: str) -> str:
    """Return the site's Sparkplug group, such as ``VPP-07``."""
    return _GROUPS[zlib.crc32(site_id.encode()) % PARTITIONS]


def node_topic(kind: str, site_id: str) -> str:
    """Return the topic of a node's message; raise TopicInvalid for a kind or id that is not accepted."""
    if _IS_DEVICE_KIND.get(kind) is not False:
        raise TopicInvalid(f"kind is {kind!r}, accepted: {', '.join(NODE_KINDS)}")
    return f"{NAMESPACE}/{group_of(_checked(site_id, 'site id'))}/{kind}/{site_id}"


def device_topic(kind: str, site_id: str, device: str) -> str:
    """Return the topic of a device's message; raise TopicInvalid for a kind or id that is not accepted."""
    if _IS_DEVICE_KIND.get(kind) is not True:
        raise TopicInvalid(f"kind is {kind!r}, accepted: {', '.join(DEVICE_KINDS)}")
    group = group_of(_checked(site_id, "site id"))
    return f"{NAMESPACE}/{group}/{kind}/{site_id}/{_checked(device, 'device')}"


def state_topic(host_id: str) -> str:
    """Return the topic of a host's retained state."""
    return f"{NAMESPACE}/{STATE}/{_checked(host_id, 'host id')}"


def signal_topic(stream: str) -> str:
    """Return the topic of a setpoint stream's signal, the same for all sites."""
    return f"{SIGNALS}{_checked(stream, 'stream')}"


def parse_topic(text: str) -> Topic:
    """Read a topic.

    Raises TopicInvalid also when the group is not the site's own: a site in a foreign group would
    reach two ingest workers, and neither would see its messages in order.
    """
    if len(text) > MAX_TOPIC_CHARS:
        raise TopicInvalid(f"topic has {len(text)} characters, accepted: up to {MAX_TOPIC_CHARS}")
    levels = text.split("/")
    if levels[0] != NAMESPACE or not 3 <= len(levels) <= 5:
        raise TopicInvalid(f"topic is {text!r}, accepted: {NAMESPACE}/group/kind/site[/device]")
    if len(levels) == 3:
        if levels[1] != STATE:
            raise TopicInvalid(f"topic is {text!r}, accepted with three levels: {NAMESPACE}/{STATE}/host")
        return Topic("", STATE, "", None, _checked(levels[2], "host id"))
    _, group, kind, site_id, *rest = levels
    is_device_kind = _IS_DEVICE_KIND.get(kind)
    if is_device_kind is None or is_device_kind is not bool(rest):
        accepted = ", ".join(DEVICE_KINDS if rest else NODE_KINDS)
        raise TopicInvalid(f"kind is {kind!r} in {text!r}, accepted with {len(levels)} levels: {accepted}")
    if group != group_of(_checked(site_id, "site id")):
        raise TopicInvalid(f"group is {group!r} for site {site_id!r}, accepted: {group_of(site_id)}")
    return Topic(group, kind, site_id, _checked(rest[0], "device") if rest else None)


def partition_filters(partitions: Iterable[int]) -> list[str]:
    """Return the subscriptions that bring everything the sites of these partitions send.

    Commands are left out: a host that hears its own commands back does work for nothing.
    """
    wanted = sorted(set(partitions))
    for partition in wanted:
        if not 0 <= partition < PARTITIONS:
            raise TopicInvalid(f"partition is {partition}, accepted: 0 to {PARTITIONS - 1}")
    groups = ["+"] if len(wanted) == PARTITIONS else [_GROUPS[partition] for partition in wanted]
    return [f"{NAMESPACE}/{group}/{kind}/+" for group in groups for kind in UPWARD_NODE_KINDS] + [
        f"{NAMESPACE}/{group}/{kind}/+/+" for group in groups for kind in UPWARD_DEVICE_KINDS
    ]


_GROUPS: Final = tuple(f"VPP-{partition:02d}" for partition in range(PARTITIONS))


def _checked(text: str, what: str) -> str:
    if _ID.fullmatch(text) is None:
        raise TopicInvalid(f"{what} is {text!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ -")
    return text
