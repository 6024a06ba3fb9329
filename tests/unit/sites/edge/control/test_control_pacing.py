"""A paced loop counts what was late, misses no tick, and a loop that stands still is noticed."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.drivers import START_US, CountingDriver

from sites.edge.control import loop as loop_module
from sites.edge.control.exchange import Boundary, InProcessExchange, StructuredArray
from sites.edge.control.loop import ControlLoop, LoopSettings
from sites.edge.control.pacing import Pace, begin_tick, end_tick, percentiles_us
from sites.edge.control.watchdog import LoopStuck, ProgressWatch, notify_supervisor

PERIOD_NS = 1_000_000


def a_pace(behind_ticks: float) -> Pace:
    """A schedule whose first tick was due so many periods ago."""
    return Pace(period_ns=PERIOD_NS, starts_ns=time.monotonic_ns() - round((behind_ticks + 1) * PERIOD_NS))


def run_ticks(pace: Pace, count: int) -> None:
    for _ in range(count):
        begin_tick(pace.record[0], pace.clock, pace.wake_ns)
        end_tick(pace.record[0], pace.clock, pace.step_ns)


def test_a_start_that_is_behind_the_clock_is_caught_up_and_not_called_late() -> None:
    pace = a_pace(100_000.0)
    run_ticks(pace, 50)
    assert (pace.ticks, pace.figures().late, pace.figures().wake_us["max"]) == (50, 0, 0.0)


def test_a_tick_that_is_not_due_is_waited_for() -> None:
    pace = a_pace(-3.0)
    begin_tick(pace.record[0], pace.clock, pace.wake_ns)
    assert time.monotonic_ns() >= int(pace.record["starts_ns"][0]) + PERIOD_NS
    assert pace.wake_ns[0] >= 0


def test_ticks_behind_the_clock_follow_each_other_and_are_counted_late() -> None:
    pace = a_pace(-1.5)
    run_ticks(pace, 1)
    pace.record["starts_ns"] -= 1000 * PERIOD_NS
    run_ticks(pace, 900)
    figures = pace.figures()
    assert figures.ticks == 901
    assert figures.late >= 900
    assert figures.wake_us["max"] >= 900_000.0
    assert pace.late_or_overrun >= 900 + figures.overruns
    assert pace.lag_s(time.monotonic_ns()) > 0.09


def test_percentiles_are_in_microseconds_and_the_worst_outlives_the_ring() -> None:
    found = percentiles_us(np.arange(0, 101_000, 1000), 5_000_000)
    assert found == {"p50": 50.0, "p99": 99.0, "p99.99": 100.0, "max": 5000.0}


class SelfPacedDriver(CountingDriver):
    """Runs a tick whenever the pace lets it, as a compiled driver does."""

    stands_still = False

    def prepare_pace(self, pace: Pace, tick_samples: int, next_boundary: int, interval_samples: int) -> None:
        self.pace, self.tick_samples = pace, tick_samples
        self.kept_at = range(next_boundary, next_boundary + 10 * interval_samples, interval_samples)
        self.boundaries = [(sample, np.full(1, sample, self.registers().dtype)) for sample in self.kept_at]

    def run_paced(self) -> None:
        q = self.pace.record[0]
        while q["stop"] == 0:
            if self.stands_still:
                time.sleep(0.001)
                continue
            begin_tick(q, self.pace.clock, self.pace.wake_ns)
            self.advance(self.tick_samples)
            end_tick(q, self.pace.clock, self.pace.step_ns)

    def drain_boundaries(self) -> Sequence[tuple[int, StructuredArray]]:
        taken, self.boundaries = self.boundaries, []
        return taken


class KeepingExchange(InProcessExchange):
    """Notes what is put by for the process after this one."""

    def __init__(self) -> None:
        super().__init__()
        self.put_by: list[Boundary] = []

    def publish_registers(self, boundary: Boundary) -> None:
        self.put_by.append(boundary)


def run_for(driver: SelfPacedDriver, seconds: float, *, real_time: bool = False) -> KeepingExchange:
    exchange, stop = KeepingExchange(), threading.Event()
    started_s = time.monotonic()
    loop = ControlLoop(driver, exchange, LoopSettings(0.001, 1), elapsed_s=lambda: time.monotonic() - started_s)
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        loop.run_paced(driver, stop, real_time=real_time)
    finally:
        timer.cancel()
    return exchange


def test_a_driver_that_paces_itself_runs_every_sample_and_is_served() -> None:
    driver = SelfPacedDriver()
    exchange = run_for(driver, 0.3)
    update = exchange.poll()
    assert set(driver.batches) == {10}
    assert 0.2 < driver.sample / 10_000 < 5.0
    assert update.image is not None
    assert update.image.counts.samples_late == driver.pace.late_or_overrun
    # Registers are kept five times a second; an interval ends with those on its grid, the newest is put by.
    assert driver.kept_at == range(1_000, 21_000, 2_000)
    assert [(b.at_us, float(b.registers["pcc_into_j"][0])) for b in update.boundaries] == [
        (START_US + 500_000, 5_000.0), (START_US + 1_500_000, 15_000.0)
    ]  # fmt: skip
    assert [(b.epoch_us, b.at_us) for b in exchange.put_by] == [(START_US, START_US + 1_900_000)]


def test_a_loop_that_is_slow_to_begin_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly() -> dict[str, str]:
        time.sleep(1.5)  # as long as locking a large process's memory takes on a busy machine
        return {"mlockall": "granted"}

    monkeypatch.setattr(loop_module, "ask_for_real_time", slowly)
    driver = SelfPacedDriver()
    run_for(driver, 2.0, real_time=True)
    assert driver.sample > 0


def test_a_loop_that_stands_still_is_noticed_within_seconds() -> None:
    driver = SelfPacedDriver()
    driver.stands_still = True
    with pytest.raises(LoopStuck, match="0 ticks for 1"):
        run_for(driver, 30.0)


class TestProgressWatch:
    def test_a_rising_count_is_no_alarm_however_slow(self) -> None:
        watch = ProgressWatch()
        for second in range(200):
            watch.check(second, float(second))

    def test_a_machine_that_stood_still_altogether_is_no_stuck_loop(self) -> None:
        watch = ProgressWatch()
        watch.check(5, 0.0)
        watch.check(5, 30.0)
        watch.check(6, 30.005)

    def test_fifty_looks_over_more_than_a_second_are(self) -> None:
        watch = ProgressWatch()
        for look in range(50):
            watch.check(5, 0.03 * look)
        with pytest.raises(LoopStuck, match=r"5 ticks for 1\.5 s"):
            watch.check(5, 1.5)


def test_the_supervisor_hears_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify_supervisor("WATCHDOG=1")
        assert listener.recv(64) == b"WATCHDOG=1"


def test_without_a_supervisor_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify_supervisor("WATCHDOG=1")
