"""The frame of a long-running process: its name in the log, its door for watchers, and its end on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sites.observability import logs
from sites.observability.endpoint import Address, watched
from sites.observability.health import Health

LOOP_WITHIN_S: Final = 10.0
"""A loop that takes no turn for so long does no work, whatever else answers."""
TURN_EVERY_S: Final = 0.5

Work = Callable[[asyncio.Event], Awaitable[None]]
"""Takes the event that SIGTERM and SIGINT set, and works until it is set."""


def run_process(health: Health, work: Work, *, address: Address | None, folder: Path | None = None) -> None:
    """Run a process's work on an asyncio loop until SIGTERM, SIGINT or its own end, watched all the while."""
    logs.speak_as(health.process)
    with watched(health, address, folder=folder):
        asyncio.run(_run(health, work))


async def _run(health: Health, work: Work) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    turns = asyncio.create_task(_turn(health.expect_beat("loop", within_s=LOOP_WITHIN_S)))
    try:
        await work(stop)
    finally:
        turns.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turns


async def _turn(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(TURN_EVERY_S)
