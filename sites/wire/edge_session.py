"""A site's end of Sparkplug B: births, data and deaths out; commands and the host's state in. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sites.wire.errors import (
    BirthMissing,
    DeviceUnknown,
    MetricUnknown,
    PayloadMalformed,
    PayloadTooLarge,
    TopicInvalid,
    ValueOutOfRange,
    WireError,
)
from sites.wire.messages import Message as Message
from sites.wire.messages import read_state
from sites.wire.metrics import (
    BD_SEQ,
    CONTROL_DEVICE,
    REBIRTH,
    SYSTEM_METRICS,
    VERSION,
    WIRE_VERSION,
    MetricDeclaration,
    MetricType,
    command_on,
)
from sites.wire.payload import Metric, Payload, Value, decode_payload, encode_payload, typed_value
from sites.wire.topics import SIGNALS, device_topic, node_topic, parse_topic, state_topic

MAX_COMMAND_BYTES: Final = 64_000
MAX_SIGNAL_BYTES: Final = 1_024
_BD_SEQS: Final = 256
_SEQS: Final = 256


@dataclass(frozen=True, slots=True)
class RebirthRequested:
    """A host asks for all births."""


@dataclass(frozen=True, slots=True)
class HostOnline:
    """The host says that it stores what it hears."""

    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class HostOffline:
    """The host is gone: keep what must not be lost."""

    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """Commands to the site by full name, such as ``stored_through/battery``; values of the declared types."""

    metrics: dict[str, Value]


@dataclass(frozen=True, slots=True)
class DeviceCommand:
    """Commands to one device by name."""

    device: str
    metrics: dict[str, Value]


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A value of a setpoint stream, sealed."""

    stream: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Something received that is not taken, and why."""

    error_name: str
    detail: str


EdgeEvent = RebirthRequested | HostOnline | HostOffline | NodeCommand | DeviceCommand | SignalReceived | Refused


class EdgeSession:
    """One site's session. Aliases follow the order of declaration, so they are the same in every birth."""

    def __init__(
        self,
        site_id: str,
        host_id: str,
        node_metrics: Sequence[MetricDeclaration],
        devices: Mapping[str, Sequence[MetricDeclaration]],
    ) -> None:
        self.site_id = site_id
        self.is_born = False
        self._bd_seq = 0
        self._seq = 0
        self._host_at_ms: int | None = None
        self._topics = {kind: node_topic(kind, site_id) for kind in ("NBIRTH", "NDATA", "NDEATH", "NCMD")}
        self._state_topic = state_topic(host_id)
        self._declared: dict[str | None, dict[str, tuple[int | None, MetricDeclaration]]] = {}
        self._data_topics: dict[str | None, str] = {None: self._topics["NDATA"]}
        alias = 0
        for device, declarations in [(None, node_metrics), *devices.items()]:
            table: dict[str, tuple[int | None, MetricDeclaration]] = {}
            for declaration in declarations:
                # Alias 0 stays free: a zero is what a forgotten field reads as.
                alias += 1
                # Reported state is rare, and is read without a birth: a dispatcher that takes over a fleet in the
                # middle of an arming storm knows every answer at once.
                table[declaration.name] = (None if device == CONTROL_DEVICE else alias, declaration)
            self._declared[device] = table
            if device is not None:
                self._data_topics[device] = device_topic("DDATA", site_id, device)

    # --- out -------------------------------------------------------------------------------------

    def will(self, bd_seq: int) -> Message:
        """Return the death to leave with the broker; the births that follow carry the same number (0 to 255)."""
        if not 0 <= bd_seq < _BD_SEQS:
            raise ValueOutOfRange(f"bdSeq is {bd_seq}, accepted: 0 to {_BD_SEQS - 1}")
        self._bd_seq = bd_seq
        metric = Metric(BD_SEQ, type=MetricType.UINT64, value=bd_seq)
        # Without a timestamp: the broker sends it at an instant that nobody knows now.
        return Message(self._topics["NDEATH"], encode_payload(Payload(None, None, [metric])), qos=1)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return (filter, QoS): own commands and the host's state.

        At QoS 0 throughout, also the retained STATE: on NATS each subscription at QoS 1 is a
        JetStream consumer, and a fleet meets the limit of 1,000 on a stream.
        """
        device_commands = device_topic("DCMD", self.site_id, "x").removesuffix("x") + "+"
        return [(self._topics["NCMD"], 0), (device_commands, 0), (self._state_topic, 0)]

    def births(
        self, now_ms: int, node_values: Mapping[str, Any], device_values: Mapping[str, Mapping[str, Any]]
    ) -> list[Message]:
        """Return the node's birth and one for each device; the sequence starts anew at 0.

        A value that is missing, None or not finite is born as null. Raises MetricUnknown or
        DeviceUnknown for names that were not declared.
        """
        if unknown := device_values.keys() - self._declared.keys():
            raise DeviceUnknown(f"device {min(unknown)!r} is not declared at site {self.site_id!r}")
        system = {BD_SEQ: self._bd_seq, REBIRTH: False, VERSION: WIRE_VERSION}
        metrics = [Metric(d.name, type=d.type, value=system[d.name], timestamp_ms=now_ms) for d in SYSTEM_METRICS]
        metrics += self._birth_metrics(None, node_values, now_ms)
        self._seq = 0
        messages = [self._message(self._topics["NBIRTH"], now_ms, metrics)]
        for device in self._declared:
            if device is not None:
                born = self._birth_metrics(device, device_values.get(device, {}), now_ms)
                messages.append(self._message(device_topic("DBIRTH", self.site_id, device), now_ms, born))
        self.is_born = True
        return messages

    def node_data(self, now_ms: int, values: Mapping[str, Any]) -> Message:
        """Return live values of the node by alias; a value that is None or not finite goes as null."""
        return self._data(now_ms, None, values)

    def device_data(self, now_ms: int, device: str, values: Mapping[str, Any]) -> Message:
        """Return live values of one device: by alias, and those of ``control`` by name."""
        return self._data(now_ms, device, values)

    def stream_data(self, now_ms: int, device: str | None, metrics: list[Metric], is_historical: bool) -> Message:
        """Return one row of a numbered stream: by name with types, so that it is read without a birth."""
        for metric in metrics:
            if metric.name is None:
                raise MetricUnknown("a stream's metric has no name")
            metric.is_historical = is_historical
        return self._message(self._data_topic(device), now_ms, metrics)

    def device_death(self, now_ms: int, device: str) -> Message:
        """Return the death of one device, which takes part in the sequence."""
        self._data_topic(device)
        return self._message(device_topic("DDEATH", self.site_id, device), now_ms, [])

    # --- in --------------------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, now_ms: int) -> list[EdgeEvent]:
        """Return what a message means; a faulty one, or a faulty metric in it, becomes Refused.

        A host's clock is not judged: a site whose own clock is wrong must still hear its commands,
        and an assignment carries its window under its signature.
        """
        try:
            if topic == self._state_topic:
                return self._receive_state(payload)
            if topic.startswith(SIGNALS):
                if len(payload) > MAX_SIGNAL_BYTES:
                    raise PayloadTooLarge(f"signal has {len(payload)} bytes, accepted: up to {MAX_SIGNAL_BYTES}")
                return [SignalReceived(topic.removeprefix(SIGNALS), payload)]
            parsed = parse_topic(topic)
            if parsed.site_id != self.site_id or parsed.kind not in ("NCMD", "DCMD"):
                raise TopicInvalid(f"topic is {topic!r}, accepted: commands to site {self.site_id!r}")
            if parsed.device is not None and parsed.device not in self._declared:
                known = ", ".join(device for device in self._declared if device is not None)
                raise DeviceUnknown(f"device {parsed.device!r} is not here, accepted: {known}")
            return self._receive_command(parsed.device, payload)
        except WireError as error:
            return [Refused(error.name, str(error))]

    def _receive_state(self, payload: bytes) -> list[EdgeEvent]:
        online, at_ms = read_state(payload)
        # A will of a former connection of the host may arrive after its next birth.
        if self._host_at_ms is not None and at_ms < self._host_at_ms:
            return []
        self._host_at_ms = at_ms
        return [HostOnline(at_ms) if online else HostOffline(at_ms)]

    def _receive_command(self, device: str | None, payload: bytes) -> list[EdgeEvent]:
        errors: list[WireError] = []
        decoded = decode_payload(payload, max_bytes=MAX_COMMAND_BYTES, refused=errors)
        events: list[EdgeEvent] = []
        values: dict[str, Value] = {}
        for metric in decoded.metrics:
            try:
                name, value = self._command(device, metric)
            except WireError as error:
                errors.append(error)
                continue
            if name == REBIRTH:
                if value is True and RebirthRequested() not in events:
                    events.append(RebirthRequested())
            else:
                values[name] = value
        if values:
            events.append(NodeCommand(values) if device is None else DeviceCommand(device, values))
        return events + [Refused(error.name, str(error)) for error in errors]

    def _command(self, device: str | None, metric: Metric) -> tuple[str, Value]:
        if metric.name is None:
            raise MetricUnknown(f"a command has alias {metric.alias} only, accepted: commands by name")
        declaration = command_on(device, metric.name)
        if declaration is None:
            raise MetricUnknown(f"command {metric.name!r} is not known on {device or 'the node'}")
        value = typed_value(metric, declaration.type)
        if value is None:
            raise PayloadMalformed(f"command {metric.name!r} has no value")
        low, high = declaration.low, declaration.high
        if low is not None and high is not None and not (isinstance(value, int | float) and low <= value <= high):
            raise ValueOutOfRange(f"command {metric.name!r} is {value!r}, accepted: {low} to {high}")
        return metric.name, value

    # --- inside ----------------------------------------------------------------------------------

    def _data(self, now_ms: int, device: str | None, values: Mapping[str, Any]) -> Message:
        if not self.is_born:
            raise BirthMissing(f"site {self.site_id!r} has data to send before its births")
        topic = self._data_topic(device)
        table = self._declared[device]
        metrics = []
        for name, value in values.items():
            alias, declaration = self._slot(table, device, name)
            named = name if alias is None else None
            metrics.append(Metric(named, alias, declaration.type, _known(value)))
        return self._message(topic, now_ms, metrics)

    def _birth_metrics(self, device: str | None, values: Mapping[str, Any], now_ms: int) -> list[Metric]:
        table = self._declared[device]
        for name in values:
            self._slot(table, device, name)
        return [
            Metric(name, alias, declaration.type, _known(values.get(name)), now_ms, properties=_properties(declaration))
            for name, (alias, declaration) in table.items()
        ]

    def _slot(
        self, table: dict[str, tuple[int | None, MetricDeclaration]], device: str | None, name: str
    ) -> tuple[int | None, MetricDeclaration]:
        slot = table.get(name)
        if slot is None:
            raise MetricUnknown(f"metric {name!r} is not declared on {device or 'the node'} of {self.site_id!r}")
        return slot

    def _data_topic(self, device: str | None) -> str:
        topic = self._data_topics.get(device)
        if topic is None:
            raise DeviceUnknown(f"device {device!r} is not declared at site {self.site_id!r}")
        return topic

    def _message(self, topic: str, now_ms: int, metrics: list[Metric]) -> Message:
        payload = encode_payload(Payload(now_ms, self._seq, metrics))
        # Counted only when it was encoded: a refused value must not look like a lost message.
        self._seq = (self._seq + 1) % _SEQS
        return Message(topic, payload)


def _known(value: Any) -> Any:
    """Return a value, or None for one that is not finite: an unknown measurement is null, never NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _properties(declaration: MetricDeclaration) -> dict[str, Value]:
    properties: dict[str, Value] = {}
    if declaration.unit:
        properties["engUnit"] = declaration.unit
    if declaration.low is not None:
        properties["engLow"] = float(declaration.low)
    if declaration.high is not None:
        properties["engHigh"] = float(declaration.high)
    return properties
