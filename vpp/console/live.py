"""The console's MQTT door: live aggregates from the broker, on the web process's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, unquote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sites.core import observe

logger = logging.getLogger(__name__)

LIVE_FILTER: Final = "vpp/live/#"
KEEPALIVE_S: Final = 10
FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 5.0
ANSWER_WITHIN_S: Final = 5.0


class LiveLink:
    """One subscription to the live topics that comes back by itself when the broker goes away.

    paho's own thread waits in ``select()``, which never connects above 1,024 descriptors; here the
    loop watches the socket, so that a thousand open websockets do not cut the process off.
    """

    def __init__(self, broker: SplitResult, on_message: Callable[[str, bytes], None]) -> None:
        self._broker = broker
        self._on_message = on_message
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._lost = asyncio.Event()
        self._answered = asyncio.Event()
        self.is_connected = False
        """True while the broker has granted the subscription on the present connection."""
        self.last_error = "not connected yet"
        self._client = self._new_client()

    async def run(self) -> None:
        """Hold the link until cancelled."""
        loop = self._loop = asyncio.get_running_loop()
        retry_s = FIRST_RETRY_S
        try:
            while True:
                if await self._connect(loop):
                    retry_s = FIRST_RETRY_S
                    await self._serve()
                self._release()
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
        finally:
            self.is_connected = False
            with contextlib.suppress(OSError):
                self._client.disconnect()
                self._client.loop_write()
            self._release()

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"vpp-web-{secrets.token_hex(6)}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
        )
        if self._broker.username:
            client.username_pw_set(unquote(self._broker.username), unquote(self._broker.password or ""))
        client.connect_async(str(self._broker.hostname), self._broker.port or 1883, keepalive=KEEPALIVE_S)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.on_socket_register_write = self._wants_write
        client.on_socket_unregister_write = self._wants_no_write
        client.on_socket_close = self._closes
        return client

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Open the socket, then wait until the broker has granted the subscription."""
        self._lost.clear()
        self._answered.clear()
        try:
            # Name look-up and connect block; a broker that does not answer must not hold the pages up.
            await asyncio.to_thread(self._client.reconnect)
        except OSError as error:
            self.last_error = f"broker cannot be reached: {error.strerror or error}"
            return False
        opened = self._client.socket()
        if not isinstance(opened, socket.socket):
            return False
        self._socket = opened
        loop.add_reader(opened, self._readable)
        self._writable()
        done, waiting = await asyncio.wait(
            {asyncio.create_task(self._answered.wait()), asyncio.create_task(self._lost.wait())},
            timeout=ANSWER_WITHIN_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in waiting:
            task.cancel()
        if not done:
            self.last_error = f"broker did not answer within {ANSWER_WITHIN_S:g} s"
        return self.is_connected

    async def _serve(self) -> None:
        """Keep the connection's timers going until it is lost."""
        logger.info("%s live", observe.LINK_UP)
        while not self._lost.is_set():
            if self._client.loop_misc() != mqtt.MQTT_ERR_SUCCESS:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), 1.0)
        self.is_connected = False
        logger.warning("%s live: %s", observe.LINK_DOWN, self.last_error)

    def _release(self) -> None:
        """Take the socket out of the loop; the numbers of closed sockets are given to others."""
        self.is_connected = False
        held, self._socket = self._socket, None
        if held is None or self._loop is None or held.fileno() < 0:
            return
        self._loop.remove_reader(held)
        self._loop.remove_writer(held)
        held.close()

    def _readable(self) -> None:
        self._client.loop_read()
        if self._client.socket() is None:
            self._lose("connection closed")

    def _writable(self) -> None:
        if self._is_open:
            self._client.loop_write()

    @property
    def _is_open(self) -> bool:
        return self._socket is not None and self._socket.fileno() >= 0

    def _is_held(self, one: Any) -> bool:
        return one is self._socket and self._is_open

    def _wants_write(self, _client: mqtt.Client, _userdata: Any, _socket: Any) -> None:
        # paho also calls this from the connecting thread.
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._watch_writes)

    def _watch_writes(self) -> None:
        if self._loop is not None and self._socket is not None and self._socket.fileno() >= 0:
            self._loop.add_writer(self._socket, self._writable)

    def _wants_no_write(self, _client: mqtt.Client, _userdata: Any, closing: Any) -> None:
        if self._loop is not None and self._is_held(closing):
            self._loop.remove_writer(closing)

    def _closes(self, _client: mqtt.Client, _userdata: Any, closing: Any) -> None:
        # Leave the loop before the descriptor's number is given to another socket.
        if self._loop is not None and self._is_held(closing):
            self._loop.remove_reader(closing)
            self._loop.remove_writer(closing)

    def _connected(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._lose(f"broker refused the connection: {reason}")
            return
        client.subscribe(LIVE_FILTER, qos=0)

    def _subscribed(
        self, _client: mqtt.Client, _userdata: Any, _mid: int, reasons: list[Any], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._lose(f"broker refused the subscription to {LIVE_FILTER}")
            return
        self.is_connected = True
        self.last_error = ""
        self._answered.set()

    def _disconnected(self, _client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._lose(f"disconnected: {reason}")

    def _received(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload))

    def _lose(self, why: str) -> None:
        if not self._lost.is_set():
            self.last_error = why
        self.is_connected = False
        self._lost.set()
