"""Declared schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from markets.core.baselines.meter import BaselineError
from markets.core.baselines.schedule import DeclaredSchedule, ScheduleStep, constant_schedule
from sites.core.intervals import Interval
from sites.core.units import UWH_PER_KWH

AT = datetime(2026, 1, 1, tzinfo=UTC)


def schedule_of(steps: list[tuple[datetime, float]]) -> DeclaredSchedule:
    return DeclaredSchedule(tuple(ScheduleStep(at, power_kw) for at, power_kw in steps))


def test_a_step_holds_until_the_next_one():
    plan = schedule_of([(AT, 10.0), (AT + timedelta(hours=1), -20.0)])
    assert plan.power_kw(AT + timedelta(minutes=59)) == 10.0
    assert plan.power_kw(AT + timedelta(hours=1)) == -20.0
    assert plan.energy_uwh(Interval(AT, AT + timedelta(hours=2))) == -10 * UWH_PER_KWH


def test_samples_change_on_the_step_s_own_instant():
    plan = schedule_of([(AT, 10.0), (AT + timedelta(seconds=1), 20.0)])
    assert np.array_equal(plan.samples_kw(AT, 4.0, 6), [10.0, 10.0, 10.0, 10.0, 20.0, 20.0])


def test_energies_of_neighbors_add_up():
    plan = constant_schedule(AT, 7.0)
    middle, end = AT + timedelta(minutes=20), AT + timedelta(hours=1)
    parts = plan.energy_uwh(Interval(AT, middle)) + plan.energy_uwh(Interval(middle, end))
    assert abs(parts - plan.energy_uwh(Interval(AT, end))) <= 1


def test_before_its_first_step_nothing_is_declared():
    with pytest.raises(BaselineError, match="no power is declared"):
        constant_schedule(AT, 1.0).power_kw(AT - timedelta(seconds=1))


@pytest.mark.parametrize("steps", [[], [(AT, 1.0), (AT, 2.0)], [(AT, 1.0), (AT - timedelta(seconds=1), 2.0)]])
def test_a_schedule_needs_rising_steps(steps):
    with pytest.raises(BaselineError, match="accepted"):
        schedule_of(steps)
