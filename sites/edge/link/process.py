"""The uplink process of one site: its link, watched, until a signal ends it."""

from __future__ import annotations

import asyncio

from sites.edge.control.exchange import ControllerPort
from sites.edge.link.event_folder import EventFolder
from sites.edge.link.identity import IdentityFolder
from sites.edge.link.profile import SiteProfile
from sites.edge.link.uplink import Uplink, UplinkSettings, run_uplink
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
