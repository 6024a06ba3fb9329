"""From the growing batch to the database: when it is written, tried again, split, and what follows its commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from django.db.utils import DatabaseError, DataError, IntegrityError, InterfaceError

from sites.core import observe
from sites.metering import leases, operations
from sites.metering.batches import Batch, split
from sites.metering.ingest.holding import FIRST_PAUSE_S, LONGEST_PAUSE_S, Holding
from sites.metering.ingest.shared import Shared
from sites.metering.ingest.telling import Telling
from sites.metering.operations import Stored
from sites.observability import metrics
from sites.registry.queries import site_directory

logger = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 2.0
"""How often the registry is read again while unknown sites or assets send."""
FLUSH_WITHIN_S: Final = 10.0


class Storing:
    """Writes one batch after another; while one is written or waits, the next grows within the bounds of ``Batch``."""

    def __init__(self, shared: Shared, holding: Holding, telling: Telling, *, waiting: Callable[[], int]) -> None:
        self._shared = shared
        self._holding = holding
        self._telling = telling
        self._waiting = waiting
        """How many messages are not decoded yet."""

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped, and then what is held."""
        looked_at = time.monotonic()
        while True:
            await self._until_full(stop)
            batch, self._shared.batch = self._shared.batch.sealed(), Batch(partitions=self._shared.batch.partitions)
            if not batch.is_empty:
                await self._store(batch, stop)
                await self._telling.answer_births(batch.born)
            self._shared.batches_stored += 1
            if stop.is_set() and self._shared.batch.is_empty and not self._waiting():
                return
            if self._shared.sorter.unknown_seen and time.monotonic() - looked_at >= LOOK_AGAIN_S:
                looked_at, self._shared.sorter.unknown_seen = time.monotonic(), False
                with contextlib.suppress(DatabaseError, InterfaceError):
                    found = await self._shared.in_thread(lambda: site_directory(partitions=self._shared.partitions))
                    self._shared.use_directory(found)

    async def _until_full(self, stop: asyncio.Event) -> None:
        deadline = time.monotonic() + self._shared.config.batch_s
        while not stop.is_set() and self._shared.batch.rows < self._shared.config.batch_rows:
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
                stored = await self._shared.in_thread(
                    lambda: operations.store_batch(
                        batch=batch, states=self._shared.states, at=self._shared.now(), worker=self._shared.worker_id,
                        lease_s=self._shared.config.lease_s if self._shared.connection.is_up else 0.0,
                    )
                )  # fmt: skip
            except leases.LeaseLost as error:
                # Its new holder hears the sites now; the numbered part was not told and comes again.
                logger.warning("ingest.batch_fenced rows=%d reason=%s", batch.rows, error)
                self._shared.batch.partitions = self._shared.batch.partitions & self._shared.partitions
                with contextlib.suppress(DatabaseError, InterfaceError):
                    await self._holding.hold_once()
                    self._shared.batch.partitions = self._shared.partitions
                return
            except (IntegrityError, DataError) as error:
                # Another worker may have written the same rows: forget what is remembered, look, try again.
                self._shared.states = {}
                if is_second_try:
                    await self._store_in_parts(batch, stop, error)
                    return
                is_second_try = True
                continue
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.batch_waits rows=%d reason=%s", batch.rows, error)
                with contextlib.suppress(DatabaseError, InterfaceError):
                    await self._shared.in_thread(operations.close_database)
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
                received_at=self._shared.now(),
            )
            self._shared.batch.counts.update(lost.counts)
            self._shared.batch.refusals.extend(lost.refusals)
            return
        for part in parts:
            await self._store(part, stop)

    def _committed(self, stored: Stored, batch: Batch, wall_s: float) -> None:
        self._shared.states.update(stored.states)
        self._telling.note_stored(stored.states)
        logger.debug(
            "%s readings=%d numbered=%d repeated=%d wall_s=%.3f",
            observe.INGEST_BATCH,
            stored.readings,
            stored.numbered,
            stored.repeated,
            wall_s,
        )
        metrics.INGEST_WRITE_S.observe(wall_s)
        metrics.INGEST_INBOX.set(self._waiting())
        metrics.INGEST_ROWS.labels("reading").inc(stored.readings)
        metrics.INGEST_ROWS.labels("reading_repeated").inc(stored.readings_repeated)
        metrics.INGEST_ROWS.labels("numbered").inc(stored.numbered)
        metrics.INGEST_ROWS.labels("repeated").inc(stored.repeated)
        if batch.first_at is not None:
            metrics.INGEST_AGE_S.observe(max(0.0, (self._shared.now() - batch.first_at).total_seconds()))
        for error, count in batch.counts.items():
            metrics.INGEST_REFUSED.labels(error).inc(count)
        if batch.counts:
            logger.info("%s %s", observe.MESSAGE_REFUSED, " ".join(f"{k}={v}" for k, v in sorted(batch.counts.items())))
