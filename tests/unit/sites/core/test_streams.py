"""Stream grants and signals: round trips, judgements by name, and what hostile bytes meet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.assignments import Refusal
from sites.core.bodies import BodyError
from sites.core.envelope import OperatingEnvelope
from sites.core.streams import (
    SetpointSignal,
    SignalRefusal,
    StreamGrant,
    grant_from_bytes,
    judge_grant,
    judge_signal,
    signal_from_bytes,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


GRANT = StreamGrant("a-1", "site-1", 5, "REG-1", "regd", 40.0, 20.0, 6.0, 0.5, after(0), after(600))
SIGNAL = SetpointSignal("regd", 7, after(10), after(16), 0.5)
ENVELOPE = OperatingEnvelope("site-1", NOW, 50.0, 50.0, 100.0, 100.0)


def test_bodies_come_back_as_they_went() -> None:
    assert grant_from_bytes(GRANT.to_bytes()) == GRANT
    assert signal_from_bytes(SIGNAL.to_bytes()) == SIGNAL


def test_the_target_follows_the_sign() -> None:
    assert (GRANT.target_kw(0.5), GRANT.target_kw(-0.5), GRANT.target_kw(0.0)) == (20.0, -10.0, 0.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": 1.01}, "value is 1.01, accepted: -1.0 to 1.0"),
        ({"value": True}, "value is True"),
        ({"v": 2}, "v is 2, accepted: 1"),
        ({"sequence": 0}, "sequence is 0"),
        ({"valid_until": "2026-03-01T12:00:10+00:00"}, "valid_until is 0 s after issued_at"),
        ({"valid_until": "2026-03-01T12:05:00+00:00"}, "accepted: more than 0, up to 60"),
        ({"issued_at": "yesterday"}, "issued_at is 'yesterday'"),
    ],
)
def test_a_signal_outside_its_ranges_is_refused(change: dict[str, object], says: str) -> None:
    body = json.dumps({**json.loads(SIGNAL.to_bytes()), **change}).encode()
    with pytest.raises(BodyError, match=says.replace("(", r"\(")):
        signal_from_bytes(body)


def test_one_kind_of_body_is_no_other() -> None:
    with pytest.raises(BodyError):
        grant_from_bytes(SIGNAL.to_bytes())
    with pytest.raises(BodyError):
        signal_from_bytes(GRANT.to_bytes())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_name(body: bytes) -> None:
    for read in (grant_from_bytes, signal_from_bytes):
        with pytest.raises(BodyError):
            read(body)


@pytest.mark.parametrize(
    ("grant", "held", "expected"),
    [
        (GRANT, None, None),
        (GRANT, GRANT, None),
        (replace(GRANT, up_kw=1.0), GRANT, Refusal.REPEATED),
        (replace(GRANT, sequence=4), GRANT, Refusal.STALE),
        (replace(GRANT, site_id="site-2"), None, Refusal.WRONG_SITE),
        (replace(GRANT, starts_at=after(-20), ends_at=after(-10)), None, Refusal.EXPIRED),
        (replace(GRANT, up_kw=50.2), None, Refusal.OUT_OF_ENVELOPE),
        (replace(GRANT, down_kw=50.2), None, Refusal.OUT_OF_ENVELOPE),
    ],
)
def test_grants_are_judged_by_name(grant: StreamGrant, held: StreamGrant | None, expected: Refusal | None) -> None:
    assert judge_grant(grant, held=held, envelope=ENVELOPE, locked_out=False, at=NOW) is expected


def test_a_locked_out_site_takes_only_withdrawals() -> None:
    assert judge_grant(GRANT, held=None, envelope=ENVELOPE, locked_out=True, at=NOW) is Refusal.LOCKED_OUT
    nothing = replace(GRANT, up_kw=0.0, down_kw=0.0)
    assert judge_grant(nothing, held=None, envelope=ENVELOPE, locked_out=True, at=NOW) is None


@pytest.mark.parametrize(
    ("signal", "last", "at", "expected"),
    [
        (SIGNAL, 0, after(10.2), None),
        (SIGNAL, 6, after(10.2), None),
        (SIGNAL, 7, after(10.2), SignalRefusal.REPLAYED),
        (SIGNAL, 8, after(10.2), SignalRefusal.REORDERED),
        (SIGNAL, 6, after(16), SignalRefusal.STALE),
        (SIGNAL, 6, after(4.9), SignalRefusal.AHEAD),
        (replace(SIGNAL, stream="other"), 6, after(10.2), SignalRefusal.FOREIGN),
        (SIGNAL, 6, after(600), SignalRefusal.CLOSED),
        (SIGNAL, 6, after(-1), SignalRefusal.CLOSED),
    ],
)
def test_signals_are_judged_by_name(
    signal: SetpointSignal, last: int, at: datetime, expected: SignalRefusal | None
) -> None:
    assert judge_signal(signal, grant=GRANT, last_sequence=last, at=at) is expected
