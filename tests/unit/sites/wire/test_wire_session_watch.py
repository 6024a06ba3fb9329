"""Two devices with one key show in the births; one honest device does not, whatever its link does."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.session_watch import WINDOW_MS, SessionWatch

SITE = "site-1"
BIRTH, DEATH = "birth", "death"


def evidence(steps: Iterable[tuple[str, int]], *, every_ms: int = 1_000) -> list[str]:
    """Return what the births of one site gave, one every second."""
    watch, found = SessionWatch(), []
    for second, (what, bd_seq) in enumerate(steps):
        if what == BIRTH:
            found.append(watch.born(SITE, bd_seq, second * every_ms))
        else:
            watch.died(SITE, bd_seq)
    return [text for text in found if text]


@pytest.mark.parametrize(
    ("case", "steps", "first"),
    [
        (
            "a copied disk; the sessions throw each other out",
            [(BIRTH, 18), (DEATH, 18), (BIRTH, 18), (DEATH, 18), (BIRTH, 18)],
            "session 18 was born again after its death",
        ),
        (
            "a stolen key on a new device; each counts on by itself",
            [(BIRTH, 18), (BIRTH, 1), (BIRTH, 19), (BIRTH, 2)],
            "session 2 goes on behind session 1, after session 19",
        ),
        (
            "both stay connected and answer the host's question for births in turn",
            [(BIRTH, 18), (BIRTH, 3), (BIRTH, 18), (BIRTH, 3)],
            "session 3 came back after session 18",
        ),
        ("across the end of the count", [(BIRTH, 255), (BIRTH, 7), (BIRTH, 0), (BIRTH, 8)], "session 8 goes on behind"),
    ],
)
def test_two_sessions_are_seen(case: str, steps: list[tuple[str, int]], first: str) -> None:
    assert evidence(steps)[0].startswith(first), case


@pytest.mark.parametrize(
    ("case", "steps"),
    [
        ("asked for its births again", [(BIRTH, 4)] * 20),
        ("a link that comes and goes", [(what, n) for n in range(250) for what in (BIRTH, DEATH)]),
        ("attempts that failed count too", [(BIRTH, 4), (BIRTH, 9), (BIRTH, 30)]),
        ("a late death of the connection before", [(BIRTH, 4), (BIRTH, 5), (DEATH, 4), (BIRTH, 5)]),
        ("one lost disk", [(BIRTH, 40), (DEATH, 40), (BIRTH, 1), (DEATH, 1), (BIRTH, 2), (BIRTH, 3)]),
        ("the end of the count", [(BIRTH, 254), (BIRTH, 255), (BIRTH, 0), (BIRTH, 1)]),
        ("one restart of a gateway without a memory", [(BIRTH, 0), (DEATH, 0), (BIRTH, 0)]),
    ],
)
def test_one_device_is_not(case: str, steps: list[tuple[str, int]]) -> None:
    assert evidence(steps) == [], case


def test_signs_far_apart_do_not_add_up() -> None:
    watch = SessionWatch()
    for hour in range(5):
        assert watch.born(SITE, 0, hour * 2 * WINDOW_MS) == ""
        watch.died(SITE, 0)


@given(start=st.integers(0, 255), steps=st.lists(st.sampled_from([0, 0, 1, 1, 2, 5]), max_size=30), dies=st.data())
def test_no_count_upward_gives_evidence(start: int, steps: list[int], dies: st.DataObject) -> None:
    watch, number = SessionWatch(), start
    for second, step in enumerate(steps):
        number = (number + step) % 256
        assert watch.born(SITE, number, second * 1000) == ""
        # Its own death comes before the next number, never before a repeat on the same connection.
        if second + 1 < len(steps) and steps[second + 1] and dies.draw(st.booleans()):
            watch.died(SITE, number)


def test_sites_are_not_mixed_up() -> None:
    watch = SessionWatch()
    for second in range(20):
        assert watch.born(f"site-{second % 2}", 3 + second % 2, second * 1000) == ""
