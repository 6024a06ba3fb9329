"""The short sibling of the stream's scenario: one site, its link, its loop and its plant, by a clock of the test's own.

Signed signals of which some are lost, a curve that answers a fall of the frequency meanwhile, and intervals by dispatch
that are held against the plant's meters. ``tests/scenarios/test_a_stream_beside_a_curve.py`` is the long one.
"""

from __future__ import annotations

import dataclasses
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.edge import an_assignment
from support.regulation import regulation_signal
from support.site_bench import SEED

from sites.core.streams import SetpointSignal, StreamGrant
from sites.edge.control.exchange import RECORD_COLUMNS, InProcessExchange
from sites.edge.control.loop import ControlLoop, LoopSettings
from sites.edge.drivers.simulated import SimulatedSites
from sites.edge.link.meter import ClosedInterval, Meter
from sites.edge.link.outbox import Outbox
from sites.edge.link.site_link import SiteLink
from sites.edge.link.stream_rows import empty_payload
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.grid_play import GridPlay, Play
from sites.edge.studies.manifest import profile_of
from sites.wire.commands import device_command
from sites.wire.messages import Message
from sites.wire.signature import SIGNAL_MAGIC, Signer, public_key_of, seal
from sites.wire.topics import signal_topic

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
PERIOD_S, MAX_AGE_S, RAMP_PER_S = 2.0, 7.0, 0.5
CURVE_KW, STREAM_KW = 30.0, 12.0
# The cabinet of 50 kVA; without the active method, whose probes would stand in what is judged.
SITE = dataclasses.replace(
    next(site for site in synthetic_fleet(12, 4) if site.pcs_kva >= 50.0), anti_islanding=False
)  # fmt: skip


class Edge:
    """One site with everything that runs at it, moved on by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        # Setpoints are held by the monotonic clock; here that is the samples' own.
        monkeypatch.setattr(time, "monotonic_ns", lambda: round(self.now_s * 1e9))
        self.exchange = InProcessExchange()
        self.grid = GridPlay(50.0)
        self.driver = SimulatedSites([SITE], seed=1, starts_at_us=START_US, grid=self.grid)
        self.loop = ControlLoop(self.driver, self.exchange, LoopSettings(0.01, 2), utc_us=lambda: START_US)
        self.link = SiteLink(
            profile_of(SITE), index=0, host_id="vpp", platform_keys=(public_key_of(SEED),), interval_s=2,
            outbox=Outbox(folder / "outbox.sqlite3", empty=empty_payload), port=self.exchange,
        )  # fmt: skip
        self.link.restore(now_ms=self.now_ms)
        self.meter = Meter(["battery"], 2)
        self.closed: list[ClosedInterval] = []
        self.rows: list[np.ndarray] = []

    @property
    def now_ms(self) -> int:
        return START_US // 1000 + round(self.now_s * 1000)

    def hear(self, message: Message) -> None:
        self.link.receive(message.topic, message.payload, now_ms=self.now_ms)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.loop.run_ticks(10)
            self.now_s += 0.1
            update = self.exchange.poll()
            assert update.image is not None
            self.link.measure(update.image.measured[0], at_us=update.image.at_us, counts=update.image.counts)
            for begin in update.services:
                self.meter.begin_service(begin)
            for boundary in update.boundaries:
                self.closed += self.meter.close(
                    epoch_us=boundary.epoch_us, at_us=boundary.at_us, registers=boundary.registers[0]
                )
            self.rows += [records.rows[:, 0] for records in update.records]

    def record(self, name: str) -> np.ndarray:
        """Return a column of the 100 Hz record since the start."""
        return np.concatenate(self.rows)[:, RECORD_COLUMNS.index(name)].astype(float)


def test_both_are_followed_and_their_registers_are_the_battery_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = Edge(tmp_path, monkeypatch)
    edge.run(1.0)
    ends_at = START + timedelta(seconds=120)
    curve = an_assignment(SITE.site_id, sequence=1, power_kw=CURVE_KW, starts_at=START, ends_at=ends_at)
    grant = StreamGrant(
        "g", SITE.site_id, 2, "REG-1", "REG-1", STREAM_KW, STREAM_KW, MAX_AGE_S, RAMP_PER_S, START, ends_at
    )  # fmt: skip
    desired = {"desired": seal(curve.to_bytes(), SEED), "desired_stream": seal(grant.to_bytes(), SEED)}
    edge.hear(device_command(SITE.site_id, "control", edge.now_ms, desired))
    edge.run(1.0)
    fall_s = np.array([0.0, 4.0, 12.0])
    edge.grid.start(Play(fall_s, np.array([50.0, 49.5, 49.5]), 0.0, 12.0, START_US + 12_000_000))

    lots, signer = random.Random(2), Signer(SEED, magic=SIGNAL_MAGIC)
    heard: list[tuple[float, float]] = []
    lost = 0
    for number, value in enumerate(regulation_signal(10, seed=3, memory=0.6), 1):
        issued_at = START + timedelta(seconds=edge.now_s)
        signal = SetpointSignal("REG-1", number, issued_at, issued_at + timedelta(seconds=MAX_AGE_S), value)
        if lots.random() < 0.3:
            lost += 1
        else:
            edge.hear(Message(signal_topic("REG-1"), signer.seal(signal.to_bytes())))
            heard.append((edge.now_s, value))
        edge.run(PERIOD_S)
    assert 2 <= lost <= 5
    edge.run(14.0)

    # What is due of the stream: the last value heard, held for its time, on the product's ramp.
    share, stream_kw = 0.0, edge.record("stream_kw")
    due = np.zeros(len(stream_kw))
    for row in range(len(due)):
        at_s = 0.01 * row
        value = next((v for s, v in reversed(heard) if s <= at_s and at_s - s < MAX_AGE_S), 0.0)
        share += min(max(value - share, -0.01 * RAMP_PER_S), 0.01 * RAMP_PER_S)
        due[row] = share * STREAM_KW
    # Taken up with the next tick of the loop: a hundredth of a second each of waiting and of ramp.
    assert np.abs(stream_kw - due).max() < 0.03 * STREAM_KW
    assert (stream_kw[-200:] == 0.0).all()

    # The curve answers in full beside it, while the stream goes on.
    curve_kw = edge.record("battery_kw") - stream_kw
    low = slice(1_800, 2_200)
    assert edge.record("frequency_hz")[low].max() < 49.51
    assert curve_kw[low].mean() == pytest.approx(CURVE_KW, rel=0.03)
    assert np.ptp(stream_kw[low]) > 0.2 * STREAM_KW

    served: dict[str, list[int]] = {}
    for interval in edge.closed:
        for name, into, out in interval.services:
            own = served.setdefault(name, [0, 0])
            own[0] += into
            own[1] += out
    assert set(served) == {"DC-test", "REG-1"}
    # Each way, as the plant's own count has it in blocks of 100 ms.
    rows = round((edge.closed[-1].ends_at_ms - START_US / 1000) / 10)
    blocks_kws = stream_kw[:rows].reshape(-1, 10).sum(axis=1) * 0.01
    for own, way in zip(served["REG-1"], (1.0, -1.0), strict=True):
        assert own / 1e9 * 3600.0 == pytest.approx(np.maximum(way * blocks_kws, 0.0).sum(), abs=0.02)
        assert own > 0
    # Both together are the battery's meter from the window's begin on, at a baseline of nothing.
    registers = edge.driver.registers()[0]
    battery_uwh = sum(interval.into_bus_uwh - interval.from_bus_uwh for interval in edge.closed)
    net_uwh = sum(into - out for into, out in served.values())
    before_kws = edge.record("battery_kw")[:102].sum() * 0.01
    assert net_uwh / 1e9 * 3600.0 == pytest.approx(battery_uwh / 1e9 * 3600.0 - before_kws, abs=0.05)
    assert registers["battery_into_j"] > registers["stream_into_j"] > 0.0
