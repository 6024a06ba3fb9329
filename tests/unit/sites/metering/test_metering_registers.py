"""Registers of somebody else's meter become intervals that add up to them, whatever is missing or late."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sites.metering.registers import LONGEST_MS, Base, derive

MINUTE = 60_000
KWH = 10**9
ALL = 10**15


def test_a_minute_has_the_register_that_was_read_last_within_it() -> None:
    into = [(1_000, 5), (59_000, 7), (60_000, 8), (61_000, 11), (119_000, 20), (121_000, 30)]
    found = derive({"into": into}, base=None, most_kw=1e9, until_ms=ALL)
    # The first end of a minute is where counting begins; 121 s belongs to a minute that ends at 180 s.
    assert [(i.starts.at_ms, i.ends.at_ms, i.into_uwh, i.from_uwh) for i in found.intervals] == [
        (60_000, 120_000, 12, 0), (120_000, 180_000, 10, 0),
    ]  # fmt: skip
    assert found.base == Base(180_000, 30, 0)
    assert not any(interval.is_long for interval in found.intervals)


def test_what_is_not_over_waits() -> None:
    rows = [(60_000, 8), (120_000, 20), (121_000, 30)]
    assert derive({"into": rows}, base=None, most_kw=1e9, until_ms=150_000).base == Base(120_000, 20, 0)


def test_both_ways_close_together() -> None:
    found = derive(
        {"into": [(60_000, 0), (120_000, 5), (180_000, 9)], "from": [(60_000, 0), (180_000, 4)]},
        base=None, most_kw=1e9, until_ms=ALL,
    )  # fmt: skip
    (interval,) = found.intervals
    assert (interval.starts.at_ms, interval.ends.at_ms, interval.into_uwh, interval.from_uwh) == (60_000, 180_000, 9, 4)
    assert interval.is_long


def test_a_register_that_runs_backward_or_too_fast_leaves_a_hole_and_counting_begins_anew() -> None:
    # 60 kW for a minute is 1 kWh; a replaced meter starts at 0, another one stands far beyond.
    kwh = (100, 101, 0, 1, 900, 901)
    into = [(minute * MINUTE, value * KWH) for minute, value in enumerate(kwh, 1)]
    found = derive({"into": into}, base=None, most_kw=60.0, until_ms=ALL)
    assert [(i.ends.at_ms // MINUTE, i.into_uwh) for i in found.intervals] == [(2, KWH), (4, KWH), (6, KWH)]
    assert found.holes == 2


def test_more_than_a_day_without_a_reading_is_a_hole() -> None:
    for gap_ms, count in ((LONGEST_MS, 1), (LONGEST_MS + MINUTE, 0)):
        found = derive({"into": [(0, 0), (gap_ms, 1)]}, base=None, most_kw=1.0, until_ms=ALL)
        assert (len(found.intervals), found.holes) == (count, 1 - count)


@given(
    st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 10_000), st.integers(0, 10_000)), max_size=60),
    st.lists(st.integers(0, 12_000_000), max_size=6),
)
def test_intervals_never_overlap_and_add_up_to_the_register(steps: list[tuple[int, int, int]], cuts: list[int]) -> None:
    rows: list[tuple[int, int, int]] = []
    at_ms = into = out = 0
    for pause, more, less in steps:
        at_ms, into, out = at_ms + pause, into + more, out + less
        rows.append((at_ms, into, out))
    readings = {"into": [(at, a) for at, a, _ in rows], "from": [(at, b) for at, _, b in rows]}
    whole = derive(readings, base=None, most_kw=1e9, until_ms=ALL)
    # In pieces, as a process that runs each minute makes them.
    base, pieces = None, []
    for until_ms in (*sorted(cuts), ALL):
        found = derive(readings, base=base, most_kw=1e9, until_ms=until_ms)
        base, pieces = found.base, [*pieces, *found.intervals]
    assert tuple(pieces) == whole.intervals
    assert whole.holes == 0
    for before, after in pairwise(pieces):
        assert before.ends == after.starts
    if pieces:
        assert sum(interval.into_uwh for interval in pieces) == into - pieces[0].starts.into_uwh
        assert sum(interval.from_uwh for interval in pieces) == out - pieces[0].starts.from_uwh
        assert all(interval.ends.at_ms % MINUTE == 0 for interval in pieces)
