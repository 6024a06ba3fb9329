"""The uplink process of one site: its link, watched, until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sites.edge.control.exchange import ControllerPort
from sites.edge.link.event_folder import EventFolder
from sites.edge.link.identity import IdentityFolder
from sites.edge.link.profile import SiteProfile
from sites.edge.link.uplink import Uplink
from sites.edge.link.uplink_settings import UplinkSettings
from sites.edge.link.watching import watch_uplink
from sites.observability.endpoint import Address
from sites.observability.health import Health
from sites.observability.process import run_process


def run_site_uplink(
    profile: SiteProfile,
    port: ControllerPort,
    settings: UplinkSettings,
    *,
    events: EventFolder | None = None,
    identity: IdentityFolder | None = None,
    observe: Address | None = None,
) -> None:
    """Run the uplink of one site until SIGTERM or SIGINT; raises IdentityError when it is not enrolled.

    ``observe`` is where its watchers find it, None for nowhere.
    """
    health = Health("uplink")

    async def work(stop: asyncio.Event) -> None:
        identities = [] if identity is None else [identity]
        uplink = Uplink([profile], port, settings, events=events, identities=identities)
        await run_uplink(uplink, stop, watch_uplink(uplink, health))

    run_process(health, work, address=observe, folder=settings.outbox_path.parent / "observe")


async def run_uplink(uplink: Uplink, stop: asyncio.Event, on_second: Callable[[], None] | None = None) -> None:
    """Run an uplink and call ``on_second`` once a second beside it, for whoever reports its state."""

    async def report() -> None:
        while True:
            await asyncio.sleep(1.0)
            if on_second is not None:
                on_second()

    reporter = asyncio.create_task(report())
    try:
        await uplink.run(stop)
    finally:
        reporter.cancel()
