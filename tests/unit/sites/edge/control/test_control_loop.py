"""The loop runs every sample, counts what was late, and lets assignments lapse by itself."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import timedelta

from support.drivers import START, START_US, CountingDriver
from support.edge import an_assignment

from sites.core.assignments import Assignment
from sites.core.requests import SiteRequest
from sites.core.streams import StreamGrant
from sites.edge.control.exchange import CURVE, STREAM, Answer, Ask, InProcessExchange, Setpoint
from sites.edge.control.loop import ControlLoop, LoopSettings


def a_loop(interval_s: int = 1) -> tuple[ControlLoop, CountingDriver, InProcessExchange]:
    driver, exchange = CountingDriver(), InProcessExchange()
    return ControlLoop(driver, exchange, LoopSettings(0.001, interval_s)), driver, exchange


def a_share(ends_in_s: float, power_kw: float = 5.0) -> Assignment:
    ends_at = START + timedelta(seconds=ends_in_s)
    return an_assignment("s", sequence=1, power_kw=power_kw, starts_at=START - timedelta(seconds=9), ends_at=ends_at)


def test_registers_are_read_exactly_on_the_utc_grid() -> None:
    loop, _, exchange = a_loop()
    for _ in range(5):
        loop.run_ticks(400)
    boundaries = exchange.poll().boundaries
    # It started at half past a second: the first boundary is 5,000 samples in.
    assert [(b.at_us - START_US, float(b.registers["pcc_into_j"][0])) for b in boundaries] == [
        (500_000, 5_000.0),
        (1_500_000, 15_000.0),
    ]


def test_catching_up_runs_every_sample_and_counts_the_late_ticks() -> None:
    loop, driver, _ = a_loop()
    loop.run_ticks(1)
    loop.run_ticks(20)
    assert driver.sample == 210
    assert loop.samples_late == 19


def test_an_assignment_is_confirmed_armed_and_lapses_at_its_end() -> None:
    loop, driver, exchange = a_loop()
    share = a_share(ends_in_s=0.02)
    exchange.request(0, share)
    loop.run_ticks(10)
    image = exchange.poll().image
    assert image is not None
    assert image.held == (share.content_hash,)
    loop.run_ticks(10)
    image = exchange.poll().image
    assert image is not None
    assert image.held == ("",)
    assert driver.armed == [(0, share.assignment_id), (200, "")]


def test_zero_power_disarms_and_is_held_by_its_hash() -> None:
    loop, driver, exchange = a_loop()
    share = a_share(ends_in_s=9.0, power_kw=0.0)
    exchange.request(0, share)
    loop.run_ticks(1)
    image = exchange.poll().image
    assert image is not None
    assert image.held == (share.content_hash,)
    assert driver.armed == [(0, "")]


def test_an_assignment_that_ended_before_is_not_armed() -> None:
    loop, driver, exchange = a_loop()
    exchange.request(0, a_share(ends_in_s=-1.0))
    loop.run_ticks(1)
    image = exchange.poll().image
    assert image is not None
    assert image.held == ("",)
    assert driver.armed == [(0, "")]


def test_a_stalled_clock_is_caught_up_without_a_skipped_sample() -> None:
    driver, exchange = CountingDriver(), InProcessExchange()
    stop = threading.Event()
    instants = iter([0.0005, 0.0005, 0.0011, 0.0011, 0.0011, 0.3])

    def elapsed_s() -> float:
        try:
            return next(instants)
        except StopIteration:
            if driver.sample >= 3000:
                stop.set()
            return 0.3

    loop = ControlLoop(driver, exchange, LoopSettings(0.001, 1), elapsed_s=elapsed_s)
    loop.run(stop)
    assert driver.sample == 3000
    assert set(driver.batches) == {10}
    assert loop.samples_late > 200


class TestAsks:
    def test_a_request_is_answered_to_whoever_asked(self) -> None:
        loop, driver, exchange = a_loop()
        exchange.ask(Ask(0, 7, SiteRequest.ISLAND, until_us=time.time_ns()))
        loop.run_ticks(1)
        assert driver.asked == [(0, "island")]
        assert exchange.poll().answers == [Answer(0, 7, False, "")]

    def test_one_at_a_time_and_never_the_key_from_afar(self) -> None:
        loop, driver, exchange = a_loop()
        driver.answers_with = None
        for number, request in enumerate((SiteRequest.ISLAND, SiteRequest.RECONNECT, SiteRequest.CLEAR_LOCKOUT)):
            exchange.ask(Ask(0, number, request, until_us=time.time_ns()))
        loop.run_ticks(1)
        assert [(a.number, a.refusal) for a in exchange.poll().answers] == [(1, "busy"), (2, "local_only")]
        driver.answers_with = "latched"
        loop.run_ticks(1)
        assert [(a.number, a.refusal) for a in exchange.poll().answers] == [(0, "latched")]
        exchange.ask(Ask(0, 3, SiteRequest.CLEAR_LOCKOUT, until_us=time.time_ns(), is_local=True))
        loop.run_ticks(1)
        assert [request for _, request in driver.asked] == ["island", "clear_lockout"]

    def test_a_request_that_its_asker_has_given_up_is_not_done(self) -> None:
        loop, driver, exchange = a_loop()
        exchange.ask(Ask(0, 1, SiteRequest.ISLAND, until_us=time.time_ns() // 1000 - 1))
        loop.run_ticks(1)
        assert (driver.asked, exchange.poll().answers) == ([], [])


def test_the_probe_s_clock_follows_utc_when_that_is_stepped() -> None:
    utc_us = [START_US]
    driver = CountingDriver()
    loop = ControlLoop(
        driver, InProcessExchange(), LoopSettings(0.001, 1), elapsed_s=lambda: 0.0, utc_us=lambda: utc_us[0]
    )  # fmt: skip
    loop.align_probe()
    utc_us[0] += 4_000
    loop.align_probe()
    assert driver.probe_utc_ms == []
    utc_us[0] += 2_000_000
    loop.align_probe()
    loop.align_probe()
    assert driver.probe_utc_ms == [START_US // 1000 + 2004]


def test_a_new_dispatch_is_told_with_the_registers_where_it_begins_and_only_then() -> None:
    loop, _, exchange = a_loop()
    share = a_share(ends_in_s=60.0)
    for assignment in (share, dataclasses.replace(share, sequence=2, power_kw=4.0), None, share):
        exchange.request(0, assignment)
        loop.run_ticks(10)
    other = dataclasses.replace(share, sequence=3, dispatch_id="other")
    exchange.request(0, other)
    loop.run_ticks(10)
    begun = exchange.poll().services
    # Armed again, disarmed and armed once more it is the same service; the driver's register counts samples.
    assert [(b.dispatch_id, b.at_us - START_US, b.into_j) for b in begun] == [
        (share.dispatch_id, 0, 0.0),
        ("other", 40_000, 400.0),
    ]


def a_grant(ends_in_s: float) -> StreamGrant:
    return StreamGrant(
        "g", "s", 1, "REG", "REG", 4.0, 4.0, 6.0, 0.5, START - timedelta(9), START + timedelta(seconds=ends_in_s)
    )  # fmt: skip


def test_a_stream_is_confirmed_followed_and_lapses_at_its_end() -> None:
    loop, driver, exchange = a_loop()
    grant = a_grant(ends_in_s=0.02)
    exchange.setpoint(0, Setpoint(9.0, 2.0, time.monotonic_ns() + 10**9))
    loop.run_ticks(1)
    # Nothing is followed that was not granted.
    assert driver.followed == []
    exchange.request_stream(0, grant)
    exchange.setpoint(0, Setpoint(3.0, 2.0, time.monotonic_ns() + 10**9))
    loop.run_ticks(9)
    image = exchange.poll().image
    assert image is not None
    assert image.streams == (grant.content_hash,)
    # A second of samples would reach past the grant's end.
    assert driver.followed == [(3.0, 2.0, 200)]
    loop.run_ticks(11)
    image = exchange.poll().image
    assert image is not None
    assert image.streams == ("",)


def test_a_stream_s_dispatch_is_told_with_its_own_registers() -> None:
    loop, driver, exchange = a_loop()
    grant = a_grant(ends_in_s=60.0)
    exchange.request(0, a_share(ends_in_s=60.0))
    loop.run_ticks(1)
    for again in (grant, dataclasses.replace(grant, sequence=2, up_kw=2.0), None, grant):
        exchange.request_stream(0, again)
        loop.run_ticks(10)
    begun = exchange.poll().services
    # A share that moves is the same service; so is one that comes back.
    assert [(b.service, b.dispatch_id, b.into_j) for b in begun] == [(CURVE, "DC-test", 0.0), (STREAM, "REG", 10.0)]
    # Withdrawn it leaves on its own ramp: half of 4 kW a second, and not in one step.
    assert driver.followed == [(0.0, 2.0, 0)]


def test_a_setpoint_that_is_too_old_is_not_followed() -> None:
    loop, driver, exchange = a_loop()
    exchange.request_stream(0, a_grant(ends_in_s=60.0))
    exchange.setpoint(0, Setpoint(3.0, 2.0, time.monotonic_ns() - 1))
    loop.run_ticks(1)
    assert driver.followed == []
