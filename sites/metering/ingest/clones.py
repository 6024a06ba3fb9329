"""Sites of which two sessions speak: seen in their births, told to the registry's people as an alarm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db.utils import DatabaseError, InterfaceError

from sites.identity.operations import raise_clone_alarm
from sites.wire.host_events import NodeBorn, NodeDied
from sites.wire.metrics import BD_SEQ
from sites.wire.session_watch import SessionWatch

TELL_EVERY_S: Final = 1.0
"""Alarms are written at most so often, each site's newest evidence alone."""


class Clones:
    """Follows births and deaths on the loop; writes through the worker's database thread."""

    def __init__(self) -> None:
        self._sessions = SessionWatch()
        self._waiting: dict[str, tuple[datetime, str]] = {}
        """site_id -> the newest evidence that is not stored yet."""

    def take(self, event: NodeBorn | NodeDied, at: datetime) -> None:
        """Take the birth or death of an enrolled site."""
        if isinstance(event, NodeDied):
            self._sessions.died(event.site_id, event.bd_seq)
            return
        bd_seq = event.values[BD_SEQ].value
        if isinstance(bd_seq, int):
            evidence = self._sessions.born(event.site_id, bd_seq, int(at.timestamp() * 1000))
            if evidence:
                self._waiting[event.site_id] = (at, evidence)

    async def tell(self, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Raise the alarms until cancelled; what the database does not take waits."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            for site_id, (at, evidence) in list(self._waiting.items()):
                with contextlib.suppress(DatabaseError, InterfaceError):
                    await in_thread(partial(raise_clone_alarm, site_id=site_id, at=at, evidence=evidence))
                    # A newer sign that came meanwhile stays for the next round.
                    if self._waiting[site_id] == (at, evidence):
                        del self._waiting[site_id]
