"""One site's end of the wire without sockets: messages and measurements in, messages out.

Shared by ``vpp-edge uplink`` (one site) and ``vpp-edge simulate`` (many). The clock comes in as an
argument; rows, counters and the held assignment live in the outbox. Here are the session and what is told
live; ``rows`` holds the numbered streams, ``orders`` what the platform asks for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sites.core import observe
from sites.edge.control.exchange import ControllerPort, Counts
from sites.edge.link.outbox import Outbox
from sites.edge.link.outbox_file import OutboxUnwritable
from sites.edge.link.outbox_watch import OutboxWatch
from sites.edge.link.platform_keys import PlatformKeys
from sites.edge.link.presence import Presence
from sites.edge.link.profile import SiteProfile
from sites.edge.link.site_orders import SiteOrders
from sites.edge.link.site_rows import SiteRows
from sites.edge.link.site_values import asset_values, nameplate_values, node_values, standing_values
from sites.wire.edge_session import (
    DeviceCommand,
    EdgeSession,
    HostOffline,
    HostOnline,
    Message,
    NodeCommand,
    RebirthRequested,
    Refused,
    SignalReceived,
)
from sites.wire.metrics import ASSET_METRICS, CONTROL_DEVICE, CONTROL_METRICS, NODE_METRICS, STANDING_METRICS

ASK_MARKS_EVERY_MS: Final = 30_000
"""Births go out again after this time while the platform has not told how far a stream is stored."""

log = logging.getLogger(__name__)


class SiteLink:
    """Everything one site says and hears."""

    def __init__(
        self,
        profile: SiteProfile,
        *,
        index: int,
        host_id: str,
        platform_keys: Sequence[bytes],
        key_authority: bytes | None = None,
        keys_path: Path | None = None,
        interval_s: int,
        outbox: Outbox,
        port: ControllerPort,
    ) -> None:
        self.profile = profile
        self.site_id = profile.site_id
        self._outbox = outbox
        devices = {asset.name: list(ASSET_METRICS[asset.kind]) for asset in profile.assets}
        devices[CONTROL_DEVICE] = list(CONTROL_METRICS)
        self._session = EdgeSession(self.site_id, host_id, [*NODE_METRICS, *STANDING_METRICS], devices)
        self._presence = Presence()
        self.rows = SiteRows(
            profile,
            index=index,
            interval_s=interval_s,
            outbox=outbox,
            session=self._session,
            presence=self._presence,
            refuse=self._refuse,
        )
        self.orders = SiteOrders(
            profile,
            index=index,
            platform_keys=PlatformKeys(self.site_id, platform_keys, authority=key_authority, path=keys_path),
            outbox=outbox,
            port=port,
            session=self._session,
            presence=self._presence,
            refuse=self._refuse,
        )
        self._measured: np.void | None = None
        self._measured_at_us = 0
        self._told_at_us = 0
        self._bd_seq = -1
        self._counts = Counts()
        self.outbox_watch = OutboxWatch(self.site_id)
        self._standing_told: dict[str, Any] = {}
        self.refused_count = 0
        """Messages refused by name since the start."""

    @property
    def is_born(self) -> bool:
        """Tell whether the births were sent on the present connection."""
        return self._presence.is_born

    # --- start and connection ------------------------------------------------------------------

    def restore(self, *, now_ms: int) -> None:
        """Take up the meter and the held assignment where the last process left them."""
        self._presence.away_since_ms = now_ms
        self.rows.restore()
        self.orders.restore(now_ms=now_ms)

    def will(self) -> Message:
        """Return the will for the next connection; each one carries a new birth number."""
        self._bd_seq = (max(self._bd_seq, self._outbox.counter(self.site_id, "bd_seq")) + 1) % 256
        with contextlib.suppress(OutboxUnwritable):
            # On a full disk it is new for this process at least.
            self._outbox.set_counter(self.site_id, "bd_seq", self._bd_seq)
        return self._session.will(self._bd_seq)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return the filters to subscribe to on a new connection."""
        return self._session.subscriptions()

    def farewell(self) -> list[Message]:
        """Return the death to publish before an orderly disconnect, for a broker then drops the will."""
        return [self._session.will(self._bd_seq)] if self.is_born else []

    def move_clock(self, *, by_ms: int) -> None:
        """Note that the clock of ``now_ms`` was stepped."""
        self._presence.move_clock(by_ms=by_ms)

    def note_down(self, *, now_ms: int) -> None:
        """Note that the connection is gone; the host's state is unknown until it is told again."""
        self._presence.is_host_online = self._presence.is_born = False
        self._note_away(now_ms)
        # What was on its way when the connection broke may be lost: all of it counts as unsent.
        self._outbox.forget_sent(self.site_id)

    # --- what the platform says ----------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, *, now_ms: int) -> list[Message]:
        """Take one message; return what to send at once. Faulty ones are refused by name and counted."""
        messages: list[Message] = []
        for event in self._session.receive(topic, payload, now_ms):
            match event:
                case HostOnline():
                    # The host may repeat that it is there; only news asks for births.
                    if not self._presence.is_host_online:
                        log.debug("%s site_id=%s", observe.LINK_UP, self.site_id)
                        self._presence.is_host_online = True
                        self._presence.away_since_ms = None
                        messages += self._births(now_ms)
                case HostOffline():
                    self._presence.is_host_online = self._presence.is_born = False
                    self._note_away(now_ms)
                    self._outbox.forget_sent(self.site_id)
                case RebirthRequested():
                    if self._presence.is_host_online:
                        messages += self._births(now_ms)
                case NodeCommand(metrics=values):
                    self.rows.take_marks(values)
                    messages += self.rows.take_asked(values, now_ms)
                case DeviceCommand(device=device, metrics=values):
                    messages += self.orders.take_command(device, values, now_ms)
                case SignalReceived(stream=stream, envelope=envelope):
                    self.orders.follow(stream, envelope, now_ms)
                case Refused(error_name=name, detail=detail):
                    self._refuse(name, detail)
        return messages

    # --- what the controller says --------------------------------------------------------------

    def measure(self, measured: np.void, *, at_us: int, counts: Counts) -> None:
        """Take the last measurements (one MEASURED_DTYPE row) and the loop's counters."""
        self._measured, self._measured_at_us, self._counts = measured, at_us, counts
        self.orders.measured = measured

    def live(self) -> list[Message]:
        """Return the 1 Hz live data; nothing while nobody listens or nothing new was measured."""
        if not self.is_born or self._measured is None or self._measured_at_us <= self._told_at_us:
            return []
        self._told_at_us = self._measured_at_us
        at_ms = self._measured_at_us // 1000
        standing = self._standing(self._measured)
        news = {name: value for name, value in standing.items() if self._standing_told.get(name) != value}
        self._standing_told = standing
        messages = [self._session.node_data(at_ms, node_values(self._measured, self._counts) | news)]
        messages += [
            self._session.device_data(at_ms, asset.name, asset_values(asset.kind, self._measured))
            for asset in self.profile.assets
        ]
        return messages

    def ensure_born(self, *, now_ms: int) -> list[Message]:
        """Return the births that had to wait for the first measurement, or must be answered once more."""
        if not self._presence.is_host_online:
            return []
        # The answer to the births tells the marks; without them nothing numbered may go out.
        is_told = self.rows.is_adopted
        if self.is_born and (is_told or 0 <= now_ms - self._presence.born_at_ms < ASK_MARKS_EVERY_MS):
            return []
        return self._births(now_ms)

    # --- inside --------------------------------------------------------------------------------

    def _births(self, now_ms: int) -> list[Message]:
        if self._measured is None:
            # No measurement yet: a birth with made-up values would be a lie. `live` is not sent either.
            return []
        self._presence.is_born, self._presence.born_at_ms = True, now_ms
        device_values: dict[str, dict[str, Any]] = {CONTROL_DEVICE: dict(self.orders.reported())}
        for asset in self.profile.assets:
            device_values[asset.name] = asset_values(asset.kind, self._measured) | nameplate_values(asset)
        self._standing_told = self._standing(self._measured)
        values = node_values(self._measured, self._counts) | self._standing_told
        return self._session.births(now_ms, values, device_values)

    def _standing(self, measured: np.void) -> dict[str, Any]:
        return standing_values(measured, self._counts) | self.outbox_watch.values

    def _note_away(self, now_ms: int) -> None:
        if self._presence.away_since_ms is None:
            self._presence.away_since_ms = now_ms
            log.info("%s site_id=%s", observe.LINK_DOWN, self.site_id)

    def _refuse(self, name: str, detail: str) -> None:
        self.refused_count += 1
        log.warning("%s site_id=%s error=%s detail=%.300s", observe.MESSAGE_REFUSED, self.site_id, name, detail)
