"""The dispatcher's door to MQTT: desired assignments down, reported state up, on one asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter, deque
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from sites.core import observe
from sites.wire.signature import seal
from vpp.dispatch.control_session import (
    SUBSCRIPTIONS,
    BirthNeeded,
    ControlSession,
    Refused,
    desired_message,
    rebirth_message,
)
from vpp.dispatch.exchange import DesiredRow, Exchange, Outcome
from vpp.dispatch.operations import Sending
from vpp.dispatch.reports import SiteReport

logger = logging.getLogger(__name__)

KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 1.0
RECONNECT_S: Final = (0.2, 5.0)
"""Shortest and longest wait before the next try to connect [s]."""
IN_FLIGHT: Final = 64
"""First sendings that may wait for their answer at once."""
BIRTHS_WITHIN_S: Final = 2.0
"""Time after connecting in which births come unasked, because the ingest asked or the site is new [s]."""
REBIRTHS_PER_S: Final = 200.0


class Gateway:
    """Sends what is desired until the sites report it; keeps what it sent and heard for the database.

    ``paho`` is driven by asyncio's readers and writers: its own thread uses ``select``, which fails
    without a word once 1,024 descriptors are open.
    """

    def __init__(
        self,
        *,
        broker: SplitResult,
        signing_key: bytes,
        resend_after_s: float,
        max_bytes: int,
        max_clock_ahead_s: float,
    ) -> None:
        self._broker = broker
        self._signing_key = signing_key
        self._session = ControlSession(max_bytes=max_bytes, max_clock_ahead_s=max_clock_ahead_s)
        self._exchange = Exchange(resend_after_s=resend_after_s, in_flight=IN_FLIGHT)
        self._expected: frozenset[str] = frozenset()
        self._sendings: list[Sending] = []
        self._reports: list[SiteReport] = []
        self._inbox: deque[tuple[str, bytes, datetime]] = deque()
        self._wake = asyncio.Event()
        self._is_connected = False
        self._link_changed = asyncio.Event()
        self.refused: Counter[str] = Counter()
        """Messages that said nothing usable, by the error's name."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._is_connected

    def desire(self, rows: Iterable[DesiredRow]) -> None:
        """Take newly decided assignments; they go out at once when the broker is there."""
        self._exchange.desire(rows)
        self._wake.set()

    def expect(self, site_ids: Collection[str]) -> None:
        """Name the sites whose control devices shall be known before anything is asked of them."""
        self._expected = frozenset(site_ids)

    def take_sendings(self) -> list[Sending]:
        """Hand over what was sent since the last call."""
        taken, self._sendings = self._sendings, []
        return taken

    def take_reports(self) -> list[SiteReport]:
        """Hand over what sites reported since the last call, the latest of each assignment state."""
        taken, self._reports = self._reports, []
        return taken

    async def run(self) -> None:
        """Hold a connection and serve it until cancelled; a broker that is gone is tried again."""
        wait_s = RECONNECT_S[0]
        while True:
            client = self._new_client()
            try:
                # Blocks the loop for a second at most; paho has no other way to connect.
                client.connect(str(self._broker.hostname), self._broker.port or 1883, KEEPALIVE_S)
                if await self._serve(client):
                    wait_s = RECONNECT_S[0]
            except OSError as error:
                logger.warning("%s broker not reached: %s", observe.LINK_DOWN, error)
            finally:
                self._is_connected = False
                client.disconnect()
                _detach(client)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2.0, RECONNECT_S[1])

    async def _serve(self, client: mqtt.Client) -> bool:
        """Serve one connection until it is lost; tell whether it was accepted at all."""
        was_accepted = False
        tasks: list[asyncio.Task[None]] = []
        try:
            while True:
                self._link_changed.clear()
                if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                    return was_accepted
                if self._is_connected and not was_accepted:
                    was_accepted = True
                    tasks = [asyncio.create_task(self._pump(client)), asyncio.create_task(self._ask_births(client))]
                for task in tasks:
                    if task.done() and task.exception() is not None:
                        task.result()
                try:
                    await asyncio.wait_for(self._link_changed.wait(), 1.0)
                except TimeoutError:
                    continue
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, client: mqtt.Client) -> None:
        """Read what came, send what is due, wait for either."""
        while True:
            self._wake.clear()
            self._read_inbox(client)
            at = datetime.now(UTC)
            for row in self._exchange.due(at=at):
                self._send(client, row)
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.005, min(self._exchange.next_due(at=at), 1.0)))
            except TimeoutError:
                continue

    async def _ask_births(self, client: mqtt.Client) -> None:
        """Ask the sites for their births that did not come by themselves, at a bounded rate."""
        await asyncio.sleep(BIRTHS_WITHIN_S)
        for site_id in sorted(self._expected):
            if not self._session.knows(site_id):
                self._ask_birth(client, site_id)
                await asyncio.sleep(1.0 / REBIRTHS_PER_S)

    def _ask_birth(self, client: mqtt.Client, site_id: str) -> None:
        at = datetime.now(UTC)
        if self._session.may_ask(site_id, at=at):
            logger.debug("%s site=%s", observe.REBIRTH_REQUESTED, site_id)
            client.publish(*rebirth_message(site_id, at=at), qos=0)

    def _send(self, client: mqtt.Client, row: DesiredRow) -> None:
        envelope = seal(row.body, self._signing_key)
        sent_at = datetime.now(UTC)
        topic, payload = desired_message(row.site_id, envelope, at=sent_at)
        if client.publish(topic, payload, qos=0).rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._sendings.append(Sending(row.assignment_pk, sent_at))

    def _read_inbox(self, client: mqtt.Client) -> None:
        while self._inbox:
            topic, payload, received_at = self._inbox.popleft()
            event = self._session.receive(topic, payload, received_at=received_at)
            if isinstance(event, BirthNeeded):
                self._ask_birth(client, event.site_id)
            elif isinstance(event, Refused):
                self.refused[event.error] += 1
                logger.warning("%s %s on %s: %s", observe.MESSAGE_REFUSED, event.error, event.topic, event.detail)
            else:
                outcome = self._exchange.receive(event.report, is_birth=event.is_birth)
                if outcome is Outcome.REFUSED:
                    logger.warning(
                        "%s site=%s sequence=%d reason=%s",
                        observe.ASSIGNMENT_REFUSED,
                        event.report.site_id,
                        event.report.refused_sequence,
                        event.report.refusal,
                    )
                if outcome is not Outcome.UNKNOWN:
                    self._reports.append(event.report)

    def _new_client(self) -> mqtt.Client:
        # An unguessable id: a broker evicts the holder of an id for whoever connects with it next.
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"vpp-dispatch-{secrets.token_hex(8)}",
            protocol=mqtt.MQTTv311,
            clean_session=True,
        )
        if self._broker.username is not None:
            client.username_pw_set(unquote(self._broker.username), unquote(self._broker.password or ""))
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(0)
        loop = asyncio.get_running_loop()

        def opened(_client: mqtt.Client, _data: Any, connection: Any) -> None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop.add_reader(connection, client.loop_read)

        def closed(_client: mqtt.Client, _data: Any, connection: Any) -> None:
            loop.remove_reader(connection)
            loop.remove_writer(connection)
            self._link_changed.set()

        def wants_to_write(_client: mqtt.Client, _data: Any, connection: Any) -> None:
            loop.add_writer(connection, client.loop_write)

        def has_written(_client: mqtt.Client, _data: Any, connection: Any) -> None:
            loop.remove_writer(connection)

        client.on_socket_open = opened
        client.on_socket_close = closed
        client.on_socket_register_write = wants_to_write
        client.on_socket_unregister_write = has_written
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        return client

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            logger.error("%s broker refused us: %s", observe.LINK_DOWN, reason)
            return
        client.subscribe([(topic, 0) for topic in SUBSCRIPTIONS])
        # Births that came while we were away are lost; what was sent then too, and is repeated.
        self._session.forget()
        self._is_connected = True
        self._link_changed.set()
        logger.info("%s %s:%s", observe.LINK_UP, self._broker.hostname, self._broker.port)

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._is_connected:
            logger.warning("%s %s", observe.LINK_DOWN, reason)
        self._is_connected = False
        self._link_changed.set()

    def _arrived(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        # Only enqueues: an exception here would end paho's reading. The clock is read at arrival.
        received_at = datetime.now(UTC)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # Refused further on, as no topic of ours.
        self._inbox.append((topic, bytes(message.payload), received_at))
        self._wake.set()


def _detach(client: mqtt.Client) -> None:
    """Take a client's socket off the loop, when paho has not done so by itself."""
    connection = client.socket()
    if connection is not None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(connection)
        loop.remove_writer(connection)
        connection.close()
