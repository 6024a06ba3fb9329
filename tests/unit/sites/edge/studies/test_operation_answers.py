"""Every request has an answer by name, alarms have their instant, and a lockout outlives its process."""

from __future__ import annotations

import pytest
from support.operation import RATE_HZ, a_site, an_island, run

from sites.core.requests import SiteRequest
from sites.edge.control.exchange import ALARM_NAMES
from sites.edge.studies.closed_loop import ClosedLoop


def answer_to(loop: ClosedLoop, request: SiteRequest) -> str | None:
    mark = loop.ask(0, request)
    assert loop.answer(0, mark) is None
    run(loop, 0.002)
    return loop.answer(0, mark)


@pytest.fixture(scope="module")
def tied() -> ClosedLoop:
    loop = ClosedLoop([a_site(genset_kw=0.0)], seed=1)
    run(loop, 0.5)
    return loop


def test_a_tied_site_refuses_by_name_what_its_mode_does_not_allow(tied: ClosedLoop) -> None:
    refused = {request: answer_to(tied, request) for request in (
        SiteRequest.BLACK_START, SiteRequest.MAINTENANCE_OFF, SiteRequest.RECONNECT, SiteRequest.ACKNOWLEDGE,
        SiteRequest.GENSET_ON,
    )}  # fmt: skip
    assert refused == {
        SiteRequest.BLACK_START: "not_in_mode",
        SiteRequest.MAINTENANCE_OFF: "not_in_mode",
        SiteRequest.RECONNECT: "",
        SiteRequest.ACKNOWLEDGE: "",
        SiteRequest.GENSET_ON: "not_fitted",
    }
    assert tied.mode(0) == "grid_tied"


def test_two_requests_in_a_row_have_an_answer_each(tied: ClosedLoop) -> None:
    assert answer_to(tied, SiteRequest.BLACK_START) == "not_in_mode"
    assert answer_to(tied, SiteRequest.BLACK_START) == "not_in_mode"


def test_a_latch_is_cleared_by_the_key_alone_and_has_its_instant() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 0.5)
    loop.set_input(0, "fire", 1)
    pressed = loop.sample
    run(loop, 0.1)
    assert answer_to(loop, SiteRequest.CLEAR_LOCKOUT) == "latched"  # It still burns.
    loop.set_input(0, "fire", 0)
    assert answer_to(loop, SiteRequest.BLACK_START) == "latched"
    assert answer_to(loop, SiteRequest.MAINTENANCE_ON) == "latched"
    since = int(loop.measured()["alarm_sample"][0][ALARM_NAMES.index("fire")])
    assert pressed <= since <= pressed + 0.002 * RATE_HZ
    assert answer_to(loop, SiteRequest.CLEAR_LOCKOUT) == ""
    assert loop.measured()["latched"][0] == 0


@pytest.mark.parametrize("mode", ["lockout", "maintenance"])
def test_a_new_process_stands_where_the_last_one_stood(mode: str) -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 0.01)
    latched = 1 if mode == "lockout" else 0
    loop.resume(0, mode=mode, latched=latched, alarm=0, switch_closed=mode == "maintenance", since=[-50_000] + [0] * 6)
    run(loop, 1.0)
    assert loop.mode(0) == mode
    assert loop._c["converter_on"][0] == 0
    if latched:
        assert answer_to(loop, SiteRequest.BLACK_START) == "latched"
        assert loop.measured()["alarm_sample"][0][0] == -50_000
        assert answer_to(loop, SiteRequest.CLEAR_LOCKOUT) == ""
    else:
        assert answer_to(loop, SiteRequest.MAINTENANCE_OFF) == ""
    run(loop, 5.0)
    assert loop.mode(0) == "grid_tied"


def test_a_set_that_was_asked_runs_in_an_island_whatever_the_charge() -> None:
    loop = an_island(a_site(genset_kw=60.0, soc_ratio=0.8, genset_minimum_run_s=1.0))
    assert answer_to(loop, SiteRequest.GENSET_ON) == ""
    run(loop, 0.1)
    assert loop._c["genset_run"][0] == 1
    run(loop, 2.0)
    assert loop._c["genset_leaves"][0] == 0
    assert answer_to(loop, SiteRequest.GENSET_OFF) == ""
    run(loop, 0.01)
    assert loop._c["genset_leaves"][0] > 0 or loop._c["genset_run"][0] == 0
