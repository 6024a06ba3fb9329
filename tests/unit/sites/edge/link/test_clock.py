"""A site knows when its clock is not disciplined, and when it was moved."""

from __future__ import annotations

import pytest

from sites.core.readings import TimeQuality
from sites.edge.link.clock import ClockWatch, is_synchronized


class Clocks:
    """A wall clock that can be moved beside one that cannot."""

    def __init__(self) -> None:
        self.monotonic, self.offset = 100.0, 1_700_000_000.0

    def pass_s(self, seconds: float) -> None:
        self.monotonic += seconds

    def wall(self) -> float:
        return self.monotonic + self.offset

    def watch(self, synchronized: bool | None = True) -> ClockWatch:
        return ClockWatch(self.wall, lambda: self.monotonic, lambda: synchronized)


def test_the_kernel_is_asked_without_a_right_to_set_its_clock() -> None:
    assert is_synchronized() in (True, False, None)


@pytest.mark.parametrize(
    ("synchronized", "quality"),
    [(True, TimeQuality.SYNCHRONIZED), (False, TimeQuality.UNSYNCHRONIZED), (None, TimeQuality.UNKNOWN)],
)
def test_a_quiet_clock_is_worth_what_its_source_is(synchronized: bool | None, quality: TimeQuality) -> None:
    clocks = Clocks()
    watch = clocks.watch(synchronized)
    for _ in range(100):
        clocks.pass_s(1.0)
        clocks.offset += 500e-6
        assert watch.look(epoch_us=1) == 0.0
    assert watch.quality(epoch_us=1, controller_us=round(clocks.wall() * 1e6)) is quality


@pytest.mark.parametrize("step_s", [-7200.0, -1.0, 0.6, 3600.0])
def test_a_step_is_seen_once_and_marks_its_controller_until_that_ends(step_s: float) -> None:
    clocks = Clocks()
    watch = clocks.watch()
    watch.look(epoch_us=1)
    before = clocks.wall()
    clocks.offset += step_s
    assert watch.look(epoch_us=1) == pytest.approx(step_s)
    assert watch.look(epoch_us=1) == 0.0
    assert watch.steps == 1
    assert watch.quality(epoch_us=1, controller_us=round(before * 1e6)) is TimeQuality.STEPPED
    now_us = round(clocks.wall() * 1e6)
    assert watch.quality(epoch_us=now_us, controller_us=now_us) is TimeQuality.SYNCHRONIZED


def test_a_controller_that_started_before_a_step_shows_it_to_a_process_that_started_after() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    watch.look(epoch_us=1)
    assert watch.quality(epoch_us=1, controller_us=round((clocks.wall() - 3600) * 1e6)) is TimeQuality.STEPPED
