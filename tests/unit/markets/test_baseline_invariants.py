"""What holds for every baseline: nothing saved without an event, bounded adjustments, event days never used."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.demand import a_meter, asked, changed, hours

from markets.core.baselines.meter import MeterPlace, MeterSeries, meter_series
from markets.core.baselines.method import AdjustmentKind
from markets.core.baselines.registry import METHODS, method_named
from markets.core.baselines.schedule import DeclaredSchedule, ScheduleStep

FIRST, DAYS = date(2026, 2, 16), 60
EVENT_DAY = date(2026, 4, 8)
DAY_MATCHED = ("10-in-10", "5-in-10", "high-4-of-5", "miso-default")
ZONES = ("UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
powers = st.lists(st.floats(1.0, 1000.0), min_size=24, max_size=24)
zones = st.sampled_from(ZONES).map(ZoneInfo)
starts = st.integers(5, 20)


def daily(profile: list[float], zone: ZoneInfo, place: MeterPlace = MeterPlace.CONNECTION) -> MeterSeries:
    """Return 60 days that all show the same by the local clock; two of them are short or long in most zones."""
    return a_meter(first_day=FIRST, days=DAYS, load=lambda at: profile[at.hour], zone=zone, place=place)


def noisy(seed: int) -> MeterSeries:
    values = np.random.default_rng(seed).uniform(20.0, 200.0, DAYS * 24)
    return MeterSeries(datetime.combine(FIRST, datetime.min.time(), tzinfo=UTC), 3600, values)


class TestNoEvent:
    @settings(max_examples=8, deadline=None)
    @given(powers, st.sampled_from(("Europe/London", "America/New_York", "UTC")).map(ZoneInfo), starts)
    @pytest.mark.parametrize("method", [*DAY_MATCHED, "mgo"])
    def test_a_day_like_all_days_saves_nothing(self, method, profile, zone, hour):
        place = MeterPlace.DEVICE if method == "mgo" else MeterPlace.CONNECTION
        meter = daily([-value for value in profile] if method == "mgo" else profile, zone, place)
        answer = method_named(method).baseline(asked(meter, hours(EVENT_DAY, hour, hour + 3, zone), zone=zone))
        assert answer.saving_kwh == pytest.approx(0.0, abs=1e-6)

    @settings(max_examples=12, deadline=None)
    @given(st.floats(-1e4, 1e4), st.integers(1, 5))
    def test_a_flat_meter_saves_nothing_by_the_methods_without_days(self, level, before):
        meter = a_meter(first_day=FIRST, days=2, load=lambda at: level)
        event = hours(FIRST, 10, 13)
        plan = DeclaredSchedule((ScheduleStep(event.starts_at, level),))
        for method, terms in (
            ("mbma", {"readings_before": before}),
            ("declared-schedule", {"schedule": plan}),
            ("drop-to", {"firm_kw": level - 1.0, "reference_kw": level}),
        ):
            answer = method_named(method).baseline(asked(meter, event, **terms))
            assert answer.saving_kwh == pytest.approx(0.0, abs=1e-6), method


class TestAdjustment:
    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 10_000), st.floats(0.0, 20.0), st.sampled_from(("10-in-10", "5-in-10", "miso-default")))
    def test_a_factor_stays_within_its_cap(self, seed, level, method):
        event = hours(EVENT_DAY, 15, 18)
        meter = noisy(seed)
        meter = changed(meter, hours(EVENT_DAY, 0, 15), meter.readings_kw(hours(EVENT_DAY, 0, 15)) * level)
        adjusted = method_named(method).baseline(asked(meter, event, is_adjusted=True))
        plain = method_named(method).baseline(asked(meter, event, is_adjusted=False))
        cap = adjusted.adjustment.cap
        assert plain.adjustment is None
        assert 1.0 - cap <= adjusted.adjustment.applied <= 1.0 + cap
        for moved, still in zip(adjusted.intervals, plain.intervals, strict=True):
            assert (1.0 - cap) * still.baseline_kw - 1e-9 <= moved.baseline_kw <= (1.0 + cap) * still.baseline_kw + 1e-9

    def test_a_factor_on_days_that_export_is_not_applied_and_says_so(self):
        meter = a_meter(first_day=FIRST, days=DAYS, load=lambda at: -5.0)
        answer = method_named("10-in-10").baseline(asked(meter, hours(EVENT_DAY, 15, 18)))
        assert (answer.adjustment.raw, answer.adjustment.applied) == (None, 1.0)
        assert "a factor needs consumption" in answer.adjustment.note
        assert answer.saving_kwh == pytest.approx(0.0)


class TestDays:
    @settings(max_examples=12, deadline=None)
    @given(st.sets(st.integers(1, 40), max_size=8), st.sampled_from(DAY_MATCHED), st.integers(0, 1000))
    def test_an_event_day_is_never_used(self, back, method, seed):
        event_days = {EVENT_DAY - timedelta(days=days) for days in back}
        meter = noisy(seed)
        answer = method_named(method).baseline(asked(meter, hours(EVENT_DAY, 15, 18), event_days=event_days))
        assert not event_days & set(answer.days_used)
        assert EVENT_DAY not in answer.days_used
        # What was metered on an event day has no bearing at all.
        for day in event_days:
            meter = changed(meter, hours(day, 0, 23), 1e6)
        again = method_named(method).baseline(asked(meter, hours(EVENT_DAY, 15, 18), event_days=event_days))
        assert [row.baseline_kw for row in again.intervals] == [row.baseline_kw for row in answer.intervals]

    @pytest.mark.parametrize("method", DAY_MATCHED)
    def test_what_comes_after_the_event_begins_has_no_bearing(self, method):
        event = hours(EVENT_DAY, 15, 18)
        meter = noisy(3)
        later = changed(meter, hours(EVENT_DAY, 15, 23), 7.0)
        first, second = (method_named(method).baseline(asked(series, event)) for series in (meter, later))
        assert [row.baseline_kw for row in first.intervals] == [row.baseline_kw for row in second.intervals]

    def test_an_event_over_midnight_takes_both_sides_from_each_day(self):
        meter = a_meter(first_day=FIRST, days=DAYS, load=lambda at: at.day * 100.0 + at.hour)
        start = datetime(2026, 4, 8, 23, tzinfo=UTC)
        event = hours(EVENT_DAY, 22, 23)
        event = type(event)(start, start + timedelta(hours=2))
        answer = method_named("miso-default").baseline(asked(meter, event))
        # The day before an event day reaches into it, so 7 April cannot count.
        assert answer.days_used[0] == date(2026, 4, 6)
        at_23 = [day.day * 100.0 + 23 for day in answer.days_used]
        at_0 = [(day + timedelta(days=1)).day * 100.0 for day in answer.days_used]
        assert [row.baseline_kw for row in answer.intervals] == pytest.approx([np.mean(at_23), np.mean(at_0)])


class TestShiftsAndScales:
    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 10_000), st.floats(0.0, 500.0))
    def test_a_constant_on_all_days_leaves_additive_savings(self, seed, constant):
        meter = noisy(seed)
        higher = meter.with_consumption(meter.consumption_kw + constant)
        event = hours(EVENT_DAY, 15, 18)
        # Days of low usage are told by a ratio; 20 to 200 kW over three hours never falls under a quarter of the mean.
        for method in ("mbma", "high-4-of-5"):
            low, high = (method_named(method).baseline(asked(series, event)) for series in (meter, higher))
            assert high.saving_kwh == pytest.approx(low.saving_kwh, abs=1e-6), method

    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 10_000), st.floats(0.01, 100.0))
    @pytest.mark.parametrize("method", [*DAY_MATCHED, "mbma"])
    def test_a_customer_n_times_as_large_saves_n_times_as_much(self, method, seed, factor):
        meter = noisy(seed)
        larger = meter.with_consumption(meter.consumption_kw * factor)
        event = hours(EVENT_DAY, 15, 18)
        small, large = (method_named(method).baseline(asked(series, event)) for series in (meter, larger))
        assert large.saving_kwh == pytest.approx(factor * small.saving_kwh, rel=1e-6, abs=1e-6)
        assert large.days_used == small.days_used

    @settings(max_examples=20, deadline=None)
    @given(st.permutations(range(72)))
    def test_the_order_of_readings_has_no_bearing(self, order):
        start = datetime(2026, 4, 6, tzinfo=UTC)
        readings = [(start + timedelta(hours=n), float(n * n % 17)) for n in range(72)]
        in_order, shuffled = meter_series(readings), meter_series([readings[n] for n in order])
        assert shuffled.starts_at == in_order.starts_at
        assert np.array_equal(shuffled.consumption_kw, in_order.consumption_kw)


class TestRegistry:
    def test_every_method_says_its_rule_its_source_and_how_certain_it_is(self):
        for method in METHODS:
            assert len(method.rule.text) > 40
            assert method.rule.source
            assert method.rule.certainty.value in {"V", "M", "U"}

    def test_names_and_aliases_are_taken_in_any_case_and_name_one_method_each(self):
        names = [name for method in METHODS for name in (method.rule.name, *method.rule.aliases)]
        assert len(names) == len(set(names))
        assert method_named(" MBMA ") is method_named("meter_before_meter_after")

    def test_additive_and_factor_are_what_the_rules_say(self):
        kinds = {name: method_named(name).adjustment.kind for name in DAY_MATCHED}
        assert kinds["high-4-of-5"] is AdjustmentKind.ADDITIVE
        assert all(kinds[name] is AdjustmentKind.RATIO for name in DAY_MATCHED if name != "high-4-of-5")
