from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire_sites import BATTERY_VALUES, DEVICE_VALUES, NODE_VALUES, an_edge_session, births_of, interval_metrics

from sites.wire.commands import device_command, node_command, rebirth_command
from sites.wire.edge_session import DeviceCommand, HostOffline, HostOnline, NodeCommand, RebirthRequested, Refused
from sites.wire.errors import BirthMissing, DeviceUnknown, MetricUnknown, ValueOutOfRange
from sites.wire.host_events import DeviceBorn
from sites.wire.host_session import HostSession
from sites.wire.messages import Message, state_message
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, decode_payload, encode_payload
from sites.wire.topics import device_topic, node_topic

NOW_MS = 1_790_000_000_000
NCMD, NDATA, OTHER_SITE = node_topic("NCMD", "site-1"), node_topic("NDATA", "site-1"), node_topic("NCMD", "site-2")
CONTROL, PV, KETTLE = (device_topic("DCMD", "site-1", device) for device in ("control", "pv", "kettle"))


def content(message: Message) -> Payload:
    return decode_payload(message.payload, max_bytes=1_000_000)


def received(message: Message, session=None):  # type: ignore[no-untyped-def]
    return (session or an_edge_session()).receive(message.topic, message.payload, NOW_MS)


class TestBirths:
    def test_the_node_is_born_first_then_each_device_with_rising_sequence(self) -> None:
        messages = births_of(an_edge_session(), NOW_MS)
        assert [message.topic.split("/")[2] for message in messages] == ["NBIRTH"] + ["DBIRTH"] * 6
        assert [content(message).seq for message in messages] == [0, 1, 2, 3, 4, 5, 6]
        assert all(message.qos == 0 and not message.retain for message in messages)

    def test_aliases_differ_across_the_whole_site_and_are_the_same_in_every_birth(self) -> None:
        session = an_edge_session()
        first, second = (
            [[metric.alias for metric in content(message).metrics] for message in births_of(session, NOW_MS)]
            for _ in range(2)
        )
        given_aliases = [alias for aliases in first for alias in aliases if alias is not None]
        assert len(given_aliases) == len(set(given_aliases))
        assert first == second

    def test_a_birth_carries_unit_and_range(self) -> None:
        node = content(births_of(an_edge_session(), NOW_MS)[0])
        [frequency] = [metric for metric in node.metrics if metric.name == "frequency_hz"]
        assert frequency.properties == {"engUnit": "Hz", "engLow": 0.0, "engHigh": 100.0}
        assert frequency.type is MetricType.DOUBLE

    def test_birth_and_will_carry_the_same_number(self) -> None:
        session = an_edge_session()
        will = session.will(7)
        [in_will] = content(will).metrics
        in_birth = next(metric for metric in content(births_of(session, NOW_MS)[0]).metrics if metric.name == "bdSeq")
        assert (in_will.name, in_will.value, in_birth.value) == ("bdSeq", 7, 7)
        assert (will.topic, will.qos, will.retain) == (node_topic("NDEATH", "site-1"), 1, False)

    @pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
    def test_what_is_not_known_is_null_and_never_nan(self, unknown: float | None) -> None:
        node = content(an_edge_session().births(NOW_MS, {"frequency_hz": unknown}, {})[0])
        values = {metric.name: metric.value for metric in node.metrics}
        assert values["frequency_hz"] is None
        assert values["voltage_pu"] is None

    def test_names_that_were_not_declared_are_an_error_at_the_sender(self) -> None:
        with pytest.raises(MetricUnknown, match="phase_of_moon"):
            an_edge_session().births(NOW_MS, {"phase_of_moon": 1.0}, {})
        with pytest.raises(DeviceUnknown, match="kettle"):
            an_edge_session().births(NOW_MS, {}, {"kettle": {}})

    def test_a_birth_number_above_255(self) -> None:
        with pytest.raises(ValueOutOfRange, match="0 to 255"):
            an_edge_session().will(256)


class TestData:
    def test_data_goes_by_alias_only_and_carries_no_type(self) -> None:
        session = an_edge_session()
        births_of(session, NOW_MS)
        payload = content(session.node_data(NOW_MS, NODE_VALUES))
        assert all(metric.name is None and metric.type is None for metric in payload.metrics)
        assert payload.seq == 7

    def test_the_sequence_wraps_after_255(self) -> None:
        session = an_edge_session()
        births_of(session, NOW_MS)
        numbers = [content(session.device_data(NOW_MS, "battery", BATTERY_VALUES)).seq for _ in range(260)]
        assert numbers == [number % 256 for number in range(7, 267)]

    def test_a_value_that_cannot_be_encoded_takes_no_place_in_the_sequence(self) -> None:
        session = an_edge_session()
        births_of(session, NOW_MS)
        with pytest.raises(Exception, match="alias"):
            session.node_data(NOW_MS, {"frequency_hz": "fifty"})
        assert content(session.node_data(NOW_MS, NODE_VALUES)).seq == 7

    def test_data_before_the_births_is_an_error_at_the_sender(self) -> None:
        with pytest.raises(BirthMissing):
            an_edge_session().node_data(NOW_MS, NODE_VALUES)

    def test_a_stream_row_names_its_metrics_and_tells_when_it_is_late(self) -> None:
        session = an_edge_session()
        births_of(session, NOW_MS)
        message = session.stream_data(NOW_MS, "battery", interval_metrics(3, NOW_MS - 60_000), is_historical=True)
        assert message.topic == device_topic("DDATA", "site-1", "battery")
        assert all(metric.name and metric.type and metric.is_historical for metric in content(message).metrics)


class TestCommands:
    def test_rebirth(self) -> None:
        assert received(rebirth_command("site-1", NOW_MS)) == [RebirthRequested()]

    def test_rebirth_false_asks_for_nothing(self) -> None:
        assert received(node_command("site-1", NOW_MS, {"Node Control/Rebirth": False})) == []

    def test_marks_of_several_streams(self) -> None:
        marks = {"stored_through/battery": 17, "stored_through/record": 0}
        assert received(node_command("site-1", NOW_MS, dict(marks))) == [NodeCommand(dict(marks))]

    def test_an_envelope_to_the_control_device(self) -> None:
        event = received(device_command("site-1", "control", NOW_MS, {"desired": b"envelope"}))
        assert event == [DeviceCommand("control", {"desired": b"envelope"})]

    @pytest.mark.parametrize(
        ("topic", "metric", "error"),
        [
            (NCMD, Metric("stored_through/pv", type=MetricType.INT64, value=-1), "value_out_of_range"),
            (NCMD, Metric("stored_through/pv", type=MetricType.STRING, value="9"), "metric_type_mismatch"),
            (NCMD, Metric("stored_through/", type=MetricType.INT64, value=9), "metric_unknown"),
            (NCMD, Metric("desired", type=MetricType.BYTES, value=b"x"), "metric_unknown"),
            (NCMD, Metric(alias=1, type=MetricType.INT64, value=9), "metric_unknown"),
            (CONTROL, Metric("desired", type=MetricType.BYTES), "payload_malformed"),
            (PV, Metric("desired", type=MetricType.BYTES, value=b"x"), "metric_unknown"),
            (KETTLE, Metric("desired", type=MetricType.BYTES, value=b"x"), "device_unknown"),
            (OTHER_SITE, Metric("Node Control/Rebirth", type=MetricType.BOOLEAN, value=True), "topic_invalid"),
            (NDATA, Metric("frequency_hz", type=MetricType.DOUBLE, value=1.0), "topic_invalid"),
        ],
    )  # fmt: skip
    def test_what_is_no_command_is_refused_by_name(self, topic: str, metric: Metric, error: str) -> None:
        [event] = an_edge_session().receive(topic, encode_payload(Payload(NOW_MS, None, [metric])), NOW_MS)
        assert isinstance(event, Refused)
        assert event.error_name == error

    def test_one_bad_metric_leaves_the_others(self) -> None:
        metrics = [
            Metric("stored_through/pv", type=MetricType.INT64, value=4),
            Metric("self_destruct", type=MetricType.BOOLEAN, value=True),
        ]
        events = received(Message(node_topic("NCMD", "site-1"), encode_payload(Payload(NOW_MS, None, metrics))))
        assert events[0] == NodeCommand({"stored_through/pv": 4})
        assert [event.error_name for event in events[1:]] == ["metric_unknown"]

    @given(st.text(max_size=40) | st.sampled_from([t for t, _ in an_edge_session().subscriptions()]), st.binary())
    def test_nothing_received_raises(self, topic: str, payload: bytes) -> None:
        an_edge_session().receive(topic, payload, NOW_MS)


class TestHostState:
    def test_online_and_offline(self) -> None:
        session = an_edge_session()
        assert received(state_message("vpp", True, 5), session) == [HostOnline(5)]
        assert received(state_message("vpp", False, 5), session) == [HostOffline(5)]

    def test_a_late_will_of_an_earlier_connection_of_the_host_is_not_believed(self) -> None:
        session = an_edge_session()
        received(state_message("vpp", True, 10), session)
        assert received(state_message("vpp", False, 9), session) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"OFFLINE",
            b"[]",
            b'{"online": 1, "timestamp": 2}',
            b'{"online": true}',
            b'{"online":true,"timestamp":1.5}',
            b"[" * 900,
        ],
    )
    def test_what_is_no_state_is_refused(self, body: bytes) -> None:
        [event] = an_edge_session().receive("spBv1.0/STATE/vpp", body, NOW_MS)
        assert isinstance(event, Refused)
        assert event.error_name == "payload_malformed"

    def test_a_state_that_is_too_large(self) -> None:
        [event] = an_edge_session().receive("spBv1.0/STATE/vpp", b" " * 2000, NOW_MS)
        assert isinstance(event, Refused)
        assert event.error_name == "payload_too_large"

    def test_another_hosts_state_is_not_ours(self) -> None:
        [event] = received(state_message("other", True, 5))
        assert event.error_name == "topic_invalid"


def test_subscriptions_stay_at_qos_0() -> None:
    assert an_edge_session().subscriptions() == [
        (node_topic("NCMD", "site-1"), 0),
        (device_topic("DCMD", "site-1", "x")[:-1] + "+", 0),
        ("spBv1.0/STATE/vpp", 0),
    ]


def test_device_values_of_the_support_module_are_all_declared() -> None:
    messages = an_edge_session().births(NOW_MS, NODE_VALUES, DEVICE_VALUES)
    assert not [metric.name for message in messages for metric in content(message).metrics if metric.value is None]


def test_births_tell_what_is_known_of_a_meter_and_null_for_the_rest() -> None:
    session = an_edge_session()
    known = {"meter_class": "0.5S", "meter_calibrated_at": NOW_MS, "meter_uncertainty_ratio": 0.005}
    births = session.births(NOW_MS, NODE_VALUES, {"battery": BATTERY_VALUES | known})
    host = HostSession(100_000, 60.0)
    devices = {
        event.device: event.values
        for birth in births
        for event in host.receive(birth.topic, birth.payload, NOW_MS)
        if isinstance(event, DeviceBorn)
    }
    assert {name: devices["battery"][name].value for name in known} == known
    assert {devices["pcc"][name].value for name in known} == {None}
