"""One ingest worker: MQTT messages to batches to the database, and what is stored told back to the sites."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult

from django.db.utils import DatabaseError, DataError, IntegrityError, InterfaceError

from sites.core import observe
from sites.metering import leases, live, operations, queries
from sites.metering.batches import Arrival, Batch, Sorter, split
from sites.metering.ingest.clones import Clones
from sites.metering.ingest.quotas import Gates, Quota
from sites.metering.ingest.resends import MAX_ASKED, Resends
from sites.metering.numbered import StreamState
from sites.metering.operations import Stored
from sites.metering.quarantine import Shut, note_quarantines, quarantined
from sites.metering.streams import RECORD, WAVEFORM
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.observability import metrics
from sites.observability.health import Health
from sites.registry.queries import SiteKeys, site_directory
from sites.wire.errors import TimestampInFuture
from sites.wire.foreign import Unmapped
from sites.wire.host_session import (
    DeviceBorn,
    DeviceData,
    HostSession,
    NodeBorn,
    NodeData,
    NodeDied,
    RebirthNeeded,
    Refused,
)
from sites.wire.messages import Message
from sites.wire.metrics import RESEND, STORED_THROUGH
from sites.wire.topics import partition_filters

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_INBOX: Final = 50_000
"""Messages received and not yet decoded; more are dropped and counted, numbered data comes again."""
DECODE_SLICE: Final = 2_000
"""Messages decoded before the loop serves its sockets again: more than one read of a socket brings, so that what
cannot be decoded in time waits at the broker."""
TELL_EVERY_S: Final = 1.0
"""``stored_through`` goes to one site at most this often."""
LOOK_AGAIN_S: Final = 2.0
"""How often the registry is read again while unknown sites or assets send."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
FLUSH_WITHIN_S: Final = 10.0
DATABASE_WITHIN_S: Final = 5.0
"""A database that has answered nothing for so long is gone [s]."""
CHECKS_PER_LEASE: Final = 5
MAKE_PARTITIONS_EVERY_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What an ingest worker is started with."""

    broker: SplitResult
    partitions: tuple[int, ...]
    """Its own: asked back from whoever stands in."""
    stand_by: tuple[int, ...]
    """Taken while nobody else holds them."""
    lease_s: float
    """A worker that did not renew for this long is taken for dead."""
    batch_s: float
    batch_rows: int
    max_payload_bytes: int
    max_clock_ahead_s: float
    ask_missing_after_s: float
    fresh_within_s: float
    quota: Quota
    """What each site may send."""

    @property
    def name(self) -> str:
        """``ingest-<lowest own partition>``: unique among the workers of a fleet, and the live topic's last level."""
        return f"ingest-{min(self.partitions)}" if self.partitions else f"ingest-stand-by-{min(self.stand_by)}"


class IngestWorker:
    """Owns one connection, one session and one database thread.

    The loop decodes and collects; the thread writes. While a batch is being written, or tried again
    because the database is away, the next one grows within the bounds of ``Batch``.
    """

    def __init__(self, config: IngestConfig, *, now: Callable[[], datetime], health: Health) -> None:
        self._config = config
        self._now = now
        self._name = config.name
        self._worker_id = f"{config.name}@{socket.gethostname()[:30]}:{os.getpid()}"[:64]
        self._gates = Gates(config.quota)
        self._inbox: deque[tuple[str, bytes, datetime]] = deque()
        self._arrived = asyncio.Event()
        self._session = HostSession(config.max_payload_bytes, config.max_clock_ahead_s)
        self._clones = Clones()
        self._held: frozenset[int] = frozenset()
        """Partitions that this worker hears and writes."""
        self._sorter = Sorter(directory={}, max_clock_ahead_s=config.max_clock_ahead_s, partitions=self._held)
        self._batch = Batch()
        self._batches_stored = 0
        self._elsewhere: frozenset[int] = frozenset()
        self._states: dict[tuple[int, str], StreamState] = {}
        self._marks: dict[str, dict[str, int]] = {}
        """site_id -> stream -> mark that the site is still to be told."""
        self._told_at: dict[str, float] = {}
        self._resends = Resends(wait_s=config.ask_missing_after_s)
        self._unanswered: set[str] = set()
        """Sites that wait for the answer to their births: older marks must not reach them first."""
        self._site_ids: dict[int, str] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest-db")
        self._connection = Connection(
            BrokerAddress.of(config.broker),
            name=self._name,
            on_message=self._note,
            # A birth may have been missed while the link was down.
            on_up=self._session.forget_births,
            proves=True,
        )
        health.watch("broker", lambda: self._connection.down_reason)
        health.watch("inbox", lambda: "full, messages are dropped" if len(self._inbox) >= MAX_INBOX else "")
        self._database_answers = health.expect_beat("database", within_s=DATABASE_WITHIN_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; then leave the broker, write what is held and take the heartbeat back."""
        await self._load()
        link = asyncio.create_task(self._connection.run())
        tasks = [
            asyncio.create_task(self._decode()),
            asyncio.create_task(self._tell()),
            asyncio.create_task(self._ask()),
            asyncio.create_task(self._publish_live()),
            asyncio.create_task(self._hold()),
            asyncio.create_task(self._clones.tell(self._in_thread)),
            asyncio.create_task(self._guard()),
        ]
        writer = asyncio.create_task(self._write(stop))
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
                await self._in_thread(lambda: leases.release_partitions(worker=self._worker_id, at=self._now()))
            await self._in_thread(operations.close_database)
            self._thread.shutdown()

    # --- from the broker -------------------------------------------------------------------------

    def _note(self, topic: str, payload: bytes) -> None:
        if not self._gates.admits(topic, len(payload), time.monotonic()):
            return
        if len(self._inbox) >= MAX_INBOX:
            self._batch.counts["message_dropped"] += 1
            return
        self._inbox.append((topic, payload, self._now()))
        self._arrived.set()

    async def _decode(self) -> None:
        while True:
            await self._arrived.wait()
            self._decode_inbox(DECODE_SLICE)
            if not self._inbox:
                self._arrived.clear()
            await asyncio.sleep(0)

    def _decode_inbox(self, limit: int) -> None:
        for _ in range(min(limit, len(self._inbox))):
            topic, payload, received_at = self._inbox.popleft()
            if self._batch.first_at is None:
                self._batch.first_at = received_at
            refused = self._batch.refused
            try:
                plain = self._session.receive_plain(topic, payload, _ms(received_at))
                if plain is not None:
                    self._sorter.add_plain(plain, topic, payload, received_at, self._batch)
                    continue
                events = self._session.receive(topic, payload, _ms(received_at))
                is_ahead = any(isinstance(e, Refused) and e.error_name == TimestampInFuture.name for e in events)
                for event in events:
                    self._handle(event, topic, payload, received_at, is_ahead)
            except Exception:
                logger.exception("%s topic=%s", observe.MESSAGE_REFUSED, topic)
                self._batch.refuse(
                    error="internal_error",
                    topic=topic,
                    detail="the message was not foreseen; see the log",
                    payload=payload,
                    received_at=received_at,
                )
            if self._batch.refused != refused:
                self._gates.refused(topic, time.monotonic())

    def _handle(self, event: Any, topic: str, payload: bytes, received_at: datetime, is_ahead: bool) -> None:
        match event:
            case NodeData() | DeviceData() | NodeBorn() | DeviceBorn():
                self._sorter.add(Arrival(event, topic, payload, received_at, self._batch, is_ahead))
                keys = self._sorter.directory.get(event.site_id) if isinstance(event, NodeBorn) else None
                if keys is not None and keys.gateway is None:
                    self._batch.born.add(event.site_id)
                    self._unanswered.add(event.site_id)
                if isinstance(event, NodeBorn) and keys is not None:
                    self._clones.take(event, received_at)
            case NodeDied():
                self._clones.take(event, received_at)
            case Unmapped():
                self._sorter.note_unmapped(event, self._batch, received_at)
            case RebirthNeeded(site_id=site_id) if site_id in self._sorter.directory:
                logger.info("%s site=%s", observe.REBIRTH_REQUESTED, site_id)
                metrics.INGEST_REBIRTHS.inc()
                self._connection.publish(self._session.rebirth_command(site_id, _ms(received_at)))
            case Refused(is_suspect=True):
                self._batch.refuse(
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
            gates = self._gates.shut_gates
            metrics.INGEST_QUARANTINED.set(len(gates))
            if not gates:
                continue
            quiet = [gate.site_id for gate in self._gates.quiet(time.monotonic())]
            shut = [Shut(gate.site_id, gate.shut_by) for gate in gates if not gate.is_told]
            dropped = {gate.site_id: gate.dropped for gate in gates}
            try:
                active = await self._in_thread(
                    lambda s=shut, q=quiet, d=dropped: note_quarantines(  # type: ignore[misc]
                        shut=s, quiet=q, dropped=d, at=self._now()
                    )
                )
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.quarantine_waits sites=%d reason=%s", len(gates), error)
                continue
            for gate in gates:
                gate.is_told = True
                gate.dropped -= dropped[gate.site_id]
                if gate.site_id not in active:
                    self._gates.open(gate.site_id, time.monotonic())

    # --- to the database -------------------------------------------------------------------------

    async def _load(self) -> None:
        """Take what partitions are to be had, before the broker is met; wait for the database if need be."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._in_thread(lambda: operations.make_partitions(at=self._now()))
                await self._hold_once()
                return
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.database_away reason=%s", error)
                await self._in_thread(operations.close_database)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2.0, LONGEST_PAUSE_S)

    async def _hold(self) -> None:
        """Keep the partitions while this worker is connected and its database thread answers."""
        made_at = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._config.lease_s / CHECKS_PER_LEASE))
            with contextlib.suppress(DatabaseError, InterfaceError):
                if not self._connection.is_up:
                    # What it cannot hear it does not keep.
                    await self._in_thread(queries.ask_database)
                    self._database_answers()
                    continue
                await self._hold_once()
                self._database_answers()
                if time.monotonic() - made_at > MAKE_PARTITIONS_EVERY_S:
                    made_at = time.monotonic()
                    await self._in_thread(lambda: operations.make_partitions(at=self._now()))

    async def _hold_once(self) -> None:
        config = self._config
        holding = await self._in_thread(
            lambda: leases.hold_partitions(
                worker=self._worker_id, own=config.partitions, stand_by=config.stand_by, lease_s=config.lease_s,
                at=self._now(),
            )
        )  # fmt: skip
        if holding.elsewhere != self._elsewhere:
            self._elsewhere = holding.elsewhere
            if holding.elsewhere:
                logger.warning("ingest.partitions_elsewhere partitions=%s", sorted(holding.elsewhere))
        if lost := self._held - holding.partitions:
            logger.warning("ingest.partitions_lost partitions=%s", sorted(lost))
            self._leave(lost)
        if taken := holding.partitions - self._held:
            await self._take(taken)
        if holding.wanted:
            await self._give_back(holding.wanted)

    async def _take(self, taken: frozenset[int]) -> None:
        """Read where the sites of new partitions stand, then listen to them."""
        directory = await self._in_thread(lambda: site_directory(partitions=taken))
        states = await self._in_thread(lambda: queries.stream_states(partitions=taken))
        rows = await self._in_thread(lambda: queries.newest_rows(partitions=taken))
        cut_off = await self._in_thread(lambda: quarantined(partitions=taken))
        for site_id, reason in cut_off.items():
            self._gates.shut(site_id, reason, time.monotonic())
        self._states |= states
        self._sorter.live |= rows
        self._use_directory({**self._sorter.directory, **directory})
        self._hear(self._held | taken)
        self._batch.partitions |= taken
        logger.info("ingest.partitions_taken partitions=%s", sorted(taken))

    async def _give_back(self, wanted: frozenset[int]) -> None:
        """Stop listening to partitions, store what came of them, and let their own worker have them."""
        self._connection.subscribe_to(_filters(self._held - wanted))
        # Two more batches: the one that is being written, and the one that holds what was on its way.
        through = self._batches_stored + 2
        while self._batches_stored < through:
            await asyncio.sleep(0.02)
        self._leave(wanted)
        self._batch.partitions -= wanted
        await self._in_thread(
            lambda: leases.release_partitions(worker=self._worker_id, partitions=wanted, at=self._now())
        )
        logger.info("ingest.partitions_given_back partitions=%s", sorted(wanted))

    def _leave(self, partitions: frozenset[int]) -> None:
        self._hear(self._held - partitions)
        directory = {id_: keys for id_, keys in self._sorter.directory.items() if keys.partition not in partitions}
        self._gates.forget(self._sorter.directory.keys() - directory.keys())
        left = {keys.pk for site_id, keys in self._sorter.directory.items() if site_id not in directory}
        self._use_directory(directory)
        self._states = {key: state for key, state in self._states.items() if key[0] not in left}
        self._sorter.live = {pk: row for pk, row in self._sorter.live.items() if pk not in left}
        for told in (self._marks, self._told_at):
            for site_id in [site_id for site_id in told if site_id not in directory]:
                del told[site_id]

    def _hear(self, partitions: frozenset[int]) -> None:
        self._held = self._sorter.partitions = partitions
        self._connection.subscribe_to(_filters(partitions))

    def _use_directory(self, directory: Mapping[str, SiteKeys]) -> None:
        self._sorter.directory = directory
        gateways = {site_id: keys.gateway for site_id, keys in directory.items() if keys.gateway is not None}
        self._session.use_gateways(gateways)
        self._site_ids = {keys.pk: site_id for site_id, keys in directory.items()}

    async def _write(self, stop: asyncio.Event) -> None:
        looked_at = time.monotonic()
        while True:
            await self._until_full(stop)
            batch, self._batch = self._batch.sealed(), Batch(partitions=self._batch.partitions)
            if not batch.is_empty:
                await self._store(batch, stop)
                await self._answer_births(batch.born)
            self._batches_stored += 1
            if stop.is_set() and self._batch.is_empty and not self._inbox:
                return
            if self._sorter.unknown_seen and time.monotonic() - looked_at >= LOOK_AGAIN_S:
                looked_at, self._sorter.unknown_seen = time.monotonic(), False
                with contextlib.suppress(DatabaseError, InterfaceError):
                    found = await self._in_thread(lambda: site_directory(partitions=self._held))
                    self._use_directory(found)

    async def _until_full(self, stop: asyncio.Event) -> None:
        deadline = time.monotonic() + self._config.batch_s
        while not stop.is_set() and self._batch.rows < self._config.batch_rows:
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                return
            await asyncio.sleep(min(left_s, 0.02))

    async def _store(self, batch: Batch, stop: asyncio.Event) -> None:
        """Write a batch, trying again until the database takes it; split it when the rows are at fault."""
        pause_s = FIRST_PAUSE_S
        deadline: float | None = None
        is_second_try = False
        while True:
            started = time.monotonic()
            try:
                stored = await self._in_thread(
                    lambda: operations.store_batch(
                        batch=batch, states=self._states, at=self._now(), worker=self._worker_id,
                        lease_s=self._config.lease_s if self._connection.is_up else 0.0,
                    )
                )  # fmt: skip
            except leases.LeaseLost as error:
                # Its new holder hears the sites now; the numbered part was not told and comes again.
                logger.warning("ingest.batch_fenced rows=%d reason=%s", batch.rows, error)
                self._batch.partitions = self._batch.partitions & self._held
                with contextlib.suppress(DatabaseError, InterfaceError):
                    await self._hold_once()
                    self._batch.partitions = self._held
                return
            except (IntegrityError, DataError) as error:
                # Another worker may have written the same rows: forget what is remembered, look, try again.
                self._states = {}
                if is_second_try:
                    await self._store_in_parts(batch, stop, error)
                    return
                is_second_try = True
                continue
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.batch_waits rows=%d reason=%s", batch.rows, error)
                with contextlib.suppress(DatabaseError, InterfaceError):
                    await self._in_thread(operations.close_database)
                if stop.is_set():
                    deadline = deadline or time.monotonic() + FLUSH_WITHIN_S
                    if time.monotonic() > deadline:
                        # Nothing acknowledged is in it: the sites send the numbered part again.
                        logger.error("ingest.batch_left rows=%d", batch.rows)
                        return
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2.0, LONGEST_PAUSE_S)
                continue
            self._committed(stored, batch, time.monotonic() - started)
            return

    async def _store_in_parts(self, batch: Batch, stop: asyncio.Event, error: Exception) -> None:
        parts = split(batch)
        if parts is None:
            logger.error("ingest.row_refused reason=%s", error)
            lost = Batch()
            lost.refuse(
                error="row_refused",
                topic="",
                detail=f"the database refused it: {error}",
                payload=b"",
                received_at=self._now(),
            )
            self._batch.counts.update(lost.counts)
            self._batch.refusals.extend(lost.refusals)
            return
        for part in parts:
            await self._store(part, stop)

    def _committed(self, stored: Stored, batch: Batch, wall_s: float) -> None:
        self._states.update(stored.states)
        self._resends.note(stored.states, at_s=time.monotonic())
        for (site_pk, stream), state in stored.states.items():
            site_id = self._site_ids.get(site_pk)
            if site_id is not None:
                self._marks.setdefault(site_id, {})[stream] = state.stored_through
        logger.debug(
            "%s readings=%d numbered=%d repeated=%d wall_s=%.3f",
            observe.INGEST_BATCH,
            stored.readings,
            stored.numbered,
            stored.repeated,
            wall_s,
        )
        metrics.INGEST_WRITE_S.observe(wall_s)
        metrics.INGEST_INBOX.set(len(self._inbox))
        metrics.INGEST_ROWS.labels("reading").inc(stored.readings)
        metrics.INGEST_ROWS.labels("numbered").inc(stored.numbered)
        metrics.INGEST_ROWS.labels("repeated").inc(stored.repeated)
        if batch.first_at is not None:
            metrics.INGEST_AGE_S.observe(max(0.0, (self._now() - batch.first_at).total_seconds()))
        for error, count in batch.counts.items():
            metrics.INGEST_REFUSED.labels(error).inc(count)
        if batch.counts:
            logger.info("%s %s", observe.MESSAGE_REFUSED, " ".join(f"{k}={v}" for k, v in sorted(batch.counts.items())))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # --- to the sites and the pages ----------------------------------------------------------------

    async def _answer_births(self, site_ids: set[str]) -> None:
        """Tell newborn sites all their marks, 0 where nothing is stored.

        A site with a new outbox numbers its rows behind them, so they are read from the database, after
        the batch that the births came with: what was sent before a birth is stored by then.
        """
        directory = self._sorter.directory
        known = {site_id: directory[site_id] for site_id in site_ids if site_id in directory}
        if not known:
            return
        try:
            marks = await self._in_thread(lambda: queries.marks_of(site_pks=[keys.pk for keys in known.values()]))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("ingest.births_wait sites=%d reason=%s", len(known), error)
            self._batch.born |= set(known)
            return
        for site_id, keys in known.items():
            streams = (*keys.assets, RECORD, WAVEFORM)
            self._marks[site_id] = {stream: marks.get((keys.pk, stream), 0) for stream in streams}
            if site_id not in self._batch.born:
                self._unanswered.discard(site_id)

    async def _tell(self) -> None:
        """Tell sites what is stored, each at most once per TELL_EVERY_S; only what was committed."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            due = [
                site
                for site in self._marks
                if site not in self._unanswered and now - self._told_at.get(site, -TELL_EVERY_S) >= TELL_EVERY_S
            ]
            for site_id in due if self._connection.is_up else ():
                marks = self._marks.pop(site_id)
                self._told_at[site_id] = now
                self._connection.publish(
                    self._session.node_command(
                        site_id,
                        _ms(self._now()),
                        {f"{STORED_THROUGH}{stream}": mark for stream, mark in marks.items()},
                    )
                )

    async def _ask(self) -> None:
        """Ask sites for what is missing below rows that came."""
        while True:
            await asyncio.sleep(1.0)
            keys = self._resends.due(at_s=time.monotonic()) if self._connection.is_up else []
            if not keys:
                continue
            states = {key: self._states[key] for key in keys if key in self._states}
            with contextlib.suppress(DatabaseError, InterfaceError):
                holes = await self._in_thread(lambda states=states: queries.first_holes(states=states))  # type: ignore[misc]
                for (site_pk, stream), (first, last) in holes.items():
                    site_id = self._site_ids.get(site_pk)
                    if site_id is None:
                        continue
                    last = min(last, first + MAX_ASKED - 1)
                    self._sorter.asked[site_pk, stream] = (first, last)
                    logger.warning("%s site=%s stream=%s %d to %d", observe.RESEND_ASKED, site_id, stream, first, last)
                    asked = {f"{RESEND}{stream}": [first, last]}
                    self._connection.publish(self._session.node_command(site_id, _ms(self._now()), asked))

    async def _publish_live(self) -> None:
        while True:
            await _next_second(self._now())
            at = self._now()
            if not self._held:
                continue
            summary = live.aggregate(
                self._sorter.live.values(),
                at=at,
                fresh_within_s=self._config.fresh_within_s,
                sites_total=len(self._sorter.directory),
            )
            self._connection.publish(Message(f"vpp/live/{self._name}", summary.to_json()))


def _filters(partitions: Iterable[int]) -> list[tuple[str, int]]:
    return [(topic, 0) for topic in partition_filters(partitions)]


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _next_second(now: datetime) -> None:
    await asyncio.sleep(1.0 - now.microsecond / 1e6)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
