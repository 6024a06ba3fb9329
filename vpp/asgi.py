"""The web process: pages, API and websockets, with the live link on the server's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vpp.settings")

from django.core.asgi import get_asgi_application

# Django must be set up before anything that reads models.
_pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import close_old_connections  # noqa: E402
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware  # noqa: E402

from markets.openadr.vtn3.problems import PREFIX  # noqa: E402
from markets.openadr.vtn3.threads import KeptThreads  # noqa: E402
from sites.observability import logs  # noqa: E402
from sites.observability.endpoint import watched  # noqa: E402
from sites.observability.health import Health  # noqa: E402
from vpp.console import queries  # noqa: E402
from vpp.console.broadcast import LIVE  # noqa: E402
from vpp.console.routing import websocket_urlpatterns  # noqa: E402

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_router = ProtocolTypeRouter(
    {
        "http": _pages,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)

_openadr = KeptThreads(_pages)


async def _by_address(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"].startswith(PREFIX):
        await _openadr(scope, receive, send)
    else:
        await _router(scope, receive, send)


# Who asks, where a proxy that is declared says so. The server's own reading of these headers is off
# (`--no-proxy-headers`): it believes whatever runs on this machine.
_by_any: Any = _by_address
_connections: Any = ProxyHeadersMiddleware(_by_any, trusted_hosts=settings.TRUSTED_PROXIES)


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one connection; the ``lifespan`` one carries the live link, as Channels' router refuses it."""
    if scope["type"] == "lifespan":
        await _live_for_a_lifetime(receive, send)
    else:
        await _connections(scope, receive, send)


def _database_fault() -> str:
    # Asked on the watchers' thread, where no request closes what a restarted database has dropped.
    close_old_connections()
    return queries.database_fault()


async def _live_for_a_lifetime(receive: Receive, send: Send) -> None:
    """Run the live link, and the door for watchers, from the server's start to its end."""
    live: asyncio.Task[None] | None = None
    door = contextlib.ExitStack()
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            live = asyncio.create_task(LIVE.run())
            logs.speak_as("web")
            health = Health("web")
            health.watch("broker", lambda: LIVE.link.last_error)
            health.watch("database", _database_fault)
            LIVE.on_beat = health.expect_beat("loop", within_s=10.0)
            door.enter_context(watched(health, settings.OBSERVE_ADDRESS, folder=settings.OBSERVE_DIR))
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if live is not None:
                live.cancel()
                await asyncio.gather(live, return_exceptions=True)
            door.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
