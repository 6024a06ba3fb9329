"""The host's end of Sparkplug B for any number of sites: births, data and deaths in, commands out. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sites.wire.birth_table import BirthTable, BirthTables, resolve
from sites.wire.commands import device_command, node_command, rebirth_command
from sites.wire.errors import (
    BirthMissing,
    DeviceUnknown,
    MetricTypeMismatch,
    MetricUnknown,
    PayloadMalformed,
    TimestampInFuture,
    TooManySites,
    ValueOutOfRange,
    VersionUnsupported,
    WireError,
)
from sites.wire.foreign import ForeignSite, GatewayMap, Unmapped, translate
from sites.wire.host_events import (
    DeviceBorn,
    DeviceData,
    DeviceDied,
    HostEvent,
    NodeBorn,
    NodeData,
    NodeDied,
    RebirthNeeded,
    Refused,
    Values,
    refusals,
)
from sites.wire.judging import MetricValue, judged
from sites.wire.messages import state_message
from sites.wire.metrics import (
    BD_SEQ,
    SUPPORTED_VERSIONS,
    VERSION,
    Declarations,
    MetricType,
    declared_on,
    streams_on,
)
from sites.wire.payload import Metric, Payload, decode_payload
from sites.wire.plain import PlainData, flat
from sites.wire.topics import parse_topic

REBIRTH_EVERY_MS: Final = 5_000
MAX_SITES: Final = 100_000
MAX_DEVICES: Final = 64
"""Most devices of one site."""
_SEQS: Final = 256


@dataclass(slots=True)
class _Site:
    """What is known of one site. ``node`` None: no birth that may be trusted, aliases have no meaning."""

    node: BirthTable | None = None
    devices: dict[str, BirthTable] = field(default_factory=dict)
    bd_seq: int = -1
    last_seq: int = -1
    last_at_ms: int | None = None
    asked_ms: int | None = None
    foreign: ForeignSite | None = None
    """Set for a site behind a gateway of somebody else."""


class HostSession:
    """Follows the sites' sessions. A faulty message or metric becomes Refused; nothing is raised.

    After a hole in a site's sequence its aliases are not trusted until its next birth, for the lost
    message may have been a birth that gave them other meanings. Numbered streams name their metrics
    and are taken at any time. What Sparkplug cannot show is a lost birth after which the sequence
    happens to go on where it stopped (1 in 256): call ``forget_births`` after a lost connection.
    """

    def __init__(self, max_bytes: int, max_clock_ahead_s: float, *, max_sites: int = MAX_SITES) -> None:
        self._max_bytes = max_bytes
        self._max_ahead_ms = round(max_clock_ahead_s * 1000)
        self._max_sites = max_sites
        self._sites: dict[str, _Site] = {}
        self._tables = BirthTables()
        self._gateways: Mapping[str, GatewayMap] = {}
        self._places: dict[str, tuple[_Site, str, str | None]] = {}
        """Data topic -> site, its id and device; only of sites whose birth was heard."""

    # --- in --------------------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, now_ms: int) -> list[HostEvent]:
        """Return what a message means. Commands and host states are not for a host and give nothing."""
        events: list[HostEvent] = []
        errors: list[WireError] = []
        try:
            _, kind, site_id, device, _ = parse_topic(topic)
        except WireError as error:
            return [Refused(topic, error.name, str(error), payload)]
        try:
            # Whatever was found before an error counts: a hole in the sequence, for one.
            if kind == "NDATA" or kind == "DDATA":
                self._data(site_id, device, payload, now_ms, events, errors)
            elif kind == "NBIRTH":
                self._node_birth(site_id, payload, now_ms, events, errors)
            elif kind == "DBIRTH":
                self._device_birth(site_id, str(device), payload, now_ms, events, errors)
            elif kind == "NDEATH":
                self._node_death(site_id, payload, events)
            elif kind == "DDEATH":
                self._device_death(site_id, str(device), payload, now_ms, events)
        except WireError as error:
            errors.append(error)
        if errors:
            site = self._sites.get(site_id)
            awaits_birth = site is not None and site.node is None and site.asked_ms is not None
            events += refusals(topic, payload, errors, awaits_birth)
        return events

    def receive_plain(self, topic: str, payload: bytes, now_ms: int) -> PlainData | None:
        """Return a live message that keeps to its birth in every respect; None for any other, which changed nothing.

        The short way of ``receive`` for nearly all messages of a fleet: the same values, without an object for each
        metric. Whatever is unusual in a message or its sequence is left to ``receive``, which names it.
        """
        place = self._places.get(topic) or self._place(topic)
        if place is None or len(payload) > self._max_bytes:
            return None
        site, site_id, device = place
        if site_id in self._gateways:
            return None
        table = site.node if device is None else site.devices.get(device)
        read = flat(payload) if table is not None and site.node is not None else None
        if read is None or table is None:
            return None
        at_ms, seq, metrics = read
        if seq != (site.last_seq + 1) % _SEQS or at_ms > now_ms + self._max_ahead_ms:
            return None
        found = table.plain.read(metrics)
        if found is None:
            return None
        site.last_seq, site.last_at_ms = seq, at_ms
        return PlainData(site_id, device, at_ms, *found)

    def _place(self, topic: str) -> tuple[_Site, str, str | None] | None:
        try:
            _, kind, site_id, device, _ = parse_topic(topic)
        except WireError:
            return None
        site = self._sites.get(site_id)
        if kind not in ("NDATA", "DDATA") or site is None or site.node is None:
            return None
        if device is not None and device not in site.devices:
            return None
        if len(self._places) >= self._max_sites * 2:
            self._places.clear()
        place = self._places[topic] = (site, site_id, device)
        return place

    def is_born(self, site_id: str) -> bool:
        """Tell whether a site's birth is known and still trusted."""
        site = self._sites.get(site_id)
        return site is not None and site.node is not None

    def use_gateways(self, gateways: Mapping[str, GatewayMap]) -> None:
        """Take the rules of the sites that are behind a gateway of somebody else, by site.

        A site whose rules changed is born anew: what its aliases mean may have changed with them.
        """
        for site_id in gateways.keys() | self._gateways.keys():
            if gateways.get(site_id) != self._gateways.get(site_id) and (site := self._sites.get(site_id)) is not None:
                site.node = None
                site.devices.clear()
        self._gateways = dict(gateways)

    def forget_births(self) -> None:
        """Trust no birth any more: after a lost connection some may have been missed."""
        for site in self._sites.values():
            site.node = None
            site.devices.clear()

    # --- out -------------------------------------------------------------------------------------

    rebirth_command = staticmethod(rebirth_command)
    node_command = staticmethod(node_command)
    device_command = staticmethod(device_command)
    state_message = staticmethod(state_message)

    # --- births ----------------------------------------------------------------------------------

    def _node_birth(
        self, site_id: str, payload: bytes, now_ms: int, events: list[HostEvent], errors: list[WireError]
    ) -> None:
        decoded = decode_payload(payload, max_bytes=self._max_bytes, refused=errors)
        at_ms, seq = self._stamped(decoded, now_ms)
        bd_seq = _bd_seq(decoded)
        declared = declared_on(None)
        others = [metric for metric in decoded.metrics if metric.name != BD_SEQ]
        if site_id in self._gateways:
            site = self._site(site_id)
            site.node, site.bd_seq, site.last_seq, site.last_at_ms = self._tables.of_birth([], {}), bd_seq, seq, at_ms
            site.devices.clear()
            site.foreign = ForeignSite()
            events.append(NodeBorn(site_id, {BD_SEQ: MetricValue(bd_seq, at_ms, False)}, at_ms))
            self._foreign_birth(site, site_id, None, others, at_ms, now_ms, events, errors)
            return
        # The table first: a birth that cannot be understood must not end the trust in the last one.
        table = self._tables.of_birth(others, declared)
        values = self._birth_values(others, declared, at_ms, now_ms, errors)
        version = values.get(VERSION)
        if version is not None and version.value not in SUPPORTED_VERSIONS:
            accepted = f"{SUPPORTED_VERSIONS.start} to {SUPPORTED_VERSIONS.stop - 1}"
            raise VersionUnsupported(f"wire version is {version.value!r}, this end speaks {accepted}")
        site = self._site(site_id)
        site.node, site.bd_seq, site.last_seq, site.last_at_ms = table, bd_seq, seq, at_ms
        # A site's birth ends all its devices; they are born anew.
        site.devices.clear()
        values[BD_SEQ] = MetricValue(bd_seq, at_ms, False)
        events.append(NodeBorn(site_id, values, at_ms))

    def _device_birth(
        self,
        site_id: str,
        device: str,
        payload: bytes,
        now_ms: int,
        events: list[HostEvent],
        errors: list[WireError],
    ) -> None:
        decoded = decode_payload(payload, max_bytes=self._max_bytes, refused=errors)
        site = self._site(site_id)
        if not self._follow(site, site_id, decoded, now_ms, events):
            return
        at_ms, _ = self._stamped(decoded, now_ms)
        if site.node is None:
            raise BirthMissing(f"birth of device {device!r} came before its site's")
        if device not in site.devices and len(site.devices) >= MAX_DEVICES:
            raise DeviceUnknown(f"device {device!r} is one too many, accepted: up to {MAX_DEVICES}")
        if site_id in self._gateways:
            site.devices[device] = self._tables.of_birth([], {})
            self._foreign_birth(site, site_id, device, decoded.metrics, at_ms, now_ms, events, errors)
            return
        declared = declared_on(device)
        site.devices[device] = self._tables.of_birth(decoded.metrics, declared)
        values = self._birth_values(decoded.metrics, declared, at_ms, now_ms, errors)
        events.append(DeviceBorn(site_id, device, values, at_ms))

    def _birth_values(
        self,
        metrics: list[Metric],
        declared: Declarations,
        at_ms: int,
        now_ms: int,
        errors: list[WireError],
    ) -> Values:
        values: Values = {}
        latest_ms = now_ms + self._max_ahead_ms
        for metric in metrics:
            declaration = declared.get(metric.name) if metric.name is not None else None
            try:
                if declaration is None:
                    raise MetricUnknown(f"metric {metric.name!r} is not in the contract")
                if metric.type is None:
                    raise MetricTypeMismatch(f"metric {metric.name!r} is born without a type")
                values[declaration.name] = judged(metric, declaration, at_ms=at_ms, latest_ms=latest_ms)
            except WireError as error:
                errors.append(error)
        return values

    # --- data ------------------------------------------------------------------------------------

    def _data(
        self,
        site_id: str,
        device: str | None,
        payload: bytes,
        now_ms: int,
        events: list[HostEvent],
        errors: list[WireError],
    ) -> None:
        decoded = decode_payload(payload, max_bytes=self._max_bytes, refused=errors)
        site = self._site(site_id)
        is_new = self._follow(site, site_id, decoded, now_ms, events)
        at_ms, _ = self._stamped(decoded, now_ms)
        metrics, table = decoded.metrics, None
        if not is_new:
            # A repeat of the last message: its live values were taken; rows of streams have numbers.
            metrics = [metric for metric in metrics if metric.name is not None]
        elif site.node is not None:
            table = site.node if device is None else site.devices.get(device)
            if table is None and any(metric.name is None for metric in metrics):
                self._ask(site, site_id, now_ms, f"data of device {device!r} before its birth", events)
        latest_ms = now_ms + self._max_ahead_ms
        if site_id in self._gateways:
            if site.foreign is not None and site.node is not None and is_new:
                self._foreign(site.foreign, site_id, device, metrics, at_ms, latest_ms, events, errors)
            return
        values = resolve(metrics, table, streams_on(device), at_ms=at_ms, latest_ms=latest_ms, refused=errors)
        if values and device is None:
            events.append(NodeData(site_id, values, at_ms))
        elif values:
            events.append(DeviceData(site_id, str(device), values, at_ms))

    # --- gateways of others ----------------------------------------------------------------------

    def _foreign_birth(
        self,
        site: _Site,
        site_id: str,
        device: str | None,
        metrics: list[Metric],
        at_ms: int,
        now_ms: int,
        events: list[HostEvent],
        errors: list[WireError],
    ) -> None:
        site.foreign = site.foreign or ForeignSite()
        site.foreign.learn(device, metrics)
        self._foreign(site.foreign, site_id, device, metrics, at_ms, now_ms + self._max_ahead_ms, events, errors)

    def _foreign(
        self,
        known: ForeignSite,
        site_id: str,
        device: str | None,
        metrics: list[Metric],
        at_ms: int,
        latest_ms: int,
        events: list[HostEvent],
        errors: list[WireError],
    ) -> None:
        rules = self._gateways[site_id]
        values, unmapped = translate(
            device, metrics, known, rules, at_ms=at_ms, latest_ms=latest_ms, refused=errors
        )  # fmt: skip
        for asset, of_asset in values.items():
            events.append(DeviceData(site_id, asset, of_asset, at_ms) if asset else NodeData(site_id, of_asset, at_ms))
        if unmapped:
            events.append(Unmapped(site_id, unmapped, at_ms))

    # --- deaths ----------------------------------------------------------------------------------

    def _node_death(self, site_id: str, payload: bytes, events: list[HostEvent]) -> None:
        bd_seq = _bd_seq(decode_payload(payload, max_bytes=self._max_bytes))
        site = self._sites.get(site_id)
        # A will of an earlier connection may arrive after the birth on the next one.
        if site is not None and site.bd_seq == bd_seq:
            site.node, site.bd_seq = None, -1
            site.devices.clear()
            events.append(NodeDied(site_id, bd_seq))

    def _device_death(self, site_id: str, device: str, payload: bytes, now_ms: int, events: list[HostEvent]) -> None:
        decoded = decode_payload(payload, max_bytes=self._max_bytes, refused=[])
        site = self._site(site_id)
        is_new = self._follow(site, site_id, decoded, now_ms, events)
        self._stamped(decoded, now_ms)
        if is_new and site.devices.pop(device, None) is not None:
            events.append(DeviceDied(site_id, device))

    # --- inside ----------------------------------------------------------------------------------

    def _site(self, site_id: str) -> _Site:
        site = self._sites.get(site_id)
        if site is None:
            if len(self._sites) >= self._max_sites:
                raise TooManySites(f"site {site_id!r} is one too many, accepted: up to {self._max_sites}")
            site = self._sites[site_id] = _Site()
        return site

    def _follow(self, site: _Site, site_id: str, decoded: Payload, now_ms: int, events: list[HostEvent]) -> bool:
        """Take a message's place in the sequence, asking for births after a hole; False for a repeat."""
        seq = decoded.seq
        if seq is None:
            raise PayloadMalformed("payload has no seq, accepted: 0 to 255")
        if site.node is None:
            # Before asking: the births of a site whose clock is ahead would be refused like this message.
            self._stamped(decoded, now_ms)
            self._ask(site, site_id, now_ms, "data before a birth", events)
            return True
        # The same place with another time is no repeat: a birth in between was lost.
        if seq == site.last_seq and decoded.timestamp_ms == site.last_at_ms:
            return False
        due = (site.last_seq + 1) % _SEQS
        if seq != due:
            site.node = None
            site.devices.clear()
            self._ask(site, site_id, now_ms, f"seq is {seq} where {due} was due", events)
        site.last_seq, site.last_at_ms = seq, decoded.timestamp_ms
        return True

    def _ask(self, site: _Site, site_id: str, now_ms: int, reason: str, events: list[HostEvent]) -> None:
        # A clock that was set back must not silence the host for hours: hence the 0.
        if site.asked_ms is None or not 0 <= now_ms - site.asked_ms < REBIRTH_EVERY_MS:
            site.asked_ms = now_ms
            events.append(RebirthNeeded(site_id, reason))

    def _stamped(self, decoded: Payload, now_ms: int) -> tuple[int, int]:
        at_ms, seq = decoded.timestamp_ms, decoded.seq
        if at_ms is None or seq is None:
            raise PayloadMalformed(f"payload has no {'timestamp' if at_ms is None else 'seq'}")
        if at_ms > now_ms + self._max_ahead_ms:
            ahead_s = (at_ms - now_ms) / 1000
            raise TimestampInFuture(f"payload is {ahead_s:.1f} s ahead, accepted: up to {self._max_ahead_ms / 1000} s")
        return at_ms, seq


def _bd_seq(decoded: Payload) -> int:
    # The published libraries write bdSeq as Int64, the contract here as UInt64: the value is the same.
    for metric in decoded.metrics:
        if metric.name != BD_SEQ:
            continue
        if metric.type not in (MetricType.UINT64, MetricType.INT64) or not isinstance(metric.value, int):
            raise MetricTypeMismatch(f"{BD_SEQ} is {metric.type!r}, accepted: UInt64 or Int64")
        if not 0 <= metric.value < _SEQS:
            raise ValueOutOfRange(f"{BD_SEQ} is {metric.value}, accepted: 0 to {_SEQS - 1}")
        return metric.value
    raise PayloadMalformed(f"payload has no {BD_SEQ}")
