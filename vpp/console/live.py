"""The console's MQTT door: live aggregates from the broker, on the web process's own event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection

LIVE_FILTER: Final = "vpp/live/#"
KEEPALIVE_S: Final = 10
RETRY_S: Final = (0.5, 5.0)


class LiveLink:
    """One subscription to the live topics that comes back by itself when the broker goes away."""

    def __init__(self, broker: SplitResult, on_message: Callable[[str, bytes], None]) -> None:
        self._connection = Connection(
            BrokerAddress.of(broker),
            name="vpp-web",
            on_message=on_message,
            subscriptions=[(LIVE_FILTER, 0)],
            keepalive_s=KEEPALIVE_S,
            proves=True,
            backoff_s=RETRY_S,
        )

    @property
    def is_connected(self) -> bool:
        """True while the broker has granted the subscription on the present connection."""
        return self._connection.is_up

    @property
    def last_error(self) -> str:
        """Why the link is down; empty while it is up."""
        return self._connection.down_reason

    async def run(self) -> None:
        """Hold the link until cancelled."""
        await self._connection.run()
