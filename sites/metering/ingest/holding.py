"""Which partitions a worker holds: taken, heard, given back to their own worker, left when they were lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from django.db.utils import DatabaseError, InterfaceError

from sites.metering import leases, marks, operations, queries
from sites.metering.ingest.shared import Shared
from sites.metering.ingest.telling import Telling
from sites.metering.quarantine import quarantined
from sites.registry.queries import site_directory
from sites.wire.topics import partition_filters

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
CHECKS_PER_LEASE: Final = 5
MAKE_PARTITIONS_EVERY_S: Final = 3_600.0


class Holding:
    """Keeps a worker's leases while it is connected and its database answers."""

    def __init__(self, shared: Shared, telling: Telling, *, database_answers: Callable[[], None]) -> None:
        self._shared = shared
        self._telling = telling
        self._database_answers = database_answers
        self._elsewhere: frozenset[int] = frozenset()

    async def load(self) -> None:
        """Take what partitions are to be had, before the broker is met; wait for the database if need be."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._shared.in_thread(lambda: operations.make_partitions(at=self._shared.now()))
                await self.hold_once()
                return
            except (DatabaseError, InterfaceError) as error:
                logger.warning("ingest.database_away reason=%s", error)
                await self._shared.in_thread(operations.close_database)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2.0, LONGEST_PAUSE_S)

    async def run(self) -> None:
        """Keep the partitions while this worker is connected and its database thread answers."""
        made_at = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._shared.config.lease_s / CHECKS_PER_LEASE))
            with contextlib.suppress(DatabaseError, InterfaceError):
                if not self._shared.connection.is_up:
                    # What it cannot hear it does not keep.
                    await self._shared.in_thread(queries.ask_database)
                    self._database_answers()
                    continue
                await self.hold_once()
                self._database_answers()
                if time.monotonic() - made_at > MAKE_PARTITIONS_EVERY_S:
                    made_at = time.monotonic()
                    await self._shared.in_thread(lambda: operations.make_partitions(at=self._shared.now()))

    async def hold_once(self) -> None:
        """Renew what is held, take what is free, leave what was lost, give back what its own worker asks for."""
        config = self._shared.config
        holding = await self._shared.in_thread(
            lambda: leases.hold_partitions(
                worker=self._shared.worker_id, own=config.partitions, stand_by=config.stand_by, lease_s=config.lease_s,
                at=self._shared.now(),
            )
        )  # fmt: skip
        if holding.elsewhere != self._elsewhere:
            self._elsewhere = holding.elsewhere
            if holding.elsewhere:
                logger.warning("ingest.partitions_elsewhere partitions=%s", sorted(holding.elsewhere))
        if lost := self._shared.partitions - holding.partitions:
            logger.warning("ingest.partitions_lost partitions=%s", sorted(lost))
            self._leave(lost)
        if taken := holding.partitions - self._shared.partitions:
            await self._take(taken)
        if holding.wanted:
            await self._give_back(holding.wanted)

    async def _take(self, taken: frozenset[int]) -> None:
        """Read where the sites of new partitions stand, then listen to them."""
        directory = await self._shared.in_thread(lambda: site_directory(partitions=taken))
        states = await self._shared.in_thread(lambda: marks.stream_states(partitions=taken))
        rows = await self._shared.in_thread(lambda: queries.newest_rows(partitions=taken))
        cut_off = await self._shared.in_thread(lambda: quarantined(partitions=taken))
        for site_id, reason in cut_off.items():
            self._shared.gates.shut(site_id, reason, time.monotonic())
        shared = self._shared
        shared.states |= states
        shared.sorter.live |= rows
        shared.use_directory({**shared.sorter.directory, **directory})
        self._hear(shared.partitions | taken)
        shared.batch.partitions |= taken
        logger.info("ingest.partitions_taken partitions=%s", sorted(taken))

    async def _give_back(self, wanted: frozenset[int]) -> None:
        """Stop listening to partitions, store what came of them, and let their own worker have them."""
        self._shared.connection.subscribe_to(_filters(self._shared.partitions - wanted))
        # Two more batches: the one that is being written, and the one that holds what was on its way.
        through = self._shared.batches_stored + 2
        while self._shared.batches_stored < through:
            await asyncio.sleep(0.02)
        self._leave(wanted)
        self._shared.batch.partitions -= wanted
        await self._shared.in_thread(
            lambda: leases.release_partitions(worker=self._shared.worker_id, partitions=wanted, at=self._shared.now())
        )
        logger.info("ingest.partitions_given_back partitions=%s", sorted(wanted))

    def _leave(self, partitions: frozenset[int]) -> None:
        self._hear(self._shared.partitions - partitions)
        shared, before = self._shared, self._shared.sorter.directory
        directory = {site_id: keys for site_id, keys in before.items() if keys.partition not in partitions}
        shared.gates.forget(before.keys() - directory.keys())
        left = {keys.pk for site_id, keys in before.items() if site_id not in directory}
        shared.use_directory(directory)
        shared.states = {key: state for key, state in shared.states.items() if key[0] not in left}
        shared.sorter.live = {pk: row for pk, row in shared.sorter.live.items() if pk not in left}
        self._telling.forget_all_but(directory)

    def _hear(self, partitions: frozenset[int]) -> None:
        self._shared.partitions = self._shared.sorter.partitions = partitions
        self._shared.connection.subscribe_to(_filters(partitions))


def _filters(partitions: Iterable[int]) -> list[tuple[str, int]]:
    return [(topic, 0) for topic in partition_filters(partitions)]
