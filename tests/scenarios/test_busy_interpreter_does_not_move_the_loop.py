"""A busy Python thread in the process or a dead uplink beside it does not move the control loop.

Ratios within one run: how fast this machine is, or how loaded, says nothing here.
"""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sites.edge.control.pacing import PaceFigures
from sites.edge.studies import realtime_report

SECONDS = 1.5
TICK_S = 0.001


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PaceFigures]:
    """Each case measured once, after the compilation."""
    realtime_report.warm(TICK_S)
    found = {}
    for name in realtime_report.CASES:
        folder: Path = tmp_path_factory.mktemp("block")
        found[name] = realtime_report.run_case(name, SECONDS, TICK_S, folder, {})
    return found


def python_loop_wake_us() -> float:
    """Median wake latency [us] of a loop in Python, one wake-up a millisecond, beside the same busy thread."""
    stop = threading.Event()
    busy = threading.Thread(target=realtime_report.hold_interpreter, args=(stop,))
    busy.start()
    late_us = []
    due_s = time.monotonic()
    try:
        for _ in range(20):
            due_s = max(due_s + TICK_S, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))
            late_us.append((time.monotonic() - due_s) * 1e6)
    finally:
        stop.set()
        busy.join()
    return statistics.median(late_us)


def test_every_tick_of_every_case_was_run(cases: dict[str, PaceFigures]) -> None:
    for figures in cases.values():
        # What a stall at the end had not yet caught up with may lack.
        assert figures.ticks > 0.7 * SECONDS / TICK_S


@pytest.mark.parametrize("case", ["busy Python thread", "dead uplink"])
def test_the_loops_wake_latency_stays_where_it_is_alone(cases: dict[str, PaceFigures], case: str) -> None:
    assert cases[case].wake_us["p50"] < 8.0 * cases["alone"].wake_us["p50"]
    assert cases[case].step_us["p50"] < 4.0 * cases["alone"].step_us["p50"]


def test_a_loop_in_python_is_moved_by_the_same_thread_and_ours_is_not(cases: dict[str, PaceFigures]) -> None:
    assert cases["busy Python thread"].wake_us["p50"] < 0.2 * python_loop_wake_us()


def test_the_figures_are_whole(cases: dict[str, PaceFigures]) -> None:
    for figures in cases.values():
        assert np.all(np.diff(list(figures.wake_us.values())) >= 0.0)
        assert figures.step_us["p50"] > 0.0
