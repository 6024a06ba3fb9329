"""The short way of reading answers says what the long way says, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.edge_session import EdgeSession
from sites.wire.metrics import CONTROL_METRICS, NODE_METRICS, MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import device_topic
from vpp.dispatch.control_session import ControlSession, Refused, Reported
from vpp.dispatch.plain_answers import HASH, SEQUENCE, STATE, plain_answer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SITE = "site-0001"
DATA = device_topic("DDATA", SITE, "control")
DIGITS = "0123456789abcdef"


def an_answer(state: str = "armed", content_hash: str = "ab" * 32, sequence: int = 7) -> bytes:
    edge = EdgeSession(SITE, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
    edge.births(NOW_MS, {}, {})
    return edge.device_data(NOW_MS, "control", {STATE: state, HASH: content_hash, SEQUENCE: sequence}).payload


def a_session(*, expects: bool) -> ControlSession:
    """A session that knows the site's last report, with a refusal and an answer in it."""
    session = ControlSession(max_bytes=10_000, max_clock_ahead_s=60.0)
    edge = EdgeSession(SITE, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
    birth = edge.births(NOW_MS, {}, {"control": {"answer/hash": "cd" * 32, "answer/state": "accepted"}})[-1]
    session.receive(birth.topic, birth.payload, received_at=NOW)
    if expects:
        session.expect([SITE])
    return session


def both_ways(payload: bytes) -> tuple[object, object]:
    short, long = a_session(expects=True), a_session(expects=False)
    return short.receive(DATA, payload, received_at=NOW), long.receive(DATA, payload, received_at=NOW)


@given(st.sampled_from(["idle", "armed"]), st.text(DIGITS, min_size=64, max_size=64), st.integers(0, 2**53 - 1))
def test_an_edge_s_answer_is_read_the_short_way(state: str, content_hash: str, sequence: int) -> None:
    payload = an_answer(state, content_hash, sequence)
    assert plain_answer(payload) == (NOW_MS, state, content_hash, sequence)
    short, long = both_ways(payload)
    assert isinstance(short, Reported)
    assert short == long


@given(st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_changed_byte_is_judged_as_the_long_way_judges_it(place: int, byte: int, is_cut: bool) -> None:
    payload = bytearray(an_answer())
    payload[place % len(payload)] = byte
    short, long = both_ways(bytes(payload[: place % len(payload)] if is_cut else payload))
    assert short == long


@pytest.mark.parametrize(
    "payload",
    [
        an_answer("refused"),
        an_answer(content_hash="AB" * 32),
        an_answer(content_hash="ab" * 31),
        an_answer(sequence=2**53),
        encode_payload(Payload(NOW_MS, 1, [Metric(STATE, type=MetricType.STRING, value="armed")])),
        # The order of an edge's answer is part of what is recognized.
        encode_payload(
            Payload(
                NOW_MS, 1,
                [
                    Metric(HASH, type=MetricType.STRING, value="ab" * 32),
                    Metric(STATE, type=MetricType.STRING, value="armed"),
                    Metric(SEQUENCE, type=MetricType.INT64, value=7),
                ],
            )
        ),
    ],
)  # fmt: skip
def test_anything_else_goes_the_long_way(payload: bytes) -> None:
    assert plain_answer(payload) is None
    short, long = both_ways(payload)
    assert short == long


def test_an_answer_from_the_future_is_refused_the_long_way() -> None:
    edge = EdgeSession(SITE, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
    edge.births(NOW_MS, {}, {})
    later = edge.device_data(NOW_MS + 61_000, "control", {STATE: "armed", HASH: "ab" * 32, SEQUENCE: 7}).payload
    short, long = both_ways(later)
    assert isinstance(short, Refused)
    assert short == long


def test_made_up_sites_do_not_come_in_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpp.dispatch.control_session.MAX_SITES", 1)
    session = a_session(expects=True)
    session.expect(["site-0002"])
    topic = device_topic("DDATA", "site-0002", "control")
    refused = session.receive(topic, an_answer(), received_at=NOW)
    assert isinstance(refused, Refused)
    assert refused.error == "too_many_sites"
    assert isinstance(session.receive(DATA, an_answer(), received_at=NOW), Reported)
