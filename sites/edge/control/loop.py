"""The control loop: paces a driver so that every sample is run, and talks to the uplink beside it.

A late wake-up catches up and is counted; no sample is ever skipped. The trip path lies inside
``Driver.advance`` and runs on every sample: nothing here, and nothing in the uplink, is on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sites.core.assignments import Assignment
from sites.edge.control.exchange import Boundary, Exchange, Image
from sites.edge.drivers.base import Driver

IMAGE_EVERY_S: Final = 0.05
RECORDS_EVERY_S: Final = 0.1
MAX_CATCH_UP_TICKS: Final = 5
"""Ticks run in one go before requests are looked at again."""


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
        """Ticks that started more than one period after their time."""
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
        return self._driver.starts_at_us + self._driver.sample * self._us_per_sample


def _elapsed_since(starts_at_us: int) -> Callable[[], float]:
    """Return a clock of seconds since an instant that the wall clock's steps do not move.

    The monotonic clock is slewed by time synchronization but never stepped, so samples stay
    equidistant; a step of the wall clock shows as an offset of the timestamps until a restart.
    """
    offset_s = (time.time_ns() // 1000 - starts_at_us) / 1e6 - time.monotonic()
    return lambda: time.monotonic() + offset_s
