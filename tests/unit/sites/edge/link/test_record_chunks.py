"""The 100 Hz record: every row of the window once, in chunks without gaps inside."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sites.edge.link.record_chunks import LEAD_US, Chunk, RecordCutter

SECOND = 1_000_000


def feed(cutter: RecordCutter, *, pieces: list[int], start_us: int, window_us: tuple[int, int] | None) -> list[Chunk]:
    """Feed consecutive rows whose only column is their own index from ``start_us``."""
    chunks, first = [], 0
    for count in pieces:
        rows = np.arange(first, first + count, dtype=np.float32)[:, None]
        chunks += cutter.add(first_us=start_us + first * 10_000, rows=rows, window_us=window_us)
        first += count
    return chunks


def test_nothing_is_kept_while_nothing_is_armed() -> None:
    assert feed(RecordCutter(), pieces=[100] * 30, start_us=0, window_us=None) == []


def test_the_record_begins_two_seconds_before_the_window_and_ends_with_it() -> None:
    chunks = feed(RecordCutter(), pieces=[100] * 60, start_us=0, window_us=(20 * SECOND, 45 * SECOND))
    assert chunks[0].starts_at_us == 18 * SECOND
    assert sum(len(chunk.rows) for chunk in chunks) == 2700
    assert [chunk.starts_at_us for chunk in chunks] == [18 * SECOND, 20 * SECOND, 30 * SECOND, 40 * SECOND]


def test_an_assignment_that_arrives_late_gets_its_lead_from_memory() -> None:
    cutter = RecordCutter()
    feed(cutter, pieces=[100] * 10, start_us=0, window_us=None)
    rows = np.arange(1000, 1100, dtype=np.float32)[:, None]
    (whole,) = cutter.add(first_us=10 * SECOND, rows=rows, window_us=(8 * SECOND, 30 * SECOND))
    (rest,) = cutter.flush()
    assert (whole.starts_at_us, len(whole.rows)) == (6 * SECOND, 400)
    assert (rest.starts_at_us, len(rest.rows)) == (10 * SECOND, 100)


@given(
    pieces=st.lists(st.integers(1, 300), min_size=1, max_size=30),
    opens=st.integers(300, 2000),
    length=st.integers(1, 4000),
    phase=st.integers(0, 999),
)
def test_every_row_of_the_window_comes_exactly_once(pieces: list[int], opens: int, length: int, phase: int) -> None:
    window_us = (opens * 10_000, (opens + length) * 10_000)
    cutter = RecordCutter(phase_us=phase * 10_000)
    chunks = feed(cutter, pieces=pieces, start_us=0, window_us=window_us) + cutter.flush()
    got = [round(float(value)) for chunk in chunks for value in chunk.rows[:, 0]]
    first = opens - LEAD_US // 10_000
    assert got == list(range(max(0, first), max(0, min(sum(pieces), opens + length), first)))[: len(got)]
    assert len(got) == max(0, min(sum(pieces), opens + length) - first)
    for chunk in chunks:
        assert chunk.starts_at_us == round(float(chunk.rows[0, 0])) * 10_000
        assert len(chunk.rows) <= 1000
