"""The console's MQTT door on a real broker: it hears, it tells what is gone, it comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import paho.mqtt.publish as publish
import pytest
from support.brokers import Broker, nats_broker

from vpp.console.live import LiveLink

WITHIN_S = 20.0


@pytest.fixture
def broker() -> Iterator[Broker]:
    with nats_broker() as running:
        yield running


@contextlib.asynccontextmanager
async def a_link(url: str, heard: list[tuple[str, bytes]]) -> AsyncIterator[LiveLink]:
    link = LiveLink(urlsplit(url), lambda topic, payload: heard.append((topic, payload)))
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def hold(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after the time."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.02)


def say(broker: Broker, topic: str, payload: bytes) -> None:
    publish.single(
        topic, payload, hostname="127.0.0.1", port=broker.port,
        auth={"username": broker.user, "password": broker.password},
    )  # fmt: skip


async def test_it_hears_live_topics_only(broker: Broker) -> None:
    heard: list[tuple[str, bytes]] = []
    async with a_link(broker.url, heard) as link:
        await hold(lambda: link.is_connected)
        await asyncio.to_thread(say, broker, "spBv1.0/VPP-01/NDATA/site-0001", b"not for pages")
        await asyncio.to_thread(say, broker, "vpp/live/ingest-0", b"{}")
        await hold(lambda: bool(heard))
        assert heard == [("vpp/live/ingest-0", b"{}")]


async def test_a_large_message_arrives_whole(broker: Broker) -> None:
    heard: list[tuple[str, bytes]] = []
    async with a_link(broker.url, heard) as link:
        await hold(lambda: link.is_connected)
        await asyncio.to_thread(say, broker, "vpp/live/ingest-0", b"x" * 2_000_000)
        await hold(lambda: bool(heard))
        assert len(heard[0][1]) == 2_000_000


async def test_a_broker_that_died_is_told_and_found_again(broker: Broker) -> None:
    heard: list[tuple[str, bytes]] = []
    async with a_link(broker.url, heard) as link:
        for _ in range(2):
            await hold(lambda: link.is_connected)
            heard.clear()
            await asyncio.to_thread(say, broker, "vpp/live/ingest-0", b"{}")
            await hold(lambda: bool(heard))
            await asyncio.to_thread(broker.kill)
            await hold(lambda: not link.is_connected)
            assert link.last_error
            await asyncio.to_thread(broker.start)
        await hold(lambda: link.is_connected)


async def test_a_wrong_password_never_counts_as_connected(broker: Broker) -> None:
    url = broker.url.replace(broker.password, "wrong")
    async with a_link(url, []) as link:
        await hold(lambda: "refused" in link.last_error or "disconnected" in link.last_error)
        assert not link.is_connected
        assert "wrong" not in link.last_error


async def test_nothing_listening_is_told_with_the_reason(broker: Broker) -> None:
    broker.stop()
    async with a_link(broker.url, []) as link:
        await hold(lambda: "cannot be reached" in link.last_error)
        assert not link.is_connected
