"""What sites are told of their numbered streams: how far they are stored, and which numbers are missing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Container, Mapping
from typing import Final

from django.db.utils import DatabaseError, InterfaceError

from sites.core import observe
from sites.metering import marks as stored_marks
from sites.metering.ingest.resends import MAX_ASKED, Resends
from sites.metering.ingest.shared import Shared, ms
from sites.metering.numbered import StreamKey, StreamState
from sites.metering.streams import RECORD, WAVEFORM
from sites.wire.metrics import RESEND, STORED_THROUGH

logger = logging.getLogger(__name__)

TELL_EVERY_S: Final = 1.0
"""``stored_through`` goes to one site at most this often."""


class Telling:
    """Collects what sites are still to be told, and tells them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._marks: dict[str, dict[str, int]] = {}
        """site_id -> stream -> mark that the site is still to be told."""
        self._told_at: dict[str, float] = {}
        self._resends = Resends(wait_s=shared.config.ask_missing_after_s)
        self._unanswered: set[str] = set()
        """Sites that wait for the answer to their births: older marks must not reach them first."""

    def expect_answer(self, site_id: str) -> None:
        """Hold a newborn site's marks back until its births are answered."""
        self._unanswered.add(site_id)

    def note_stored(self, states: Mapping[StreamKey, StreamState]) -> None:
        """Have sites told what a commit stored."""
        self._resends.note(states, at_s=time.monotonic())
        for (site_pk, stream), state in states.items():
            site_id = self._shared.site_ids.get(site_pk)
            if site_id is not None:
                self._marks.setdefault(site_id, {})[stream] = state.stored_through

    def forget_all_but(self, site_ids: Container[str]) -> None:
        """Forget the sites that are another worker's by now."""
        for told in (self._marks, self._told_at):
            for site_id in [site_id for site_id in told if site_id not in site_ids]:
                del told[site_id]

    async def answer_births(self, site_ids: set[str]) -> None:
        """Tell newborn sites all their marks, 0 where nothing is stored.

        A site with a new outbox numbers its rows behind them, so they are read from the database, after
        the batch that the births came with: what was sent before a birth is stored by then.
        """
        directory = self._shared.sorter.directory
        known = {site_id: directory[site_id] for site_id in site_ids if site_id in directory}
        if not known:
            return
        try:
            pks = [keys.pk for keys in known.values()]
            marks = await self._shared.in_thread(lambda: stored_marks.marks_of(site_pks=pks))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("ingest.births_wait sites=%d reason=%s", len(known), error)
            self._shared.batch.born |= set(known)
            return
        for site_id, keys in known.items():
            streams = (*keys.assets, RECORD, WAVEFORM)
            self._marks[site_id] = {stream: marks.get((keys.pk, stream), 0) for stream in streams}
            if site_id not in self._shared.batch.born:
                self._unanswered.discard(site_id)

    async def tell(self) -> None:
        """Tell sites what is stored, each at most once per TELL_EVERY_S; only what was committed."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            due = [
                site
                for site in self._marks
                if site not in self._unanswered and now - self._told_at.get(site, -TELL_EVERY_S) >= TELL_EVERY_S
            ]
            for site_id in due if self._shared.connection.is_up else ():
                marks = self._marks.pop(site_id)
                self._told_at[site_id] = now
                self._shared.connection.publish(
                    self._shared.session.node_command(
                        site_id,
                        ms(self._shared.now()),
                        {f"{STORED_THROUGH}{stream}": mark for stream, mark in marks.items()},
                    )
                )

    async def ask(self) -> None:
        """Ask sites for what is missing below rows that came."""
        shared = self._shared
        while True:
            await asyncio.sleep(1.0)
            keys = self._resends.due(at_s=time.monotonic()) if shared.connection.is_up else []
            if not keys:
                continue
            states = {key: shared.states[key] for key in keys if key in shared.states}
            with contextlib.suppress(DatabaseError, InterfaceError):
                holes = await shared.in_thread(lambda states=states: stored_marks.first_holes(states=states))  # type: ignore[misc]
                for (site_pk, stream), (first, last) in holes.items():
                    site_id = shared.site_ids.get(site_pk)
                    if site_id is None:
                        continue
                    last = min(last, first + MAX_ASKED - 1)
                    shared.sorter.asked[site_pk, stream] = (first, last)
                    logger.warning("%s site=%s stream=%s %d to %d", observe.RESEND_ASKED, site_id, stream, first, last)
                    asked = {f"{RESEND}{stream}": [first, last]}
                    shared.connection.publish(shared.session.node_command(site_id, ms(shared.now()), asked))
