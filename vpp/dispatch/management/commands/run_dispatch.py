"""Arm the fleet for open obligations until stopped; one of several instances leads, the others stand by."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from vpp.dispatch.leader import Leader


class Command(BaseCommand):
    """``manage.py run_dispatch``: ends in order on SIGTERM and SIGINT."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal asks to end."""
        asyncio.run(_run())


async def _run() -> None:
    leading = asyncio.ensure_future(Leader().run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leading.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await leading
