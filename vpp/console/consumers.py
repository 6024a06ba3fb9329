"""Websockets of the pages: the fleet for dispatcher and auditor, the visible sites for everybody else."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare

from sites.registry import permissions
from vpp.console import account, frames, queries, texts
from vpp.console.broadcast import GROUP, LIVE
from vpp.console.roles import FLEET_ROLES

SessionStore: Final = import_module(settings.SESSION_ENGINE).SessionStore
NOT_LOGGED_IN: Final = 4401
WRONG_ROLE: Final = 4403
NO_SUCH_SITE: Final = 4404
ROWS_EVERY_S: Final = 1.0
RIGHTS_EVERY_S: Final = 5.0


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels comes without types
    """Sends the newest frame on each beat; rights are looked up again while the page stays open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sent_beat = 0
        self._rights_at_s = 0.0

    async def connect(self) -> None:
        """Accept those who may read this page; close with the reason's code otherwise."""
        # Accepted first: a browser cannot read the close code of a refused handshake.
        await self.accept()
        code = await self._refusal()
        if code:
            await self.close(code)
            return
        await self.opened()
        if self.channel_layer is not None:
            await self.channel_layer.group_add(GROUP, self.channel_name)

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if self.channel_layer is not None:
            await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Ignore what a page says: these sockets only speak."""

    async def beat(self, event: dict[str, Any]) -> None:
        """Send the newest frame, unless this beat was slept through and is already covered."""
        if event["number"] <= self._sent_beat:
            return
        now_s = time.monotonic()
        if now_s - self._rights_at_s >= RIGHTS_EVERY_S and (code := await self._refusal()):
            await self.close(code)
            return
        self._sent_beat = LIVE.beat
        await self.speak()

    async def opened(self) -> None:
        """Send what a page needs before its first beat."""

    async def speak(self) -> None:
        """Send the newest frame."""
        raise NotImplementedError

    async def refusal_of(self, user: Any) -> int:
        """Return the close code for this person, 0 when the page is theirs."""
        raise NotImplementedError

    async def _refusal(self) -> int:
        self._rights_at_s = time.monotonic()
        user = await database_sync_to_async(self._person)()
        if user is None:
            return NOT_LOGGED_IN
        self.user = user
        return await self.refusal_of(user)

    def _person(self) -> Any:
        """Return the person as the database knows them now; None once logged out, inactive or with a new password."""
        held = self.scope.get("user")
        session = self.scope.get("session")
        if held is None or not held.is_authenticated:
            return None
        key = getattr(session, "session_key", None)
        user = get_user_model()._default_manager.filter(pk=held.pk, is_active=True).first()
        if session is None or user is None:
            return user
        # Read anew: ended, expired, or made with a password that has been changed since.
        signed = SessionStore(key).get(HASH_SESSION_KEY, "") if key else ""
        return user if signed and constant_time_compare(signed, user.get_session_auth_hash()) else None


class FleetConsumer(LiveConsumer):
    """The whole fleet's aggregates and the dispatch state."""

    _counted = False

    async def refusal_of(self, user: Any) -> int:
        """Only roles that may see the whole fleet."""
        role = await database_sync_to_async(permissions.role_of)(user)
        return 0 if role in FLEET_ROLES else WRONG_ROLE

    async def opened(self) -> None:
        """Send the last ten minutes and a first frame."""
        LIVE.fleet_viewers += 1
        self._counted = True
        await LIVE.poll(at=datetime.now(UTC))
        await self.send_json(frames.history_frame(LIVE.store.history))
        await self.speak()

    async def disconnect(self, code: int) -> None:
        """Leave the group and let the polling rest when nobody looks."""
        if self._counted:
            self._counted = False
            LIVE.fleet_viewers -= 1
        await super().disconnect(code)

    async def speak(self) -> None:
        """Send the fleet's frame."""
        await self.send_json(LIVE.fleet_frame())


class SitesConsumer(LiveConsumer):
    """The rows of the sites that a person may see, or of the one named in the address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rows_at_s = 0.0

    async def refusal_of(self, user: Any) -> int:
        """A site that is not visible is answered as one that does not exist."""
        code: int = await database_sync_to_async(self._sites_refusal)(user)
        return code

    def _sites_refusal(self, user: Any) -> int:
        if permissions.role_of(user) is None:
            return WRONG_ROLE
        site_id = self._site_id
        if site_id and not permissions.visible_sites(user).filter(site_id=site_id).exists():
            return NO_SUCH_SITE
        return 0

    @property
    def _site_id(self) -> str:
        return str(self.scope["url_route"]["kwargs"].get("site_id", ""))

    async def opened(self) -> None:
        """Send the rows at once."""
        await self.speak()

    async def speak(self) -> None:
        """Send the rows, once per second: no site measures more often."""
        now_s = time.monotonic()
        if now_s - self._rows_at_s < ROWS_EVERY_S - 0.1:
            return
        self._rows_at_s = now_s
        at = datetime.now(UTC)
        rows = await database_sync_to_async(self._rows)(at=at)
        frame = {"type": "sites", "at_ms": round(at.timestamp() * 1000), "rows": rows}
        if self._site_id:
            frame |= await database_sync_to_async(self._account)(at=at)
        await self.send_json(frame)

    def _account(self, *, at: datetime) -> dict[str, Any]:
        """Return what the one site's page tells beside its live values."""
        site = permissions.visible_sites(self.user).select_related("live", "standing").filter(site_id=self._site_id)
        found = site.first()
        return {} if found is None else account.site_account(site=found, at=at, zone=texts.zone_of(found))

    def _rows(self, *, at: datetime) -> list[dict[str, Any]]:
        sites = permissions.visible_sites(self.user)
        if self._site_id:
            sites = sites.filter(site_id=self._site_id)
        return queries.live_rows(sites=sites, at=at)
