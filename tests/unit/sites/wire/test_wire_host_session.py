from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire_sites import BATTERY_VALUES, DEVICE_VALUES, NODE_VALUES, an_edge_session, births_of, interval_metrics

from sites.wire.edge_session import EdgeSession
from sites.wire.errors import PayloadMalformed
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
)
from sites.wire.host_session import HostSession
from sites.wire.messages import Message
from sites.wire.metrics import (
    ASSET_METRICS,
    CONTROL_METRICS,
    NODE_METRICS,
    SUPPORTED_VERSIONS,
    WIRE_VERSION,
    MetricDeclaration,
    MetricType,
)
from sites.wire.payload import Metric, Payload, decode_payload, encode_payload
from sites.wire.topics import device_topic, node_topic

NOW_MS = 1_790_000_000_000
Events = list[HostEvent]


def a_host(**options: Any) -> HostSession:
    return HostSession(1_000_000, 60.0, **options)


def hear(host: HostSession, *messages: Message, now_ms: int = NOW_MS) -> Events:
    return [event for message in messages for event in host.receive(message.topic, message.payload, now_ms)]


def a_born_pair() -> tuple[EdgeSession, HostSession]:
    edge, host = an_edge_session(), a_host()
    hear(host, *births_of(edge, NOW_MS))
    return edge, host


def errors_in(events: Events) -> list[str]:
    return [event.error_name for event in events if isinstance(event, Refused)]


def rebirths_in(events: Events) -> int:
    return sum(isinstance(event, RebirthNeeded) for event in events)


def raw(topic: str, *metrics: Metric, seq: int | None = 7, at_ms: int | None = NOW_MS) -> Message:
    return Message(topic, encode_payload(Payload(at_ms, seq, list(metrics))))


def double(name: str | None = None, value: float = 1.0, **options: Any) -> Metric:
    return Metric(name, type=MetricType.DOUBLE, value=value, **options)


NDATA, NDEATH = node_topic("NDATA", "site-1"), node_topic("NDEATH", "site-1")
BATTERY = device_topic("DDATA", "site-1", "battery")


class TestBirthsAndData:
    def test_births_give_names_types_and_values(self) -> None:
        events = hear(a_host(), *births_of(an_edge_session(bd_seq=9), NOW_MS))
        node, *devices = events
        assert isinstance(node, NodeBorn)
        assert node.values["frequency_hz"].value == NODE_VALUES["frequency_hz"]
        assert (node.values["bdSeq"].value, node.values["wire/version"].value) == (9, WIRE_VERSION)
        assert [event.device for event in devices if isinstance(event, DeviceBorn)] == list(DEVICE_VALUES)

    def test_data_by_alias_comes_out_by_name(self) -> None:
        edge, host = a_born_pair()
        [node] = hear(host, edge.node_data(NOW_MS, NODE_VALUES))
        [device] = hear(host, edge.device_data(NOW_MS, "battery", BATTERY_VALUES))
        assert isinstance(node, NodeData)
        assert {name: metric.value for name, metric in node.values.items()} == NODE_VALUES
        assert isinstance(device, DeviceData)
        assert {name: metric.value for name, metric in device.values.items()} == BATTERY_VALUES

    def test_a_stream_row_is_taken_without_a_birth_and_keeps_its_lateness(self) -> None:
        edge, host = an_edge_session(), a_host()
        births_of(edge, NOW_MS)
        events = hear(host, edge.stream_data(NOW_MS, "pv", interval_metrics(4, NOW_MS - 60_000), is_historical=True))
        [data] = [event for event in events if isinstance(event, DeviceData)]
        assert data.values["interval/number"] == (4, NOW_MS, True)
        assert rebirths_in(events) == 1
        assert errors_in(events) == []

    def test_live_data_without_a_birth_is_not_read_and_no_attack(self) -> None:
        edge, host = an_edge_session(), a_host()
        births_of(edge, NOW_MS)
        events = hear(host, edge.node_data(NOW_MS, NODE_VALUES))
        [refused] = [event for event in events if isinstance(event, Refused)]
        assert (refused.error_name, refused.is_suspect) == ("alias_unknown", False)
        assert rebirths_in(events) == 1
        assert not any(isinstance(event, NodeData) for event in events)

    def test_a_null_is_kept_as_not_known(self) -> None:
        edge, host = a_born_pair()
        [data] = hear(host, edge.node_data(NOW_MS, {"frequency_hz": float("nan")}))
        assert isinstance(data, NodeData)
        assert data.values["frequency_hz"].value is None

    def test_a_gateway_of_another_maker_may_write_its_birth_number_as_int64_and_any_aliases(self) -> None:
        host = a_host()
        metrics = [
            Metric("bdSeq", type=MetricType.INT64, value=3),
            Metric("frequency_hz", 2**40, MetricType.DOUBLE, 50.0),
            Metric("Properties/Maker", 5, MetricType.STRING, "someone"),
        ]
        events = hear(host, raw(node_topic("NBIRTH", "site-1"), *metrics, seq=0))
        assert isinstance(events[0], NodeBorn)
        assert errors_in(events) == ["metric_unknown"]
        [data] = hear(host, raw(NDATA, double(None, 49.9, alias=2**40), seq=1))
        assert isinstance(data, NodeData)
        assert data.values["frequency_hz"].value == 49.9


class TestSequence:
    def test_it_wraps_from_255_to_0(self) -> None:
        edge, host = a_born_pair()
        events = hear(host, *(edge.node_data(NOW_MS, NODE_VALUES) for _ in range(600)))
        assert all(isinstance(event, NodeData) for event in events)
        assert len(events) == 600

    def test_a_hole_asks_for_births_and_no_alias_is_read_until_they_come(self) -> None:
        edge, host = a_born_pair()
        edge.node_data(NOW_MS, NODE_VALUES)
        events = hear(host, edge.node_data(NOW_MS, NODE_VALUES))
        assert rebirths_in(events) == 1
        assert "seq is 8 where 7 was due" in next(e.reason for e in events if isinstance(e, RebirthNeeded))
        assert not any(isinstance(event, NodeData) for event in events)
        assert not host.is_born("site-1")
        hear(host, *births_of(edge, NOW_MS))
        assert isinstance(hear(host, edge.node_data(NOW_MS, NODE_VALUES))[0], NodeData)

    def test_births_are_asked_for_once_in_five_seconds(self) -> None:
        edge, host = an_edge_session(), a_host()
        births_of(edge, NOW_MS)
        counts = [
            rebirths_in(hear(host, edge.node_data(NOW_MS, NODE_VALUES), now_ms=NOW_MS + ms))
            for ms in (0, 1, 4_999, 5_000, 5_001, 10_000)
        ]
        assert counts == [1, 0, 0, 1, 0, 1]

    def test_a_clock_set_back_does_not_silence_the_host(self) -> None:
        edge, host = an_edge_session(), a_host()
        births_of(edge, NOW_MS - 10_000_000)
        data = edge.node_data(NOW_MS - 10_000_000, NODE_VALUES)
        assert [rebirths_in(hear(host, data, now_ms=NOW_MS + ms)) for ms in (0, -9_000_000)] == [1, 1]

    def test_a_repeated_message_is_not_read_twice_and_asks_for_nothing(self) -> None:
        edge, host = a_born_pair()
        message = edge.node_data(NOW_MS, NODE_VALUES)
        assert len(hear(host, message)) == 1
        assert hear(host, message) == []
        assert isinstance(hear(host, edge.node_data(NOW_MS, NODE_VALUES))[0], NodeData)

    def test_another_sites_messages_do_not_disturb(self) -> None:
        edge, host = a_born_pair()
        other = an_edge_session("site-2")
        hear(host, *births_of(other, NOW_MS))
        for session in (edge, other, other, edge):
            [event] = hear(host, session.node_data(NOW_MS, NODE_VALUES))
            assert isinstance(event, NodeData)
            assert event.site_id == session.site_id


class TestDeaths:
    def test_the_will_of_the_born_connection_ends_the_site(self) -> None:
        edge, host = an_edge_session(), a_host()
        will = edge.will(5)
        hear(host, *births_of(edge, NOW_MS))
        assert hear(host, will) == [NodeDied("site-1", 5)]
        assert hear(host, will) == []
        assert rebirths_in(hear(host, edge.node_data(NOW_MS, NODE_VALUES))) == 1

    def test_a_late_will_of_an_earlier_connection_does_not(self) -> None:
        edge, host = an_edge_session(), a_host()
        old = edge.will(5)
        edge.will(6)
        hear(host, *births_of(edge, NOW_MS))
        assert hear(host, old) == []
        assert host.is_born("site-1")

    def test_a_device_may_die_alone(self) -> None:
        edge, host = a_born_pair()
        assert hear(host, edge.device_death(NOW_MS, "pv")) == [DeviceDied("site-1", "pv")]
        events = hear(host, edge.device_data(NOW_MS, "pv", {"power_kw": 1.0}))
        assert rebirths_in(events) == 1
        assert errors_in(events) == ["alias_unknown"]


class TestRefused:
    @pytest.mark.parametrize(
        ("metric", "error"),
        [
            (Metric("phase_of_moon", type=MetricType.DOUBLE, value=1.0), "metric_unknown"),
            (Metric(alias=999, type=MetricType.DOUBLE, value=1.0), "alias_unknown"),
            (Metric("frequency_hz", type=MetricType.FLOAT, value=50.0), "metric_type_mismatch"),
            (Metric(alias=1, type=MetricType.STRING, value="50"), "metric_type_mismatch"),
            (double("frequency_hz", 100.1), "value_out_of_range"),
            (double("frequency_hz", float("nan")), "value_out_of_range"),
            (double("frequency_hz", float("inf")), "value_out_of_range"),
            (Metric("mode", type=MetricType.STRING, value="asleep"), "value_out_of_range"),
            (double("frequency_hz", 50.0, timestamp_ms=NOW_MS + 60_001), "timestamp_in_future"),
            (Metric("record/starts_at", type=MetricType.DATETIME, value=NOW_MS + 60_001), "timestamp_in_future"),
            (Metric("waveform/cause", type=MetricType.STRING, value="x" * 2000), "value_out_of_range"),
        ],
    )
    def test_only_the_faulty_metric_and_the_site_stays_born(self, metric: Metric, error: str) -> None:
        _, host = a_born_pair()
        events = hear(host, raw(NDATA, metric, double("voltage_pu", 1.0)))
        assert errors_in(events) == [error]
        [data] = [event for event in events if isinstance(event, NodeData)]
        assert list(data.values) == ["voltage_pu"]
        assert host.is_born("site-1")
        assert rebirths_in(events) == 0

    def test_a_refusal_carries_topic_reason_and_bytes(self) -> None:
        _, host = a_born_pair()
        message = raw(NDATA, double("frequency_hz", 700.0))
        [refused] = hear(host, message)
        assert isinstance(refused, Refused)
        assert (refused.topic, refused.payload) == (message.topic, message.payload)
        assert refused.detail == "frequency_hz is 700.0, accepted: 0.0 to 100.0"
        assert refused.is_suspect

    def test_many_faults_of_one_kind_are_one_refusal(self) -> None:
        _, host = a_born_pair()
        [refused] = hear(host, raw(NDATA, *(double(f"m{number}") for number in range(50))))
        assert isinstance(refused, Refused)
        assert refused.detail.endswith("(and 45 more)")

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            (Message(NDATA, b"\xff\xff\xff"), "payload_malformed"),
            (Message(NDATA, bytes(1_000_001)), "payload_too_large"),
            (raw(NDATA, double("frequency_hz"), seq=None), "payload_malformed"),
            (raw(NDATA, double("frequency_hz"), at_ms=None), "payload_malformed"),
            (raw(NDATA, double("frequency_hz"), at_ms=NOW_MS + 60_001), "timestamp_in_future"),
            (raw(node_topic("NBIRTH", "site-1"), double("frequency_hz"), seq=0), "payload_malformed"),
            (raw(node_topic("NBIRTH", "site-1"), double("bdSeq"), seq=0), "metric_type_mismatch"),
            (raw(NDEATH, Metric("bdSeq", type=MetricType.INT64, value=-1)), "value_out_of_range"),
            (Message("spBv1.0/VPP-00/NDATA/site-1", b""), "topic_invalid"),
            (Message("nonsense", b""), "topic_invalid"),
        ],
    )  # fmt: skip
    def test_whole_messages(self, message: Message, error: str) -> None:
        _, host = a_born_pair()
        assert errors_in(hear(host, message)) == [error]

    def test_a_message_with_a_bad_clock_still_takes_its_place_in_the_sequence(self) -> None:
        edge, host = a_born_pair()
        assert errors_in(hear(host, edge.node_data(NOW_MS + 70_000, NODE_VALUES))) == ["timestamp_in_future"]
        assert isinstance(hear(host, edge.node_data(NOW_MS, NODE_VALUES))[0], NodeData)

    def test_an_unborn_site_with_a_bad_clock_is_not_asked_for_births_that_would_be_refused_too(self) -> None:
        edge, host = an_edge_session(), a_host()
        births = births_of(edge, NOW_MS + 70_000)
        events = hear(host, *births, edge.node_data(NOW_MS + 70_000, NODE_VALUES))
        assert set(errors_in(events)) == {"timestamp_in_future"}
        assert rebirths_in(events) == 0

    @pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
    def test_each_version_of_the_window_is_taken(self, version: int) -> None:
        host = a_host()
        metrics = [
            Metric("bdSeq", type=MetricType.UINT64, value=1),
            Metric("wire/version", type=MetricType.INT32, value=version),
        ]
        assert errors_in(hear(host, raw(node_topic("NBIRTH", "site-1"), *metrics, seq=0))) == []
        assert host.is_born("site-1")

    def test_a_wire_version_of_the_future(self) -> None:
        metrics = [
            Metric("bdSeq", type=MetricType.UINT64, value=1),
            Metric("wire/version", type=MetricType.INT32, value=SUPPORTED_VERSIONS.stop),
        ]
        host = a_host()
        assert errors_in(hear(host, raw(node_topic("NBIRTH", "site-1"), *metrics, seq=0))) == ["version_unsupported"]
        assert not host.is_born("site-1")

    def test_an_alias_born_twice(self) -> None:
        metrics = [
            Metric("bdSeq", type=MetricType.UINT64, value=1),
            double("frequency_hz", alias=1),
            double("voltage_pu", alias=1),
        ]
        assert errors_in(hear(a_host(), raw(node_topic("NBIRTH", "site-1"), *metrics))) == ["payload_malformed"]

    def test_a_device_birth_before_its_site(self) -> None:
        events = hear(a_host(), *births_of(an_edge_session(), NOW_MS)[1:2])
        assert rebirths_in(events) == 1
        assert errors_in(events) == ["birth_missing"]

    def test_one_site_too_many(self) -> None:
        host = a_host(max_sites=1)
        hear(host, *births_of(an_edge_session("site-1"), NOW_MS))
        assert set(errors_in(hear(host, *births_of(an_edge_session("site-2"), NOW_MS)))) == {"too_many_sites"}

    def test_one_device_too_many(self) -> None:
        edge = EdgeSession("site-1", "vpp", [], {f"pv{number}": list(ASSET_METRICS["pv"]) for number in range(65)})
        events = hear(a_host(), *edge.births(NOW_MS, {}, {}))
        assert errors_in(events) == ["device_unknown"]

    @settings(max_examples=300)
    @given(
        st.text(max_size=40)
        | st.sampled_from([NDATA, BATTERY, *(node_topic(kind, "site-1") for kind in ("NBIRTH", "NDEATH"))])
        | st.sampled_from([device_topic(kind, "site-1", "pv") for kind in ("DBIRTH", "DDEATH", "DCMD")]),
        st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: b"\x08\x01\x18\x07\x12\x02\x10\x01" + tail),
    )
    def test_nothing_received_raises(self, topic: str, payload: bytes) -> None:
        _, host = a_born_pair()
        assert isinstance(host.receive(topic, payload, NOW_MS), list)


def test_commands_and_host_states_are_not_for_a_host() -> None:
    host = a_host()
    assert hear(host, host.rebirth_command("site-1", NOW_MS), host.state_message("vpp", True, NOW_MS)) == []


def test_equal_births_share_one_table() -> None:
    host = a_host()
    for number in range(30):
        hear(host, *births_of(an_edge_session(f"site-{number}"), NOW_MS))
    # One for the node, one for each of six devices; not 210. PV and load have the same metrics but other aliases.
    assert len(host._tables) == 7


# --- any loss, repetition and order ----------------------------------------------------------------


class AnySite:
    """A site that may change its software, and with it its aliases, at every birth."""

    def __init__(self) -> None:
        self.generation = 0
        self.now_ms = NOW_MS
        self.edge = an_edge_session()

    def say(self, what: str) -> list[tuple[int, Message]]:
        """Return messages with the generation of births that they rest on."""
        self.now_ms += 700
        edge, now_ms = self.edge, self.now_ms
        if what == "birth":
            self.generation += 1
            order: list[MetricDeclaration] = list(NODE_METRICS)
            self.edge = edge = EdgeSession(
                "site-1", "vpp", order[:: 1 if self.generation % 2 else -1], {"control": list(CONTROL_METRICS)}
            )
            messages = [edge.will(self.generation % 256), *edge.births(now_ms, NODE_VALUES, {})]
        elif what == "node":
            messages = [edge.node_data(now_ms, NODE_VALUES)]
        elif what == "control":
            messages = [edge.device_data(now_ms, "control", {"reported/sequence": 5})]
        elif what == "stream":
            messages = [
                edge.stream_data(now_ms, None, [Metric("record/number", type=MetricType.INT64, value=1)], False)
            ]
        else:
            messages = [Message(NDATA, b"\x08\xff")]
        return [(self.generation, message) for message in messages]


class Observer:
    """Hears messages and checks that no value comes out under another metric's name."""

    def __init__(self) -> None:
        self.host = a_host()
        self.generation = -1
        self.last_seq = -1

    def hear(self, generation: int, message: Message, now_ms: int) -> Events:
        events = hear(self.host, message, now_ms=now_ms)
        with contextlib.suppress(PayloadMalformed):
            seq = decode_payload(message.payload, max_bytes=1_000_000).seq
            # Sparkplug cannot show a lost birth after which the sequence goes on where it stopped.
            by_luck = self.generation != generation and seq == (self.last_seq + 1) % 256
            if "NBIRTH" in message.topic:
                self.generation, by_luck = generation, False
            if seq is not None:
                self.last_seq = seq
            for event in events:
                if isinstance(event, NodeData | NodeBorn) and not by_luck:
                    read = {name: metric.value for name, metric in event.values.items() if name in NODE_VALUES}
                    assert read == {name: NODE_VALUES[name] for name in read}
        return events


STEP = st.tuples(
    st.sampled_from(["node", "node", "control", "stream", "birth", "junk"]),
    st.sampled_from(["deliver", "deliver", "deliver", "lose", "twice", "hold"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_whatever_is_lost_repeated_or_held_back_no_value_gets_a_wrong_name(steps: list[tuple[str, str]]) -> None:
    site, observer, held = AnySite(), Observer(), []
    for generation, message in site.say("birth"):
        observer.hear(generation, message, site.now_ms)
    for what, fate in steps:
        said = site.say(what)
        if fate == "hold":
            held += said
        for generation, message in said * {"lose": 0, "hold": 0, "deliver": 1, "twice": 2}[fate]:
            observer.hear(generation, message, site.now_ms)
    for generation, message in held:
        observer.hear(generation, message, site.now_ms)
    # The site goes on: what the host hears next it either reads or answers by asking for births.
    site.now_ms += 6_000
    [(generation, message)] = site.say("node")
    events = observer.hear(generation, message, site.now_ms)
    assert rebirths_in(events) or any(isinstance(event, NodeData) for event in events)
    for generation, message in site.say("birth") + site.say("node"):
        events = observer.hear(generation, message, site.now_ms)
    assert isinstance(events[-1], NodeData)


def test_a_lost_birth_shows_although_the_sequence_stands_where_it_stood() -> None:
    edge, host = a_born_pair()
    hear(host, edge.node_data(NOW_MS, NODE_VALUES))
    births_of(edge, NOW_MS + 500)
    assert rebirths_in(hear(host, edge.node_data(NOW_MS + 1000, NODE_VALUES))) == 1


def test_after_a_lost_connection_no_birth_is_trusted() -> None:
    edge, host = a_born_pair()
    host.forget_births()
    assert rebirths_in(hear(host, edge.node_data(NOW_MS, NODE_VALUES))) == 1
