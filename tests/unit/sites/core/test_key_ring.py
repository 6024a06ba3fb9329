"""Announcements of keys: what they may say, and which of them a site takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.bodies import BodyError
from sites.core.key_ring import KeyAnnouncement, KeyRefusal, announcement_from_bytes, judge_announcement

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW = b"\1" * 32, b"\2" * 32


def an_announcement(generation: int = 1, keys: tuple[bytes, ...] = (OLD, NEW), **more: Any) -> KeyAnnouncement:
    facts = {"withdrawn": (), "issued_at": NOW, "expires_at": NOW + timedelta(days=7)} | more
    return KeyAnnouncement(generation=generation, keys=keys, **facts)


@given(
    st.integers(1, 2**53 - 1),
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4, unique=True),
    st.lists(st.binary(min_size=8, max_size=8), max_size=32),
    st.integers(1, 90 * 86_400_000_000),
)
def test_the_body_says_what_was_announced(generation: int, keys: list[bytes], ids: list[bytes], life_us: int) -> None:
    announcement = an_announcement(
        generation, tuple(keys), withdrawn=tuple(ids), expires_at=NOW + timedelta(microseconds=life_us)
    )
    assert announcement_from_bytes(announcement.to_bytes()) == announcement


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keys": []}, "keys are 0, accepted: 1 to 4"),
        ({"keys": ["01" * 32] * 2}, "each once"),
        ({"keys": [f"{n:064x}" for n in range(5)]}, "accepted: 1 to 4"),
        ({"keys": ["01" * 31]}, "keys is"),
        ({"keys": "01" * 32}, "keys is"),
        ({"withdrawn": ["xyz"]}, "withdrawn is"),
        ({"withdrawn": ["01" * 8] * 33}, "accepted: up to 32"),
        ({"generation": 0}, "generation is 0"),
        ({"generation": True}, "generation is True"),
        ({"generation": 2**53}, "generation is"),
        ({"kind": "command"}, "kind"),
        ({"v": 2}, "v and kind"),
        ({"more": 1}, "body holds"),
        ({"expires_at": "2026-03-01T12:00:00+00:00"}, "it lives for"),
        ({"expires_at": "2027-03-01T12:00:00+00:00"}, "90 days"),
        ({"expires_at": "tomorrow"}, "expires_at is"),
    ],
)
def test_what_it_may_not_say_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    body = json.loads(an_announcement().to_bytes()) | change
    with pytest.raises(BodyError, match=told):
        announcement_from_bytes(json.dumps(body).encode())


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        announcement_from_bytes(body)


class TestJudging:
    @pytest.mark.parametrize(
        ("generation", "held", "after_days", "refusal"),
        [
            (1, None, 0, None),
            (1, None, 7, KeyRefusal.EXPIRED),
            (2, 1, 0, None),
            (1, 2, 0, KeyRefusal.STALE),
            (9, 1, 0, None),
            # What is held stays what it is after its expiry: only taking it is bounded.
            (1, 1, 30, None),
        ],
    )
    def test_by_generation_and_expiry(
        self, generation: int, held: int | None, after_days: int, refusal: KeyRefusal | None
    ) -> None:
        found = judge_announcement(
            an_announcement(generation),
            held=None if held is None else an_announcement(held),
            at=NOW + timedelta(days=after_days),
        )
        assert found is refusal

    def test_two_contents_of_one_generation_are_told(self) -> None:
        found = judge_announcement(an_announcement(3, (NEW,)), held=an_announcement(3, (OLD,)), at=NOW)
        assert found is KeyRefusal.REPEATED
