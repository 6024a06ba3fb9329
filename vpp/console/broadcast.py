"""One heartbeat per web process: live aggregates and polled figures go to the open pages twice a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError

from sites.core import observe
from vpp.console import figures, frames
from vpp.console.aggregates import FleetStore
from vpp.console.live import LiveLink

logger = logging.getLogger(__name__)

GROUP: Final = "console"
TICK_S: Final = 0.5
POLL_S: Final = 1.0


class Broadcast:
    """The live figures of this process and the beat on which they are sent.

    The group message carries the beat's number only. Each page's consumer then sends the newest
    frame and skips the beats that it slept through, so a slow reader gets fewer frames, never old
    ones, and holds nobody up.
    """

    def __init__(self) -> None:
        self.store = FleetStore()
        self.link = LiveLink(settings.BROKER, self._received)
        self.beat = 0
        self.fleet_viewers = 0
        """Open fleet pages; figures from the database are only polled while there are any."""
        self.polled: dict[str, Any] = {}
        self.on_beat: Callable[[], None] = lambda: None
        """Called on every beat: a sign that this process's loop turns."""
        self._polled_at_s = 0.0
        self._refused_told = 0

    def _received(self, topic: str, payload: bytes) -> None:
        self.store.accept(topic, payload, at_s=time.time())

    async def run(self) -> None:
        """Hold the broker link and beat until cancelled."""
        link = asyncio.create_task(self.link.run())
        try:
            while True:
                await self._beat()
                if link.done():
                    # Only a defect ends the link; it must be seen, not silently missed.
                    logger.error("live link ended: %r; starting it again", link.exception())
                    link = asyncio.create_task(self.link.run())
                await asyncio.sleep(TICK_S - time.time() % TICK_S)
        finally:
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)

    async def _beat(self) -> None:
        self.on_beat()
        now_s = time.time()
        self.store.keep_point(at_s=now_s)
        if self.store.refused > self._refused_told:
            # Once a beat at most, however many came.
            logger.warning(
                "%s count=%d last=%s",
                observe.MESSAGE_REFUSED,
                self.store.refused - self._refused_told,
                self.store.last_refusal,
            )
            self._refused_told = self.store.refused
        if self.fleet_viewers and now_s - self._polled_at_s >= POLL_S:
            await self.poll(at=datetime.fromtimestamp(now_s, UTC))
        self.beat += 1
        layer = get_channel_layer()
        if layer is not None:
            await layer.group_send(GROUP, {"type": "beat", "number": self.beat})

    async def poll(self, *, at: datetime) -> None:
        """Read the figures that stand in the database; keep the last ones when it does not answer."""
        self._polled_at_s = at.timestamp()
        try:
            self.polled = await database_sync_to_async(figures.fleet_figures)(at=at)
        except DatabaseError as error:
            logger.warning("console figures: %s", error)

    def fleet_frame(self) -> dict[str, Any]:
        """Return the newest frame for the fleet page."""
        now_s = time.time()
        return frames.fleet_frame(
            self.store.frame(at_s=now_s),
            polled=self.polled,
            is_linked=self.link.is_connected,
            refused_aggregates=self.store.refused,
            at_s=now_s,
        )


LIVE: Final = Broadcast()
"""The one of this process; `vpp.asgi` runs it on the server's loop."""
