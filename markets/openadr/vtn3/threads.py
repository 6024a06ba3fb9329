"""Threads that are kept for the VTN's requests, each with its connection to the database.

Django's own way takes a new thread for each request, and so a new connection: with PostgreSQL much more work.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler

THREADS: Final = 4


class KeptThreads:
    """Django's ASGI handler on a few threads that stay; what is more waits for the next free one."""

    def __init__(self, handler: ASGIHandler) -> None:
        self._handler = handler
        self._free: asyncio.LifoQueue[ThreadPoolExecutor] = asyncio.LifoQueue()
        for number in range(THREADS):
            self._free.put_nowait(ThreadPoolExecutor(1, thread_name_prefix=f"openadr3-{number}"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        thread = await self._free.get()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._handler.handle(scope, receive, send)
        finally:
            self._free.put_nowait(thread)
