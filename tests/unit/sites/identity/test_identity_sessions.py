"""What brokers tell of sessions: Mosquitto's lines, NATS's list; whatever else they hold breaks nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.identity.brokers import sessions
from sites.identity.brokers.sessions import BrokerSilent, ConnectionLog, Seen, nats_sessions

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def noted(*lines: bytes) -> ConnectionLog:
    log = ConnectionLog()
    for second, line in enumerate(lines):
        log.note(line, at=AT + timedelta(seconds=second))
    return log


class TestMosquitto:
    @pytest.mark.parametrize(
        ("line", "address"),
        [
            (b"New client connected from 192.0.2.7:47775 as site-1 (p2, c1, k60).", "192.0.2.7"),
            (b"New client connected from ::1:47775 as site-1 (p2, c1, k15, u'site-1').", "::1"),
            (b"1772366400: New client connected from 192.0.2.7:4 as site-1 (p2, c1, k60).", "192.0.2.7"),
            (b"2026-03-01T12:00:00+0000: New client connected from 2001:db8::7:4 as site-1 (p2).", "2001:db8::7"),
        ],
    )
    def test_a_line_of_a_connection_names_client_and_address(self, line: bytes, address: str) -> None:
        assert noted(line).of("site-1") == [Seen(address, AT)]

    @pytest.mark.parametrize(
        "line",
        [
            b"New connection from 192.0.2.7:47775 on port 8883.",
            b"Client site-1 closed its connection.",
            # A text of a client's own does not pass for a line.
            b"Socket error on client New client connected from 192.0.2.7:1 as site-1 (p2), disconnecting.",
            b"New client connected from 192.0.2.7:1 as site-2 as site-1 (p2, c1, k60).",
            b"",
            b"\xff\xfe",
        ],
    )
    def test_any_other_line_says_nothing(self, line: bytes) -> None:
        assert noted(line).of("site-1") == []

    @given(st.binary(max_size=300))
    def test_no_line_breaks_it(self, line: bytes) -> None:
        noted(line, b"New client connected from " + line)

    def test_the_newest_addresses_are_kept_each_once(self) -> None:
        lines = [f"New client connected from 192.0.2.{n}:1 as site-1 (p2).".encode() for n in (*range(12), 5)]
        found = noted(*lines).of("site-1")
        assert [seen.address for seen in found] == [f"192.0.2.{n}" for n in (4, 6, 7, 8, 9, 10, 11, 5)]
        assert found[-1].at == AT + timedelta(seconds=12)

    def test_of_too_many_clients_those_that_came_longest_ago_are_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sessions, "MAX_CLIENTS", 2)
        log = noted(*(f"New client connected from 192.0.2.1:1 as {c} (p2).".encode() for c in ("a", "b", "a", "c")))
        assert [bool(log.of(client)) for client in ("a", "b", "c")] == [True, False, True]


@pytest.fixture
def monitor() -> Any:
    """A monitor that answers what the test puts into ``body``."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(server.body)  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestNats:
    def test_one_node_that_answers_is_enough_and_each_address_counts_once(self, monitor: Any) -> None:
        starts = ("2026-03-01T12:00:05.123456789Z", "2026-03-01T13:00:00+01:00", "2026-03-01T12:00:09Z")
        rows = [{"ip": ip, "start": at} for ip, at in zip(("192.0.2.1", "192.0.2.2", "192.0.2.1"), starts, strict=True)]
        monitor.body = json.dumps({"connections": [*rows, {"ip": 7}, None]}).encode()
        found = nats_sessions([monitor.url, "http://127.0.0.1:1"], "ab" * 16)
        assert found == [Seen("192.0.2.2", AT), Seen("192.0.2.1", AT + timedelta(seconds=9))]
        assert "state=any&auth=1&user=" + "ab" * 16 in monitor.asked[0]

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000])
    def test_an_answer_that_is_none_is_told(self, monitor: Any, body: bytes) -> None:
        monitor.body = body
        with pytest.raises(BrokerSilent, match="list of connections"):
            nats_sessions([monitor.url], "ab" * 16)

    @pytest.mark.parametrize("start", ["yesterday", "", "2026-13-01T00:00:00Z"])
    def test_a_start_that_is_no_instant_is_left_out(self, monitor: Any, start: str) -> None:
        monitor.body = json.dumps({"connections": [{"ip": "192.0.2.1", "start": start}]}).encode()
        assert nats_sessions([monitor.url], "ab" * 16) == []

    def test_without_a_monitor_it_is_told_how_to_declare_one(self) -> None:
        with pytest.raises(BrokerSilent, match=r"accepted: --monitor http://host:port"):
            nats_sessions([], "ab" * 16)
