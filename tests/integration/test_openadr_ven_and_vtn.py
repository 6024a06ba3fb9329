"""Our VEN process against the grid operator's VTN process over mutual TLS with signed messages."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.openadr import GridOperatorProcess, PlatformProcesses, certificates

EVENT = "SELECT * FROM markets_marketevent WHERE event_id = ? ORDER BY modification_number"
OBLIGATION = "SELECT * FROM markets_obligation WHERE dispatch_id = ?"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PlatformProcesses, GridOperatorProcess]]:
    """A VEN connected to a VTN, with three sites of 50 kW behind it (147 kW after the margin)."""
    folder = tmp_path_factory.mktemp("openadr")
    pair = certificates(folder / "certificates")
    operator = GridOperatorProcess(pair)
    platform = PlatformProcesses(folder, pair)
    platform.add_sites(3)
    platform.start_ven(operator.url)
    try:
        operator.said.wait_for("registered")
        yield platform, operator
    finally:
        platform.stop_ven()
        operator.stop()


class TestEvents:
    def test_an_event_becomes_one_obligation_and_is_opted_in(self, secured):
        platform, operator = secured
        operator.event("whole-1")
        opt = operator.said.wait_for("opt", event_id="whole-1")
        assert opt["opt"] == "optIn"
        (event,) = platform.rows(EVENT, "whole-1")
        assert (event["reason"], event["requested_kw"], event["available_kw"]) == ("accepted", 100.0, 147.0)
        assert b"<ei:eventID>whole-1</ei:eventID>" in event["raw"]
        assert event["raw"].startswith(b"<oadr:oadrEvent ")
        assert len(event["message_hash"]) == 64
        (obligation,) = platform.rows(OBLIGATION, "DC-whole-1")
        assert (obligation["power_kw"], obligation["status"]) == (100.0, "open")
        operator.command(cmd="cancel", event_id="whole-1")
        platform.wait_until(lambda: platform.rows(OBLIGATION, "DC-whole-1")[0]["status"] == "cancelled")

    @pytest.mark.parametrize(
        ("event_id", "facts", "opt", "reason"),
        [
            ("nan", {"power_kw": "NaN"}, "optOut", "value_not_finite"),
            ("infinite", {"power_kw": "-INF"}, "optOut", "value_not_finite"),
            ("absurd", {"power_kw": -1e30}, "optOut", "value_absurd"),
            ("zero", {"power_kw": 0}, "optOut", "value_zero"),
            ("wrong-sign", {"power_kw": 100}, "optOut", "value_wrong_sign"),
            ("too-much", {"power_kw": -148}, "optOut", "not_available"),
            ("unknown-signal", {"signal_name": "x-FFR_ARM"}, "optOut", "signal_unknown"),
            ("unknown-type", {"signal_type": "setpoint"}, "optOut", "signal_type_unsupported"),
            ("unknown-context", {"market_context": "http://elsewhere.example/p"}, "optOut", "market_context_unknown"),
            ("far-too-long", {"duration_s": 200_000}, "optOut", "duration_out_of_range"),
            ("begun", {"starts_in_s": -5}, "optOut", "notice_too_short"),
            ("a-test", {"test_event": True}, "optIn", "test_event"),
        ],
    )
    def test_nonsense_is_answered_with_a_named_reason_and_stored(self, secured, event_id, facts, opt, reason):
        platform, operator = secured
        operator.event(event_id, **facts)
        assert operator.said.wait_for("opt", event_id=event_id)["opt"] == opt
        (event,) = platform.rows(EVENT, event_id)
        assert (event["opt_type"], event["reason"]) == (opt, reason)
        assert event["raw"]
        assert platform.rows(OBLIGATION, f"DC-{event_id}") == []
        operator.command(cmd="forget", event_id=event_id)

    def test_a_higher_modification_replaces_the_obligation(self, secured):
        platform, operator = secured
        operator.event("changed")
        operator.said.wait_for("opt", event_id="changed")
        seen = len(operator.said.lines)
        operator.event("changed", power_kw=-60)
        operator.said.wait_for("opt", after=seen, event_id="changed", opt="optIn")
        versions = platform.rows(EVENT, "changed")
        assert [(v["modification_number"], v["status"]) for v in versions] == [(0, "superseded"), (1, "decided")]
        (obligation,) = platform.rows(OBLIGATION, "DC-changed")
        assert (obligation["power_kw"], obligation["revision"]) == (60.0, 2)
        operator.command(cmd="cancel", event_id="changed")
        platform.wait_until(lambda: platform.rows(OBLIGATION, "DC-changed")[0]["status"] == "cancelled")

    def test_an_event_missing_from_the_list_is_an_implied_cancellation(self, secured):
        platform, operator = secured
        operator.event("dropped")
        operator.said.wait_for("opt", event_id="dropped")
        operator.command(cmd="forget", event_id="dropped")
        platform.wait_until(lambda: platform.rows(OBLIGATION, "DC-dropped")[0]["status"] == "cancelled")
        assert platform.rows(EVENT, "dropped")[0]["status"] == "withdrawn"


class TestSecurity:
    def test_without_a_client_certificate_nothing_is_served(self, secured, tmp_path: Path):
        _, operator = secured
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"{operator.url}/OadrPoll", data=b"<x/>")  # noqa: S310
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError, OSError)) as refused:
            urllib.request.urlopen(request, context=context, timeout=5)  # noqa: S310
        assert not isinstance(refused.value, urllib.error.HTTPError)

    def test_a_foreign_ven_certificate_of_the_same_name_is_not_registered(self, secured, tmp_path: Path):
        """Another authority's VEN does not get through TLS, so its VEN goes on retrying."""
        _, operator = secured
        stranger = PlatformProcesses(tmp_path, certificates(tmp_path / "certificates"))
        seen = len(operator.said.lines)
        stranger.start_ven(operator.url)
        try:
            stranger.wait_until(lambda: stranger.log_path.read_text().count("link.down") >= 2)
        finally:
            stranger.stop_ven()
        assert not [line for line in operator.said.lines[seen:] if line["event"] == "registered"]
        assert stranger.rows("SELECT * FROM markets_registration") == []
