"""Receiving events: one transaction each, the same answer for the same version, nothing lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from markets import operations, queries
from markets.core.events import Event, EventInterval, EventSignal, OptType
from markets.core.obligations import Decision, Reason
from markets.models import MarketEvent, Obligation, RefusedMessage

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
STARTS_AT, HALF_HOUR = AT + timedelta(minutes=5), timedelta(minutes=30)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _programs() -> None:
    operations.ensure_programs()


def an_event(event_id: str = "e1", number: int = 0, *, value: float = -100.0, **changes: Any) -> Event:
    context = queries.program_named("neso-dc-low").market_context
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(STARTS_AT, HALF_HOUR, value),), "W", "k")
    event = Event("VTN", event_id, number, "far", context, STARTS_AT, HALF_HOUR, (signal,))
    return replace(event, **changes)


def receive(event: Event, *, available_kw: float = 150.0, at: datetime = AT, raw: bytes = b"<raw/>") -> Decision:
    return operations.receive_event(raw=raw, event=event, available_kw=available_kw, at=at)


def test_the_bytes_are_kept_as_they_came():
    raw = bytes(range(256))
    receive(an_event(), raw=raw)
    assert bytes(MarketEvent.objects.get().raw) == raw


def test_an_accepted_event_is_owed_until_it_ends():
    assert receive(an_event()).reason is Reason.ACCEPTED
    (obligation,) = queries.open_obligations(at=AT)
    assert (obligation.dispatch_id, obligation.power_kw, obligation.revision) == ("DC-e1", 100.0, 1)
    assert list(queries.open_obligations(at=STARTS_AT + HALF_HOUR)) == []
    assert list(queries.obligations_to_settle(at=STARTS_AT + HALF_HOUR)) == [obligation]


def test_the_same_version_gets_the_same_answer_whatever_the_fleet_can_do_now():
    first = receive(an_event())
    again = receive(an_event(status="near"), available_kw=0.0, at=AT + timedelta(minutes=1))
    assert (again.opt, again.reason, again.power_kw) == (first.opt, first.reason, first.power_kw)
    assert (MarketEvent.objects.count(), Obligation.objects.count()) == (1, 1)
    refused = receive(an_event("e2"), available_kw=0.0)
    assert receive(an_event("e2"), available_kw=1e6).opt is refused.opt is OptType.OPT_OUT


def test_other_content_under_the_same_number_is_refused_and_changes_nothing():
    receive(an_event())
    decision = receive(an_event(value=-50.0))
    assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.MODIFICATION_REPEATED)
    assert Obligation.objects.get().power_kw == 100.0
    assert RefusedMessage.objects.get().error == "modification_repeated"


def test_a_higher_number_replaces_what_is_owed():
    receive(an_event())
    receive(an_event(number=2, value=-60.0))
    obligation = Obligation.objects.get()
    assert (obligation.power_kw, obligation.revision, obligation.event.modification_number) == (60.0, 2, 2)
    assert [event.status for event in MarketEvent.objects.all()] == ["superseded", "decided"]


def test_a_lower_number_is_ignored_and_stored():
    receive(an_event(number=2))
    decision = receive(an_event(number=1, value=-60.0))
    assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.MODIFICATION_STALE)
    assert Obligation.objects.get().power_kw == 100.0
    assert MarketEvent.objects.get(modification_number=1).status == "ignored"
    assert receive(an_event(number=1, value=-60.0)).reason is Reason.MODIFICATION_STALE


def test_a_refused_modification_ends_the_old_obligation():
    """The operator's new version is the event; who does not take part in it owes nothing."""
    receive(an_event())
    assert receive(an_event(number=1, value=-1e6)).opt is OptType.OPT_OUT
    assert Obligation.objects.get().status == "cancelled"


@pytest.mark.parametrize("number", [0, 1])
def test_a_cancellation_ends_it_with_or_without_a_new_number(number):
    receive(an_event())
    decision = receive(an_event(number=number, status="cancelled"), at=AT + timedelta(minutes=1))
    assert (decision.opt, decision.reason) == (OptType.OPT_IN, Reason.CANCELLED)
    assert Obligation.objects.get().status == "cancelled"
    assert list(queries.open_obligations(at=AT)) == []


def test_a_cancellation_in_the_event_cuts_it_short_and_what_was_held_is_still_to_settle():
    receive(an_event())
    at = STARTS_AT + timedelta(minutes=10)
    receive(an_event(number=1, status="cancelled"), at=at)
    obligation = Obligation.objects.get()
    assert (obligation.status, obligation.ends_at) == ("open", at)
    assert list(queries.obligations_to_settle(at=at)) == [obligation]


def test_an_event_told_completed_after_its_end_keeps_what_is_to_settle():
    receive(an_event())
    receive(an_event(number=1, status="completed"), at=STARTS_AT + HALF_HOUR + timedelta(minutes=1))
    obligation = Obligation.objects.get()
    assert (obligation.status, obligation.ends_at) == ("open", STARTS_AT + HALF_HOUR)


def test_what_is_promised_is_taken_off():
    receive(an_event("e1"))
    assert receive(an_event("e2")).reason is Reason.NOT_AVAILABLE
    assert receive(an_event("e3", value=-50.0)).reason is Reason.ACCEPTED


def test_the_other_direction_does_not_compete():
    receive(an_event("e1"))
    high = queries.program_named("neso-dc-high").market_context
    assert receive(an_event("e2", value=100.0, market_context=high)).reason is Reason.ACCEPTED


def test_a_withdrawn_event_listed_again_is_decided_again():
    receive(an_event())
    assert operations.withdraw_absent_events(vtn_id="VTN", listed=[], since=AT, at=AT) == ["e1"]
    assert Obligation.objects.get().status == "cancelled"
    assert receive(an_event(), available_kw=0.0).opt is OptType.OPT_OUT
    operations.withdraw_absent_events(vtn_id="VTN", listed=[], since=AT, at=AT)
    MarketEvent.objects.update(status="withdrawn")
    assert receive(an_event()).reason is Reason.ACCEPTED
    assert (Obligation.objects.get().status, Obligation.objects.count()) == ("open", 1)


def test_another_operator_s_list_and_events_before_our_registration_stay():
    receive(an_event())
    assert operations.withdraw_absent_events(vtn_id="OTHER", listed=[], since=AT, at=AT) == []
    since = AT + timedelta(seconds=1)
    assert operations.withdraw_absent_events(vtn_id="VTN", listed=[], since=since, at=since) == []
    assert Obligation.objects.get().status == "open"


def test_two_operators_may_use_one_event_id_and_odd_ids_make_a_usable_dispatch_id():
    receive(an_event("e1", value=-10.0))
    receive(replace(an_event("e1", value=-10.0), vtn_id="OTHER"))
    receive(an_event("a b/ü", value=-10.0))
    ids = list(Obligation.objects.values_list("dispatch_id", flat=True))
    assert len(set(ids)) == 3
    assert all(len(dispatch_id) <= 67 and dispatch_id.isascii() and " " not in dispatch_id for dispatch_id in ids)


def test_refused_messages_are_kept_up_to_a_number():
    for _ in range(3):
        operations.refuse_message(raw=b"x" * 100_000, source="VTN", error="xml_malformed", detail="d" * 999, at=AT)
    assert RefusedMessage.objects.count() == 3
    row = RefusedMessage.objects.first()
    assert (row.size_bytes, len(row.raw)) == (100_000, 65_536)


def test_setting_up_programs_again_changes_nothing():
    queries.program_named("neso-dc-low")
    before = list(type(queries.program_named("neso-dc-low")).objects.values())
    operations.ensure_programs()
    assert list(type(queries.program_named("neso-dc-low")).objects.values()) == before
