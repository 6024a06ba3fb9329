"""What is owed in steps: a truth table by hand, and what holds for any course."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.course import (
    CourseError,
    Step,
    constant,
    followed_by,
    largest_kw,
    mean_size_kw,
    merged,
    pieces,
    power_at,
    read,
    stored,
)
from sites.core.intervals import Interval

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


HOUR = Interval(AT, after(60))
PLAN = (Step(AT, 40.0), Step(after(15), -20.0), Step(after(45), 0.0))


class TestByHand:
    @pytest.mark.parametrize(
        ("minute", "power_kw"), [(-1, 0.0), (0, 40.0), (14.99, 40.0), (15, -20.0), (44, -20.0), (45, 0.0), (60, 0.0)]
    )
    def test_a_step_holds_to_the_next_one(self, minute, power_kw):
        assert power_at(PLAN, HOUR, after(minute)) == power_kw

    def test_the_mean_counts_sizes_by_their_time(self):
        # (40 x 15 + 20 x 30 + 0 x 15) / 60
        assert mean_size_kw(PLAN, HOUR) == pytest.approx(20.0)
        assert mean_size_kw(constant(HOUR, 123.456), HOUR) == 123.456

    def test_the_largest_is_of_the_part_that_is_ahead(self):
        assert largest_kw(PLAN, HOUR) == 40.0
        assert largest_kw(PLAN, Interval(after(20), HOUR.ends_at)) == 20.0

    def test_a_change_in_the_window_leaves_what_was(self):
        later = followed_by(constant(HOUR, 100.0), after(30), constant(HOUR, 60.0))
        assert later == (Step(AT, 100.0), Step(after(30), 60.0))
        assert mean_size_kw(later, HOUR) == pytest.approx(80.0)
        # Before the window a change replaces everything.
        assert followed_by(constant(HOUR, 100.0), after(-5), constant(HOUR, 60.0)) == (Step(AT, 60.0),)

    def test_what_is_no_course_is_named(self):
        with pytest.raises(CourseError, match="step 2 begins at"):
            read([[after(5).isoformat(), 1.0], [AT.isoformat(), 2.0]])
        with pytest.raises(CourseError, match="step 1 is"):
            read([["tomorrow", 1.0]])


steps = st.lists(
    st.tuples(st.integers(0, 59), st.integers(-50, 50)), min_size=1, max_size=6, unique_by=lambda pair: pair[0]
).map(lambda pairs: tuple(Step(after(minute), float(kw)) for minute, kw in sorted(pairs)))


@given(steps, steps, st.integers(-10, 70))
def test_a_change_keeps_the_past_and_takes_the_future(before, later, minute):
    at = after(minute)
    changed = followed_by(before, at, later)
    for probe in range(-1, 61):
        instant = after(probe)
        # Nothing was owed before the change: it replaces everything.
        is_past = instant < at and before[0].starts_at < at
        wanted = before if is_past else later
        # A course that begins after the change has nothing to say before its own start, where there was nothing yet.
        if instant >= at and instant < later[0].starts_at:
            continue
        assert power_at(changed, HOUR, instant) == power_at(wanted, HOUR, instant)


@given(steps)
def test_pieces_do_not_overlap_and_storing_changes_nothing(course):
    parts = [part for part, _ in pieces(course, HOUR)]
    assert all(one.ends_at <= two.starts_at for one, two in itertools.pairwise(parts))
    assert read(stored(course)) == course
    assert mean_size_kw(merged(course), HOUR) == pytest.approx(mean_size_kw(course, HOUR))
    assert mean_size_kw(course, HOUR) <= largest_kw(course, HOUR) + 1e-9
