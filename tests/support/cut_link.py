"""A link that can be cut without a word: no close, no reset, no refusal, as where packets are dropped on the way.

What was on its way waits at its sender and comes when the link is back, as TCP's retransmissions bring it; an end that
gave the connection up meanwhile is told to the other only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator


class CutLink:
    """Forwards connections from a port of its own to another on this machine while it is not cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._passes.set()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Let nothing through any more."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def restore(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._passes.set)

    def close(self) -> None:
        """End it with all its connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._listener.close()

    def _run(self) -> None:
        listening = self._loop.create_task(self._listen())
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in (listening, *tasks):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                near, _ = await self._loop.sock_accept(self._listener)
                group.create_task(self._carry(near))

    async def _carry(self, near: socket.socket) -> None:
        await self._passes.wait()
        far = socket.socket()
        far.setblocking(False)
        with near, far, contextlib.suppress(OSError):
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(far, ("127.0.0.1", self._target))
            ways = [asyncio.create_task(self._forward(*way)) for way in ((near, far), (far, near))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _forward(self, source: socket.socket, target: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, 65_536):
            await self._passes.wait()
            await self._loop.sock_sendall(target, data)
        await self._passes.wait()


@contextlib.contextmanager
def a_link(target: int) -> Iterator[CutLink]:
    """Yield a link to a port of this machine."""
    link = CutLink(target)
    try:
        yield link
    finally:
        link.close()
