"""What the dispatcher tells the sites of a stream whose plan it knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.course import Step, constant
from markets.core.products import PRODUCTS, Kind
from sites.core.intervals import Interval
from sites.core.streams import MAX_SIGNAL_S, STREAM_PRODUCTS
from vpp.dispatch.plans import Plan

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = Interval(AT, AT + timedelta(hours=1))
HALF = AT + timedelta(minutes=30)
PLAN = Plan("EN-1", "energy-dispatch", HOUR, (Step(AT, 40.0), Step(HALF, -20.0)), 0, 50.0)


class TestValue:
    def test_it_is_what_is_owed_over_what_sites_hold(self):
        assert PLAN.value_at(AT) == pytest.approx(0.8)
        assert PLAN.value_at(HALF) == pytest.approx(-0.4)

    def test_before_and_after_the_window_it_is_nothing(self):
        assert PLAN.value_at(AT - timedelta(seconds=1)) == PLAN.value_at(HOUR.ends_at) == 0.0

    @pytest.mark.parametrize(("firm_kw", "value"), [(40.0, 1.0), (39.0, 1.0), (0.0, 1.0), (80.0, 0.5)])
    def test_with_less_than_is_owed_each_gives_all_it_has(self, firm_kw, value):
        assert replace(PLAN, firm_kw=firm_kw).value_at(AT) == pytest.approx(value)

    def test_a_size_of_a_downward_product_goes_out_of_the_bus(self):
        down = replace(PLAN, course=constant(HOUR, 40.0), sign=-1)
        assert down.value_at(AT) == pytest.approx(-0.8)

    @given(st.floats(-1e6, 1e6), st.floats(0.0, 1e6))
    def test_it_is_always_one_that_a_site_accepts(self, owed_kw, firm_kw):
        value = replace(PLAN, course=constant(HOUR, owed_kw), firm_kw=firm_kw).value_at(AT)
        assert -1.0 <= value <= 1.0


class TestWaiting:
    def test_a_change_is_told_when_it_comes_and_else_each_period(self):
        assert PLAN.wait_s(AT, 5.0) == 5.0
        assert PLAN.wait_s(HALF - timedelta(seconds=2), 5.0) == 2.0
        assert PLAN.wait_s(HALF, 5.0) == 5.0


@pytest.mark.parametrize("row", [row for row in PRODUCTS.values() if row.kind in (Kind.SIGNAL, Kind.INSTRUCTION)])
def test_each_product_without_a_curve_has_a_stream_that_fits_it(row):
    stream = STREAM_PRODUCTS[row.name]
    assert stream.sign == row.sign
    assert stream.sustain_s == row.sustain_s or row.name.startswith("pjm")
    assert stream.is_planned is (row.kind is Kind.INSTRUCTION)
    assert stream.period_s < stream.max_age_s <= MAX_SIGNAL_S
    # Sites are as fast as the product asks.
    assert 1.0 / stream.ramp_per_s <= row.full_within_s
