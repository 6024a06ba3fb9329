"""One ingest worker: MQTT messages to batches, and the tasks that store them and answer the sites."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

from django.db.utils import DatabaseError, InterfaceError

from sites.core import observe
from sites.metering import leases, live, operations
from sites.metering.ingest.clones import Clones
from sites.metering.ingest.holding import Holding
from sites.metering.ingest.quotas import Gates
from sites.metering.ingest.shared import IngestConfig, Shared, ms
from sites.metering.ingest.storing import FLUSH_WITHIN_S, Storing
from sites.metering.ingest.telling import Telling
from sites.metering.quarantine import Shut, note_quarantines
from sites.metering.sorting import Arrival, Sorter
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.observability import metrics
from sites.observability.health import Health
from sites.wire.errors import TimestampInFuture
from sites.wire.foreign import Unmapped
from sites.wire.host_events import DeviceBorn, DeviceData, NodeBorn, NodeData, NodeDied, RebirthNeeded, Refused
from sites.wire.host_session import HostSession
from sites.wire.messages import Message
from sites.wire.metrics import OUTBOX_STATES

logger = logging.getLogger(__name__)

MAX_INBOX: Final = 50_000
"""Messages received and not yet decoded; more are dropped and counted, numbered data comes again."""
DECODE_SLICE: Final = 2_000
"""Messages decoded before the loop serves its sockets again: more than one read of a socket brings, so that what
cannot be decoded in time waits at the broker."""
DATABASE_WITHIN_S: Final = 5.0
"""A database that has answered nothing for so long is gone [s]."""


class IngestWorker:
    """Owns one connection, one session and one database thread.

    The loop decodes and collects; the thread writes.
    """

    def __init__(self, config: IngestConfig, *, now: Callable[[], datetime], health: Health) -> None:
        self._name = config.name
        self._inbox: deque[tuple[str, bytes, datetime]] = deque()
        self._arrived = asyncio.Event()
        self._clones = Clones()
        session = HostSession(config.max_payload_bytes, config.max_clock_ahead_s)
        connection = Connection(
            BrokerAddress.of(config.broker),
            name=self._name,
            on_message=self._note,
            # A birth may have been missed while the link was down.
            on_up=session.forget_births,
            proves=True,
        )
        self._shared = Shared(
            config=config, now=now, worker_id=f"{config.name}@{socket.gethostname()[:30]}:{os.getpid()}"[:64],
            connection=connection, session=session, gates=Gates(config.quota),
            sorter=Sorter(directory={}, max_clock_ahead_s=config.max_clock_ahead_s, partitions=frozenset()),
            thread=ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-db"),
        )  # fmt: skip
        health.watch("broker", lambda: connection.down_reason)
        health.watch("inbox", lambda: "full, messages are dropped" if len(self._inbox) >= MAX_INBOX else "")
        database_answers = health.expect_beat("database", within_s=DATABASE_WITHIN_S)
        self._telling = Telling(self._shared)
        self._holding = Holding(self._shared, self._telling, database_answers=database_answers)
        self._storing = Storing(self._shared, self._holding, self._telling, waiting=lambda: len(self._inbox))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; then leave the broker, write what is held and take the heartbeat back."""
        shared = self._shared
        await self._holding.load()
        link = asyncio.create_task(shared.connection.run())
        tasks = [
            asyncio.create_task(self._decode()),
            asyncio.create_task(self._telling.tell()),
            asyncio.create_task(self._telling.ask()),
            asyncio.create_task(self._publish_live()),
            asyncio.create_task(self._holding.run()),
            asyncio.create_task(self._clones.tell(shared.in_thread)),
            asyncio.create_task(self._guard()),
        ]
        writer = asyncio.create_task(self._storing.run(stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            # A task that ends by itself broke: end the process and let its supervisor start a new one.
            done, _ = await asyncio.wait([link, writer, stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped, writer}:
                task.result()
            stop.set()
            await _ended([link, *tasks])
            self._decode_inbox(len(self._inbox))
            await asyncio.wait_for(writer, FLUSH_WITHIN_S + operations.lock_timeout_s())
        finally:
            stop.set()
            await _ended([link, writer, stopped, *tasks])
            with contextlib.suppress(DatabaseError, InterfaceError):
                await shared.in_thread(lambda: leases.release_partitions(worker=shared.worker_id, at=shared.now()))
            await shared.in_thread(operations.close_database)
            shared.thread.shutdown()

    # --- from the broker -------------------------------------------------------------------------

    def _note(self, topic: str, payload: bytes) -> None:
        shared = self._shared
        if not shared.gates.admits(topic, len(payload), time.monotonic()):
            return
        if len(self._inbox) >= MAX_INBOX:
            shared.batch.counts["message_dropped"] += 1
            return
        self._inbox.append((topic, payload, shared.now()))
        self._arrived.set()

    async def _decode(self) -> None:
        while True:
            await self._arrived.wait()
            self._decode_inbox(DECODE_SLICE)
            if not self._inbox:
                self._arrived.clear()
            await asyncio.sleep(0)

    def _decode_inbox(self, limit: int) -> None:
        # Nothing here waits, so that the batch is one and the same.
        session, sorter, batch = self._shared.session, self._shared.sorter, self._shared.batch
        for _ in range(min(limit, len(self._inbox))):
            topic, payload, received_at = self._inbox.popleft()
            if batch.first_at is None:
                batch.first_at = received_at
            refused = batch.refused
            try:
                plain = session.receive_plain(topic, payload, ms(received_at))
                if plain is not None:
                    sorter.add_plain(plain, topic, payload, received_at, batch)
                    continue
                events = session.receive(topic, payload, ms(received_at))
                is_ahead = any(isinstance(e, Refused) and e.error_name == TimestampInFuture.name for e in events)
                for event in events:
                    self._handle(event, topic, payload, received_at, is_ahead)
            except Exception:
                logger.exception("%s topic=%s", observe.MESSAGE_REFUSED, topic)
                batch.refuse(
                    error="internal_error",
                    topic=topic,
                    detail="the message was not foreseen; see the log",
                    payload=payload,
                    received_at=received_at,
                )
            if batch.refused != refused:
                self._shared.gates.refused(topic, time.monotonic())

    def _handle(self, event: Any, topic: str, payload: bytes, received_at: datetime, is_ahead: bool) -> None:
        shared = self._shared
        match event:
            case NodeData() | DeviceData() | NodeBorn() | DeviceBorn():
                shared.sorter.add(Arrival(event, topic, payload, received_at, shared.batch, is_ahead))
                keys = shared.sorter.directory.get(event.site_id) if isinstance(event, NodeBorn) else None
                if keys is not None and keys.gateway is None:
                    shared.batch.born.add(event.site_id)
                    self._telling.expect_answer(event.site_id)
                if isinstance(event, NodeBorn) and keys is not None:
                    self._clones.take(event, received_at)
            case NodeDied():
                self._clones.take(event, received_at)
            case Unmapped():
                shared.sorter.note_unmapped(event, shared.batch, received_at)
            case RebirthNeeded(site_id=site_id) if site_id in shared.sorter.directory:
                logger.info("%s site=%s", observe.REBIRTH_REQUESTED, site_id)
                metrics.INGEST_REBIRTHS.inc()
                shared.connection.publish(shared.session.rebirth_command(site_id, ms(received_at)))
            case Refused(is_suspect=True):
                shared.batch.refuse(
                    error=event.error_name,
                    topic=topic,
                    detail=event.detail,
                    payload=payload,
                    received_at=received_at,
                )
            case Refused():
                # Its births are on the way because this worker asked: our own restart is no attack.
                logger.debug("%s topic=%s awaits a birth: %s", observe.MESSAGE_REFUSED, topic, event.error_name)
            case _:
                pass

    async def _guard(self) -> None:
        """Once a second, write down who is cut off and why; hear again who kept quiet or was released."""
        while True:
            await asyncio.sleep(1.0)
            gates = self._shared.gates.shut_gates
            metrics.INGEST_QUARANTINED.set(len(gates))
            outboxes = Counter(row.values.get("outbox_state") for row in self._shared.sorter.standing.values())
            for state in OUTBOX_STATES:
                metrics.INGEST_OUTBOXES.labels(state).set(outboxes[state])
            if not gates:
                continue
            quiet = [gate.site_id for gate in self._shared.gates.quiet(time.monotonic())]
            shut = [Shut(gate.site_id, gate.shut_by) for gate in gates if not gate.is_told]
            dropped = {gate.site_id: gate.dropped for gate in gates}
            try:
                active = await self._shared.in_thread(
                    lambda s=shut, q=quiet, d=dropped: note_quarantines(  # type: ignore[misc]
                        shut=s, quiet=q, dropped=d, at=self._shared.now()
                    )
                )
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.quarantine_waits sites=%d reason=%s", len(gates), error)
                continue
            for gate in gates:
                gate.is_told = True
                gate.dropped -= dropped[gate.site_id]
                if gate.site_id not in active:
                    self._shared.gates.open(gate.site_id, time.monotonic())

    async def _publish_live(self) -> None:
        shared = self._shared
        while True:
            await _next_second(shared.now())
            at = shared.now()
            if not shared.partitions:
                continue
            summary = live.aggregate(
                shared.sorter.live.values(),
                at=at,
                fresh_within_s=shared.config.fresh_within_s,
                sites_total=len(shared.sorter.directory),
            )
            shared.connection.publish(Message(f"vpp/live/{self._name}", summary.to_json()))


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _next_second(now: datetime) -> None:
    await asyncio.sleep(1.0 - now.microsecond / 1e6)
