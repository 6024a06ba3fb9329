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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sites.core.assignments import Assignment
from sites.core.requests import LOCAL_ONLY, RequestRefusal
from sites.core.streams import StreamGrant
from sites.edge.control.exchange import (
    CURVE,
    SERVICES,
    STREAM,
    Answer,
    Ask,
    Boundary,
    Counts,
    Exchange,
    Image,
    ServiceBegin,
)
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
REGISTERS_EVERY_S: Final = 0.2
"""How often a paced driver's registers are put by: as much as a killed controller loses of what it metered."""
STARTED_WITHIN_S: Final = 10.0
"""Until a paced loop runs its first tick: locking the memory of a large process takes seconds on a busy machine."""
NOTICE_EVERY_S: Final = 1.0
"""How often the supervisor is told that the loop runs, and the samples' clock is compared with UTC."""
CLOCK_OFF_MS: Final = 5
"""The probe's clock is set anew when UTC has moved so far against the samples; sites of a feeder need 20 ms."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop wakes and what it hands over."""

    tick_s: float
    """Supervision period [s]: 0.001 at a site, 0.01 where one process simulates many."""
    interval_s: int
    """Length of a metering interval [s], on the UTC grid."""


class Inputs(Protocol):
    """The site's contacts."""

    def changes(self) -> list[tuple[str, int]]:
        """Return the contacts that changed since the last call, with their values."""


class ControlLoop:
    """Runs one driver against the wall clock until told to stop."""

    def __init__(
        self,
        driver: Driver,
        exchange: Exchange,
        settings: LoopSettings,
        *,
        inputs: Inputs | None = None,
        elapsed_s: Callable[[], float] | None = None,
        utc_us: Callable[[], int] | None = None,
    ) -> None:
        """``elapsed_s`` counts seconds since sample 0 and never steps back (default: the monotonic clock).

        ``inputs`` are the contacts of a site whose driver does not read them itself; ``utc_us`` is UTC [us since the
        epoch] as the machine knows it now.
        """
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
        self._served = {service: [""] * driver.sites for service in SERVICES}
        """Dispatch that each site served last by curve and by stream: what the registers count is for that one."""
        self._grants: list[StreamGrant | None] = [None] * driver.sites
        self._grant_hash = [""] * driver.sites
        self._first_grant_end: int | None = None
        self._must_publish = True
        self._inputs = inputs
        self._utc_us = utc_us or (lambda: time.time_ns() // 1000)
        self._probe_utc_ms = driver.starts_at_us // 1000
        self._notices = 0
        self._corrections = 0
        self._asked: dict[int, Ask] = {}
        """Site's index -> what its controller was asked and has not answered."""
        self.counts = Counts()
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
        caught_up = self.counts.samples_caught_up + (ticks - 1) * self._tick_samples
        self.counts = Counts(late=self.samples_late, samples_caught_up=caught_up)
        self._take_requests()
        self._take_asks()
        self._take_streams()
        end = self._driver.sample + ticks * self._tick_samples
        while self._driver.sample < end:
            first = self._driver.sample
            self._driver.advance(min(end, first + self._tick_samples, self._next_boundary) - first)
            if self._driver.sample == self._next_boundary:
                self._exchange.publish_boundary(
                    Boundary(self._driver.starts_at_us, self._now_us(), self._driver.registers())
                )
                self._next_boundary += self._interval_samples
        self._take_answers()
        self._lapse()
        self._lapse_grants()
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
        every = round(REGISTERS_EVERY_S * rate)
        # On the way to a boundary and with it: an interval is a whole number of them.
        first = self._next_boundary - (self._next_boundary - driver.sample - 1) // every * every
        driver.prepare_pace(pace, self._tick_samples, first, every)
        failures: list[BaseException] = []
        begins = threading.Event()

        def work() -> None:
            try:
                if real_time:
                    given = ask_for_real_time()
                    log.info("control.real_time %s", " ".join(f"{what}={how!r}" for what, how in given.items()))
                begins.set()
                driver.run_paced()
            except BaseException as error:  # noqa: BLE001 - handed to the serving thread, which raises it
                failures.append(error)

        thread = threading.Thread(target=work, name="control", daemon=True)
        watch = ProgressWatch()
        started_s = time.monotonic()
        thread.start()
        notify_supervisor("READY=1")
        next_notice_s = 0.0
        try:
            while not stop.wait(SERVE_EVERY_S):
                self.serve(driver, pace)
                if failures:
                    raise failures[0]
                if begins.is_set() or time.monotonic() - started_s > STARTED_WITHIN_S:
                    watch.check(pace.ticks, time.monotonic())
                if time.monotonic() >= next_notice_s:
                    next_notice_s = time.monotonic() + NOTICE_EVERY_S
                    self._notices += notify_supervisor("WATCHDOG=1")
                    self.align_probe()
        finally:
            notify_supervisor("STOPPING=1")
            pace.stop()
            thread.join(timeout=1.0)
        self._must_publish = True
        self.serve(driver, pace)

    def serve(self, driver: PacedDriver, pace: Pace) -> None:
        """Take requests and hand over what a driver did that runs by itself."""
        for name, value in self._inputs.changes() if self._inputs is not None else ():
            driver.set_input(0, name, value)
        self.samples_late = pace.late_or_overrun
        self.counts = Counts(
            late=int(pace.record["late"][0]),
            overruns=int(pace.record["overruns"][0]),
            samples_caught_up=int(pace.record["late"][0]) * self._tick_samples,
            worst_wake_us=int(pace.record["worst_wake_ns"][0]) // 1000,
            worst_step_us=int(pace.record["worst_step_ns"][0]) // 1000,
            watchdog_notices=self._notices,
            clock_corrections=self._corrections,
        )
        self.lag_s = pace.lag_s(time.monotonic_ns())
        self.tick_worst_s = float(pace.record["worst_step_ns"][0]) / NS_PER_S
        self._take_requests()
        self._take_answers()
        self._take_asks()
        self._take_streams()
        self._lapse()
        self._lapse_grants()
        newest: Boundary | None = None
        for sample, registers in driver.drain_boundaries():
            newest = Boundary(driver.starts_at_us, self._us_at(sample), registers)
            if (sample - self._next_boundary) % self._interval_samples == 0:
                self._exchange.publish_boundary(newest)
        if newest is not None:
            self._exchange.publish_registers(newest)
        self._publish()

    def _take_requests(self) -> None:
        began: dict[int, str] = {}
        for index, assignment in self._exchange.take_requests():
            lapsed = assignment is not None and self._sample_of(assignment) <= self._driver.sample
            if assignment is None or lapsed or assignment.power_kw == 0.0:
                self._driver.disarm(index)
            else:
                self._driver.arm(index, assignment)
                began[index] = assignment.dispatch_id
            self._held[index] = None if lapsed else assignment
            self._held_hash[index] = "" if assignment is None or lapsed else assignment.content_hash
            self._ends_sample[index] = 0 if assignment is None else self._sample_of(assignment)
            self._find_earliest_end()
            self._must_publish = True
        self._begin_service(CURVE, began)

    def _begin_service(self, service: str, began: Mapping[int, str]) -> None:
        """Tell for which dispatches sites (by index) serve from here on, where that is another one than before."""
        news = {index: name for index, name in began.items() if name != self._served[service][index]}
        if not news:
            return
        registers, at_us = self._driver.registers(), self._now_us()
        for index, dispatch_id in news.items():
            self._served[service][index] = dispatch_id
            into_j, from_j = (float(registers[f"{service}_{way}_j"][index]) for way in ("into", "from"))
            self._exchange.publish_service(
                ServiceBegin(index, self._driver.starts_at_us, at_us, dispatch_id, into_j, from_j, service)
            )

    def align_probe(self) -> None:
        """Set the anti-islanding probe's clock anew when UTC was stepped or has moved against the samples.

        The samples keep their pace by a clock that nobody steps; sites behind one feeder probe together by UTC.
        """
        utc_ms = (self._utc_us() - round(self._elapsed_s() * 1_000_000)) // 1000
        if abs(utc_ms - self._probe_utc_ms) > CLOCK_OFF_MS:
            log.warning("control.clock_moved by_ms=%d", utc_ms - self._probe_utc_ms)
            self._probe_utc_ms = utc_ms
            self._corrections += 1
            self._driver.align_probe(utc_ms)

    def _take_asks(self) -> None:
        """Pass requests of people on to the controllers: one at a time each, none that its asker has given up."""
        for ask in self._exchange.take_asks():
            if ask.until_us < self._utc_us():
                log.warning("request.late request=%s number=%d", ask.request, ask.number)
            elif ask.request in LOCAL_ONLY and not ask.is_local:
                self._answer(ask, RequestRefusal.LOCAL_ONLY)
            elif ask.index in self._asked:
                self._answer(ask, RequestRefusal.BUSY)
            else:
                self._asked[ask.index] = ask
                self._driver.ask(ask.index, ask.request)

    def _take_answers(self) -> None:
        for index, ask in list(self._asked.items()):
            refusal = self._driver.answer(index)
            if refusal is not None:
                del self._asked[index]
                self._answer(ask, refusal)

    def _answer(self, ask: Ask, refusal: str) -> None:
        log.info(
            "request.answered index=%d request=%s from=%s answer=%s",
            ask.index, ask.request, "site" if ask.is_local else "link", refusal or "accepted",
        )  # fmt: skip
        self._exchange.publish_answer(Answer(ask.index, ask.number, ask.is_local, str(refusal)))
        self._must_publish = True

    def _take_streams(self) -> None:
        """Take grants and setpoints; a setpoint without a grant is nothing."""
        began: dict[int, str] = {}
        for index, grant in self._exchange.take_stream_requests():
            lapsed = grant is not None and self._sample_of(grant) <= self._driver.sample
            before, self._grants[index] = self._grants[index], None if lapsed else grant
            serves = grant is not None and not lapsed and grant.power_kw > 0.0
            if before is not None and not (serves and grant is not None and grant.stream == before.stream):
                # On its own ramp: a share that others take over must not fall in one step.
                self._driver.follow_setpoint(index, 0.0, before.ramp_per_s * before.power_kw, 0)
            if serves and grant is not None:
                began[index] = grant.dispatch_id
            self._note_grants()
        self._begin_service(STREAM, began)
        for index, setpoint in self._exchange.take_setpoints():
            held = self._grants[index]
            left_s = (setpoint.until_ns - time.monotonic_ns()) / NS_PER_S
            if held is None or left_s <= 0.0:
                continue
            until = self._driver.sample + int(left_s * self._driver.sample_rate_hz)
            self._driver.follow_setpoint(
                index, setpoint.power_kw, setpoint.ramp_kw_per_s, min(until, self._sample_of(held))
            )

    def _lapse_grants(self) -> None:
        if self._first_grant_end is None or self._driver.sample < self._first_grant_end:
            return
        for index, held in enumerate(self._grants):
            if held is not None and self._sample_of(held) <= self._driver.sample:
                self._grants[index] = None
        self._note_grants()

    def _note_grants(self) -> None:
        held = [grant for grant in self._grants if grant is not None]
        self._grant_hash = ["" if grant is None else grant.content_hash for grant in self._grants]
        self._first_grant_end = min((self._sample_of(grant) for grant in held), default=None)
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
                Image(
                    self._now_us(),
                    self._driver.measured(),
                    self.counts,
                    tuple(self._held_hash),
                    tuple(self._grant_hash),
                )
            )
        if sample >= self._next_records:
            self._next_records = sample + self._record_samples
            for records in self._driver.drain_records():
                self._exchange.publish_records(records)
            for waveform in self._driver.drain_waveforms():
                self._exchange.publish_waveform(waveform)

    def _sample_of(self, assignment: Assignment | StreamGrant) -> int:
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
