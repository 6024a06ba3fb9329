"""Each baseline method worked by hand; rules and sources as in docs/baselines.md.

One customer through all day-matching methods: hourly readings in UTC, event on Wednesday 2026-06-17, 15:00 to 16:00.
The ten weekdays before it, newest first, are 16, 15, 12, 11, 10, 9, 8, 5, 4 and 3 June (the 6th, 7th, 13th and 14th are
a weekend). At 15:00 they show 118, 116, 114, 112, 110, 108, 106, 104, 102 and 100 kW, at every other hour 90 kW.
On the event day every hour but the event's shows 99 kW, and the event's 80 kW.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from support.demand import a_meter, asked, changed, hours

from markets.core.baselines.meter import MeterPlace, MeterSeries
from markets.core.baselines.registry import method_named
from markets.core.baselines.schedule import DeclaredSchedule, ScheduleStep
from sites.core.intervals import Interval

EVENT_DAY = date(2026, 6, 17)
EVENT = hours(EVENT_DAY, 15, 16)
NEWEST_FIRST = [date(2026, 6, day) for day in (16, 15, 12, 11, 10, 9, 8, 5, 4, 3)]
AT_15 = dict(zip(NEWEST_FIRST, range(118, 98, -2), strict=True))


def customer(at: datetime, *, morning_kw: float = 99.0) -> float:
    if at.date() == EVENT_DAY:
        return 80.0 if at.hour == 15 else morning_kw
    return float(AT_15.get(at.date(), 500)) if at.hour == 15 else 90.0


def metered(morning_kw: float = 99.0) -> MeterSeries:
    return a_meter(first_day=date(2026, 5, 1), days=50, load=lambda at: customer(at, morning_kw=morning_kw))


@pytest.mark.parametrize(
    ("method", "morning_kw", "baseline_kw", "by_hand"),
    [
        ("10-in-10", 99.0, 119.9, "mean of 100, 102 … 118 is 109; factor 99/90 = 1.1; 109 x 1.1"),
        ("10-in-10", 135.0, 130.8, "factor 135/90 = 1.5, held at 1.2; 109 x 1.2"),
        ("10-in-10", 45.0, 87.2, "factor 45/90 = 0.5, held at 0.8; 109 x 0.8"),
        ("5-in-10", 99.0, 125.4, "highest five 110 … 118 have the mean 114; 114 x 1.1"),
        ("5-in-10", 135.0, 159.6, "factor 1.5, held at 1.4; 114 x 1.4"),
        ("high-4-of-5", 99.0, 124.0, "last five 110 … 118, highest four have the mean 115; shift 99 - 90 = +9"),
        ("high-4-of-5", 135.0, 160.0, "shift 135 - 90 = +45, no cap"),
        ("high-4-of-5", 45.0, 70.0, "shift 45 - 90 = -45: symmetric"),
        ("miso-default", 99.0, 109.0, "mean of ten days, no adjustment unless the contract asks for it"),
    ],
)
def test_the_customer_by_hand(method, morning_kw, baseline_kw, by_hand):
    answer = method_named(method).baseline(asked(metered(morning_kw), EVENT))
    assert [row.baseline_kw for row in answer.intervals] == pytest.approx([baseline_kw]), by_hand
    assert answer.saving_kwh == pytest.approx(baseline_kw - 80.0)


def test_misos_optional_adjustment_looks_at_the_three_hours_before_the_event():
    # 12:00 to 15:00 of the event day: 99 kW against 90 kW on the ten days, factor 1.1; 109 x 1.1 = 119.9.
    answer = method_named("miso-default").baseline(asked(metered(), EVENT, is_adjusted=True))
    assert answer.adjustment is not None
    assert answer.adjustment.window == hours(EVENT_DAY, 12, 15)
    assert answer.intervals[0].baseline_kw == pytest.approx(119.9)


def test_the_days_and_the_window_of_10_in_10_are_the_ones_counted_by_hand():
    answer = method_named("10-in-10").baseline(asked(metered(), EVENT))
    assert list(answer.days_used) == NEWEST_FIRST
    assert [row.day for row in answer.days_excluded] == [date(2026, 6, day) for day in (14, 13, 7, 6)]
    assert answer.adjustment is not None
    assert answer.adjustment.window == hours(EVENT_DAY, 11, 14)


def test_an_event_on_a_day_off_takes_days_off():
    # Sunday 14 June: the four days off before it are 13, 7, 6 June and 31 May, each with 500 kW at 15:00; factor 1.
    answer = method_named("10-in-10").baseline(asked(metered(), hours(date(2026, 6, 14), 15, 16)))
    assert [day.isoformat() for day in answer.days_used] == ["2026-06-13", "2026-06-07", "2026-06-06", "2026-05-31"]
    assert answer.intervals[0].baseline_kw == pytest.approx(500.0)


def test_a_holiday_is_a_day_off():
    # Friday 12 June a holiday: 114 kW leaves, 2 June with 500 kW comes in; (1090 - 114 + 500) / 10 = 147.6; x 1.1.
    answer = method_named("10-in-10").baseline(asked(metered(), EVENT, holidays=[date(2026, 6, 12)]))
    assert answer.intervals[0].baseline_kw == pytest.approx(147.6 * 1.1)


def test_a_day_of_low_usage_is_replaced():
    # 16 June drops to 20 kW: the five then have the mean (20 + 116 + 114 + 112 + 110) / 5 = 94.4, and 20 < 23.6. The
    # 9th with 108 kW takes its place: highest four of 116, 114, 112, 110, 108 have the mean 113; shift +9.
    meter = changed(metered(), hours(date(2026, 6, 16), 15, 16), 20.0)
    answer = method_named("high-4-of-5").baseline(asked(meter, EVENT))
    assert answer.intervals[0].baseline_kw == pytest.approx(122.0)
    assert (date(2026, 6, 16), "low usage") in [(row.day, row.reason.value) for row in answer.days_excluded]


def test_meter_before_meter_after_by_hand():
    # One-minute readings around a frequency event of three minutes; 101.5 kW just before, the mean of two is 101.25.
    start = datetime(2026, 6, 17, 15, tzinfo=UTC)
    meter = MeterSeries(start - timedelta(minutes=2), 60, np.array([101.0, 101.5, 60.0, 62.0, 61.0, 100.0]))
    event = Interval(start, start + timedelta(minutes=3))
    one = method_named("mbma").baseline(asked(meter, event))
    assert [row.saving_kw for row in one.intervals] == pytest.approx([41.5, 39.5, 40.5])
    # (41.5 + 39.5 + 40.5) kW / 60 = 2.025 kWh
    assert one.saving_kwh == pytest.approx(2.025)
    two = method_named("mbma").baseline(asked(meter, event, readings_before=2))
    assert two.saving_kwh == pytest.approx((41.25 + 39.25 + 40.25) / 60)


def test_drop_to_by_hand():
    # Peak load contribution 400 kW, firm level 150 kW, four quarters at 140, 150, 155 and 120 kW: the third is over by
    # 5 kW; given are 260 + 250 + 245 + 280 = 1035 kW of quarters, 258.75 kWh.
    start = datetime(2026, 6, 17, 15, tzinfo=UTC)
    meter = MeterSeries(start, 900, np.array([140.0, 150.0, 155.0, 120.0]))
    answer = method_named("drop-to").baseline(
        asked(meter, Interval(start, start + timedelta(hours=1)), firm_kw=150.0, reference_kw=400.0)
    )
    assert [row.is_kept for row in answer.intervals] == [True, True, False, True]
    assert answer.saving_kwh == pytest.approx(258.75)
    assert answer.notes == ("1 of 4 readings over the firm level of 150 kW, by 5.000 kW at most",)


def test_metering_generator_output_by_hand():
    # A battery gives 10 kW at 15:00 on every day and charges with 20 kW at every other hour. In the event it gives
    # 60 kW while the site exports 15 kW: 45 kW count, over the typical 10 kW that is 35 kWh in the hour.
    battery = a_meter(
        first_day=date(2026, 5, 1),
        days=50,
        load=lambda at: -10.0 if at.hour == 15 else 20.0,
        place=MeterPlace.DEVICE,
    )
    battery = changed(battery, EVENT, -60.0)
    premise = changed(a_meter(first_day=date(2026, 5, 1), days=50, load=lambda at: 30.0), EVENT, -15.0)
    mgo = method_named("mgo")
    answer = mgo.baseline(asked(battery, EVENT, premise=premise))
    assert answer.intervals[0].baseline_kw == pytest.approx(-10.0)
    assert answer.saving_kwh == pytest.approx(35.0)
    # Without the connection's meter nothing tells the export: 50 kWh, and the answer says so.
    blind = mgo.baseline(asked(battery, EVENT))
    assert blind.saving_kwh == pytest.approx(50.0)
    assert "export is counted too" in blind.notes[0]
    # At a charging hour nothing is typical output, and charging less is none either.
    idle = changed(battery, hours(EVENT_DAY, 12, 13), 0.0)
    assert mgo.baseline(asked(idle, hours(EVENT_DAY, 12, 13))).saving_kwh == 0.0


def test_declared_schedule_by_hand():
    # A battery declared -10 kW into the bus (charging) until 15:20 and 0 after; it gives 40 kW through the hour. As
    # consumption the plan is 10 kW for 20 min: 3.333 kWh; measured -40 kWh; saved 43.333 kWh.
    start = datetime(2026, 6, 17, 15, tzinfo=UTC)
    battery = MeterSeries(start, 3600, np.array([-40.0]), MeterPlace.DEVICE)
    plan = DeclaredSchedule((ScheduleStep(start, -10.0), ScheduleStep(start + timedelta(minutes=20), 0.0)))
    answer = method_named("declared-schedule").baseline(
        asked(battery, Interval(start, start + timedelta(hours=1)), schedule=plan)
    )
    assert answer.intervals[0].baseline_kw == pytest.approx(10.0 / 3.0)
    assert answer.saving_kwh == pytest.approx(40.0 + 10.0 / 3.0)
