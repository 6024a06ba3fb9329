"""Gaps, too few days, and inputs that carry no baseline: what each method does and says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from support.demand import a_meter, asked, changed, hours

from markets.core.baselines.meter import BaselineError, MeterSeries, meter_series
from markets.core.baselines.method import TooFewDays
from markets.core.baselines.registry import METHODS, method_named
from sites.core.intervals import Interval

EVENT_DAY = date(2026, 6, 17)
EVENT = hours(EVENT_DAY, 15, 18)


def metered(resolution_s: int = 900, first_day: date = date(2026, 5, 1)) -> MeterSeries:
    return a_meter(
        first_day=first_day,
        days=(date(2026, 6, 20) - first_day).days,
        load=lambda at: float(at.day),
        resolution_s=resolution_s,
    )


class TestGapsInTheDays:
    def test_a_day_with_a_hole_in_the_hours_that_are_read_is_passed_over(self):
        day = date(2026, 6, 16)
        meter = changed(metered(), hours(day, 15, 16), np.nan)
        answer = method_named("miso-default").baseline(asked(meter, EVENT))
        assert day not in answer.days_used
        left = answer.days_excluded[0]
        assert (left.day, left.reason.value, left.detail) == (
            day, "gap in the readings", "4 of 12 readings are missing",
        )  # fmt: skip

    def test_a_hole_in_other_hours_costs_nothing(self):
        meter = changed(metered(), hours(date(2026, 6, 16), 3, 9), np.nan)
        assert date(2026, 6, 16) in method_named("10-in-10").baseline(asked(meter, EVENT)).days_used

    def test_what_is_allowed_to_be_missing_is_made_up_by_the_other_days(self):
        # One quarter of twelve is missing on 16 June; at that clock time nine days speak, elsewhere ten.
        quarter = Interval(datetime(2026, 6, 16, 15, tzinfo=UTC), datetime(2026, 6, 16, 15, 15, tzinfo=UTC))
        days = [16, 15, 12, 11, 10, 9, 8, 5, 4, 3]
        answer = method_named("miso-default").baseline(asked(changed(metered(), quarter, np.nan), EVENT))
        assert answer.intervals[0].baseline_kw == pytest.approx(np.mean(days[1:]))
        assert answer.intervals[1].baseline_kw == pytest.approx(np.mean(days))
        strict = method_named("miso-default").baseline(
            asked(changed(metered(), quarter, np.nan), EVENT, max_gap_share=0.0)
        )
        assert date(2026, 6, 16) not in strict.days_used

    def test_too_few_days_says_how_many_were_found_and_needed(self):
        with pytest.raises(TooFewDays, match=r"found 7 of the 10 days that it needs \(weekday, .* 45 days") as caught:
            method_named("10-in-10").baseline(asked(metered(first_day=date(2026, 6, 8)), EVENT))
        assert (caught.value.found, caught.value.needed) == (7, 10)

    @pytest.mark.parametrize(("back", "found"), [(45, 10), (46, 9)])
    def test_the_look_back_ends_where_the_rule_says(self, back, found):
        # Friday 19 June: its nine last weekdays are free, and one at the edge, Tuesday 5 May or Monday 4 May.
        friday = date(2026, 6, 19)
        free = {friday - timedelta(days=days) for days in (1, 2, 3, 4, 7, 8, 9, 10, 11, back)}
        blocked = {friday - timedelta(days=days) for days in range(1, 60)} - free
        question = asked(metered(first_day=date(2026, 3, 1)), hours(friday, 15, 18), event_days=blocked)
        if found == 10:
            assert method_named("10-in-10").baseline(question).days_used[-1] == friday - timedelta(days=back)
        else:
            with pytest.raises(TooFewDays, match=r"found 9 of the 10 days .* 36 event day"):
                method_named("10-in-10").baseline(question)


class TestGapsInTheEvent:
    @pytest.mark.parametrize("method", ["mbma", "10-in-10", "high-4-of-5"])
    def test_a_missing_reading_saves_nothing_and_is_told(self, method):
        hole = Interval(datetime(2026, 6, 17, 16, tzinfo=UTC), datetime(2026, 6, 17, 16, 15, tzinfo=UTC))
        answer = method_named(method).baseline(asked(changed(metered(), hole, np.nan), EVENT))
        assert (answer.intervals[4].measured_kw, answer.intervals[4].saving_kwh) == (None, None)
        assert answer.gap_share == pytest.approx(1 / 12)
        assert answer.saving_kwh == pytest.approx(sum(row.saving_kwh or 0.0 for row in answer.intervals))

    @pytest.mark.parametrize("method", ["mbma", "10-in-10"])
    def test_more_than_is_allowed_refuses_the_event(self, method):
        meter = changed(metered(), hours(EVENT_DAY, 16, 17), np.nan)
        with pytest.raises(
            BaselineError, match=r"the event's own readings: 4 of 12 are missing, accepted: a share of 0.1"
        ):
            method_named(method).baseline(asked(meter, EVENT))

    def test_meter_before_needs_the_reading_just_before(self):
        before = hours(EVENT_DAY, 14, 15)
        meter = changed(metered(), before, np.nan)
        with pytest.raises(BaselineError, match="the readings just before the event, 1 of them: 1 of 1 are missing"):
            method_named("mbma").baseline(asked(meter, EVENT))

    def test_the_adjustment_compares_only_what_the_event_day_has(self):
        # A ramp in the window: were the missing hour compared too, the factor would not be 1.
        meter = a_meter(first_day=date(2026, 5, 1), days=50, load=lambda at: 100.0 + 50.0 * at.hour, resolution_s=900)
        hole = Interval(datetime(2026, 6, 17, 11, tzinfo=UTC), datetime(2026, 6, 17, 11, 15, tzinfo=UTC))
        answer = method_named("10-in-10").baseline(asked(changed(meter, hole, np.nan), EVENT))
        assert answer.adjustment.applied == pytest.approx(1.0)
        with pytest.raises(BaselineError, match="in the adjustment's window: 4 of 12 are missing"):
            method_named("10-in-10").baseline(asked(changed(meter, hours(EVENT_DAY, 11, 12), np.nan), EVENT))


class TestRefusedInputs:
    def test_an_event_within_a_reading_names_the_boundaries(self):
        event = Interval(EVENT.starts_at + timedelta(minutes=7), EVENT.ends_at)
        with pytest.raises(BaselineError, match=r"starts at .*15:07.* accepted: .*15:00:00.* or .*15:15:00"):
            asked(metered(), event)

    def test_an_event_outside_the_readings_names_their_range(self):
        event = hours(date(2026, 7, 1), 15, 16)
        with pytest.raises(BaselineError, match=r"accepted: within the readings, 2026-05-01T00:00:00.* to 2026-06-20"):
            asked(metered(), event)

    def test_an_event_of_days_is_refused_by_the_methods_of_days(self):
        event = Interval(EVENT.starts_at, EVENT.starts_at + timedelta(hours=25))
        with pytest.raises(BaselineError, match=r"1 day, 1:00:00 long, accepted: 1 day, 0:00:00 at most"):
            method_named("10-in-10").baseline(asked(metered(), event))

    @pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
    def test_the_gap_share_is_a_share(self, share):
        with pytest.raises(BaselineError, match=r"max_gap_share is .* accepted"):
            asked(metered(), EVENT, max_gap_share=share)

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.rule.name)
    def test_a_term_that_a_method_does_not_read_is_refused(self, method):
        term = {"firm_kw": 1.0} if "firm_kw" not in method.reads else {"readings_before": 2}
        meter = metered()
        with pytest.raises(BaselineError, match=r"does not read (firm_kw|readings_before), accepted"):
            method.baseline(asked(meter, EVENT, **term))

    @pytest.mark.parametrize(
        ("method", "terms", "said"),
        [
            ("declared-schedule", {}, "needs schedule"),
            ("drop-to", {"firm_kw": 1.0}, "needs reference_kw"),
            ("drop-to", {"firm_kw": 5.0, "reference_kw": 4.0}, "firm_kw is 5, accepted: the reference of 4 kW or less"),
            ("drop-to", {"firm_kw": float("nan"), "reference_kw": 4.0}, "accepted: finite powers"),
            ("mbma", {"readings_before": 0}, "readings_before is 0, accepted: 1 to 4800"),
            ("mbma", {"readings_before": 10**12}, "readings_before is 1000000000000, accepted: 1 to 4800"),
            ("mgo", {}, "reads a meter at the connection, accepted: the one at the device"),
        ],
    )
    def test_terms_that_carry_no_baseline(self, method, terms, said):
        with pytest.raises(BaselineError, match=said):
            method_named(method).baseline(asked(metered(), EVENT, **terms))

    def test_a_premise_meter_on_another_grid_is_refused(self):
        device = MeterSeries(
            datetime(2026, 5, 1, tzinfo=UTC), 900, np.zeros(96 * 50), place=method_named("mgo").rule.place
        )
        with pytest.raises(
            BaselineError, match=r"the premise meter reads every 3600 s .* accepted: on the device's grid"
        ):
            method_named("mgo").baseline(asked(device, EVENT, premise=metered(3600)))

    @pytest.mark.parametrize(
        ("readings", "said"),
        [
            ([(0, 1.0)], "1 readings were found"),
            ([(0, 1.0), (15, 1.0), (15, 2.0)], "two readings are at"),
            ([(0, 1.0), (7, 1.0), (14, 2.0)], "420 s apart, accepted: 1 s to 3600 s, and a part of an hour"),
            ([(0, 1.0), (15, 1.0), (37, 2.0)], "off the grid of 900 s"),
            ([(0, 1.0), (15, float("inf"))], "is inf, accepted: a finite power"),
            ([(0, 1.0), (15, 1.0), (10**9, 1.0)], "accepted: 5000000 at most"),
        ],
    )
    def test_readings_that_make_no_series(self, readings, said):
        start = datetime(2026, 5, 1, tzinfo=UTC)
        with pytest.raises(BaselineError, match=said):
            meter_series([(start + timedelta(minutes=minutes), power) for minutes, power in readings])

    def test_an_instant_without_a_zone_is_refused(self):
        with pytest.raises(ValueError, match="without a time zone"):
            meter_series([(datetime(2026, 5, 1), 1.0), (datetime(2026, 5, 2), 1.0)])  # noqa: DTZ001
