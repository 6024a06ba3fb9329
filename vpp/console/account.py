"""What one site's page tells beside its live values: what it stands at, and the trail of requests to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sites.metering.models import LiveState, SiteStanding
from sites.registry.models import Site
from vpp.console import requests
from vpp.dispatch import commands

SHOWN: Final = 10
"""Newest commands of a site on its page; the API has all of them."""


def site_account(*, site: Site, at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return ``standing`` and ``commands`` as texts, for the page and for its websocket."""
    live: LiveState | None = getattr(site, "live", None)
    standing: SiteStanding | None = getattr(site, "standing", None)
    newest = commands.site_commands(site=site)[:SHOWN]
    return {
        "standing": requests.standing_texts(
            standing, saturates_in_s=None if live is None else live.saturates_in_s, zone=zone
        ),
        "commands": [requests.command_texts(command, at=at, zone=zone) for command in newest],
    }
