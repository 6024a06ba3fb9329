"""What the host's end of the wire tells of a message: births, data, deaths, births to ask for, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sites.wire.errors import WireError
from sites.wire.foreign import Unmapped
from sites.wire.judging import MetricValue

_NAMES_SHOWN: Final = 5

Values = dict[str, MetricValue]


@dataclass(frozen=True, slots=True)
class NodeBorn:
    """A site's birth; the births of its devices follow."""

    site_id: str
    values: Values
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceBorn:
    """A device's birth with its nameplate and first values."""

    site_id: str
    device: str
    values: Values
    at_ms: int


@dataclass(frozen=True, slots=True)
class NodeData:
    """Accepted values of a site; live or of a numbered stream."""

    site_id: str
    values: Values
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceData:
    """Accepted values of one device."""

    site_id: str
    device: str
    values: Values
    at_ms: int


@dataclass(frozen=True, slots=True)
class NodeDied:
    """The connection that the site was born on is gone."""

    site_id: str
    bd_seq: int


@dataclass(frozen=True, slots=True)
class DeviceDied:
    """The site lost one device."""

    site_id: str
    device: str


@dataclass(frozen=True, slots=True)
class RebirthNeeded:
    """The site must be asked for its births (see ``rebirth_command``); at most once per site in 5 s."""

    site_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message, or some metrics of one, that is not taken. One for each error name of a message."""

    topic: str
    error_name: str
    detail: str
    payload: bytes
    is_suspect: bool = True
    """False for what an honest site sends before this host has heard its birth."""


HostEvent = Unmapped | NodeBorn | DeviceBorn | NodeData | DeviceData | NodeDied | DeviceDied | RebirthNeeded | Refused


def refusals(topic: str, payload: bytes, errors: list[WireError], awaits_birth: bool) -> list[HostEvent]:
    """Return one Refused for each error name of a message; ``awaits_birth``: the site was asked for its births."""
    by_name: dict[str, list[str]] = {}
    for error in errors:
        by_name.setdefault(error.name, []).append(str(error))
    found: list[HostEvent] = []
    for name, details in by_name.items():
        more = f" (and {len(details) - _NAMES_SHOWN} more)" if len(details) > _NAMES_SHOWN else ""
        is_suspect = not (awaits_birth and name in ("alias_unknown", "birth_missing"))
        found.append(Refused(topic, name, "; ".join(details[:_NAMES_SHOWN]) + more, payload, is_suspect))
    return found
