"""What an operator may ask for, what is refused by name, and when reports are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.report_orders import (
    MAX_ORDERS,
    Asked,
    Descriptor,
    ReportRefused,
    Specifier,
    accepted,
    due_through,
    history_steps,
    next_sample_at,
    planned,
    sample_instants,
)

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
HOUR = datetime(2026, 3, 1, 11, tzinfo=UTC)
OFFERED = {
    "live": Specifier("live", frozenset({"r/power", "r/up"}), False, 1, 3600),
    "past": Specifier("past", frozenset({"r/energy"}), True, 60, 86_400),
}
LIVE = Asked("o-1", "live", ("r/power",), 10.0, 60.0)
PAST = Asked("o-2", "past", ("r/energy",), 900.0, 0.0, HOUR, 3600.0)


def seconds(count):
    return timedelta(seconds=count)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (replace(LIVE, specifier="other"), "report_unknown"),
        (replace(LIVE, points=("r/power", "r/steam")), "report_point_unknown"),
        (replace(LIVE, points=()), "report_points_missing"),
        (replace(LIVE, order_id=""), "order_id_invalid"),
        (replace(LIVE, order_id="a\nb"), "order_id_invalid"),
        (replace(LIVE, granularity_s=0.2, back_s=1.0), "rate_too_fast"),
        (replace(LIVE, granularity_s=1.5, back_s=3.0), "rate_unsupported"),
        (replace(LIVE, granularity_s=7200.0, back_s=7200.0), "rate_unsupported"),
        (replace(LIVE, back_s=25.0), "report_back_uneven"),
        (replace(LIVE, back_s=5.0), "report_back_uneven"),
        (replace(LIVE, back_s=10 * 86_400.0), "report_back_uneven"),
        (replace(LIVE, granularity_s=1.0, back_s=3600.0), "report_too_large"),
        (replace(LIVE, duration_s=9999 * 365 * 86_400.0), "duration_endless"),
        (replace(PAST, duration_s=None), "duration_endless"),
        (replace(PAST, duration_s=0.0), "duration_endless"),
        (replace(PAST, starts_at=None), "duration_endless"),
        (replace(PAST, duration_s=32 * 86_400.0), "duration_endless"),
        (replace(PAST, duration_s=9999 * 365 * 86_400.0), "duration_endless"),
        (replace(PAST, granularity_s=10.0), "rate_too_fast"),
        (replace(PAST, granularity_s=0.0), "rate_too_fast"),
        (replace(PAST, duration_s=1000.0), "report_back_uneven"),
        (replace(PAST, starts_at=HOUR + seconds(7)), "start_uneven"),
        (replace(PAST, granularity_s=60.0, duration_s=30 * 86_400.0), "report_too_large"),
    ],
)
def test_refused_by_name(asked, name):
    with pytest.raises(ReportRefused) as refused:
        accepted(asked, OFFERED, running=0, at=AT)
    assert refused.value.name == name
    assert (
        "accepted" in refused.value.detail or "offered" in refused.value.detail or "is not in" in refused.value.detail
    )


def test_too_many_reports():
    with pytest.raises(ReportRefused, match="too_many_reports"):
        accepted(LIVE, OFFERED, running=MAX_ORDERS, at=AT)


def test_telemetry_goes_on_until_it_is_taken_back():
    order = accepted(LIVE, OFFERED, running=0, at=AT)
    assert (order.granularity_s, order.back_s, order.ends_at, order.is_once) == (10, 60, None, False)


def test_samples_lie_on_the_even_grid_and_a_report_holds_those_before_it():
    order = accepted(LIVE, OFFERED, running=0, at=AT)
    assert next_sample_at(order, after=AT) == AT.replace(second=10)
    assert due_through(order, sent_through=AT, at=AT.replace(second=59)) is None
    minute = AT.replace(minute=1, second=0)
    assert due_through(order, sent_through=AT, at=minute) == minute
    assert [at.second for at in sample_instants(order, after=AT, through=minute)] == [10, 20, 30, 40, 50, 0]


def test_a_telemetry_order_ends():
    order = accepted(replace(LIVE, duration_s=90.0), OFFERED, running=0, at=AT)
    end = AT + seconds(90)
    assert next_sample_at(order, after=end) is None
    assert due_through(order, sent_through=AT.replace(minute=1, second=0), at=end + seconds(100)) == end


def test_one_report_now():
    assert accepted(replace(LIVE, granularity_s=0.0), OFFERED, running=0, at=AT).is_once


def test_a_history_is_cut_into_its_steps():
    steps = history_steps(accepted(PAST, OFFERED, running=0, at=AT))
    assert steps[0] == (HOUR, HOUR + seconds(900))
    assert (len(steps), steps[-1][1]) == (4, HOUR + seconds(3600))


@given(st.sampled_from([1, 2, 5, 10, 60]), st.integers(1, 20), st.lists(st.integers(1, 5000), max_size=20))
def test_each_sample_is_in_one_report(granularity_s, factor, waits_s):
    asked = replace(LIVE, granularity_s=float(granularity_s), back_s=float(granularity_s * factor))
    order = accepted(asked, OFFERED, running=0, at=AT)
    sent_through, at, told = AT, AT, []
    for wait_s in waits_s:
        at += seconds(wait_s)
        through = due_through(order, sent_through=sent_through, at=at)
        if through is not None:
            told += sample_instants(order, after=sent_through, through=through)
            sent_through = through
    assert told == sample_instants(order, after=AT, through=sent_through)
    assert len(told) == len(set(told))


INTERVALS = [(HOUR + seconds(900 * number), HOUR + seconds(900 * (number + 1))) for number in range(4)]


class TestEventReports:
    """The reports that a reportDescriptor of OpenADR 3 asks for on four quarters of an hour."""

    def test_the_default_is_one_report_at_the_end_with_all(self):
        (report,) = planned(Descriptor("USAGE"), INTERVALS)
        assert (report.due_at, report.first, report.end) == (INTERVALS[-1][1], 0, 4)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            # start, num, frequency, repeat -> (interval at whose end, first, end)
            ((1, 1, 1, -1), [(1, 0, 1), (2, 1, 2), (3, 2, 3), (4, 3, 4)]),
            ((1, 1, -1, -1), [(1, 0, 1), (2, 1, 2), (3, 2, 3), (4, 3, 4)]),
            ((0, 1, 1, -1), [(1, 0, 1), (2, 1, 2), (3, 2, 3), (4, 3, 4)]),
            ((2, 2, -1, -1), [(2, 0, 2), (4, 2, 4)]),
            ((1, -1, 1, -1), [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4)]),
            ((1, 1, 1, 2), [(1, 0, 1), (2, 1, 2)]),
            ((-1, 2, -1, 1), [(4, 2, 4)]),
            ((-1, -1, -1, -1), [(4, 0, 4)]),
        ],
    )
    def test_frequency_and_repeat(self, given, expected):
        start, num, frequency, repeat = given
        descriptor = Descriptor("USAGE", start_interval=start, num_intervals=num, frequency=frequency, repeat=repeat)
        reports = planned(descriptor, INTERVALS)
        assert [(report.end, report.first, report.end) for report in reports] == expected
        assert [report.due_at for report in reports] == [INTERVALS[end - 1][1] for end, _, _ in expected]

    @pytest.mark.parametrize(
        ("descriptor", "intervals", "name"),
        [
            (Descriptor("USAGE", is_historical=False), INTERVALS, "forecast_unsupported"),
            (Descriptor("USAGE", frequency=0), INTERVALS, "descriptor_invalid"),
            (Descriptor("USAGE", repeat=-5), INTERVALS, "descriptor_invalid"),
            (Descriptor("USAGE", start_interval=9), INTERVALS, "descriptor_invalid"),
            (Descriptor("USAGE"), [], "event_without_intervals"),
            (Descriptor("USAGE"), [(HOUR, HOUR + seconds(0.1))], "rate_too_fast"),
            (Descriptor("USAGE"), [(HOUR, HOUR + timedelta(days=2000))], "duration_endless"),
        ],
    )
    def test_refused_by_name(self, descriptor, intervals, name):
        with pytest.raises(ReportRefused) as refused:
            planned(descriptor, intervals)
        assert refused.value.name == name
