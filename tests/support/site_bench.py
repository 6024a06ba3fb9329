"""A site link over a real outbox, with the port's requests in view and a host that listens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from support.edge import an_assignment

from sites.core.assignments import Assignment
from sites.edge.control.exchange import MEASURED_DTYPE, Counts, InProcessExchange
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.outbox import Outbox
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.edge.link.site_link import SiteLink
from sites.edge.link.stream_rows import empty_payload
from sites.wire.commands import device_command, node_command
from sites.wire.host_events import DeviceData
from sites.wire.host_session import HostSession
from sites.wire.messages import Message, state_message
from sites.wire.signature import public_key_of, seal

SEED = bytes(range(32))
SITE = "site-1"
NOW = 1_772_366_400_000  # 2026-03-01T12:00:00Z [ms]
FAR = NOW + 86_400_000


class Bench:
    """A site link over a real outbox, with the port's requests in view and a host that listens."""

    def __init__(
        self, folder: Path, choice: LossOfLink = LossOfLink.HOLD, *, keep_stored_s: float = 0.0, measures: bool = True
    ) -> None:
        """``measures``: whether the controller has shown anything yet."""
        self.port = InProcessExchange()
        self.outbox = Outbox(folder / "outbox.sqlite3", empty=empty_payload, keep_stored_s=keep_stored_s)
        assets = (
            AssetNameplate("pcc", "pcc", 20.0, export_limit_kw=10.0),
            AssetNameplate("battery", "battery", 10.0, capacity_kwh=20.0, reserve_kwh=5.0),
        )
        self.link = SiteLink(
            SiteProfile(SITE, assets, LinkLossPolicy(choice, 10.0)),
            index=0,
            host_id="vpp",
            platform_keys=(public_key_of(SEED),),
            interval_s=60,
            outbox=self.outbox,
            port=self.port,
        )
        self.host = HostSession(1_000_000, 60.0)
        self.link.restore(now_ms=NOW)
        if measures:
            self.measure()

    def measure(self, at_ms: int = NOW, **values: float) -> None:
        measured = np.zeros(1, MEASURED_DTYPE)
        for name, value in ({"frequency_hz": 50.0, "discharge_kw": 8.0, "charge_kw": 8.0} | values).items():
            measured[name] = value
        self.link.measure(measured[0], at_us=at_ms * 1000, counts=Counts())

    def come_online(self, at_ms: int = NOW) -> list[Message]:
        births = self.come_online_unanswered(at_ms)
        self.tell_marks()
        return births

    def come_online_unanswered(self, at_ms: int = NOW) -> list[Message]:
        self.link.will()
        return self.hear(state_message("vpp", True, at_ms), at_ms)

    def tell_marks(self, **marks: int) -> None:
        streams = ("pcc", "battery", "record", "waveform")
        self.hear(node_command(SITE, NOW, {f"stored_through/{stream}": marks.get(stream, 0) for stream in streams}))

    def due_numbers(self, stream: str) -> list[int]:
        return [
            row.number for row in self.outbox.due(sent_before_ms=NOW + 1, limit=99, at_ms=FAR) if row.stream == stream
        ]

    def hear(self, message: Message, at_ms: int = NOW) -> list[Message]:
        return self.link.receive(message.topic, message.payload, now_ms=at_ms)

    def desire(self, assignment: Assignment, seed: bytes = SEED, at_ms: int = NOW) -> list[Message]:
        envelope = seal(assignment.to_bytes(), seed)
        return self.hear(device_command(SITE, "control", at_ms, {"desired": envelope}), at_ms)

    def told(self, messages: list[Message], at_ms: int = NOW) -> list[object]:
        return [e for m in messages for e in self.host.receive(m.topic, m.payload, at_ms)]

    def report(self, messages: list[Message]) -> dict[str, object]:
        (event,) = (e for e in self.told(messages) if isinstance(e, DeviceData) and e.device == "control")
        return {name: metric.value for name, metric in event.values.items()}


def an_armed_share(sequence: int = 1, power_kw: float = 5.0, ends_in_s: float = 600.0) -> Assignment:
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    ends_at = now + timedelta(seconds=ends_in_s)
    return an_assignment(SITE, sequence=sequence, power_kw=power_kw, starts_at=now, ends_at=ends_at)
