"""What our VENs of every version share: how a VTN fails, and how what runs beside the events is kept running."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

log = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 60.0


class VtnUnreachable(Exception):
    """The VTN did not answer, or not as a VTN; worth trying again later."""


class MessageRefused(Exception):
    """A message of the VTN that we do not read."""

    def __init__(self, name: str, detail: str, raw: bytes) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.raw = raw


async def kept_running(operator: str, service: Any, client: Any, stop: asyncio.Event) -> None:
    """Run a service until ``stop`` is set; one that fails is told and started again, ever more rarely."""
    backoff_s = FIRST_BACKOFF_S
    while not stop.is_set():
        try:
            await service.run(client, stop)
            return
        # Whatever fails there must end neither the events nor itself.
        except Exception:
            log.exception("openadr.service_failed operator=%s service=%s", operator, type(service).__name__)
            await wait_for_stop(stop, backoff_s)
            backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)


async def wait_for_stop(stop: asyncio.Event, wait_s: float) -> None:
    """Wait so long [s], and no longer than until ``stop`` is set."""
    try:
        await asyncio.wait_for(stop.wait(), wait_s)
    except TimeoutError:
        return
