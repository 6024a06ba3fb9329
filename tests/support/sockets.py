"""A browser's websocket on an ASGI application in this process (Channels' own needs daphne, which we do not run)."""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class BrowserSocket:
    """One websocket from handshake to close."""

    def __init__(self, application: Any, address: str, headers: list[tuple[bytes, bytes]]) -> None:
        scope = {
            "type": "websocket", "path": address, "query_string": b"", "headers": headers, "subprotocols": [],
        }  # fmt: skip
        self._end = ApplicationCommunicator(application, scope)

    async def connect(self) -> bool:
        """Tell whether the handshake was accepted."""
        await self._end.send_input({"type": "websocket.connect"})
        answer = await self.output()
        return answer["type"] == "websocket.accept"

    async def output(self) -> dict[str, Any]:
        """Return the next thing that the server says."""
        return await self._end.receive_output(timeout=10)

    async def frame(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind."""
        while True:
            frame = json.loads((await self.output())["text"])
            if frame["type"] == kind:
                return frame

    async def is_quiet(self, for_s: float) -> bool:
        """Tell whether nothing is said for that long."""
        return await self._end.receive_nothing(timeout=for_s)

    async def close(self) -> None:
        """Leave, as a closed tab does."""
        await self._end.send_input({"type": "websocket.disconnect", "code": 1001})
        await self._end.wait(timeout=10)
