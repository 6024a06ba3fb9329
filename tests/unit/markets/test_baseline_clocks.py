"""Days of 23 and 25 hours, and of half an hour off: which instants of other days show the same clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support.demand import a_meter, asked, hours

from markets.core.baselines.local_days import DayKind, LocalCalendar, clock_profile
from markets.core.baselines.registry import method_named
from sites.core.intervals import Interval

LONDON, NEW_YORK, LORD_HOWE = (ZoneInfo(name) for name in ("Europe/London", "America/New_York", "Australia/Lord_Howe"))
#         zone       day the clock jumps    hours  what it skips (+) or shows twice (-), in hours from midnight
CHANGES = [
    (LONDON, date(2026, 3, 29), 23.0, (1.0, 2.0)),
    (LONDON, date(2026, 10, 25), 25.0, (1.0, 2.0)),
    (NEW_YORK, date(2026, 3, 8), 23.0, (2.0, 3.0)),
    (NEW_YORK, date(2026, 11, 1), 25.0, (1.0, 2.0)),
    (LORD_HOWE, date(2026, 10, 4), 23.5, (2.0, 2.5)),
    (LORD_HOWE, date(2026, 4, 5), 24.5, (1.5, 2.0)),
]


@pytest.mark.parametrize(("zone", "day", "length_h", "span"), CHANGES)
class TestDaysOfOtherLength:
    def test_the_day_has_its_own_length(self, zone, day, length_h, span):
        assert LocalCalendar(zone).period_of(day).duration_h == length_h

    def test_the_clock_skips_or_repeats_just_that_span(self, zone, day, length_h, span):
        meter = a_meter(
            first_day=day - timedelta(days=1),
            days=3,
            load=lambda at: at.hour + at.minute / 60,
            zone=zone,
            resolution_s=900,
        )
        profile = clock_profile(meter, LocalCalendar(zone), day)
        clock_h = np.arange(96) / 4
        if length_h < 24:
            assert np.array_equal(~profile.exists, (clock_h >= span[0]) & (clock_h < span[1]))
        else:
            assert profile.exists.all()
        assert np.allclose(profile.mean_kw[profile.exists], clock_h[profile.exists])

    def test_a_span_that_comes_twice_counts_with_the_mean_of_both(self, zone, day, length_h, span):
        first = {True: 10.0, False: 30.0}
        meter = a_meter(
            first_day=day - timedelta(days=1), days=3, load=lambda at: first[at.fold == 0], zone=zone, resolution_s=900
        )
        profile = clock_profile(meter, LocalCalendar(zone), day)
        clock_h = np.arange(96) / 4
        twice = (clock_h >= span[0]) & (clock_h < span[1]) & (length_h > 24)
        assert np.allclose(profile.mean_kw[profile.exists], np.where(twice, 20.0, 10.0)[profile.exists])

    @pytest.mark.parametrize("resolution_s", [900, 3600])
    def test_days_before_and_after_the_change_match_by_the_clock(self, zone, day, length_h, span, resolution_s):
        # All days show the same by the clock, so an event after the change must come out at nothing saved.
        event_day = day + timedelta(days=5)
        meter = a_meter(
            first_day=day - timedelta(days=30),
            days=40,
            load=lambda at: 50.0 + 10.0 * at.hour + (20.0 if at.hour >= 12 else 0.0),
            zone=zone,
            resolution_s=resolution_s,
        )
        event = hours(event_day, 16, 18, zone)
        if zone is LORD_HOWE and resolution_s == 3600:
            # Readings of an hour do not begin on its full hours: 16:30 to 18:30 there.
            event = Interval(event.starts_at.replace(minute=0), event.ends_at.replace(minute=0))
        answer = method_named("10-in-10").baseline(asked(meter, event, zone=zone))
        assert any(used < day for used in answer.days_used)
        assert any(used > day for used in answer.days_used)
        if zone is LORD_HOWE and resolution_s == 3600:
            # A clock moved by half an hour cuts hourly readings in two; half of each neighbor is what it can tell.
            assert answer.saving_kwh == pytest.approx(0.0, abs=2 * 10.0)
        else:
            assert answer.saving_kwh == pytest.approx(0.0, abs=1e-6)


class TestEventsInTheSpan:
    def test_an_event_in_the_hour_that_comes_twice_is_matched_to_that_hour_both_times(self):
        # Sunday 25 October in London: 01:00 to 02:00 comes twice. All other days show the clock's hour.
        meter = a_meter(first_day=date(2026, 9, 20), days=40, load=lambda at: 100.0 + at.hour, zone=LONDON)
        start = datetime(2026, 10, 25, 0, tzinfo=UTC)
        answer = method_named("10-in-10").baseline(
            asked(meter, Interval(start, start + timedelta(hours=3)), zone=LONDON, is_adjusted=False)
        )
        assert [row.baseline_kw for row in answer.intervals] == pytest.approx([101.0, 101.0, 102.0])

    def test_a_day_that_lacks_the_hour_says_nothing_on_it_and_is_no_gap(self):
        # The four days off before Sunday 12 April are 11, 5, 4 April and 29 March, which has no 01:00 in London.
        meter = a_meter(
            first_day=date(2026, 3, 1), days=50, load=lambda at: float(at.day) if at.hour == 1 else 500.0, zone=LONDON
        )
        event = hours(date(2026, 4, 12), 1, 2, LONDON)
        answer = method_named("10-in-10").baseline(
            asked(meter, event, zone=LONDON, is_adjusted=False, event_days=[date(2026, 4, 6), date(2026, 4, 3)])
        )
        # Its clock lacks the hour, so it cannot be one of the four: 28 March takes its place.
        assert [day.isoformat() for day in answer.days_used] == ["2026-04-11", "2026-04-05", "2026-04-04", "2026-03-28"]
        assert answer.intervals[0].baseline_kw == pytest.approx((11 + 5 + 4 + 28) / 4)
        assert "its clock skips the event's hours" in [row.reason.value for row in answer.days_excluded]

    def test_a_longer_event_uses_the_short_day_for_the_hours_that_it_has(self):
        meter = a_meter(
            first_day=date(2026, 3, 1), days=50, load=lambda at: float(at.day) if at.hour < 3 else 500.0, zone=LONDON
        )
        event = hours(date(2026, 4, 12), 0, 3, LONDON)
        answer = method_named("10-in-10").baseline(asked(meter, event, zone=LONDON, is_adjusted=False))
        assert date(2026, 3, 29) in answer.days_used
        with_it, without = (11 + 5 + 4 + 29) / 4, (11 + 5 + 4) / 3
        assert [row.baseline_kw for row in answer.intervals] == pytest.approx([with_it, without, with_it])


class TestKindsOfDays:
    def test_a_holiday_wins_over_its_day_of_the_week(self):
        calendar = LocalCalendar(LONDON, frozenset({date(2026, 12, 25), date(2026, 12, 26)}))
        kinds = [calendar.kind_of(date(2026, 12, day)) for day in (24, 25, 26, 27)]
        assert kinds == [DayKind.WEEKDAY, DayKind.HOLIDAY, DayKind.HOLIDAY, DayKind.SUNDAY]

    def test_an_instant_belongs_to_its_local_day(self):
        at = datetime(2026, 7, 1, 1, tzinfo=UTC)
        assert LocalCalendar(NEW_YORK).date_of(at) == date(2026, 6, 30)

    def test_an_event_on_a_day_off_is_refused_where_the_rule_names_none(self):
        meter = a_meter(first_day=date(2026, 5, 1), days=50, load=lambda at: 1.0)
        with pytest.raises(ValueError, match="the event is on a Sunday, accepted by miso-default: weekday"):
            method_named("miso-default").baseline(asked(meter, hours(date(2026, 6, 14), 15, 16)))
