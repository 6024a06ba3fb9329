"""A command's body is one canonical text, and a site takes only what is new, its own, in time and not for the key."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.assignments import assignment_from_bytes
from sites.core.bodies import BodyError
from sites.core.commands import CommandError, SiteCommand, command_from_bytes, judge_command
from sites.core.requests import RequestRefusal, SiteRequest

NAMES = st.text(st.characters(max_codepoint=0x2FF).filter(str.isprintable), min_size=1, max_size=150)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_command(**changes: Any) -> SiteCommand:
    command = SiteCommand("c-1", "site-1", 7, SiteRequest.ISLAND, "ann", NOW, NOW + timedelta(seconds=30))
    return dataclasses.replace(command, **changes)


def judged(command: SiteCommand, *, sequence: int = 6, content_hash: str = "", at: datetime = NOW) -> str | None:
    return judge_command(command, site_id="site-1", answered_sequence=sequence, answered_hash=content_hash, at=at)


@given(
    st.integers(1, 2**53 - 1),
    st.sampled_from(SiteRequest),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FF).filter(lambda c: c.isprintable()), min_size=1, max_size=150
    ),
    st.integers(1, 600),
)
def test_any_command_comes_back_as_it_was_signed(sequence: int, request: SiteRequest, by: str, life_s: int) -> None:
    command = a_command(
        sequence=sequence, request=request, issued_by=by, expires_at=NOW + timedelta(seconds=life_s)
    )  # fmt: skip
    assert command_from_bytes(command.to_bytes()) == command


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 2), ("v", True), ("kind", "assignment"), ("sequence", 0), ("sequence", True), ("sequence", 2**53),
        ("request", "explode"), ("request", None), ("site_id", ""), ("issued_by", "a\nb"), ("issued_by", 7),
        ("issued_at", "2026-03-01T12:00:00"), ("expires_at", "soon"), ("expires_at", "2026-03-01T12:10:01+00:00"),
        ("expires_at", "2026-03-01T12:00:00+00:00"), ("more", 1),
    ],
)  # fmt: skip
def test_a_body_that_says_something_else_is_refused_by_its_field(key: str, value: object) -> None:
    raw = json.loads(a_command().to_bytes()) | {key: value}
    with pytest.raises(CommandError):
        command_from_bytes(json.dumps(raw).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 2000, b"{}" + b" " * 3000])
def test_bytes_that_are_no_command_are_refused(body: bytes) -> None:
    with pytest.raises(CommandError):
        command_from_bytes(body)


def test_a_command_can_not_pass_for_an_assignment() -> None:
    with pytest.raises(BodyError):
        assignment_from_bytes(a_command().to_bytes())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (a_command(), None),
        (a_command(site_id="site-2"), RequestRefusal.WRONG_SITE),
        (a_command(sequence=5), RequestRefusal.STALE),
        (a_command(sequence=6), RequestRefusal.REPEATED),
        (a_command(issued_at=NOW - timedelta(60), expires_at=NOW), RequestRefusal.EXPIRED),
        (a_command(request=SiteRequest.CLEAR_LOCKOUT), RequestRefusal.LOCAL_ONLY),
    ],
)
def test_a_site_refuses_by_name(command: SiteCommand, expected: RequestRefusal | None) -> None:
    assert judged(command) is expected


def test_the_answered_command_once_more_is_no_refusal_even_after_its_end() -> None:
    command = a_command()
    late = NOW + timedelta(hours=1)
    assert judged(command, sequence=7, content_hash=command.content_hash, at=late) is None
