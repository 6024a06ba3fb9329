"""Events that compete: who is cut, lost, given back, and what stays when one that runs is changed or taken back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from markets import operations, queries
from markets.core.course import Step
from markets.core.events import Event, EventInterval, EventSignal, OptType
from markets.core.obligations import Decision, Reason
from markets.models import MarketEvent, Obligation, Program
from markets.obligation_changes import ObligationChange
from markets.operations import ProgramSeed

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
STARTS_AT, HALF_HOUR = AT + timedelta(minutes=5), timedelta(minutes=30)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _programs() -> None:
    operations.ensure_programs()
    operations.ensure_programs(seeds=[ProgramSeed("energy-dispatch", "http://operator.example/energy", True)])


def an_event(
    event_id: str = "e1", number: int = 0, *, value: float = -100.0, program: str = "neso-dc-low", **changes: Any
) -> Event:
    context = queries.program_named(program).market_context
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(STARTS_AT, HALF_HOUR, value),), "W", "k")
    return replace(Event("VTN", event_id, number, "far", context, STARTS_AT, HALF_HOUR, (signal,)), **changes)


def a_plan(*values: float, event_id: str = "plan", program: str = "energy-dispatch", **changes: Any) -> Event:
    """Equal steps over the half hour."""
    length = HALF_HOUR / len(values)
    steps = tuple(EventInterval(STARTS_AT + n * length, length, value) for n, value in enumerate(values))
    signal = EventSignal("LOAD_DISPATCH", "delta", steps, "W", "k")
    return an_event(event_id, program=program, signals=(signal,), **changes)


def receive(event: Event, *, available_kw: float = 150.0, at: datetime = AT) -> Decision:
    return operations.receive_event(raw=b"<raw/>", event=event, available_kw=available_kw, at=at)


def owed(event_id: str) -> Obligation:
    return Obligation.objects.get(event__event_id=event_id)


def parts_allowed() -> None:
    Program.objects.update(allows_part=True)


class TestWhoIsCut:
    def test_a_higher_priority_takes_its_power_from_a_lower_one_which_is_told(self):
        parts_allowed()
        receive(an_event("low"))
        decision = receive(an_event("high", priority=1))
        assert (decision.reason, decision.power_kw) == (Reason.ACCEPTED, 100.0)
        row = owed("low")
        assert (row.power_kw, row.revision, row.event.reason, row.event.opt_type) == (50.0, 2, "reduced", "optIn")
        change = ObligationChange.objects.get()
        assert (change.before_kw, change.after_kw, change.revision, change.cause) == (100.0, 50.0, 2, "high")
        assert "after high (its operator gave it the higher priority)" in change.text == row.event.reason_text
        assert list(queries.changes_to_tell(operator=row.event.operator)) == [change]
        # The operator that asks again hears what stands.
        again = receive(an_event("low"))
        assert (again.reason, again.power_kw) == (Reason.REDUCED, 50.0)

    def test_a_lower_one_gets_what_is_left_and_hears_why(self):
        parts_allowed()
        receive(an_event("high", priority=1))
        decision = receive(an_event("low"))
        assert (decision.reason, decision.power_kw) == (Reason.ACCEPTED_PART, 50.0)
        assert "after high (its operator gave it the higher priority)" in decision.text
        assert not ObligationChange.objects.exists()

    def test_an_emergency_program_goes_before_any_priority(self):
        parts_allowed()
        Program.objects.filter(name="energy-dispatch").update(is_emergency=True)
        receive(an_event("economic", priority=1))
        receive(a_plan(100.0, event_id="emergency"))
        assert (owed("emergency").power_kw, owed("economic").power_kw) == (100.0, 50.0)
        assert "emergency program" in owed("economic").event.reason_text

    def test_one_that_is_whole_or_nothing_is_lost_and_given_back_with_the_room(self):
        receive(an_event("low"))
        receive(an_event("high", priority=1))
        row = owed("low")
        assert (row.status, row.event.opt_type, row.event.reason) == ("cancelled", "optOut", "displaced")
        receive(an_event("high", 1, priority=1, status="cancelled"), at=AT + MINUTE)
        row = owed("low")
        assert (row.status, row.power_kw, row.event.opt_type, row.event.reason) == ("open", 100.0, "optIn", "restored")
        assert [(c.before_kw, c.after_kw) for c in ObligationChange.objects.all()] == [(100.0, 0.0), (0.0, 100.0)]

    def test_what_comes_free_goes_to_one_that_was_refused_while_its_notice_lasts(self):
        receive(an_event("first"))
        assert receive(an_event("second")).reason is Reason.NOT_AVAILABLE
        operations.withdraw_absent_events(vtn_id="VTN", listed=["second"], since=AT, at=AT + MINUTE)
        assert (owed("second").power_kw, owed("second").event.reason) == (100.0, "restored")

    def test_one_that_was_refused_takes_nothing_from_an_equal_that_was_accepted(self):
        receive(an_event("first", value=-60.0))
        assert receive(an_event("second")).opt is OptType.OPT_OUT
        receive(an_event("third", value=-80.0))
        receive(an_event("first", 1, value=-60.0, status="cancelled"), at=AT + MINUTE)
        assert not Obligation.objects.filter(event__event_id="second").exists()
        assert owed("third").power_kw == 80.0

    def test_what_was_sold_is_counted_and_not_cut(self):
        parts_allowed()
        receive(an_event("sold"))
        MarketEvent.objects.update(asked={})
        assert receive(an_event("high", priority=1)).power_kw == 50.0
        assert owed("sold").power_kw == 100.0

    def test_one_that_runs_is_cut_from_now_on_and_what_was_is_still_to_settle(self):
        parts_allowed()
        receive(an_event("low"))
        at = STARTS_AT + 10 * MINUTE
        high = an_event("high", priority=1, starts_at=at + MINUTE)
        step = EventInterval(at + MINUTE, HALF_HOUR, -100.0)
        receive(replace(high, signals=(replace(high.signals[0], intervals=(step,)),)), at=at)
        row = owed("low")
        assert row.course == (Step(STARTS_AT, 100.0), Step(at, 50.0))
        assert (row.power_kw, row.starts_at, row.ends_at) == (50.0, STARTS_AT, STARTS_AT + HALF_HOUR)
        # (100 x 10 + 50 x 20) / 30
        assert row.settled_kw == pytest.approx(200.0 / 3.0)

    def test_one_that_runs_and_loses_all_ends_now(self):
        receive(an_event("low"))
        at = STARTS_AT + 10 * MINUTE
        high = an_event("high", priority=1, starts_at=at + MINUTE)
        step = EventInterval(at + MINUTE, HALF_HOUR, -100.0)
        receive(replace(high, signals=(replace(high.signals[0], intervals=(step,)),)), at=at)
        row = owed("low")
        assert (row.status, row.ends_at, row.event.reason) == ("open", at, "displaced")
        assert list(queries.obligations_to_settle(at=at)) == [row]

    def test_what_the_fleet_can_do_by_now_bounds_those_behind_the_newcomer(self):
        parts_allowed()
        receive(an_event("low"), available_kw=150.0)
        receive(an_event("high", priority=1, value=-60.0), available_kw=100.0)
        assert (owed("high").power_kw, owed("low").power_kw) == (60.0, 40.0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=lambda order: "".join(map(str, order)))
def test_the_order_of_arrival_changes_nothing(order):
    """Four priorities: two take parts, two are whole or nothing."""
    Program.objects.filter(name="energy-dispatch").update(allows_part=True)
    events = [
        an_event("a", value=-60.0, priority=1),
        a_plan(40.0, 90.0, event_id="b", priority=2),
        an_event("c", value=-70.0, priority=3),
        a_plan(80.0, 70.0, event_id="d", priority=4),
    ]
    for number in order:
        receive(events[number])
    found = {
        row.event.event_id: [step.power_kw for step in row.course]
        for row in Obligation.objects.exclude(status="cancelled")
    }
    # Of 150: a 60; b 40, then 90; c finds nothing in the second half, and is whole or nothing; d has the rest.
    assert found == {"a": [60.0], "b": [40.0, 90.0], "d": [50.0, 0.0]}


class TestChangingWhatRuns:
    at = STARTS_AT + 10 * MINUTE

    def test_a_modification_holds_from_now_on(self):
        receive(an_event())
        decision = receive(an_event(number=1, value=-40.0, status="active"), at=self.at)
        assert (decision.reason, decision.power_kw) == (Reason.ACCEPTED, 40.0)
        row = owed("e1")
        assert row.course == (Step(STARTS_AT, 100.0), Step(self.at, 40.0))
        assert (row.power_kw, row.revision, row.event.modification_number) == (40.0, 2, 1)

    def test_a_longer_window_and_more_power_are_taken_where_there_is_some(self):
        receive(an_event())
        longer = EventInterval(STARTS_AT, 2 * HALF_HOUR, -140.0)
        event = an_event(number=1, status="active", duration=2 * HALF_HOUR)
        receive(replace(event, signals=(replace(event.signals[0], intervals=(longer,)),)), at=self.at)
        row = owed("e1")
        assert (row.course[-1], row.ends_at) == (Step(self.at, 140.0), STARTS_AT + 2 * HALF_HOUR)

    def test_what_runs_cannot_begin_again(self):
        receive(an_event())
        later = an_event(number=1, starts_at=self.at + MINUTE, status="far")
        decision = receive(later, at=self.at)
        assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.WINDOW_MOVED)
        assert owed("e1").ends_at == self.at

    def test_a_cancellation_with_a_tolerance_ends_by_lot_within_it_and_once(self):
        tolerance = timedelta(minutes=10)
        receive(an_event(start_after=tolerance))
        receive(an_event(number=1, start_after=tolerance, status="cancelled"), at=self.at)
        ends_at = owed("e1").ends_at
        assert self.at < ends_at < self.at + tolerance
        receive(an_event(number=2, start_after=tolerance, status="cancelled"), at=self.at + MINUTE)
        assert owed("e1").ends_at == ends_at

    def test_an_implied_cancellation_ends_it_likewise(self):
        receive(an_event("spread", start_after=timedelta(minutes=10)))
        receive(an_event("sharp", value=-20.0))
        operations.withdraw_absent_events(vtn_id="VTN", listed=[], since=AT, at=self.at)
        assert owed("sharp").ends_at == self.at
        assert self.at < owed("spread").ends_at < self.at + timedelta(minutes=10)
        assert owed("sharp").event.status == "withdrawn"

    def test_its_room_goes_to_others_once_it_is_over(self):
        receive(an_event("spread", start_after=timedelta(minutes=10)))
        receive(an_event("spread", 1, start_after=timedelta(minutes=10), status="cancelled"), at=self.at)
        ends_at = owed("spread").ends_at
        for starts_at, reason in ((self.at + MINUTE, Reason.NOT_AVAILABLE), (ends_at, Reason.ACCEPTED)):
            event = an_event(f"next-{reason}", starts_at=starts_at)
            step = EventInterval(starts_at, HALF_HOUR, -100.0)
            event = replace(event, signals=(replace(event.signals[0], intervals=(step,)),))
            assert receive(event, at=self.at).reason is reason


class TestSteps:
    def test_an_instruction_may_change_from_step_to_step_in_size_and_way(self):
        decision = receive(a_plan(40.0, -20.0, 0.0))
        assert (decision.reason, decision.power_kw) == (Reason.ACCEPTED, 40.0)
        row = owed("plan")
        assert [step.power_kw for step in row.course] == [40.0, -20.0, 0.0]
        assert row.settled_kw == pytest.approx(20.0)

    def test_a_step_that_others_leave_too_little_for_is_cut_alone(self):
        receive(an_event("dc", value=-100.0, priority=1))
        decision = receive(a_plan(80.0, -80.0))
        assert decision.reason is Reason.ACCEPTED_PART
        assert [step.power_kw for step in owed("plan").course] == [50.0, -80.0]

    def test_other_products_refuse_them_by_name(self):
        decision = receive(a_plan(-40.0, -20.0, program="neso-dc-low"))
        assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.INTERVALS_VARY)

    def test_one_power_the_other_way_is_kept_with_its_sign(self):
        receive(a_plan(-30.0))
        assert owed("plan").course == (Step(STARTS_AT, -30.0),)
        assert owed("plan").power_kw == 30.0
