"""Reading a socket in large pieces: packets cut anywhere, a broker that never answers a ping, and nonsense."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fleet_sender import packet
from support.outbox_edge import until

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection

CONNACK = b"\x20\x02\x00\x00"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def heard_from(serve: Serve, **options: int) -> AsyncIterator[tuple[Connection, list[tuple[str, bytes]]]]:
    """Run a server that speaks as a broker does, and a connection to it."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    heard: list[tuple[str, bytes]] = []
    connection = Connection(
        BrokerAddress("127.0.0.1", port),
        name="reader",
        on_message=lambda topic, payload: heard.append((topic, payload)),
        **options,
    )
    task = asyncio.create_task(connection.run())
    try:
        yield connection, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(max_size=400), min_size=1, max_size=20),
    st.lists(st.integers(1, 9_000), min_size=1, max_size=12),
)
def test_packets_are_whole_wherever_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    # One long enough for three bytes of length.
    messages = [*payloads, b"x" * 20_000]
    stream = b"".join(packet(f"t/{n}", payload) for n, payload in enumerate(messages))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(CONNACK)
        at, turn = 0, 0
        while at < len(stream):
            size = cuts[turn % len(cuts)]
            writer.write(stream[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
            at, turn = at + size, turn + 1
        await reader.read()

    async def story() -> None:
        async with heard_from(serve) as (_, heard):
            await until(lambda: len(heard) == len(messages), 20.0, "all messages are heard")
            assert heard == [(f"t/{n}", payload) for n, payload in enumerate(messages)]

    asyncio.run(story())


async def test_a_broker_that_speaks_but_answers_no_ping_is_alive() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(CONNACK)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(packet("t", b"1"))
                await writer.drain()
                await asyncio.sleep(0.1)

    async with heard_from(serve, keepalive_s=1) as (connection, heard):
        await until(lambda: len(heard) >= 40, 30.0, "it is heard for four keep-alive times")
        assert connection.is_up


async def test_nonsense_ends_the_connection_and_nothing_else() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read(1024)
        # A length without an end, and a topic longer than its packet.
        writer.write(CONNACK + (b"\x30\xff\xff\xff\xff\xff" if len(connections) % 2 else b"\x30\x02\xff\xff"))
        await reader.read()

    async with heard_from(serve) as (_, heard):
        await until(lambda: len(connections) >= 3, 20.0, "it connects again and again")
        assert heard == []
