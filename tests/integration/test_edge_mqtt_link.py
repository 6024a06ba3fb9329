"""One MQTT link on a real broker: many descriptors, a wrong password, a broker that comes and goes."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.brokers import Broker, nats_broker

from sites.edge.link.mqtt import BrokerAddress, MqttLink
from sites.wire.messages import Message
from sites.wire.topics import node_topic

SITE = "site-mqtt"


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with nats_broker() as running:
        yield running


class Probe:
    """A link and what happened on it."""

    def __init__(self, address: BrokerAddress, pool: ThreadPoolExecutor, name: str = SITE) -> None:
        self.ups = self.downs = 0
        self.heard: list[tuple[str, bytes]] = []
        self.link = MqttLink(
            client_id=name,
            broker=address,
            executor=pool,
            will=lambda: Message(node_topic("NDEATH", name), b"will", 1),
            on_up=self._up,
            on_down=self._down,
            on_message=lambda topic, payload: self.heard.append((topic, payload)),
            backoff_s=(0.05, 0.2),
        )

    def _up(self) -> None:
        self.ups += 1

    def _down(self) -> None:
        self.downs += 1


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        await asyncio.sleep(0.005)


async def test_connects_past_a_thousand_open_descriptors(broker: Broker, pool: ThreadPoolExecutor) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2500:
        pytest.skip(f"the hard limit of open files is {hard}, needed: 2500")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        probe, stop = Probe(BrokerAddress.parse(broker.edge_url), pool), asyncio.Event()
        task = asyncio.create_task(probe.link.run(stop))
        await until(lambda: probe.link.is_up)
        await probe.link.finish([], within_s=2.0)
        await asyncio.wait_for(task, 5.0)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_wrong_password_is_counted_and_tried_again(broker: Broker, pool: ThreadPoolExecutor) -> None:
    address = replace(BrokerAddress.parse(broker.edge_url), password="wrong")
    probe, stop = Probe(address, pool), asyncio.Event()
    task = asyncio.create_task(probe.link.run(stop))
    await until(lambda: probe.link.refused_by_broker >= 2)
    assert (probe.ups, probe.link.is_up) == (0, False)
    stop.set()
    await asyncio.wait_for(task, 5.0)


async def test_comes_back_after_the_broker_and_delivers_both_ways(broker: Broker, pool: ThreadPoolExecutor) -> None:
    edge, stop = Probe(BrokerAddress.parse(broker.edge_url), pool), asyncio.Event()
    host = Probe(BrokerAddress.parse(broker.url), pool, "host-probe")
    tasks = [asyncio.create_task(probe.link.run(stop)) for probe in (edge, host)]
    await until(lambda: edge.link.is_up and host.link.is_up)
    broker.kill()
    await until(lambda: edge.downs == 1 and host.downs == 1)
    assert edge.link.publish(Message(node_topic("NDATA", SITE), b"lost")) is False
    await asyncio.to_thread(broker.start)
    await until(lambda: edge.link.is_up and host.link.is_up)
    edge.link.subscribe([(node_topic("NCMD", SITE), 0)])
    host.link.subscribe([(node_topic("NDATA", SITE), 0)])

    def both_heard() -> bool:
        # Until the subscriptions are in force: QoS 0 before that is rightly lost.
        edge.link.publish(Message(node_topic("NDATA", SITE), b"up"))
        host.link.publish(Message(node_topic("NCMD", SITE), b"down"))
        return bool(edge.heard and host.heard)

    await until(both_heard)
    assert edge.heard[0] == (node_topic("NCMD", SITE), b"down")
    stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5.0)


async def test_two_hundred_sites_connect_in_two_seconds(broker: Broker, pool: ThreadPoolExecutor) -> None:
    address, stop = BrokerAddress.parse(broker.edge_url), asyncio.Event()
    probes = [Probe(address, pool, f"site-{number:04d}") for number in range(200)]
    started_s = time.monotonic()
    tasks = [asyncio.create_task(probe.link.run(stop)) for probe in probes]
    await until(lambda: all(probe.link.is_up for probe in probes), within_s=5.0)
    assert time.monotonic() - started_s < 3.0
    await asyncio.gather(*(probe.link.finish([], within_s=2.0) for probe in probes))
    await asyncio.wait_for(asyncio.gather(*tasks), 5.0)
