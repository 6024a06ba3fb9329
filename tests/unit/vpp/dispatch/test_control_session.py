"""The control devices' births and data, as a real edge session writes them, and what is refused of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.edge_session import DeviceCommand, EdgeSession, RebirthRequested
from sites.wire.metrics import CONTROL_METRICS, NODE_METRICS, MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import device_topic
from vpp.dispatch.control_session import (
    BirthNeeded,
    ControlSession,
    Refused,
    Reported,
    desired_message,
    rebirth_message,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HASH = "ab" * 32
SITE = "site-0001"


def a_session() -> ControlSession:
    return ControlSession(max_bytes=10_000, max_clock_ahead_s=60.0)


def an_edge() -> EdgeSession:
    return EdgeSession(SITE, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})


def born(session: ControlSession, edge: EdgeSession, **reported: object) -> object:
    values = {f"reported/{name}": value for name, value in reported.items()}
    message = edge.births(NOW_MS, {}, {"control": values})[-1]
    return session.receive(message.topic, message.payload, received_at=NOW)


def a_payload(name: str, kind: MetricType, value: object, *, timestamp_ms: int = NOW_MS) -> bytes:
    metric = Metric(name=name, type=kind, value=value)  # type: ignore[arg-type]
    return encode_payload(Payload(timestamp_ms, 0, [metric]))


DATA = device_topic("DDATA", SITE, "control")


def by_alias() -> bytes:
    """A report of a gateway that is not ours and gave its metrics aliases."""
    return encode_payload(Payload(NOW_MS, 1, [Metric(alias=40, type=MetricType.STRING, value=HASH)]))


class TestHostileSenders:
    def test_made_up_sites_do_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vpp.dispatch.control_session.MAX_SITES", 2)
        session = a_session()
        events = []
        for number in range(3):
            edge = EdgeSession(f"site-{number}", "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
            events.append(born(session, edge, state="idle"))
        assert [type(event) for event in events] == [Reported, Reported, Refused]
        assert events[2].error == "too_many_sites"  # type: ignore[attr-defined]

    def test_a_topic_cannot_forge_a_line_of_the_log(self) -> None:
        event = a_session().receive("spBv1.0/VPP-00/DBIRTH/a\nCRITICAL all is lost/control", b"", received_at=NOW)
        assert isinstance(event, Refused)
        assert event.topic.isprintable()
        assert event.detail.isprintable()


class TestReports:
    def test_a_birth_tells_what_the_site_holds(self) -> None:
        event = born(a_session(), an_edge(), state="armed", hash=HASH, sequence=7)
        assert isinstance(event, Reported)
        assert event.is_birth
        report = event.reports[0]
        assert (report.site_id, report.state, report.held_hash, report.held_sequence) == (SITE, "armed", HASH, 7)
        assert report.received_at == NOW

    def test_data_is_read_by_the_aliases_of_the_birth_and_keeps_what_it_does_not_name(self) -> None:
        session, edge = a_session(), an_edge()
        born(session, edge, state="armed", hash=HASH, sequence=7)
        message = edge.device_data(NOW_MS, "control", {"reported/refusal": "stale", "reported/refused_sequence": 5})
        event = session.receive(message.topic, message.payload, received_at=NOW)
        assert isinstance(event, Reported)
        assert not event.is_birth
        assert (event.reports[0].held_hash, event.reports[0].refusal, event.reports[0].refused_sequence) == (
            HASH,
            "stale",
            5,
        )

    def test_a_new_birth_forgets_what_was_reported_before(self) -> None:
        session, edge = a_session(), an_edge()
        born(session, edge, state="armed", hash=HASH, sequence=7)
        event = born(session, edge, state="idle")
        assert isinstance(event, Reported)
        assert event.reports[0].held_hash == ""

    def test_data_before_any_birth_asks_for_one(self) -> None:
        session = a_session()
        assert session.receive(DATA, by_alias(), received_at=NOW) == BirthNeeded(SITE)
        assert session.may_ask(SITE, at=NOW)
        assert not session.may_ask(SITE, at=NOW + timedelta(seconds=4))
        assert session.may_ask(SITE, at=NOW + timedelta(seconds=5))

    def test_after_a_lost_connection_aliases_are_asked_for_anew(self) -> None:
        session, edge = a_session(), an_edge()
        born(session, edge, state="idle")
        assert session.knows(SITE)
        session.forget()
        assert session.receive(DATA, by_alias(), received_at=NOW) == BirthNeeded(SITE)

    def test_data_by_name_needs_no_birth(self) -> None:
        session, edge = a_session(), an_edge()
        edge.births(NOW_MS, {}, {})
        message = edge.device_data(NOW_MS, "control", {"reported/hash": HASH, "reported/sequence": 7})
        event = session.receive(message.topic, message.payload, received_at=NOW)
        assert isinstance(event, Reported)
        assert (event.reports[0].held_hash, event.reports[0].held_sequence) == (HASH, 7)


TOPIC = device_topic("DBIRTH", SITE, "control")


class TestRefusals:
    @pytest.mark.parametrize(
        ("topic", "payload", "error"),
        [
            (TOPIC, b"\xff\xff\xff", "payload_malformed"),
            (TOPIC, b"\0" * 10_001, "payload_too_large"),
            (TOPIC, a_payload("reported/mood", MetricType.STRING, "fine"), "metric_unknown"),
            (TOPIC, a_payload("reported/hash", MetricType.INT64, 5), "metric_type_mismatch"),
            (TOPIC, a_payload("reported/hash", MetricType.STRING, "xyz"), "report_invalid"),
            (TOPIC, a_payload("reported/state", MetricType.STRING, "asleep"), "report_invalid"),
            (TOPIC, a_payload("reported/refusal", MetricType.STRING, "no mood"), "report_invalid"),
            (TOPIC, a_payload("reported/sequence", MetricType.INT64, -1), "report_invalid"),
            (
                TOPIC,
                a_payload("reported/hash", MetricType.STRING, HASH, timestamp_ms=NOW_MS + 61_000),
                "timestamp_in_future",
            ),
            ("spBv1.0/VPP-99/DBIRTH/site-0001/control", b"", "topic_invalid"),
            (device_topic("DBIRTH", SITE, "battery"), b"", "topic_invalid"),
            ("", b"", "topic_invalid"),
        ],
    )
    def test_each_by_its_name(self, topic: str, payload: bytes, error: str) -> None:
        event = a_session().receive(topic, payload, received_at=NOW)
        assert isinstance(event, Refused)
        assert event.error == error
        assert event.detail

    @given(st.binary(max_size=300))
    def test_no_bytes_end_the_session(self, payload: bytes) -> None:
        event = a_session().receive(TOPIC, payload, received_at=NOW)
        assert isinstance(event, Refused | Reported | BirthNeeded)

    def test_a_faulty_birth_leaves_the_known_report_alone(self) -> None:
        session, edge = a_session(), an_edge()
        born(session, edge, state="armed", hash=HASH, sequence=7)
        session.receive(TOPIC, a_payload("reported/hash", MetricType.STRING, "xyz"), received_at=NOW)
        message = edge.device_data(NOW_MS, "control", {"reported/state": "armed"})
        event = session.receive(message.topic, message.payload, received_at=NOW)
        assert isinstance(event, Reported)
        assert event.reports[0].held_hash == HASH


class TestCommands:
    def test_an_edge_reads_the_desired_envelope(self) -> None:
        edge = an_edge()
        topic, payload = desired_message(SITE, b"VPA1-sealed", at=NOW)
        assert edge.receive(topic, payload, NOW_MS) == [DeviceCommand("control", {"desired": b"VPA1-sealed"})]

    def test_an_edge_reads_the_call_for_births(self) -> None:
        topic, payload = rebirth_message(SITE, at=NOW)
        assert an_edge().receive(topic, payload, NOW_MS) == [RebirthRequested()]
