"""Writing a socket in large pieces: every message whole and in its place, however slowly the other end reads."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.outbox_edge import until

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.mqtt.writing import PIECE_BYTES
from sites.wire.messages import Message

CONNACK = b"\x20\x02\x00\x00"
PUBLISH, RETAIN, QOS_1 = 0x30, 0x01, 0x02


async def packets_of(reader: asyncio.StreamReader, into: list[tuple[int, bytes]]) -> None:
    """Read whole packets, one small piece of the stream at a time, until the other end is gone."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (first,) = await reader.readexactly(1)
            length, shift = 0, 0
            while True:
                (byte,) = await reader.readexactly(1)
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            into.append((first, await reader.readexactly(length)))


class Listener:
    """A broker's end of one connection: takes CONNECT, then reads when it is let."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, bytes]] = []
        self.may_read = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(CONNACK)
        await self.may_read.wait()
        await packets_of(reader, self.packets)

    @contextlib.asynccontextmanager
    async def connected(self):  # type: ignore[no-untyped-def]
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=4096)
        connection = Connection(
            BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]), name="writer", on_message=lambda *_: None
        )
        task = asyncio.create_task(connection.run())
        try:
            await until(lambda: connection.is_up, 10.0, "it is up")
            yield connection
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()


def body(topic: str, payload: bytes) -> bytes:
    return len(topic).to_bytes(2, "big") + topic.encode() + payload


async def test_messages_of_any_size_come_whole_and_in_order_to_a_slow_reader() -> None:
    listener = Listener()
    # More than a socket holds, some longer than a piece.
    payloads = [bytes([n % 251]) * (PIECE_BYTES + n if n % 97 == 0 else n * 7 % 1_900) for n in range(4_000)]
    async with listener.connected() as connection:
        for number, payload in enumerate(payloads):
            assert connection.publish(Message(f"t/{number}", payload, retain=number % 3 == 0))
        await until(lambda: connection._client.want_write(), 5.0, "some have to wait")
        listener.may_read.set()
        await until(lambda: len(listener.packets) == len(payloads), 20.0, "all messages came")
    assert listener.packets == [
        (PUBLISH | RETAIN if number % 3 == 0 else PUBLISH, body(f"t/{number}", payload))
        for number, payload in enumerate(payloads)
    ]


async def test_a_message_that_is_answered_keeps_its_place_among_the_others() -> None:
    listener = Listener()
    async with listener.connected() as connection:
        for number in range(6):
            assert connection.publish(Message("t", bytes([number]), qos=number % 2))
        connection.flush()
        listener.may_read.set()
        await until(lambda: len(listener.packets) == 6, 5.0, "all messages came")
    assert [first & 0xF0 for first, _ in listener.packets] == [PUBLISH] * 6
    assert [first & QOS_1 for first, _ in listener.packets] == [0, QOS_1] * 3
    assert [packet[-1] for _, packet in listener.packets] == list(range(6))


async def test_what_no_broker_takes_is_refused_and_the_rest_goes_on() -> None:
    listener = Listener()
    async with listener.connected() as connection:
        for topic in ("", "a/+", "a/#", "x" * 65_536):
            with pytest.raises(ValueError):
                connection.publish(Message(topic, b"1"))
        assert connection.publish(Message("t", b"2"))
        listener.may_read.set()
        await until(lambda: len(listener.packets) == 1, 5.0, "the good one came")
    assert not connection.publish(Message("t", b"3"))
