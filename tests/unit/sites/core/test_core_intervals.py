"""Half-open periods: their parts, what they have in common, and what is none."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.intervals import Interval, IntervalError

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_end_belongs_to_the_next_period():
    period = Interval(START, START + timedelta(minutes=30))
    assert START in period
    assert period.ends_at not in period


@given(st.integers(1, 10_000), st.integers(1, 3_000))
def test_split_covers_the_period_without_hole_or_overlap(length_s, step_s):
    period = Interval(START, START + timedelta(seconds=length_s))
    parts = list(period.split(timedelta(seconds=step_s)))
    assert parts[0].starts_at == period.starts_at
    assert parts[-1].ends_at == period.ends_at
    assert all(a.ends_at == b.starts_at for a, b in pairwise(parts))


@given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 100), st.integers(1, 100))
def test_overlap_is_symmetric_and_inside_both(a, b, c, d):
    def at(second):
        return START + timedelta(seconds=second)

    one, other = Interval(at(a), at(a + b)), Interval(at(c), at(c + d))
    common = one.overlap(other)
    assert common == other.overlap(one)
    if common is not None:
        for period in (one, other):
            assert period.starts_at <= common.starts_at < common.ends_at <= period.ends_at


@pytest.mark.parametrize(
    ("starts_at", "ends_at"),
    [(START, START), (START, START - timedelta(seconds=1)), (START.replace(tzinfo=None), START)],
)
def test_empty_reversed_or_naive_periods_are_refused(starts_at, ends_at):
    with pytest.raises(IntervalError, match="accepted"):
        Interval(starts_at, ends_at)
