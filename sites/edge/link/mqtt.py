"""One MQTT client of one site, driven by asyncio: paho's protocol, our sockets and our reconnects.

paho's own ``loop_start`` waits by ``select()``, which refuses descriptors from 1,024 on, and takes a
thread and a socket pair for each client. Here the event loop watches the sockets (epoll), so that
one process can hold many sites.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from sites.core import observe
from sites.wire.edge_session import Message

ANSWER_WITHIN_S: Final = 10.0
"""A broker that accepts the connection but not the CONNECT within this time is given up."""
CONGESTED_AFTER_S: Final = 2.0
"""Bytes that wait this long for the socket: live data is left out until they are gone."""

log = logging.getLogger(__name__)


class BrokerAddressError(ValueError):
    """An address that is not mqtt://user:password@host:port."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker listens and who asks."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read ``mqtt://user:password@host:port``; the error never shows the password."""
        try:
            parts = urlsplit(url)
            port = parts.port or 1883
        except ValueError:
            raise BrokerAddressError("broker address has no valid port, accepted: 1 to 65535") from None
        if parts.scheme != "mqtt" or not parts.hostname:
            raise BrokerAddressError(
                f"broker address has scheme {parts.scheme!r} and host {parts.hostname!r}, "
                "accepted: mqtt://user:password@host:port"
            )
        return cls(parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""))


class MqttLink:
    """Keeps one connection up and hands over what happens on it.

    ``will()`` is asked before every attempt (each connection carries a new birth number);
    ``on_up()``, ``on_down()`` and ``on_message(topic, payload)`` are called on the event loop and
    must only note what happened: an exception there would end paho's loop.
    """

    def __init__(
        self,
        *,
        client_id: str,
        broker: BrokerAddress,
        executor: Executor,
        will: Callable[[], Message],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_message: Callable[[str, bytes], None],
        keepalive_s: int = 15,
        backoff_s: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        self._broker = broker
        self._executor = executor
        self._will = will
        self._on_up = on_up
        self._on_down = on_down
        self._keepalive_s = keepalive_s
        self._backoff_s = backoff_s
        self._client_id = client_id
        self._connecting = False
        self._is_finished = False
        self._socket: object | None = None
        self._ended = asyncio.Event()
        self._answered = asyncio.Event()
        self._waiting_since_s: float | None = None
        self.is_up = False
        self.refused_by_broker = 0
        """Connections that the broker answered with a refusal."""
        self.connect_count = 0
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        client.username_pw_set(broker.user, broker.password)
        client.max_queued_messages_set(100)
        client.on_connect = self._connected
        client.on_disconnect = lambda *_: self._lost()
        client.on_socket_close = lambda _client, _data, sock: self._forget(sock)
        client.on_socket_register_write = lambda *_: self._watch_writes()
        client.on_socket_unregister_write = lambda *_: self._unwatch_writes()
        client.on_message = lambda _client, _data, message: on_message(message.topic, bytes(message.payload))
        self._client = client

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, stay connected and connect again until stopped."""
        self._loop = asyncio.get_running_loop()
        low_s, high_s = self._backoff_s
        delay_s = low_s
        while not stop.is_set():
            began_s = time.monotonic()
            if await self._connect():
                await self._stay(stop)
            if stop.is_set() or self._is_finished:
                break
            if time.monotonic() - began_s > high_s:
                delay_s = low_s
            # Jittered: a fleet that lost its broker together must not come back in one instant.
            pause_s = delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
            delay_s = min(high_s, delay_s * 2.0)
            await _wait_for(stop, pause_s)
        self._drop()

    def publish(self, message: Message) -> bool:
        """Hand a message to the connection; False when it is down or the message was not taken."""
        if not self.is_up:
            return False
        sent = self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        return sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def subscribe(self, filters: list[tuple[str, int]]) -> None:
        """Subscribe on the present connection."""
        if self.is_up:
            self._client.subscribe(filters)

    @property
    def is_congested(self) -> bool:
        """Tell whether bytes have been waiting for the socket too long to add live data to them."""
        return self._waiting_since_s is not None and time.monotonic() - self._waiting_since_s > CONGESTED_AFTER_S

    async def finish(self, messages: list[Message], *, within_s: float) -> None:
        """Publish the last messages, wait until they left, and disconnect in order, for good."""
        self._is_finished = True
        for message in messages:
            self.publish(message)
        deadline_s = time.monotonic() + within_s
        while self.is_up and self._client.want_write() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)
        if self.is_up:
            self._client.disconnect()
        while self._client.socket() is not None and self._client.want_write() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)
        self._drop()

    async def _connect(self) -> bool:
        self._ended.clear()
        self._answered.clear()
        will = self._will()
        self._client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=self._keepalive_s)
        self._connecting = True
        try:
            # Name lookup and TCP connect block, so they run in the pool; this thread keeps off the client meanwhile.
            await self._loop.run_in_executor(self._executor, self._client.reconnect)
        except OSError as error:
            log.info("%s client=%s reason=%s", observe.LINK_DOWN, self._client_id, error)
            return False
        finally:
            self._connecting = False
        sock = self._client.socket()
        if sock is None:
            return False
        self._socket = sock
        self._loop.add_reader(sock, self._client.loop_read)
        self._watch_writes()
        await _wait_for(self._answered, ANSWER_WITHIN_S)
        if not self.is_up:
            self._drop()
        return self.is_up

    async def _stay(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self._ended.is_set():
            await _wait_for(self._ended, 1.0)
            self._client.loop_misc()

    def _connected(self, _client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
        self._answered.set()
        if getattr(reason, "is_failure", False):
            self.refused_by_broker += 1
            log.warning("%s client=%s refused by broker: %s", observe.LINK_DOWN, self._client_id, reason)
            return
        self.is_up = True
        self.connect_count += 1
        self._on_up()

    def _lost(self) -> None:
        was_up, self.is_up = self.is_up, False
        self._answered.set()
        self._ended.set()
        if was_up:
            self._on_down()

    def _drop(self) -> None:
        """Close the socket at once, whatever state the protocol is in."""
        sock = self._client.socket()
        if sock is not None:
            self._forget(sock)
            # paho notices the closed socket itself and resets its state at the next connect.
            sock.close()
        self._lost()

    def _forget(self, sock: object) -> None:
        if self._socket is sock and self._socket is not None:
            self._loop.remove_reader(sock)  # type: ignore[arg-type]
            self._loop.remove_writer(sock)  # type: ignore[arg-type]
            self._socket = None
        self._waiting_since_s = None

    def _watch_writes(self) -> None:
        # In the connecting phase this is called from the pool's thread; `_connect` watches afterwards.
        sock = self._client.socket()
        if not self._connecting and sock is not None and self._socket is sock and self._client.want_write():
            self._waiting_since_s = self._waiting_since_s or time.monotonic()
            self._loop.add_writer(sock, self._client.loop_write)

    def _unwatch_writes(self) -> None:
        sock = self._client.socket()
        if not self._connecting and sock is not None and self._socket is sock:
            self._waiting_since_s = None
            self._loop.remove_writer(sock)


async def _wait_for(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event for at most a time; tell whether it came."""
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True
