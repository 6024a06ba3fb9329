"""Births, data, commands, deaths and the retained state over real brokers with real clients."""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from paho.mqtt import client as mqtt
from support.brokers import Broker, mosquitto_broker, nats_broker
from support.wire_sites import BATTERY_VALUES, NODE_VALUES, an_edge_session, births_of, interval_metrics

from sites.wire.edge_session import DeviceCommand, HostOffline, HostOnline, NodeCommand, RebirthRequested
from sites.wire.host_events import DeviceBorn, DeviceData, NodeBorn, NodeData, NodeDied, RebirthNeeded, Refused
from sites.wire.host_session import HostSession
from sites.wire.messages import Message, state_message
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric
from sites.wire.records import pack_samples, unpack_samples
from sites.wire.topics import device_topic, node_topic, partition_filters, state_topic

WITHIN_S = 10.0


class Client:
    """A paho client whose messages are taken out one by one."""

    def __init__(self, broker: Broker, client_id: str, *, is_edge: bool, will: Message | None = None) -> None:
        self.inbox: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=mqtt.MQTTv311
        )
        user = (broker.edge_user, broker.edge_password) if is_edge else (broker.user, broker.password)
        self.paho.username_pw_set(*user)
        self.paho.on_message = lambda _client, _data, message: self.inbox.put(message)
        self.paho.on_connect = lambda _client, _data, _flags, reason, _properties: self._answers.put(reason)
        self.paho.on_subscribe = lambda _client, _data, _mid, reasons, _properties: self._answers.put(reasons)
        if will is not None:
            self.paho.will_set(will.topic, will.payload, will.qos, will.retain)
        self.paho.connect("127.0.0.1", broker.port)
        self.paho.loop_start()
        assert not self._answers.get(timeout=WITHIN_S).is_failure

    def subscribe(self, *filters: tuple[str, int]) -> list[bool]:
        """Subscribe and return which were granted."""
        granted = []
        for text, qos in filters:
            self.paho.subscribe(text, qos)
            granted.append(not self._answers.get(timeout=WITHIN_S)[0].is_failure)
        return granted

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.paho.publish(message.topic, message.payload, message.qos, message.retain).wait_for_publish(WITHIN_S)

    def take(self) -> mqtt.MQTTMessage:
        return self.inbox.get(timeout=WITHIN_S)

    def cut(self) -> None:
        """Lose the connection without a goodbye, as a site without power does."""
        self.paho.reconnect_delay_set(3600, 3600)
        sock = self.paho.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


class Host:
    """The platform's end: a client and a session."""

    def __init__(self, broker: Broker) -> None:
        self.client = Client(broker, "host", is_edge=False)
        self.client.subscribe(*((text, 0) for text in partition_filters(range(64))))
        self.session = HostSession(1_000_000, 60.0)

    def next_events(self) -> list[Any]:
        message = self.client.take()
        return list(self.session.receive(message.topic, message.payload, now_ms()))

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the first event that is wanted; fail when none comes in time."""
        deadline = time.monotonic() + WITHIN_S
        seen: list[Any] = []
        while time.monotonic() < deadline:
            for event in self.next_events():
                if wanted(event):
                    return event
                seen.append(event)
        raise AssertionError(f"not among {seen}")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(
    params=[
        pytest.param(nats_broker, id="nats"),
        pytest.param(mosquitto_broker, id="mosquitto", marks=pytest.mark.mosquitto),
    ]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with request.param() as running:
        yield running


def test_a_site_is_born_speaks_obeys_and_dies(broker: Broker) -> None:
    host = Host(broker)
    session = an_edge_session()
    edge = Client(broker, "site-1", is_edge=True, will=session.will(4))
    assert edge.subscribe(*session.subscriptions()) == [True, True, True]

    # Births, then live data by alias.
    edge.send(*births_of(session, now_ms()))
    assert isinstance(host.next_events()[0], NodeBorn)
    assert [host.next_events()[0].device for _ in range(6)] == ["pcc", "battery", "pv", "genset", "load", "control"]
    edge.send(session.node_data(now_ms(), NODE_VALUES), session.device_data(now_ms(), "battery", BATTERY_VALUES))
    [node], [battery] = host.next_events(), host.next_events()
    assert isinstance(node, NodeData)
    assert {name: metric.value for name, metric in node.values.items()} == NODE_VALUES
    assert isinstance(battery, DeviceData)
    assert battery.values["soc_ratio"].value == BATTERY_VALUES["soc_ratio"]

    # A late row of a numbered stream keeps its mark.
    edge.send(session.stream_data(now_ms(), "battery", interval_metrics(3, now_ms() - 90_000), is_historical=True))
    [row] = host.next_events()
    assert row.values["interval/number"].value == 3
    assert row.values["interval/number"].is_historical

    # Commands down.
    marks, envelope = {"stored_through/battery": 3}, {"desired": b"\x00\xff"}
    commands = [
        (host.session.rebirth_command("site-1", now_ms()), RebirthRequested()),
        (host.session.node_command("site-1", now_ms(), dict(marks)), NodeCommand(dict(marks))),
        (
            host.session.device_command("site-1", "control", now_ms(), dict(envelope)),
            DeviceCommand("control", envelope),
        ),
    ]
    for command, event in commands:
        host.client.send(command)
        message = edge.take()
        assert session.receive(message.topic, message.payload, now_ms()) == [event]

    # A lost message shows in the sequence, and the births asked for heal it.
    session.node_data(now_ms(), NODE_VALUES)
    edge.send(session.node_data(now_ms(), NODE_VALUES))
    assert isinstance(host.until(lambda event: isinstance(event, RebirthNeeded)), RebirthNeeded)
    edge.send(*births_of(session, now_ms()), session.node_data(now_ms(), NODE_VALUES))
    assert isinstance(host.until(lambda event: isinstance(event, NodeData)), NodeData)

    # Death by a cut line: the broker speaks the will.
    edge.cut()
    assert host.until(lambda event: isinstance(event, NodeDied)) == NodeDied("site-1", 4)
    edge.close()
    host.client.close()


def test_the_hosts_state_is_retained_for_a_subscriber_at_qos_0_and_ends_with_its_connection(broker: Broker) -> None:
    born_ms = now_ms()
    host = Client(broker, "host", is_edge=False, will=state_message("vpp", False, born_ms))
    host.send(state_message("vpp", True, born_ms))

    session = an_edge_session()
    edge = Client(broker, "site-1", is_edge=True)
    edge.subscribe((state_topic("vpp"), 0))
    retained = edge.take()
    assert (retained.retain, retained.qos) == (True, 0)
    assert session.receive(retained.topic, retained.payload, now_ms()) == [HostOnline(born_ms)]

    host.cut()
    will = edge.take()
    assert session.receive(will.topic, will.payload, now_ms()) == [HostOffline(born_ms)]
    edge.close()
    host.close()


def test_a_waveform_of_200_kb_arrives_whole(broker: Broker) -> None:
    host = Host(broker)
    session = an_edge_session()
    edge = Client(broker, "site-1", is_edge=True, will=session.will(1))
    samples = np.random.default_rng(3).normal(size=(5000, 15)).astype(np.float32)
    packed = pack_samples(samples)
    assert len(packed) > 200_000
    edge.send(*births_of(session, now_ms()))
    metrics = [
        Metric("waveform/number", type=MetricType.INT64, value=1),
        Metric("waveform/samples", type=MetricType.BYTES, value=packed),
    ]
    edge.send(session.stream_data(now_ms(), None, metrics, is_historical=False))
    event = host.until(lambda event: isinstance(event, NodeData))
    assert np.array_equal(unpack_samples(event.values["waveform/samples"].value, 15), samples)
    edge.close()
    host.client.close()


def test_nonsense_from_a_site_is_refused_and_the_others_go_on(broker: Broker) -> None:
    host = Host(broker)
    session = an_edge_session("site-2")
    rogue, edge = Client(broker, "rogue", is_edge=True), Client(broker, "site-2", is_edge=True)
    rogue.send(Message(node_topic("NDATA", "site-1"), b"\xff" * 50))
    assert host.until(lambda event: isinstance(event, Refused)).error_name == "payload_malformed"
    rogue.send(Message(device_topic("DDATA", "site-1", "pv"), bytes(1_000_001)))
    assert host.until(lambda event: isinstance(event, Refused)).error_name == "payload_too_large"
    edge.send(*births_of(session, now_ms()))
    assert host.until(lambda event: isinstance(event, DeviceBorn)).site_id == "site-2"
    for client in (rogue, edge, host.client):
        client.close()


def test_the_broker_refuses_what_an_edge_may_not_say_or_hear(broker: Broker) -> None:
    listener = Client(broker, "listener", is_edge=False)
    listener.subscribe(("spBv1.0/#", 0), ("elsewhere/#", 0))
    edge = Client(broker, "site-1", is_edge=True)
    for topic in (
        node_topic("NCMD", "site-2"),
        device_topic("DCMD", "site-2", "control"),
        state_topic("vpp"),
        "elsewhere/x",
    ):
        edge.send(Message(topic, b"forged"))
        edge.send(Message(topic, b"forged and retained", 0, retain=True))
    # What is allowed comes after what is not: when it is there, nothing else is under way.
    edge.send(Message(node_topic("NDATA", "site-1"), b"allowed"))
    assert listener.take().payload == b"allowed"
    assert listener.inbox.empty()
    listener.close()

    late = Client(broker, "late", is_edge=False)
    late.subscribe((state_topic("vpp"), 0))
    late.send(Message(state_topic("vpp"), b"first"))
    assert late.take().payload == b"first"
    late.close()
    edge.close()


def test_an_edge_does_not_hear_other_sites_data(broker: Broker) -> None:
    edge = Client(broker, "site-1", is_edge=True)
    edge.subscribe((node_topic("NDATA", "site-2"), 0), (state_topic("vpp"), 0))
    platform = Client(broker, "platform", is_edge=False)
    platform.send(Message(node_topic("NDATA", "site-2"), b"private"), state_message("vpp", True, 1))
    assert edge.take().topic == state_topic("vpp")
    edge.close()
    platform.close()


def test_the_retained_state_outlives_a_killed_broker(broker: Broker) -> None:
    host = Client(broker, "host", is_edge=False)
    host.send(state_message("vpp", True, 7))
    listener = Client(broker, "listener", is_edge=False)
    listener.subscribe((state_topic("vpp"), 0))
    assert listener.take().retain
    for client in (host, listener):
        client.close()
    broker.restart()
    after = Client(broker, "after", is_edge=True)
    after.subscribe((state_topic("vpp"), 0))
    assert after.take().payload == state_message("vpp", True, 7).payload
    after.close()


def test_a_wrong_password_is_turned_away(broker: Broker) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="x", protocol=mqtt.MQTTv311)
    answers: queue.Queue[Any] = queue.Queue()
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.put(reason)
    client.username_pw_set(broker.user, "wrong")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert answers.get(timeout=WITHIN_S).is_failure
    client.loop_stop()
