"""A VEN killed around an event, a VTN that goes away: one obligation, the same answer, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.openadr import GridOperatorProcess, PlatformProcesses, certificates

OBLIGATIONS = "SELECT * FROM markets_obligation"
EVENTS = "SELECT * FROM markets_marketevent"
REGISTRATIONS = "SELECT * FROM markets_registration"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformProcesses]:
    """A platform with three sites of 50 kW and credentials for mutual TLS."""
    platform = PlatformProcesses(tmp_path, certificates(tmp_path / "certificates"))
    platform.add_sites(3)
    yield platform
    platform.stop_ven()


@pytest.fixture
def operator(platform: PlatformProcesses) -> Iterator[GridOperatorProcess]:
    """The grid operator's process."""
    operator = GridOperatorProcess(platform.pair)
    yield operator
    operator.stop()


def test_a_ven_killed_after_its_answer_gives_the_same_one_again(platform, operator):
    platform.start_ven(operator.url)
    operator.event("kept", starts_in_s=300)
    assert operator.said.wait_for("opt", event_id="kept")["opt"] == "optIn"
    registrations = platform.rows(REGISTRATIONS)
    platform.kill_ven()
    # Sites fall silent meanwhile: a fresh decision would be "not available".
    platform.set_measured_at("2020-01-01 00:00:00+00:00")
    seen = len(operator.said.lines)
    platform.start_ven(operator.url)
    again = operator.said.wait_for("opt", after=seen, event_id="kept")
    assert again["opt"] == "optIn"
    assert len(platform.rows(OBLIGATIONS)) == 1
    assert len(platform.rows(EVENTS)) == 1
    # It came back with its registration instead of asking for a new one.
    assert platform.rows(REGISTRATIONS) == registrations
    assert not [line for line in operator.said.lines[seen:] if line["event"] == "registered"]


def test_a_ven_killed_at_delivery_decides_after_its_restart(platform, operator):
    platform.start_ven(operator.url)
    operator.said.wait_for("registered")
    operator.event("caught", starts_in_s=300)
    # The VTN has handed it out and will not offer it in a poll again.
    operator.said.wait_for("event_delivered", event_id="caught")
    platform.kill_ven()
    seen = len(operator.said.lines)
    platform.start_ven(operator.url)
    assert operator.said.wait_for("opt", after=seen, event_id="caught")["opt"] == "optIn"
    (obligation,) = platform.rows(OBLIGATIONS)
    assert (obligation["dispatch_id"], obligation["status"], obligation["revision"]) == ("DC-caught", "open", 1)


def test_a_vtn_that_restarts_without_memory_is_found_again_and_keeps_its_obligation(platform, operator):
    platform.start_ven(operator.url)
    operator.event("before", starts_in_s=300)
    operator.said.wait_for("opt", event_id="before")
    port = operator.port
    operator.stop()
    platform.wait_until(lambda: "link.down" in platform.log_path.read_text())
    second = GridOperatorProcess(platform.pair, port=port)
    try:
        second.said.wait_for("registered")
        second.event("after", starts_in_s=300, power_kw=-40)
        assert second.said.wait_for("opt", event_id="after")["opt"] == "optIn"
        owed = {row["dispatch_id"]: (row["status"], row["power_kw"]) for row in platform.rows(OBLIGATIONS)}
        assert owed == {"DC-before": ("open", 100.0), "DC-after": ("open", 40.0)}
    finally:
        second.stop()


def test_what_is_owed_already_is_not_sold_twice(platform, operator):
    platform.start_ven(operator.url)
    operator.event("first", starts_in_s=300)
    assert operator.said.wait_for("opt", event_id="first")["opt"] == "optIn"
    operator.event("second", starts_in_s=310)
    assert operator.said.wait_for("opt", event_id="second")["opt"] == "optOut"
    (second,) = platform.rows(EVENTS + " WHERE event_id = 'second'")
    assert second["reason"] == "not_available"


def test_sigterm_ends_it_in_order(platform, operator):
    platform.start_ven(operator.url)
    operator.said.wait_for("registered")
    assert platform.stop_ven() == 0
