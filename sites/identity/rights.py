"""Who may say and hear which topics: each site its own, each of the platform's services what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sites.wire.metrics import CONTROL_DEVICE
from sites.wire.topics import (
    NAMESPACE,
    SIGNALS,
    UPWARD_DEVICE_KINDS,
    UPWARD_NODE_KINDS,
    group_of,
    state_topic,
)

KEEPER: Final = "vpp.broker"
SERVICE_NAMES: Final = ("vpp.ingest", "vpp.host", "vpp.dispatch", "vpp.stream", "vpp.web", KEEPER)
"""A dot, which no site's id may hold, keeps services and sites apart on brokers that look at the CN alone."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters of MQTT."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class LiveSite:
    """A site that a broker is to accept."""

    site_id: str
    identity: str
    """What its present certificates are named by."""


def site_rights(site_id: str) -> Rights:
    """Return what a site may: its own messages in its own group, its own commands, the host's state."""
    own = f"{NAMESPACE}/{group_of(site_id)}"
    return Rights(
        publish=(
            *(f"{own}/{kind}/{site_id}" for kind in UPWARD_NODE_KINDS),
            *(f"{own}/{kind}/{site_id}/+" for kind in UPWARD_DEVICE_KINDS),
        ),
        subscribe=(f"{own}/NCMD/{site_id}", f"{own}/DCMD/{site_id}/+", f"{NAMESPACE}/STATE/+", f"{SIGNALS}+"),
    )


def named_rights(name: str) -> Rights:
    """Return what a site may as a broker's own pattern, ``name`` standing for its id there.

    Such patterns cannot tell a site's group from another: what a site sends in a foreign one the ingest refuses.
    """
    return Rights(
        publish=(
            *(f"{NAMESPACE}/+/{kind}/{name}" for kind in UPWARD_NODE_KINDS),
            *(f"{NAMESPACE}/+/{kind}/{name}/+" for kind in UPWARD_DEVICE_KINDS),
        ),
        subscribe=(
            f"{NAMESPACE}/+/NCMD/{name}",
            f"{NAMESPACE}/+/DCMD/{name}/+",
            f"{NAMESPACE}/STATE/+",
            f"{SIGNALS}+",
        ),
    )


def service_rights(host_id: str) -> Mapping[str, Rights]:
    """Return what each of the platform's services may, by its name.

    ``vpp.broker`` may nothing of the fleet's: its connection under a revoked site's client id ends that site's session.
    """
    every_node = tuple(f"{NAMESPACE}/+/{kind}/+" for kind in UPWARD_NODE_KINDS)
    every_device = tuple(f"{NAMESPACE}/+/{kind}/+/+" for kind in UPWARD_DEVICE_KINDS)
    node_commands = f"{NAMESPACE}/+/NCMD/+"
    state = state_topic(host_id)
    # By which a connection notices a node that is cut off from its cluster.
    proof = "vpp/proof/+"
    return {
        "vpp.ingest": Rights((node_commands, "vpp/live/+", proof), every_node + every_device),
        "vpp.host": Rights((state, proof), (state,)),
        "vpp.dispatch": Rights(
            (f"{NAMESPACE}/+/DCMD/+/{CONTROL_DEVICE}", node_commands, proof),
            tuple(f"{NAMESPACE}/+/{kind}/+/{CONTROL_DEVICE}" for kind in ("DBIRTH", "DDATA")),
        ),
        "vpp.stream": Rights((f"{SIGNALS}+",), ()),
        "vpp.web": Rights((proof,), ("vpp/live/#",)),
        KEEPER: Rights((), ()),
    }
