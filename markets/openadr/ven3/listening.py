"""Listens to an OpenADR 3.1 VTN's MQTT broker: a notice makes the VEN look at once; what changed, the list tells.

A notice is a hint and no more: nothing of it is believed, and a broker that is away costs no event but the
time to the next poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from markets.openadr.ven3.client import RequestRefused, Ven3Client
from markets.openadr.ven_session import MessageRefused, VtnUnreachable, wait_for_stop
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection

log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 60.0
"""Between two attempts to learn the topics."""
LOOK_EVERY_S: Final = 0.2


class MqttListener:
    """A Ven3Service: subscribes to the topics that the VTN names for our ven, its programs and its events."""

    def __init__(self, operator: str, broker: BrokerAddress, notice: Callable[[], None]) -> None:
        self._operator = operator
        self._broker = broker
        self._notice = notice

    async def run(self, client: Ven3Client, stop: asyncio.Event) -> None:
        """Learn the topics and listen until ``stop`` is set."""
        topics: list[str] = []
        while not topics:
            if client.registered.is_set():
                try:
                    topics = await self._topics(client)
                except (RequestRefused, VtnUnreachable, MessageRefused) as error:
                    log.warning("openadr.topics_unknown operator=%s error=%s", self._operator, error)
            if topics:
                break
            await wait_for_stop(stop, ASK_AGAIN_S if client.registered.is_set() else LOOK_EVERY_S)
            if stop.is_set():
                return
        connection = Connection(
            self._broker,
            name=f"ven3-{self._operator}",
            on_message=lambda _topic, _payload: self._notice(),
            # What happened while nobody listened is in the list.
            on_up=self._notice,
            subscriptions=[(topic, 1) for topic in topics],
        )
        listening = asyncio.create_task(connection.run())
        try:
            await stop.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _topics(self, client: Ven3Client) -> list[str]:
        """Return the topics; none when the VTN offers no broker, or has no ven of our name."""
        offered = await client.get("notifiers")
        if not isinstance(offered, dict) or not offered.get("MQTT"):
            log.warning("openadr.no_broker_offered operator=%s", self._operator)
            return []
        vens = await client.listed("vens", venName=client.ven_name)
        named = [ven for ven in vens if ven.get("venName") == client.ven_name]
        if not named:
            log.warning("openadr.ven_unknown operator=%s ven_name=%s", self._operator, client.ven_name)
            return []
        client.ven_id = str(named[0].get("id"))
        found: list[str] = []
        for part in ("events", "programs"):
            held = await client.get(f"notifiers/mqtt/topics/vens/{client.ven_id}/{part}")
            found += _filters(held)
        return found


def _filters(held: Any) -> list[str]:
    """Return the topics that an answer names: the filter for all operations where there is one."""
    topics = held.get("topics") if isinstance(held, dict) else None
    if not isinstance(topics, dict):
        return []
    named = [topics["ALL"]] if topics.get("ALL") else list(topics.values())
    return [topic for topic in named if isinstance(topic, str) and 0 < len(topic) <= 1_000]
