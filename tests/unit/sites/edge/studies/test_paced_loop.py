"""The loop that paces itself does what the stepped one does, sample by sample."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from sites.edge.control.pacing import Pace
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.paced_loop import PacedLoop

FLEET = synthetic_fleet(3, 1)
STARTS_AT_US = 40_000


def test_rows_registers_and_recordings_are_those_of_the_stepped_loop() -> None:
    loop = ClosedLoop(FLEET, seed=1, starts_at_us=STARTS_AT_US)
    loop.open_feeder(1, 3_000)
    # A tick a nanosecond: it never waits, and runs ticks until it is stopped.
    pace = Pace(period_ns=1, starts_ns=time.monotonic_ns())
    paced = PacedLoop(loop, pace, tick_samples=10, grid_hz=50.0)
    paced.meter_from(5_000, 10_000)
    thread = threading.Thread(target=paced.run)
    thread.start()
    deadline_s = time.monotonic() + 120.0
    while pace.ticks < 2_000 and time.monotonic() < deadline_s:
        thread.join(timeout=0.01)
    pace.stop()
    thread.join()
    paced.catch_up()
    first, rows = paced.drain_rows()
    boundaries = paced.drain_boundaries()

    other = ClosedLoop(FLEET, seed=1, starts_at_us=STARTS_AT_US)
    other.open_feeder(1, 3_000)
    expected = {}
    while other.sample < loop.sample:
        other.advance(np.full(min(loop.sample, other.sample // 5_000 * 5_000 + 5_000) - other.sample, 50.0))
        expected[other.sample] = other.registers()
    assert loop.sample >= 20_000
    assert (loop.sample, loop.offset) == (other.sample, other.offset)
    expected_first, expected_rows = other.drain_records()
    kept = min(len(rows), len(expected_rows))
    assert first == 0 or first > expected_first
    assert np.array_equal(rows[-kept:], expected_rows[-kept:])
    assert np.array_equal(loop.registers(), other.registers())
    assert boundaries
    for sample, registers in boundaries:
        assert sample % 10_000 == 5_000
        assert np.array_equal(registers, expected[sample])
    (waveform,), (reference,) = loop.drain_waveforms(), other.drain_waveforms()
    assert waveform.trigger_sample == reference.trigger_sample
    assert np.array_equal(waveform.samples, reference.samples)


def test_a_tick_that_does_not_divide_ten_milliseconds_is_refused() -> None:
    loop = ClosedLoop(FLEET[:1], seed=1)
    with pytest.raises(ValueError, match="tick of 30 samples, accepted: a divisor of 100"):
        PacedLoop(loop, Pace(period_ns=1, starts_ns=0), tick_samples=30, grid_hz=50.0)
