"""The sender of a setpoint stream on a real broker and database: one sends, the next goes on above it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from asgiref.sync import sync_to_async
from support.brokers import nats_broker

from sites.core.streams import SetpointSignal, signal_from_bytes, stream_product
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.signature import SIGNAL_MAGIC, open_envelope, public_key_of
from vpp.dispatch import leases
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.streaming import StreamSender, lease_name

SEED = bytes(range(32))


async def until(condition: object, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


@pytest.mark.django_db(transaction=True)
async def test_a_sender_that_takes_over_is_followed_and_the_old_one_ends() -> None:
    heard: list[SetpointSignal] = []
    with nats_broker() as broker:
        # With a site's rights: it may hear the stream.
        site = Connection(
            BrokerAddress.of(urlsplit(broker.edge_url)), name="site-1", subscriptions=[("vpp/setpoint/REG-1", 0)],
            on_message=lambda _, envelope: heard.append(
                signal_from_bytes(open_envelope(envelope, [public_key_of(SEED)], magic=SIGNAL_MAGIC))
            ),
        )  # fmt: skip
        listening = asyncio.create_task(site.run())
        await until(lambda: site.is_up)

        def a_sender() -> StreamSender:
            return StreamSender(
                stream="REG-1", product=stream_product("pjm-regd"), broker=urlsplit(broker.url), signing_key=SEED,
                lease_s=1.0,
            )  # fmt: skip

        async def values(*, odd: float | None = None) -> AsyncIterator[float]:
            if odd is not None:
                yield odd
            while True:
                yield 0.25
                await asyncio.sleep(0.05)

        first_sender = a_sender()
        first = asyncio.create_task(first_sender.run(values(odd=1.5)))
        await until(lambda: len(heard) >= 3)
        # Another process took the lease while this one was not looking.
        await sync_to_async(leases.release_lease)(name=lease_name("REG-1"), token=1, at=datetime.now(UTC))
        second = asyncio.create_task(a_sender().run(values()))
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(first, 10.0)
        before = len(heard)
        await until(lambda: len(heard) >= before + 3)
        second.cancel()
        listening.cancel()
        await asyncio.gather(second, listening, return_exceptions=True)
    assert first_sender.dropped >= 1
    assert {signal.value for signal in heard} == {0.25}
    by_token = [signal.sequence >> 32 for signal in heard]
    assert set(by_token) == {1, 2}
    newest = [signal.sequence for signal in heard if signal.sequence >> 32 == 2]
    assert newest == sorted(set(newest))
    assert all((signal.valid_until - signal.issued_at).total_seconds() == 7.0 for signal in heard)
