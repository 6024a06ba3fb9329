"""Commands at one site: asked of the controller once, answered by name, and never done twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.site_bench import NOW, SEED, SITE, Bench, an_armed_share

from sites.core.commands import SiteCommand
from sites.core.requests import RequestRefusal, SiteRequest
from sites.edge.control.exchange import LATCHES, MODE_NAMES, Answer
from sites.edge.link.site_link import SiteLink
from sites.wire.commands import device_command
from sites.wire.messages import Message
from sites.wire.signature import public_key_of, seal


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.told(bench.come_online())
    return bench


def a_command(sequence: int = 1, request: SiteRequest = SiteRequest.ISLAND, life_s: float = 30.0) -> SiteCommand:
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    return SiteCommand(f"c-{sequence}", SITE, sequence, request, "ann", now, now + timedelta(seconds=life_s))


def send(bench: Bench, command: SiteCommand, *, seed: bytes = SEED, at_ms: int = NOW) -> list[Message]:
    envelope = seal(command.to_bytes(), seed)
    return bench.hear(device_command(SITE, "control", at_ms, {"command": envelope}), at_ms)


def answer(bench: Bench, number: int, refusal: str = "") -> dict[str, object]:
    return bench.report(bench.link.orders.take_answer(Answer(0, number, False, refusal), now_ms=NOW))


def refused(bench: Bench, command: SiteCommand, *, seed: bytes = SEED, at_ms: int = NOW) -> object:
    report = bench.report(send(bench, command, seed=seed, at_ms=at_ms))
    assert report["answer/state"] == "refused"
    assert bench.link.orders.take_asks() == []
    return report["answer/error"]


def test_an_accepted_command_is_reported_when_the_controller_has_answered(bench: Bench) -> None:
    command = a_command()
    assert send(bench, command) == []
    (ask,) = bench.link.orders.take_asks()
    assert (ask.number, ask.request, ask.is_local) == (1, SiteRequest.ISLAND, False)
    report = answer(bench, 1)
    assert report == {
        "answer/state": "accepted", "answer/hash": command.content_hash, "answer/sequence": 1, "answer/error": ""
    }  # fmt: skip


def test_a_repeat_is_answered_and_not_asked_again(bench: Bench) -> None:
    send(bench, a_command())
    bench.link.orders.take_asks()
    assert send(bench, a_command()) == []  # The controller still thinks.
    answer(bench, 1, "not_in_mode")
    report = bench.report(send(bench, a_command(), at_ms=NOW + 40_000))
    assert (report["answer/state"], report["answer/error"]) == ("refused", "not_in_mode")
    assert bench.link.orders.take_asks() == []


def test_what_is_not_ours_or_not_now_is_refused_by_name(bench: Bench) -> None:
    send(bench, a_command(5))
    bench.link.orders.take_asks()
    answer(bench, 5)
    assert refused(bench, a_command(4)) == "stale"
    assert refused(bench, a_command(5, SiteRequest.RECONNECT)) == "repeated"
    assert refused(bench, a_command(6), seed=bytes(32)) == "unsigned"
    assert refused(bench, a_command(6), at_ms=NOW + 30_000) == "expired"
    # An expired one has its place: what was sent before it does not come true any more.
    assert refused(bench, a_command(7, SiteRequest.CLEAR_LOCKOUT)) == "local_only"
    assert refused(bench, a_command(6)) == "stale"


def test_an_assignment_under_the_command_s_name_is_malformed(bench: Bench) -> None:
    envelope = seal(an_armed_share().to_bytes(), SEED)
    report = bench.report(bench.hear(device_command(SITE, "control", NOW, {"command": envelope})))
    assert report["answer/error"] == "malformed"


def test_a_second_command_while_the_first_is_thought_about_is_busy(bench: Bench) -> None:
    send(bench, a_command(1))
    bench.link.orders.take_asks()
    assert refused(bench, a_command(2, SiteRequest.RECONNECT)) == "busy"
    assert answer(bench, 1)["answer/state"] == "accepted"
    assert send(bench, a_command(2, SiteRequest.RECONNECT)) == []
    assert len(bench.link.orders.take_asks()) == 1


def test_a_silent_controller_is_named_and_its_late_answer_changes_nothing(bench: Bench) -> None:
    send(bench, a_command())
    assert bench.link.orders.check_answer(now_ms=NOW + 1_900) == []
    report = bench.report(bench.link.orders.check_answer(now_ms=NOW + 2_100))
    assert report["answer/error"] == RequestRefusal.CONTROLLER_SILENT
    assert bench.link.orders.take_answer(Answer(0, 1, False, ""), now_ms=NOW + 2_200) == []


def test_a_link_that_ended_in_between_does_not_do_it_twice(bench: Bench) -> None:
    command = a_command()
    send(bench, command)
    again = SiteLink(
        bench.link.profile, index=0, host_id="vpp", platform_keys=(public_key_of(SEED),), interval_s=60,
        outbox=bench.outbox, port=bench.port,
    )  # fmt: skip
    again.restore(now_ms=NOW)
    bench.link = again
    bench.measure()
    bench.told(bench.come_online())
    assert refused(bench, command) == "interrupted"


class TestStandingStill:
    def test_a_site_at_work_lets_go_of_its_assignment_and_takes_it_up_again(self, bench: Bench) -> None:
        share = an_armed_share()
        bench.desire(share)
        bench.report(bench.link.orders.confirm(share.content_hash, now_ms=NOW))
        bench.port.take_requests()
        bench.measure(mode=MODE_NAMES.index("maintenance"))
        bench.link.orders.check_link(now_ms=NOW)
        assert list(bench.port.take_requests()) == [(0, None)]
        report = bench.report(bench.link.orders.confirm("", now_ms=NOW))
        assert (report["reported/state"], report["reported/hash"]) == ("idle", "")
        # The platform asks for it again: refused, and not armed.
        report = bench.report(bench.desire(share))
        assert report["reported/refusal"] == "locked_out"
        assert list(bench.port.take_requests()) == []
        bench.measure()
        bench.link.orders.check_link(now_ms=NOW)
        assert list(bench.port.take_requests()) == [(0, share)]
        report = bench.report(bench.link.orders.confirm(share.content_hash, now_ms=NOW))
        assert (report["reported/state"], report["reported/refusal"]) == ("armed", "")

    def test_alarms_and_inputs_go_up_by_name_and_only_when_they_change(self, bench: Bench) -> None:
        def told() -> dict[str, object]:
            (event, *_) = bench.told(bench.link.live())
            return {name: metric.value for name, metric in event.values.items()}  # type: ignore[attr-defined]

        assert "alarms" not in told()
        stopped = {"latched": 0b1001, "warnings": 0b001, "inputs": 0b10001, "alarm": 0, "decided_at_us": NOW * 1000}
        bench.measure(NOW + 1000, mode=MODE_NAMES.index("lockout"), **stopped)
        values = told()
        assert (values["alarms"], values["warnings"]) == ("emergency_stop,fault", "bond_closed")
        assert values["inputs"] == "emergency_stop,neutral_earth_closed"
        assert values["decided_at"] == NOW
        assert "tiers_closed" not in values
        bench.measure(NOW + 2000, mode=MODE_NAMES.index("lockout"), **stopped)
        assert "alarms" not in told()
        assert LATCHES == 4
