"""An MQTT connection driven from the asyncio loop; it comes back by itself, with growing pauses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sites.core import observe

logger = logging.getLogger(__name__)

KEEPALIVE_S: Final = 15
CONNECT_WITHIN_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
MISC_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says in our name when the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class Connection:
    """One client of one broker, clean session, MQTT 3.1.1.

    The client's sockets are watched by the event loop: paho's own thread uses select(), which never
    connects in a process with more than 1,024 descriptors open. ``on_message`` and ``on_connected``
    run on the loop and must only note what came: an exception there would end the client's loop.
    """

    def __init__(
        self,
        address: SplitResult,
        *,
        name: str,
        on_message: Callable[[str, bytes], None],
        subscriptions: Iterable[tuple[str, int]] = (),
        on_connected: Callable[[], None] | None = None,
        will: Callable[[], Will] | None = None,
    ) -> None:
        self._address = address
        self._name = name
        self._on_message = on_message
        self._subscriptions = list(subscriptions)
        self._on_connected = on_connected
        self._will = will
        self._client: mqtt.Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._lost = asyncio.Event()
        self._is_up = False

    @property
    def is_connected(self) -> bool:
        """Whether the broker accepted the connection and it still stands."""
        return self._is_up

    async def run(self) -> None:
        """Stay connected until cancelled; leave in order then, so that no will is sent."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                self._lost.clear()
                if await self._connect():
                    was_up = await self._stay()
                    if was_up:
                        pause_s = FIRST_PAUSE_S
                # Spread: a whole fleet of workers must not come back in the same instant.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(pause_s * 2.0, LONGEST_PAUSE_S)
        finally:
            if self._client is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._client.disconnect()
            self._is_up = False

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> bool:
        """Send a message; return False, and drop it, when there is no connection."""
        if self._client is None or not self._is_up:
            return False
        return self._client.publish(topic, payload, qos, retain).rc == mqtt.MQTT_ERR_SUCCESS

    async def _connect(self) -> bool:
        # A suffix that nobody can guess: a second client with our id would throw us out.
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{self._name}-{secrets.token_hex(6)}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
        )
        client.connect_timeout = CONNECT_WITHIN_S
        if self._address.username:
            client.username_pw_set(unquote(self._address.username), unquote(self._address.password or ""))
        if self._will is not None:
            will = self._will()
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_socket_open = self._socket_opened
        client.on_socket_close = self._socket_closed
        client.on_socket_register_write = self._write_wanted
        client.on_socket_unregister_write = self._write_unwanted
        self._client = client
        try:
            # In a thread: resolving and connecting block, up to CONNECT_WITHIN_S.
            await asyncio.to_thread(
                client.connect, str(self._address.hostname), self._address.port or 1883, KEEPALIVE_S
            )
        except (OSError, ValueError) as error:
            logger.warning("%s client=%s reason=%s", observe.LINK_DOWN, self._name, error)
            return False
        return True

    async def _stay(self) -> bool:
        """Serve keep-alive until the connection is lost; return whether it ever stood."""
        client = self._client
        stood = False
        while client is not None and not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), MISC_EVERY_S)
            stood = stood or self._is_up
            if not self._lost.is_set() and client.loop_misc() != mqtt.MQTT_ERR_SUCCESS:
                break
        self._is_up = False
        return stood

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            logger.warning("%s client=%s reason=%s", observe.LINK_DOWN, self._name, reason)
            return
        logger.info("%s client=%s", observe.LINK_UP, self._name)
        if self._subscriptions:
            client.subscribe(self._subscriptions)
        self._is_up = True
        if self._on_connected is not None:
            self._on_connected()

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._is_up:
            logger.warning("%s client=%s reason=%s", observe.LINK_DOWN, self._name, reason)
        self._is_up = False
        self._on_loop(self._lost.set)

    def _received(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = repr(message._topic)
        self._on_message(topic, bytes(message.payload))

    # Sockets: the first two calls may come from the connecting thread, so they are handed to the loop.

    def _on_loop(self, call: Callable[..., Any], *args: Any) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        if threading.get_ident() == self._loop_thread:
            call(*args)
        else:
            self._loop.call_soon_threadsafe(call, *args)

    def _socket_opened(self, client: mqtt.Client, _data: Any, sock: Any) -> None:
        self._on_loop(self._watch, client, sock.fileno())

    def _watch(self, client: mqtt.Client, descriptor: int) -> None:
        if self._loop is not None and descriptor >= 0:
            self._loop.add_reader(descriptor, client.loop_read)

    def _socket_closed(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        descriptor = sock.fileno()
        if self._loop is not None and descriptor >= 0:
            self._on_loop(self._loop.remove_reader, descriptor)
            self._on_loop(self._loop.remove_writer, descriptor)

    def _write_wanted(self, client: mqtt.Client, _data: Any, sock: Any) -> None:
        if self._loop is not None and sock.fileno() >= 0:
            self._on_loop(self._loop.add_writer, sock.fileno(), client.loop_write)

    def _write_unwanted(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        if self._loop is not None and sock.fileno() >= 0:
            self._on_loop(self._loop.remove_writer, sock.fileno())
