"""Sites made of the edge's own link over a real outbox and broker; their controllers confirm all they are asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from sites.core.assignments import Assignment
from sites.edge.control.exchange import MEASURED_DTYPE, Counts, InProcessExchange
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.outbox import Outbox
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.edge.link.site_link import SiteLink
from sites.edge.link.stream_rows import empty_payload
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import Message, state_message


class LinkedSite:
    """One site on a connection of its own; it lives on the event loop that starts it."""

    def __init__(
        self,
        folder: Path,
        site_id: str,
        broker_url: str,
        keys: Sequence[bytes],
        authority: bytes | None,
        power_kw: float,
    ) -> None:
        self.site_id = site_id
        self.port = InProcessExchange()
        self.outbox = Outbox(folder / f"{site_id}.outbox.sqlite3", empty=empty_payload)
        assets = (AssetNameplate("battery", "battery", power_kw, capacity_kwh=4 * power_kw, reserve_kwh=1.0),)
        self.link = SiteLink(
            SiteProfile(site_id, assets, LinkLossPolicy(LossOfLink.HOLD, 10.0)),
            index=0,
            host_id="vpp",
            platform_keys=keys,
            key_authority=authority,
            keys_path=folder / f"{site_id}.keys",
            interval_s=60,
            outbox=self.outbox,
            port=self.port,
        )
        self.link.restore(now_ms=_now_ms())
        measured = np.zeros(1, MEASURED_DTYPE)
        for name, value in {"frequency_hz": 50.0, "discharge_kw": power_kw, "usable_energy_kwh": power_kw}.items():
            measured[name] = value
        self.link.measure(measured[0], at_us=_now_ms() * 1000, counts=Counts())
        self.connection = Connection(
            BrokerAddress.of(urlsplit(broker_url)), name=site_id, on_message=self._hear, on_up=self._come_online,
            subscriptions=self.link.subscriptions(), will=self.link.will, backoff_s=(0.1, 0.5),
        )  # fmt: skip
        self._task = asyncio.create_task(self.connection.run())

    @property
    def held(self) -> Assignment | None:
        """What the controller serves."""
        holding = self.link.orders.holding
        return holding.held if holding.held and holding.confirmed_hash == holding.held.content_hash else None

    @property
    def signed_by(self) -> bytes:
        """Id of the key under which the held assignment came last."""
        return self.link.orders.holding.signed_by

    async def stop(self) -> None:
        """Fall off the net and close the files."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.outbox.close()

    def _come_online(self) -> None:
        # No host runs here; a platform's STATE would say the same.
        state = state_message("vpp", True, _now_ms())
        self._hear(state.topic, state.payload)

    def _hear(self, topic: str, payload: bytes) -> None:
        with self.outbox.transaction():
            answers = self.link.receive(topic, payload, now_ms=_now_ms())
        for _, asked in self.port.take_requests():
            answers += self.link.orders.confirm("" if asked is None else asked.content_hash, now_ms=_now_ms())
        self._publish(answers)

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            self.connection.publish(message)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
