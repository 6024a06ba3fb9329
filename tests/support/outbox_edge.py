"""A site for tests of the ingest: the real edge session over the real broker, with an outbox it keeps until told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from sites.edge.link.stream_rows import resent_metrics
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.edge_session import EdgeSession, NodeCommand, RebirthRequested
from sites.wire.metrics import ASSET_METRICS, NODE_METRICS, RESEND, STORED_THROUGH, MetricType
from sites.wire.payload import Metric

RESEND_AFTER_S = 1.0
WINDOW = 400
"""Unanswered numbers on the wire at a time."""
DEVICES = ("pcc", "battery", "load")
NODE_VALUES = {
    "frequency_hz": 49.98, "voltage_pu": 1.0, "mode": "grid_tied", "service_kw": 1.5, "required_kw": 2.0,
    "discharge_kw": 30.0, "charge_kw": 20.0, "usable_energy_kwh": 60.0, "absorbable_energy_kwh": 40.0,
    "saturates_in_s": 86_400.0, "samples_late": 0,
}  # fmt: skip


def now_ms() -> int:
    """Return the clock [ms]."""
    return time.time_ns() // 1_000_000


def interval_metrics(number: int, starts_ms: int, **values: Any) -> list[Metric]:
    """Return a second's interval with 1,000 uWh into the bus; ``values`` replace fields."""
    fields: dict[str, Any] = {
        "number": number, "starts_at": starts_ms, "ends_at": starts_ms + 1_000, "into_bus_uwh": 1_000,
        "from_bus_uwh": 0, "service_into_uwh": 0, "service_from_uwh": 0, "fuel_ul": 0,
        "register_into_uwh": 1_000 * number,
        "register_from_uwh": 0, "quality": "good",
    } | values  # fmt: skip
    types = {"starts_at": MetricType.DATETIME, "ends_at": MetricType.DATETIME, "quality": MetricType.STRING}
    return [
        Metric(f"interval/{name}", type=types.get(name, MetricType.INT64), value=value)
        for name, value in fields.items()
    ]


class OutboxEdge:
    """One site with ``pcc``, ``battery`` and ``load``; keeps every interval of its battery until it is stored."""

    def __init__(self, site_id: str, broker_url: str) -> None:
        self.site_id = site_id
        self.outbox: dict[int, int] = {}
        """Number -> start [ms] of intervals not yet known to be stored."""
        self.told: list[int] = []
        """Marks of the battery's stream in the order they came."""
        self.asked: list[list[int]] = []
        """Numbers (first, last) of the battery's stream that were asked for again."""
        self.kept: dict[int, int] = {}
        """Number -> start [ms] of stored intervals that can be sent again."""
        self.rebirths = 0
        self.bears_when_connected = True
        """False: only when asked, as a site whose own connection outlived the host's."""
        self._sent_at: dict[int, float] = {}
        self.session = EdgeSession(site_id, "vpp", NODE_METRICS, {name: ASSET_METRICS[name] for name in DEVICES})
        self.connection = Connection(
            BrokerAddress.parse(broker_url),
            name=f"edge-{site_id}",
            on_message=self._heard,
            subscriptions=self.session.subscriptions(),
            on_up=lambda: self.bear() if self.bears_when_connected else None,
            will=lambda: self.session.will(1),
        )

    def bear(self) -> None:
        """Send all births."""
        for message in self.session.births(now_ms(), NODE_VALUES, {name: {"power_kw": 1.0} for name in DEVICES}):
            self.send(message)

    def send(self, message: Any) -> None:
        """Publish a session's message."""
        self.connection.publish(message)

    def send_live(self, **values: Any) -> None:
        """Send live values of the node and its battery."""
        self.send(self.session.node_data(now_ms(), NODE_VALUES | values))
        self.send(self.session.device_data(now_ms(), "battery", {"power_kw": 1.5, "soc_ratio": 0.5}))

    def send_interval(self, number: int, starts_ms: int, **values: Any) -> None:
        """Send one interval of the battery without keeping it."""
        metrics = interval_metrics(number, starts_ms, **values)
        self.send(self.session.stream_data(now_ms(), "battery", metrics, is_historical=False))

    def pump(self) -> None:
        """Send what is due from the outbox: the lowest numbers first, each again when no answer came."""
        now = time.monotonic()
        for number in sorted(self.outbox)[:WINDOW]:
            if now - self._sent_at.get(number, -RESEND_AFTER_S) >= RESEND_AFTER_S:
                self._sent_at[number] = now
                self.send_interval(number, self.outbox[number])

    def _send_again(self, asked: Any) -> None:
        first, last = asked
        self.asked.append(asked)
        found = {number: at for number, at in self.kept.items() if first <= number <= last}
        self.outbox |= found
        refusal = "" if found else "no_longer_kept"
        answer = resent_metrics(stream="battery", first=first, last=last, found=len(found), refusal=refusal)
        self.send(self.session.stream_data(now_ms(), None, answer, is_historical=False))

    def _heard(self, topic: str, payload: bytes) -> None:
        for event in self.session.receive(topic, payload, now_ms()):
            if isinstance(event, RebirthRequested):
                self.rebirths += 1
                self.bear()
            elif isinstance(event, NodeCommand) and f"{RESEND}battery" in event.metrics:
                self._send_again(event.metrics[f"{RESEND}battery"])
            elif isinstance(event, NodeCommand) and f"{STORED_THROUGH}battery" in event.metrics:
                mark = int(event.metrics[f"{STORED_THROUGH}battery"])  # type: ignore[arg-type]
                self.told.append(mark)
                for number in [number for number in self.outbox if number <= mark]:
                    del self.outbox[number]


@contextlib.asynccontextmanager
async def connected(edge: OutboxEdge) -> AsyncIterator[OutboxEdge]:
    """Keep an edge connected for the block."""
    task = asyncio.create_task(edge.connection.run())
    try:
        await until(lambda: edge.connection.is_up, 20.0, "the edge's connection")
        yield edge
    finally:
        await edge.connection.finish(within_s=2.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Any], within_s: float, what: str) -> None:
    """Wait until a condition holds; fail when it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {within_s} s")
        await asyncio.sleep(0.02)
