"""The control loop: paces a driver so that every sample is run, and talks to the uplink beside it.

A late wake-up catches up and is counted; no sample is ever skipped. The trip path lies inside the driver
and runs on every sample: nothing here, and nothing in the uplink, is on it.

Two ways to be paced. ``run`` steps the driver tick by tick from Python: for many simulated sites in one process.
``run_paced`` leaves the samples to one compiled call on a thread of its own and only serves beside it: for a site.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sites.core.assignments import Assignment
from sites.edge.control.exchange import Boundary, Exchange, Image
from sites.edge.control.pacing import NS_PER_S, Pace
from sites.edge.control.realtime import ask_for_real_time
from sites.edge.control.watchdog import ProgressWatch, notify_supervisor
from sites.edge.drivers.base import Driver, PacedDriver

IMAGE_EVERY_S: Final = 0.05
RECORDS_EVERY_S: Final = 0.1
MAX_CATCH_UP_TICKS: Final = 5
"""Ticks run in one go before requests are looked at again."""
SERVE_EVERY_S: Final = 0.005
"""How often requests are taken and what was measured is handed over beside a paced driver."""
NOTICE_EVERY_S: Final = 1.0
"""How often the supervisor is told that the loop runs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop wakes and what it hands over."""

    tick_s: float
    """Supervision period [s]: 0.001 at a site, 0.01 where one process simulates many."""
    interval_s: int
    """Length of a metering interval [s], on the UTC grid."""


class ControlLoop:
    """Runs one driver against the wall clock until told to stop."""

    def __init__(
        self,
        driver: Driver,
        exchange: Exchange,
        settings: LoopSettings,
        *,
        elapsed_s: Callable[[], float] | None = None,
    ) -> None:
        """``elapsed_s`` counts seconds since sample 0 and never steps back (default: the monotonic clock)."""
        self._driver = driver
        self._exchange = exchange
        self._elapsed_s = elapsed_s or _elapsed_since(driver.starts_at_us)
        rate = driver.sample_rate_hz
        self._tick_samples = round(settings.tick_s * rate)
        self._tick_s = settings.tick_s
        self._us_per_sample = 1_000_000 // rate
        self._interval_samples = settings.interval_s * rate
        # The first boundary is the next multiple of the interval on the UTC grid.
        phase_us = driver.starts_at_us % (settings.interval_s * 1_000_000)
        self._next_boundary = self._interval_samples - phase_us // self._us_per_sample
        self._image_samples = round(IMAGE_EVERY_S * rate)
        self._record_samples = round(RECORDS_EVERY_S * rate)
        self._next_image = 0
        self._next_records = self._record_samples
        self._held: list[Assignment | None] = [None] * driver.sites
        self._held_hash = [""] * driver.sites
        self._ends_sample = [0] * driver.sites
        self._earliest_end: int | None = None
        self._must_publish = True
        self.samples_late = 0
        """Ticks that started more than one period after their time, or took longer than one."""
        self.lag_s = 0.0
        """How far the samples are behind the clock [s]."""
        self.tick_worst_s = 0.0
        """Longest single wake-up with everything in it [s]."""

    def run(self, stop: threading.Event) -> None:
        """Run until the event is set."""
        rate = self._driver.sample_rate_hz
        while not stop.is_set():
            due = int(self._elapsed_s() * rate) // self._tick_samples * self._tick_samples
            behind = due - self._driver.sample
            self.lag_s = max(0, behind) / rate
            if behind <= 0:
                self._publish()
                next_s = (self._driver.sample + self._tick_samples) / rate
                # An absolute deadline: the time spent working does not add up into drift.
                time.sleep(max(0.0, next_s - self._elapsed_s()))
                continue
            started_s = self._elapsed_s()
            self.run_ticks(min(behind // self._tick_samples, MAX_CATCH_UP_TICKS))
            self.tick_worst_s = max(self.tick_worst_s, self._elapsed_s() - started_s)

    def run_ticks(self, ticks: int) -> None:
        """Take requests, run the samples of some ticks and hand over what came of them."""
        # The first tick is on time; each further one of the same wake-up is late.
        self.samples_late += ticks - 1
        self._take_requests()
        end = self._driver.sample + ticks * self._tick_samples
        while self._driver.sample < end:
            first = self._driver.sample
            self._driver.advance(min(end, first + self._tick_samples, self._next_boundary) - first)
            if self._driver.sample == self._next_boundary:
                self._exchange.publish_boundary(
                    Boundary(self._driver.starts_at_us, self._now_us(), self._driver.registers())
                )
                self._next_boundary += self._interval_samples
        self._lapse()
        self._publish()

    def run_paced(self, driver: PacedDriver, stop: threading.Event, *, real_time: bool = True) -> None:
        """Let a driver run by itself in real time and serve beside it until the event is set.

        ``driver`` is the one that this loop was built with. Raises LoopStuck when its samples no longer advance, and
        whatever ended its thread.
        """
        rate = driver.sample_rate_hz
        first_ns = time.monotonic_ns() - round((self._elapsed_s() - driver.sample / rate) * NS_PER_S)
        pace = Pace(period_ns=self._tick_samples * NS_PER_S // rate, starts_ns=first_ns)
        # Everything is allocated before the thread asks for real time and locks the memory.
        driver.prepare_pace(pace, self._tick_samples, self._next_boundary, self._interval_samples)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                if real_time:
                    given = ask_for_real_time()
                    log.info("control.real_time %s", " ".join(f"{what}={how!r}" for what, how in given.items()))
                driver.run_paced()
            except BaseException as error:  # noqa: BLE001 - handed to the serving thread, which raises it
                failures.append(error)

        thread = threading.Thread(target=work, name="control", daemon=True)
        watch = ProgressWatch()
        thread.start()
        notify_supervisor("READY=1")
        next_notice_s = 0.0
        try:
            while not stop.wait(SERVE_EVERY_S):
                self.serve(driver, pace)
                if failures:
                    raise failures[0]
                watch.check(pace.ticks, time.monotonic())
                if time.monotonic() >= next_notice_s:
                    next_notice_s = time.monotonic() + NOTICE_EVERY_S
                    notify_supervisor("WATCHDOG=1")
        finally:
            notify_supervisor("STOPPING=1")
            pace.stop()
            thread.join(timeout=1.0)
        self._must_publish = True
        self.serve(driver, pace)

    def serve(self, driver: PacedDriver, pace: Pace) -> None:
        """Take requests and hand over what a driver did that runs by itself."""
        self.samples_late = pace.late_or_overrun
        self.lag_s = pace.lag_s(time.monotonic_ns())
        self.tick_worst_s = float(pace.record["worst_step_ns"][0]) / NS_PER_S
        self._take_requests()
        self._lapse()
        for sample, registers in driver.drain_boundaries():
            self._exchange.publish_boundary(Boundary(driver.starts_at_us, self._us_at(sample), registers))
        self._publish()

    def _take_requests(self) -> None:
        for index, assignment in self._exchange.take_requests():
            lapsed = assignment is not None and self._sample_of(assignment) <= self._driver.sample
            if assignment is None or lapsed or assignment.power_kw == 0.0:
                self._driver.disarm(index)
            else:
                self._driver.arm(index, assignment)
            self._held[index] = None if lapsed else assignment
            self._held_hash[index] = "" if assignment is None or lapsed else assignment.content_hash
            self._ends_sample[index] = 0 if assignment is None else self._sample_of(assignment)
            self._find_earliest_end()
            self._must_publish = True

    def _lapse(self) -> None:
        """Let go of assignments that have ended: the site goes back to own use without being told."""
        if self._earliest_end is None or self._driver.sample < self._earliest_end:
            return
        for index, held in enumerate(self._held):
            if held is not None and self._ends_sample[index] <= self._driver.sample:
                self._driver.disarm(index)
                self._held[index] = None
                self._held_hash[index] = ""
        self._find_earliest_end()
        self._must_publish = True

    def _find_earliest_end(self) -> None:
        ends = [self._ends_sample[i] for i, held in enumerate(self._held) if held is not None]
        self._earliest_end = min(ends, default=None)

    def _publish(self) -> None:
        sample = self._driver.sample
        if self._must_publish or sample >= self._next_image:
            self._must_publish = False
            self._next_image = sample + self._image_samples
            self._exchange.publish_image(
                Image(self._now_us(), self._driver.measured(), self.samples_late, tuple(self._held_hash))
            )
        if sample >= self._next_records:
            self._next_records = sample + self._record_samples
            for records in self._driver.drain_records():
                self._exchange.publish_records(records)
            for waveform in self._driver.drain_waveforms():
                self._exchange.publish_waveform(waveform)

    def _sample_of(self, assignment: Assignment) -> int:
        ends_us = round(assignment.ends_at.timestamp() * 1_000_000)
        return (ends_us - self._driver.starts_at_us) // self._us_per_sample

    def _now_us(self) -> int:
        return self._us_at(self._driver.sample)

    def _us_at(self, sample: int) -> int:
        return self._driver.starts_at_us + sample * self._us_per_sample


def _elapsed_since(starts_at_us: int) -> Callable[[], float]:
    """Return a clock of seconds since an instant that the wall clock's steps do not move.

    The monotonic clock is slewed by time synchronization but never stepped, so samples stay
    equidistant; a step of the wall clock shows as an offset of the timestamps until a restart.
    """
    offset_s = (time.time_ns() // 1000 - starts_at_us) / 1e6 - time.monotonic()
    return lambda: time.monotonic() + offset_s
