"""One MQTT client driven by asyncio: paho's protocol, our sockets and our reconnects.

paho's own ``loop_start`` waits by ``select()``, which refuses descriptors from 1,024 on, and takes a
thread and a socket pair for each client. Here the event loop watches the sockets (epoll), so that
one process can hold many clients.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from sites.core import observe
from sites.mqtt.address import BrokerAddress
from sites.mqtt.reading import ChunkClient
from sites.mqtt.tls import TlsContext
from sites.observability import metrics
from sites.wire.messages import Message

ANSWER_WITHIN_S: Final = 10.0
"""A broker that accepts the connection but answers neither CONNECT nor SUBSCRIBE in this time is given up."""
PROVE_EVERY_S: Final = 5.0
PROVED_WITHIN_S: Final = 10.0
"""A node of a cluster that has not kept a message by then is cut off from the others, and left."""
CONGESTED_AFTER_S: Final = 2.0
"""Bytes that wait this long for the socket: live data is left out until they are gone."""

log = logging.getLogger(__name__)


class Connection:
    """Keeps one connection up and hands over what happens on it. Clean session, MQTT 3.1.1.

    It is up when the broker granted all subscriptions. ``will()`` is asked before every attempt;
    ``on_up()``, ``on_down()`` and ``on_message(topic, payload)`` are called on the event loop and
    must only note what happened: an exception there would end paho's reading.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        *,
        name: str,
        on_message: Callable[[str, bytes], None],
        subscriptions: Sequence[tuple[str, int]] = (),
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
        will: Callable[[], Message] | None = None,
        executor: Executor | None = None,
        proves: bool = False,
        keepalive_s: int = 15,
        backoff_s: tuple[float, float] = (0.2, 10.0),
    ) -> None:
        """Connecting blocks, so it runs in ``executor`` (the loop's own by default).

        ``proves``: in a cluster of several nodes, publish at QoS 1 to ``vpp/proof/<name>`` now and then. A node that
        lost the others takes everything at QoS 0 and carries it nowhere; it cannot acknowledge what the cluster has to
        keep.
        """
        self._broker = broker
        self._name = name
        self._subscriptions = list(subscriptions)
        self._optional: frozenset[str] = frozenset()
        self._asked: dict[int, list[tuple[str, int]]] = {}
        """Subscriptions that the broker has not answered yet, by packet."""
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._will = will
        self._executor = executor
        self._keepalive_s = keepalive_s
        self._backoff_s = backoff_s
        # Each begins somewhere else, so that a fleet is spread over a cluster's nodes.
        self._node = secrets.randbelow(len(broker.nodes))
        self._connecting = False
        self._is_finished = False
        self._is_refused = False
        self._socket: socket.socket | None = None
        self._ended = asyncio.Event()
        self._answered = asyncio.Event()
        self._waiting_since_s: float | None = None
        self._proof_topic = f"vpp/proof/{name}" if proves and self.can_change else None
        self._proof: int | None = None
        """Packet that waits for the cluster's acknowledgement."""
        self._proof_s = 0.0
        self.is_up = False
        self.down_reason = "not connected yet"
        """Why it is not up; empty while it is."""
        self.refused_by_broker = 0
        """Connections that the broker answered with a refusal."""
        self._tls = None if broker.tls is None else TlsContext(broker.tls)
        if self._tls is None:
            _tell_plain(broker.host, broker.port)
        self._client = self._new_client()

    async def run(self) -> None:
        """Connect, stay connected and connect again until cancelled or finished.

        Cancelled without ``finish`` the socket is dropped and the broker publishes the will.
        """
        self._loop = asyncio.get_running_loop()
        low_s, high_s = self._backoff_s
        delay_s = low_s
        try:
            while not self._is_finished:
                began_s = time.monotonic()
                if await self._connect():
                    await self._stay()
                if self._is_finished:
                    break
                self._node = (self._node + 1) % len(self._broker.nodes)
                if time.monotonic() - began_s > high_s:
                    delay_s = low_s
                # Jittered: a fleet that lost its broker together must not come back in one instant.
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, guards nothing
                delay_s = min(high_s, delay_s * 2.0)
        finally:
            self._drop("stopped")

    def publish(self, message: Message) -> bool:
        """Hand a message to the connection; False when it is down or the message was not taken."""
        if not self.is_up:
            return False
        if message.qos == 0:
            is_taken = self._client.publish_at_qos_0(message.topic, message.payload, retain=message.retain)
        else:
            sent = self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            is_taken = bool(sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS)
        if is_taken:
            metrics.MQTT.messages_out += 1
            metrics.MQTT.bytes_out += len(message.payload)
        return is_taken

    def flush(self) -> None:
        """Write what waits as far as the socket takes it, before the event loop would: for a long run of messages."""
        if self.is_up and self._is_watched():
            self._client.loop_write()

    def subscribe_to(self, subscriptions: Sequence[tuple[str, int]], *, optional: Sequence[str] = ()) -> None:
        """Change the subscriptions: the new ones are asked for before the old ones are given up.

        One of the ``optional`` topics that the broker refuses is told and gone without; any other ends the connection.
        """
        self._optional = frozenset(optional)
        before, self._subscriptions = self._subscriptions, list(subscriptions)
        if not self.is_up:
            # They are asked for with the next connection.
            return
        if added := [wanted for wanted in self._subscriptions if wanted not in before]:
            self._subscribe(added)
        if gone := [topic for topic, qos in before if (topic, qos) not in self._subscriptions]:
            self._client.unsubscribe(gone)

    @property
    def node(self) -> tuple[str, int]:
        """Host and port of the node that is connected, or tried next."""
        return self._broker.nodes[self._node]

    @property
    def can_change(self) -> bool:
        """Whether the broker is a cluster with another node to go to."""
        return len(self._broker.nodes) > 1

    def try_another(self, reason: str) -> None:
        """Leave a node that answers but does not carry what is said, for the cluster's next one."""
        log.warning("%s client=%s node=%s:%d reason=%s", observe.LINK_DOWN, self._name, *self.node, reason)
        self._drop(reason)

    @property
    def is_congested(self) -> bool:
        """Tell whether bytes have been waiting for the socket too long to add live data to them."""
        return self._waiting_since_s is not None and time.monotonic() - self._waiting_since_s > CONGESTED_AFTER_S

    async def renew(self, messages: Sequence[Message] = (), *, within_s: float) -> None:
        """Leave in order after the last messages and connect again: for a certificate that was replaced."""
        await self._leave(messages, within_s)
        self._drop("connecting anew")

    async def finish(self, messages: Sequence[Message] = (), *, within_s: float) -> None:
        """Publish the last messages, wait until they left, and disconnect in order, for good: no will is sent."""
        self._is_finished = True
        await self._leave(messages, within_s)
        self._drop("finished")

    async def _leave(self, messages: Sequence[Message], within_s: float) -> None:
        for message in messages:
            self.publish(message)
        deadline_s = time.monotonic() + within_s
        while self.is_up and self._client.want_write() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)
        if self.is_up:
            self._client.disconnect()
        while self._client.socket() is not None and self._client.want_write() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)

    # --- connecting ------------------------------------------------------------------------------

    def _new_client(self) -> ChunkClient:
        client = ChunkClient(
            CallbackAPIVersion.VERSION2,
            # A suffix that nobody can guess: a second client with our id would throw us out.
            client_id=self._broker.client_id or f"{self._name}-{secrets.token_hex(6)}",
            clean_session=True,
            protocol=paho.MQTTv311,
        )
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._tls is not None:
            client.tls_set_context(self._tls.context)
        client.max_queued_messages_set(100)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: self._lost(f"disconnected: {reason}")
        client.on_socket_close = lambda _client, _data, sock: self._forget(sock)
        client.on_socket_register_write = lambda *_: self._watch_writes()
        client.on_socket_unregister_write = lambda *_: self._unwatch_writes()
        client.on_message = self._received
        client.on_publish_0 = self._read
        client.on_publish = self._proved
        return client

    async def _connect(self) -> bool:
        self._ended.clear()
        self._answered.clear()
        self._is_refused = False
        self._proof = None
        if self._will is not None:
            will = self._will()
            self._client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        host, port = self.node
        self._client.connect_async(host, port, keepalive=self._keepalive_s)
        self._connecting = True
        # Name lookup, TCP connect and TLS block, so they run in the pool; this thread keeps off the client meanwhile.
        attempt = self._loop.run_in_executor(self._executor, self._open)
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:
            # The pool's thread goes on; what it opens must not stay open with nobody reading.
            attempt.add_done_callback(self._abandon)
            raise
        except OSError as error:
            self.down_reason = f"broker cannot be reached: {error.strerror or error}"
            log.info("%s client=%s reason=%s", observe.LINK_DOWN, self._name, self.down_reason)
            return False
        finally:
            self._connecting = False
        sock = self._client.socket()
        if not isinstance(sock, socket.socket):
            return False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        if self._tls is not None:
            metrics.MQTT.certificate_ends_s = self._tls.ends_s(sock)
        self._loop.add_reader(sock, self._client.loop_read)
        self._watch_writes()
        if not await _comes(self._answered, ANSWER_WITHIN_S):
            self._drop(f"broker did not answer within {ANSWER_WITHIN_S:g} s")
        elif not self.is_up:
            self._drop("disconnected before the broker answered")
        return self.is_up

    def _open(self) -> None:
        if self._tls is not None:
            self._tls.refresh()
        self._client.reconnect()

    async def _stay(self) -> None:
        while not self._ended.is_set():
            await _comes(self._ended, 1.0)
            if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._drop("broker did not answer in the keep-alive time")
            elif self._proof_topic is not None and self.is_up:
                self._prove(self._proof_topic)

    def _prove(self, topic: str) -> None:
        waited_s = time.monotonic() - self._proof_s
        if self._proof is None and waited_s >= PROVE_EVERY_S:
            self._proof = self._client.publish(topic, b"", qos=1).mid
            self._proof_s = time.monotonic()
        elif self._proof is not None and waited_s > PROVED_WITHIN_S:
            self.try_another(f"node kept no message for {PROVED_WITHIN_S:g} s: it is cut off from its cluster")

    def _proved(self, _client: Any, _data: Any, number: int, _reason: Any, _properties: Any) -> None:
        if number == self._proof:
            self._proof = None

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refuse(f"broker refused the connection: {reason}")
        elif self._subscriptions:
            self._asked.clear()
            self._subscribe(self._subscriptions)
        else:
            self._come_up()

    def _subscribe(self, subscriptions: list[tuple[str, int]]) -> None:
        _, number = self._client.subscribe(subscriptions)
        if number is not None:
            self._asked[number] = subscriptions

    def _subscribed(self, _client: Any, _data: Any, number: int, reasons: Sequence[Any], _properties: Any) -> None:
        asked = self._asked.pop(number, [])
        refused = [topic for (topic, _), reason in zip(asked, reasons, strict=False) if reason.is_failure]
        if without := [topic for topic in refused if topic in self._optional]:
            log.warning("subscription.refused client=%s topics=%s", self._name, ",".join(without))
            refused = [topic for topic in refused if topic not in self._optional]
        if refused:
            self._refuse(f"broker refused the subscription to {', '.join(refused[:5])}")
            if self.is_up:
                self._drop(self.down_reason)
        elif not self.is_up:
            self._come_up()

    def _refuse(self, reason: str) -> None:
        self.refused_by_broker += 1
        self._is_refused = True
        self.down_reason = reason
        log.warning("%s client=%s reason=%s", observe.LINK_DOWN, self._name, reason)
        self._answered.set()

    def _come_up(self) -> None:
        log.info("%s client=%s", observe.LINK_UP, self._name)
        self.is_up, self.down_reason = True, ""
        metrics.MQTT.up += 1
        metrics.MQTT.connects += 1
        self._answered.set()
        if self._on_up is not None:
            self._on_up()

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        """Take a message with QoS 1 or 2, which paho answered."""
        self._read(message._topic, bytes(message.payload))

    def _read(self, topic: bytes, payload: bytes) -> None:
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            # No topic of ours: whoever reads it refuses it by name.
            text = repr(topic)
        metrics.MQTT.messages_in += 1
        metrics.MQTT.bytes_in += len(payload)
        self._on_message(text, payload)

    # --- losing it -------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        was_up, self.is_up = self.is_up, False
        self._answered.set()
        self._ended.set()
        if not self._is_refused:
            # A broker that does not like our certificate says so in an alert of TLS.
            fault = self._client.read_fault
            self.down_reason = f"{reason} ({fault})" if fault else reason
        if was_up:
            metrics.MQTT.up -= 1
            if not self._is_finished:
                log.warning("%s client=%s reason=%s", observe.LINK_DOWN, self._name, reason)
            if self._on_down is not None:
                self._on_down()

    def _drop(self, reason: str) -> None:
        """Close the socket at once, whatever state the protocol is in."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            self._forget(sock)
            # paho notices the closed socket itself and resets its state at the next connect.
            sock.close()
        self._lost(reason)

    def _abandon(self, attempt: asyncio.Future[Any]) -> None:
        if not attempt.cancelled():
            attempt.exception()
        self._drop("stopped")

    # --- sockets ---------------------------------------------------------------------------------

    def _forget(self, sock: object) -> None:
        if self._socket is not None and self._socket is sock:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None
        self._waiting_since_s = None

    def _is_watched(self) -> bool:
        return self._client.socket() is self._socket

    def _watch_writes(self) -> None:
        # In the connecting phase this is called from the pool's thread; `_connect` watches afterwards.
        if self._connecting or self._socket is None:
            return
        if self._is_watched() and self._client.want_write():
            self._waiting_since_s = self._waiting_since_s or time.monotonic()
            self._loop.add_writer(self._socket.fileno(), self._client.loop_write)

    def _unwatch_writes(self) -> None:
        if self._connecting or self._socket is None:
            return
        if self._is_watched():
            self._waiting_since_s = None
            self._loop.remove_writer(self._socket.fileno())


@functools.cache
def _tell_plain(host: str, port: int) -> None:
    """Say once in a process what plain MQTT means."""
    log.warning(
        "%s broker=%s:%d: not encrypted, and who knows a password can be any site: for a trial, in service mqtts://",
        observe.BROKER_PLAIN, host, port,
    )  # fmt: skip


async def _comes(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event for at most a time; tell whether it came."""
    # Not wait_for: in Python 3.11 it swallows a cancellation that comes in the instant the event does.
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
