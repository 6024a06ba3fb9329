"""One MQTT connection on a real broker: many descriptors, a wrong password, a broker that comes and goes."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.brokers import Broker

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import Message
from sites.wire.topics import node_topic

SITE = "site-mqtt"


class Probe:
    """A link and what happened on it."""

    def __init__(
        self, address: BrokerAddress, pool: ThreadPoolExecutor, name: str = SITE, hears: str | None = None
    ) -> None:
        self.ups = self.downs = 0
        self.heard: list[tuple[str, bytes]] = []
        self.link = Connection(
            address,
            name=name,
            executor=pool,
            subscriptions=[] if hears is None else [(hears, 0)],
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


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5.0)


async def test_connects_past_a_thousand_open_descriptors(broker: Broker, pool: ThreadPoolExecutor) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2500:
        pytest.skip(f"the hard limit of open files is {hard}, needed: 2500")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        probe = Probe(BrokerAddress.parse(broker.edge_url), pool)
        task = asyncio.create_task(probe.link.run())
        await until(lambda: probe.link.is_up)
        await probe.link.finish([], within_s=2.0)
        await asyncio.wait_for(task, 5.0)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_wrong_password_is_counted_and_tried_again(broker: Broker, pool: ThreadPoolExecutor) -> None:
    address = replace(BrokerAddress.parse(broker.edge_url), password="wrong")
    probe = Probe(address, pool)
    task = asyncio.create_task(probe.link.run())
    await until(lambda: probe.link.refused_by_broker >= 2)
    assert (probe.ups, probe.link.is_up) == (0, False)
    assert "refused" in probe.link.down_reason
    await ended(task)


async def test_comes_back_after_the_broker_and_delivers_both_ways(broker: Broker, pool: ThreadPoolExecutor) -> None:
    edge = Probe(BrokerAddress.parse(broker.edge_url), pool, hears=node_topic("NCMD", SITE))
    host = Probe(BrokerAddress.parse(broker.url), pool, "host-probe", hears=node_topic("NDATA", SITE))
    tasks = [asyncio.create_task(probe.link.run()) for probe in (edge, host)]
    await until(lambda: edge.link.is_up and host.link.is_up)
    broker.kill()
    await until(lambda: edge.downs == 1 and host.downs == 1)
    assert edge.link.publish(Message(node_topic("NDATA", SITE), b"lost")) is False
    await asyncio.to_thread(broker.start)
    await until(lambda: edge.link.is_up and host.link.is_up)
    # Up means that the subscriptions are in force: the first message arrives.
    assert edge.link.publish(Message(node_topic("NDATA", SITE), b"up"))
    assert host.link.publish(Message(node_topic("NCMD", SITE), b"down"))
    await until(lambda: bool(edge.heard and host.heard))
    assert edge.heard == [(node_topic("NCMD", SITE), b"down")]
    await ended(*tasks)


async def test_a_subscription_that_is_not_granted_is_told(broker: Broker, pool: ThreadPoolExecutor) -> None:
    probe = Probe(BrokerAddress.parse(broker.edge_url), pool, hears="vpp/live/#")
    task = asyncio.create_task(probe.link.run())
    await until(lambda: "refused the subscription to vpp/live/#" in probe.link.down_reason)
    assert (probe.ups, probe.link.is_up) == (0, False)
    await ended(task)


async def test_a_broker_that_accepts_and_says_nothing_holds_nobody_up(pool: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probe = Probe(BrokerAddress("127.0.0.1", silent.getsockname()[1]), pool)
        task = asyncio.create_task(probe.link.run())
        longest_s = 0.0
        for _ in range(50):
            began_s = time.monotonic()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.monotonic() - began_s)
        assert longest_s < 0.25
        assert not probe.link.is_up
        await ended(task)


async def test_dropped_leaves_the_will_and_finished_does_not(broker: Broker, pool: ThreadPoolExecutor) -> None:
    address = BrokerAddress.parse(broker.edge_url)
    host = Probe(BrokerAddress.parse(broker.url), pool, "host-probe", hears="spBv1.0/+/NDEATH/+")
    in_order, cut_off = Probe(address, pool, "in-order"), Probe(address, pool, "cut-off")
    tasks = [asyncio.create_task(probe.link.run()) for probe in (host, in_order, cut_off)]
    await until(lambda: all(probe.link.is_up for probe in (host, in_order, cut_off)))
    await in_order.link.finish([Message(node_topic("NDEATH", "in-order"), b"said")], within_s=2.0)
    await ended(tasks[2])
    await until(lambda: len(host.heard) >= 2)
    assert host.heard == [(node_topic("NDEATH", "in-order"), b"said"), (node_topic("NDEATH", "cut-off"), b"will")]
    await ended(*tasks)


async def test_two_hundred_sites_connect_in_two_seconds(broker: Broker, pool: ThreadPoolExecutor) -> None:
    address = BrokerAddress.parse(broker.edge_url)
    probes = [Probe(address, pool, f"site-{number:04d}") for number in range(200)]
    started_s = time.monotonic()
    tasks = [asyncio.create_task(probe.link.run()) for probe in probes]
    await until(lambda: all(probe.link.is_up for probe in probes), within_s=5.0)
    assert time.monotonic() - started_s < 3.0
    await asyncio.gather(*(probe.link.finish([], within_s=2.0) for probe in probes))
    await asyncio.wait_for(asyncio.gather(*tasks), 5.0)
