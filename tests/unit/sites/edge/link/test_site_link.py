"""One site's end of the wire: what it says when, and what it holds over a restart and a lost link."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.site_bench import FAR, NOW, SEED, SITE, Bench, an_armed_share

from sites.core.assignments import Assignment
from sites.core.readings import TimeQuality
from sites.edge.control.exchange import REGISTER_DTYPE, Boundary
from sites.edge.link.fallback import LossOfLink
from sites.wire.commands import node_command
from sites.wire.host_events import DeviceBorn, DeviceData, NodeBorn, NodeData
from sites.wire.messages import state_message


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def a_boundary(minute: int, pcc_j: float) -> Boundary:
    registers = np.zeros(1, REGISTER_DTYPE)
    registers["pcc_into_j"] = pcc_j
    return Boundary(NOW * 1000, NOW * 1000 + minute * 60_000_000, registers)


def test_nothing_is_said_before_the_host_is_there(bench: Bench) -> None:
    assert bench.link.live() == []
    assert bench.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW) == []
    assert bench.outbox.depth(SITE) == 2


def test_births_come_with_the_host_and_once(bench: Bench) -> None:
    events = bench.told(bench.come_online())
    assert [type(event) for event in events] == [NodeBorn, DeviceBorn, DeviceBorn, DeviceBorn]
    assert bench.hear(state_message("vpp", True, NOW + 1)) == []


def test_a_restarted_host_gets_births_again(bench: Bench) -> None:
    bench.come_online()
    assert bench.hear(state_message("vpp", False, NOW + 1)) == []
    assert bench.link.live() == []
    assert len(bench.hear(state_message("vpp", True, NOW + 2))) == 4


def test_the_same_measurement_is_not_told_twice(bench: Bench) -> None:
    bench.come_online()
    assert len(bench.link.live()) == 3
    assert bench.link.live() == []


def test_an_assignment_is_reported_only_when_the_controller_confirms(bench: Bench) -> None:
    bench.told(bench.come_online())
    share = an_armed_share()
    assert bench.desire(share) == []
    assert list(bench.port.take_requests()) == [(0, share)]
    report = bench.report(bench.link.orders.confirm(share.content_hash, now_ms=NOW))
    assert (report["reported/state"], report["reported/hash"]) == ("armed", share.content_hash)
    # A repeat is answered at once and not armed again.
    assert bench.report(bench.desire(share))["reported/hash"] == share.content_hash
    assert list(bench.port.take_requests()) == []
    # At its end the controller lets go, and the site says so.
    ended = bench.report(bench.link.orders.confirm("", now_ms=NOW))
    assert (ended["reported/state"], ended["reported/hash"], ended["reported/sequence"]) == ("idle", "", 1)


@pytest.mark.parametrize(
    ("share", "seed", "refusal"),
    [
        (an_armed_share(), bytes(range(1, 33)), "unsigned"),
        (an_armed_share(power_kw=8.1), SEED, "out_of_envelope"),
        (an_armed_share(ends_in_s=0.001), SEED, "expired"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_hash(bench: Bench, share: Assignment, seed: bytes, refusal: str) -> None:
    bench.told(bench.come_online())
    report = bench.report(bench.desire(share, seed, NOW + 10))
    assert (report["reported/state"], report["reported/refusal"]) == ("refused", refusal)
    assert report["reported/refused_hash"] == share.content_hash
    assert list(bench.port.take_requests()) == []


def test_a_stale_and_a_changed_assignment_leave_the_held_one(bench: Bench) -> None:
    bench.told(bench.come_online())
    held = an_armed_share(sequence=5)
    bench.desire(held)
    bench.told(bench.link.orders.confirm(held.content_hash, now_ms=NOW))
    for sequence, power_kw, refusal in ((4, 1.0, "stale"), (5, 2.0, "repeated")):
        report = bench.report(bench.desire(an_armed_share(sequence, power_kw)))
        assert (report["reported/refusal"], report["reported/hash"]) == (refusal, held.content_hash)
        assert report["reported/state"] == "armed"


def test_lockout_refuses_service(bench: Bench) -> None:
    bench.told(bench.come_online())
    bench.measure(mode=5.0)
    assert bench.report(bench.desire(an_armed_share()))["reported/refusal"] == "locked_out"


def test_a_restart_arms_the_held_assignment_and_goes_on_numbering(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.come_online()
    share = an_armed_share()
    first.desire(share)
    first.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW)
    first.outbox.close()
    second = Bench(tmp_path)
    assert list(second.port.take_requests()) == [(0, share)]
    second.link.rows.close_interval(a_boundary(2, 7200.0), now_ms=NOW)
    rows = [(row.stream, row.number) for row in second.outbox.due(sent_before_ms=0, limit=10, at_ms=FAR)]
    assert ("pcc", 2) in rows


def test_an_uplink_that_has_measured_nothing_yet_judges_nothing(tmp_path: Path) -> None:
    Bench(tmp_path).outbox.close()
    again = Bench(tmp_path, measures=False)
    share = an_armed_share()
    assert again.desire(share) == []
    assert list(again.port.take_requests()) == []
    again.measure()
    again.told(again.come_online())
    assert again.desire(share) == []
    assert list(again.port.take_requests()) == [(0, share)]
    assert again.link.orders.holding.refused_count == 0


def test_an_ended_assignment_is_not_armed_after_a_restart_but_its_sequence_counts(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.come_online()
    first.desire(an_armed_share(sequence=7, ends_in_s=0.5), at_ms=NOW - 100)
    first.outbox.close()
    second = Bench(tmp_path)
    second.link.restore(now_ms=NOW + 1000)
    second.port.take_requests()
    second.told(second.come_online())
    assert second.report(second.desire(an_armed_share(sequence=6)))["reported/refusal"] == "stale"


@pytest.mark.parametrize(("choice", "requests"), [(LossOfLink.HOLD, []), (LossOfLink.RELEASE, [(0, None)])])
def test_loss_of_link_follows_the_sites_choice(tmp_path: Path, choice: LossOfLink, requests: list[object]) -> None:
    bench = Bench(tmp_path, choice)
    bench.told(bench.come_online())
    share = an_armed_share()
    bench.desire(share)
    bench.port.take_requests()
    bench.link.orders.confirm(share.content_hash, now_ms=NOW)
    bench.link.note_down(now_ms=NOW)
    bench.link.orders.check_link(now_ms=NOW + 9_000)
    assert list(bench.port.take_requests()) == []
    bench.link.orders.check_link(now_ms=NOW + 11_000)
    bench.link.orders.check_link(now_ms=NOW + 12_000)
    assert list(bench.port.take_requests()) == requests


@pytest.mark.parametrize("step_ms", [300_000, -900_000])
def test_a_stepped_clock_changes_nothing_about_how_long_the_link_has_been_away(tmp_path: Path, step_ms: int) -> None:
    bench = Bench(tmp_path, LossOfLink.RELEASE)
    bench.told(bench.come_online())
    share = an_armed_share(ends_in_s=3600.0)
    bench.desire(share)
    bench.port.take_requests()
    bench.link.orders.confirm(share.content_hash, now_ms=NOW)
    bench.link.note_down(now_ms=NOW)
    bench.link.move_clock(by_ms=step_ms)
    bench.link.orders.check_link(now_ms=NOW + step_ms + 9_000)
    assert list(bench.port.take_requests()) == []
    bench.link.orders.check_link(now_ms=NOW + step_ms + 11_000)
    assert list(bench.port.take_requests()) == [(0, None)]


def test_a_released_assignment_is_armed_again_when_the_platform_repeats_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LossOfLink.RELEASE)
    bench.told(bench.come_online())
    share = an_armed_share()
    bench.desire(share)
    bench.link.orders.confirm(share.content_hash, now_ms=NOW)
    bench.link.note_down(now_ms=NOW)
    bench.link.orders.check_link(now_ms=NOW + 11_000)
    bench.link.orders.confirm("", now_ms=NOW + 11_000)
    bench.port.take_requests()
    bench.told(bench.come_online(NOW + 20_000))
    bench.desire(share, at_ms=NOW + 20_000)
    assert list(bench.port.take_requests()) == [(0, share)]


def test_marks_delete_rows_and_faulty_ones_are_counted(bench: Bench) -> None:
    bench.come_online()
    bench.link.rows.close_interval(a_boundary(1, 1.0), now_ms=NOW)
    bench.hear(node_command(SITE, NOW, {"stored_through/pcc": 1, "stored_through/battery": 9}))
    assert [row.stream for row in bench.outbox.due(sent_before_ms=NOW + 1, limit=9, at_ms=FAR)] == ["battery"]
    assert bench.link.refused_count == 1
    bench.hear(node_command(SITE, NOW, {"stored_through/wind": 1}))
    assert bench.link.refused_count == 2


def test_a_new_outbox_sends_nothing_numbered_before_it_knows_the_platforms_marks(bench: Bench) -> None:
    bench.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW)
    # Before its births a mark may be older than what is on its way to the database.
    bench.tell_marks(pcc=1)
    bench.told(bench.come_online_unanswered())
    assert bench.link.rows.close_interval(a_boundary(2, 7200.0), now_ms=NOW) == []
    assert bench.due_numbers("pcc") == []
    bench.tell_marks(pcc=40)
    assert (bench.due_numbers("pcc"), bench.due_numbers("battery")) == ([41, 42], [1, 2])
    row = next(row for row in bench.outbox.due(sent_before_ms=NOW + 1, limit=9, at_ms=FAR) if row.number == 41)
    (event,) = bench.told([bench.link.rows.resend(row, now_ms=NOW)], NOW + 300_000)
    assert isinstance(event, DeviceData)
    assert event.values["interval/number"].value == 41
    # From here on marks confirm, and one ahead of the numbering is refused.
    bench.tell_marks(pcc=41)
    assert bench.due_numbers("pcc") == [42]
    bench.tell_marks(pcc=43)
    assert (bench.due_numbers("pcc"), bench.link.refused_count) == ([42], 1)


def test_a_mark_beyond_reason_is_refused_and_the_births_are_repeated_for_another(bench: Bench) -> None:
    bench.told(bench.come_online_unanswered())
    bench.tell_marks(pcc=2_000_000_000)
    assert bench.link.refused_count == 1
    assert bench.link.ensure_born(now_ms=NOW + 29_000) == []
    assert len(bench.link.ensure_born(now_ms=NOW + 30_000)) == 4
    bench.tell_marks(pcc=7)
    assert bench.link.ensure_born(now_ms=NOW + 90_000) == []
    bench.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW)
    assert bench.outbox.next_number(SITE, "pcc") == 9


def test_a_kept_row_is_sent_again_as_historical(bench: Bench) -> None:
    bench.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW)
    bench.told(bench.come_online())
    (row,) = (row for row in bench.outbox.due(sent_before_ms=NOW, limit=9, at_ms=FAR) if row.stream == "pcc")
    (event,) = bench.told([bench.link.rows.resend(row, now_ms=NOW)], NOW + 120_000)
    assert isinstance(event, DeviceData)
    number = event.values["interval/number"]
    assert (number.value, number.is_historical) == (1, True)
    assert event.values["interval/into_bus_uwh"].value == 1_000_000


def test_rows_that_the_platform_lost_are_sent_again_and_pruned_ones_are_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, keep_stored_s=3600.0)
    bench.told(bench.come_online())
    for minute in range(1, 6):
        at_ms = NOW + minute * 60_000
        bench.told(bench.link.rows.close_interval(a_boundary(minute, 3600.0 * minute), now_ms=at_ms), at_ms)
    bench.tell_marks(pcc=5, battery=5)
    assert bench.due_numbers("pcc") == []

    def ask(stream: str, first: int, last: int) -> dict[str, object]:
        messages = bench.hear(node_command(SITE, NOW, {f"resend/{stream}": [first, last]}))
        (event,) = bench.told(messages)
        assert isinstance(event, NodeData)
        return {name.removeprefix("resent/"): metric.value for name, metric in event.values.items()}

    assert ask("pcc", 2, 4) == {"stream": "pcc", "first": 2, "last": 4, "found": 3, "refusal": ""}
    assert bench.due_numbers("pcc") == [2, 3, 4]
    bench.tell_marks(pcc=5)
    assert bench.due_numbers("pcc") == []
    assert ask("pcc", 5, 6)["refusal"] == "not_numbered_yet"
    assert ask("heat", 1, 1)["refusal"] == "stream_unknown"
    assert ask("pcc", 4, 3)["refusal"] == "request_malformed"
    # Minutes 1 and 2 have been kept for an hour.
    assert bench.outbox.prune_stored(at_ms=NOW + 3_600_000 + 150_000) == 4
    assert ask("pcc", 1, 2)["refusal"] == "no_longer_kept"
    assert ask("pcc", 1, 3)["found"] == 1


def test_every_connection_carries_a_new_birth_number_also_after_a_restart(tmp_path: Path) -> None:
    wills = []
    for _ in range(2):
        bench = Bench(tmp_path)
        wills += [bench.link.will().payload, bench.link.will().payload]
        bench.outbox.close()
    assert len(set(wills)) == 4


class TestRowsOfInstantsThatHaveNotCome:
    """A clock that ran ahead and was put right: what was metered goes on behind it, and waits for its time."""

    def test_by_a_clock_that_is_right_they_wait(self, bench: Bench) -> None:
        bench.come_online()
        boundary = a_boundary(1, 3600.0)
        right = TimeQuality.SYNCHRONIZED
        assert bench.link.rows.close_interval(boundary, now_ms=NOW + 57_000, time_quality=right) == []
        for at_ms, found in ((NOW + 57_000, 0), (NOW + 58_000, 2)):
            rows = bench.outbox.due(sent_before_ms=at_ms, limit=9, at_ms=at_ms, is_clock_right=True)
            assert len(rows) == found

    def test_by_a_clock_that_may_be_wrong_they_go_out_once(self, bench: Bench) -> None:
        bench.come_online()
        assert len(bench.link.rows.close_interval(a_boundary(1, 3600.0), now_ms=NOW)) == 2
        assert bench.outbox.due(sent_before_ms=NOW + 10_000, limit=9, at_ms=NOW + 10_000) == []
        # A lost connection may have taken them along.
        bench.link.note_down(now_ms=NOW + 10_000)
        assert len(bench.outbox.due(sent_before_ms=NOW + 10_000, limit=9, at_ms=NOW + 10_000)) == 2
        assert len(bench.outbox.due(sent_before_ms=FAR, limit=9, at_ms=NOW + 60_000)) == 2
