"""The decision on an event: a truth table, and that no event raises."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.events import Event, EventInterval, EventSignal, OptType
from markets.core.obligations import ProgramTerms, Reason, decide

AT = datetime(2026, 1, 1, tzinfo=UTC)
STARTS_AT = AT + timedelta(minutes=5)
HALF_HOUR = timedelta(minutes=30)
LOW = ProgramTerms(
    name="low", market_context="http://low", product="neso-dc-low", dispatch_prefix="DC", signal_name="LOAD_DISPATCH",
    signal_type="delta", signal_sign=-1, unit_kw=1.0, allows_part=False, min_power_kw=1.0, min_notice_s=2.0,
)  # fmt: skip
HIGH = replace(LOW, name="high", signal_sign=1, product="neso-dc-high")


def an_interval(**changes: Any) -> EventInterval:
    return replace(EventInterval(STARTS_AT, HALF_HOUR, -5000.0), **changes)


def a_signal(**changes: Any) -> EventSignal:
    return replace(EventSignal("LOAD_DISPATCH", "delta", (an_interval(),), "W", "k"), **changes)


def an_event(**changes: Any) -> Event:
    event = Event(
        vtn_id="VTN", event_id="e1", modification_number=0, status="far", market_context="http://low",
        starts_at=STARTS_AT, duration=HALF_HOUR, signals=(a_signal(),),
    )  # fmt: skip
    return replace(event, **changes)


def with_value(value: float | None) -> Event:
    return an_event(signals=(a_signal(intervals=(an_interval(value=value),)),))


class TestAccepting:
    def test_whole_when_the_fleet_can_keep_it_up(self):
        decision = decide(an_event(), LOW, 5000.0, AT)
        assert (decision.opt, decision.reason, decision.power_kw) == (OptType.OPT_IN, Reason.ACCEPTED, 5000.0)
        assert (decision.starts_at, decision.ends_at) == (STARTS_AT, STARTS_AT + HALF_HOUR)

    def test_none_when_the_program_allows_no_part(self):
        decision = decide(an_event(), LOW, 4999.9, AT)
        assert (decision.opt, decision.reason, decision.power_kw) == (OptType.OPT_OUT, Reason.NOT_AVAILABLE, 0.0)
        assert "4999.9 kW available" in decision.text

    def test_part_in_whole_kilowatts_downwards_where_allowed(self):
        decision = decide(an_event(), replace(LOW, allows_part=True), 4999.9, AT)
        assert (decision.opt, decision.reason, decision.power_kw) == (OptType.OPT_IN, Reason.ACCEPTED_PART, 4999.0)

    def test_no_part_below_the_program_s_minimum(self):
        decision = decide(an_event(), replace(LOW, allows_part=True, min_power_kw=100.0), 99.9, AT)
        assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.NOT_AVAILABLE)

    @pytest.mark.parametrize("available_kw", [math.nan, -1.0, 0.0])
    def test_an_availability_that_says_nothing_accepts_nothing(self, available_kw):
        assert decide(an_event(), replace(LOW, allows_part=True), available_kw, AT).opt is OptType.OPT_OUT

    @pytest.mark.parametrize(
        ("scale", "value", "power_kw"),
        [("none", -5_000_000.0, 5000.0), ("k", -5000.0, 5000.0), ("M", -5.0, 5000.0), ("G", -0.005, 5000.0)],
    )
    def test_the_signal_s_own_unit_wins(self, scale, value, power_kw):
        signal = a_signal(scale=scale, intervals=(an_interval(value=value),))
        assert decide(an_event(signals=(signal,)), LOW, 1e6, AT).power_kw == pytest.approx(power_kw)

    def test_without_a_unit_the_program_s_convention_holds(self):
        event = an_event(signals=(a_signal(unit=None, scale=None, intervals=(an_interval(value=-5.0),)),))
        assert decide(event, replace(LOW, unit_kw=1000.0), 1e6, AT).power_kw == 5000.0

    def test_a_downward_program_takes_the_other_sign(self):
        assert decide(with_value(5000.0), HIGH, 1e6, AT).power_kw == 5000.0
        assert decide(with_value(-5000.0), HIGH, 1e6, AT).reason is Reason.VALUE_WRONG_SIGN
        assert decide(with_value(5000.0), LOW, 1e6, AT).reason is Reason.VALUE_WRONG_SIGN

    def test_several_intervals_of_one_power_without_a_hole(self):
        quarter = HALF_HOUR / 2
        steps = (
            an_interval(duration=quarter),
            an_interval(starts_at=None, duration=quarter),
        )
        assert decide(an_event(signals=(a_signal(intervals=steps),)), LOW, 1e6, AT).power_kw == 5000.0

    def test_a_test_event_is_answered_and_never_acted_on(self):
        decision = decide(an_event(is_test=True), LOW, 1e6, AT)
        assert (decision.opt, decision.reason, decision.is_obligation) == (OptType.OPT_IN, Reason.TEST_EVENT, False)

    def test_a_cancelled_event_is_acknowledged_whatever_else_it_holds(self):
        decision = decide(an_event(status="cancelled", signals=()), None, 0.0, AT)
        assert (decision.opt, decision.reason, decision.is_obligation) == (OptType.OPT_IN, Reason.CANCELLED, False)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (an_event(status="soon"), Reason.STATUS_UNKNOWN),
        (an_event(starts_at=None), Reason.WINDOW_MISSING),
        (an_event(duration=None), Reason.WINDOW_MISSING),
        (an_event(duration=timedelta(0)), Reason.DURATION_OUT_OF_RANGE),
        (an_event(duration=timedelta(minutes=-5)), Reason.DURATION_OUT_OF_RANGE),
        (an_event(duration=timedelta(days=2)), Reason.DURATION_OUT_OF_RANGE),
        (an_event(starts_at=AT - timedelta(hours=2)), Reason.WINDOW_PAST),
        (an_event(starts_at=AT - HALF_HOUR), Reason.WINDOW_PAST),
        (an_event(status="completed"), Reason.WINDOW_PAST),
        (an_event(starts_at=AT - timedelta(minutes=1)), Reason.NOTICE_TOO_SHORT),
        (an_event(starts_at=AT + timedelta(seconds=1)), Reason.NOTICE_TOO_SHORT),
        (an_event(starts_at=AT + timedelta(days=61)), Reason.WINDOW_TOO_FAR),
        (an_event(starts_at=datetime.max.replace(tzinfo=UTC)), Reason.WINDOW_TOO_FAR),
        (an_event(signals=()), Reason.SIGNAL_MISSING),
        (an_event(signals=(a_signal(name="SIMPLE"),)), Reason.SIGNAL_UNKNOWN),
        (an_event(signals=(a_signal(), a_signal(name="SIMPLE"))), Reason.SIGNAL_UNKNOWN),
        (an_event(signals=(a_signal(), a_signal())), Reason.SIGNALS_AMBIGUOUS),
        (an_event(signals=(a_signal(type="setpoint"),)), Reason.SIGNAL_TYPE_UNSUPPORTED),
        (an_event(signals=(a_signal(unit="VA"),)), Reason.UNIT_UNKNOWN),
        (an_event(signals=(a_signal(unit=""),)), Reason.UNIT_UNKNOWN),
        (an_event(signals=(a_signal(scale="T"),)), Reason.UNIT_UNKNOWN),
        (an_event(signals=(a_signal(intervals=()),)), Reason.INTERVALS_MISSING),
        (with_value(None), Reason.VALUE_MISSING),
        (with_value(math.nan), Reason.VALUE_NOT_FINITE),
        (with_value(-math.inf), Reason.VALUE_NOT_FINITE),
        (with_value(0.0), Reason.VALUE_ZERO),
        (with_value(-1e-9), Reason.VALUE_TOO_SMALL),
        (with_value(-1e9), Reason.VALUE_ABSURD),
        (with_value(5000.0), Reason.VALUE_WRONG_SIGN),
        (
            an_event(signals=(a_signal(intervals=(an_interval(duration=timedelta(minutes=-30)),)),)),
            Reason.DURATION_OUT_OF_RANGE,
        ),
        (
            an_event(signals=(a_signal(intervals=(an_interval(duration=timedelta(minutes=10)),)),)),
            Reason.INTERVALS_INCONSISTENT,
        ),
        (
            an_event(signals=(a_signal(intervals=(an_interval(starts_at=STARTS_AT + HALF_HOUR),)),)),
            Reason.INTERVALS_INCONSISTENT,
        ),
        (
            an_event(
                signals=(
                    a_signal(
                        intervals=(
                            an_interval(duration=HALF_HOUR / 2),
                            an_interval(starts_at=STARTS_AT + HALF_HOUR / 2, duration=HALF_HOUR / 2, value=-1.0),
                        )
                    ),
                )
            ),
            Reason.INTERVALS_VARY,
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
def test_what_is_wrong_with_an_event_is_named(event, reason):
    decision = decide(event, LOW, 1e9, AT)
    assert (decision.opt, decision.reason) == (OptType.OPT_OUT, reason)
    assert decision.text
    assert not decision.is_obligation


def test_an_unknown_market_context_is_named():
    decision = decide(an_event(market_context="http://elsewhere"), None, 1e9, AT)
    assert (decision.opt, decision.reason) == (OptType.OPT_OUT, Reason.MARKET_CONTEXT_UNKNOWN)


instants = st.none() | st.datetimes(timezones=st.just(UTC))
durations = st.none() | st.timedeltas()
intervals = st.builds(EventInterval, instants, durations, st.none() | st.floats())
signals = st.builds(
    EventSignal, st.sampled_from(["LOAD_DISPATCH", "SIMPLE", ""]), st.sampled_from(["delta", "level"]),
    st.lists(intervals, max_size=3).map(tuple), st.sampled_from([None, "W", "", "VA"]),
    st.sampled_from([None, "k", "T"]),
)  # fmt: skip
events = st.builds(
    Event, vtn_id=st.just("V"), event_id=st.just("e"), modification_number=st.integers(0, 9),
    status=st.sampled_from(["far", "near", "active", "completed", "none", "cancelled", "x"]),
    market_context=st.text(max_size=5), starts_at=instants, duration=durations,
    signals=st.lists(signals, max_size=2).map(tuple), is_test=st.booleans(),
)  # fmt: skip


@given(events, st.sampled_from([LOW, HIGH, replace(LOW, allows_part=True), None]), st.floats())
def test_no_event_raises_and_none_owes_more_than_asked_or_there_is(event, program, available_kw):
    decision = decide(event, program, available_kw, AT)
    if decision.is_obligation:
        assert decision.requested_kw is not None
        assert 0.0 < decision.power_kw <= min(decision.requested_kw, available_kw)
        assert decision.starts_at is not None
        assert decision.ends_at is not None
        assert AT < decision.starts_at < decision.ends_at
    else:
        assert decision.power_kw == 0.0
