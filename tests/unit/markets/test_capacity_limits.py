"""Capacity limits: what they leave for service, by hand and for any groups; and what the meters say of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.course import Step
from markets.core.limits import Bound, Flow, capped, judged, room_kw
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = Interval(AT, AT + timedelta(hours=1))
SITES = ("a", "b", "c")


def an_envelope(site_id: str, up_kw: float, down_kw: float) -> OperatingEnvelope:
    return OperatingEnvelope(site_id, AT, up_kw, down_kw, 100.0, 100.0)


FLOWS = {"a": Flow(5.0, 50.0, 30.0), "b": Flow(-3.0, 50.0, 30.0), "c": Flow(None, 50.0, 30.0)}
EVEN = [an_envelope(site_id, 20.0, 20.0) for site_id in SITES]


class TestRoom:
    def test_what_flows_already_is_taken_off_and_generation_gives_room_to_draw(self):
        assert room_kw(Bound({"a", "b"}, True, 10.0), FLOWS) == pytest.approx(8.0)
        assert room_kw(Bound({"a", "b"}, False, 10.0), FLOWS) == pytest.approx(12.0)

    def test_a_flow_that_is_not_known_counts_with_all_its_connection_bears(self):
        assert room_kw(Bound({"a", "c"}, True, 60.0), FLOWS) == pytest.approx(5.0)
        assert room_kw(Bound({"a", "c"}, False, 60.0), FLOWS) == pytest.approx(35.0)

    def test_a_limit_that_the_load_breaks_already_leaves_nothing(self):
        assert room_kw(Bound({"a"}, True, 4.0), FLOWS) == 0.0


class TestCapping:
    def test_members_give_way_in_proportion_and_others_not_at_all(self):
        a, b, c = capped([an_envelope("a", 30.0, 0.0), an_envelope("b", 10.0, 0.0), EVEN[2]],
                         [Bound({"a", "b"}, False, 8.0)], FLOWS)  # fmt: skip
        # 8 + 2 of net import leave 10 of 40.
        assert (a.discharge_kw, b.discharge_kw, c.discharge_kw) == (pytest.approx(7.5), pytest.approx(2.5), 20.0)

    def test_the_other_way_stays(self):
        (a,) = capped(EVEN[:1], [Bound({"a"}, True, 10.0)], FLOWS)
        assert (a.charge_kw, a.discharge_kw, a.usable_energy_kwh) == (pytest.approx(5.0), 20.0, 100.0)

    def test_what_others_serve_takes_from_the_room(self):
        (a,) = capped(EVEN[:1], [Bound({"a", "b"}, False, 18.0)], FLOWS, {"b": (12.0, 3.0)})
        assert a.discharge_kw == pytest.approx(8.0)


bounds = st.lists(
    st.builds(Bound, st.frozensets(st.sampled_from(SITES), min_size=1), st.booleans(), st.floats(0.0, 60.0)),
    max_size=4,
)  # fmt: skip


@given(bounds, st.lists(st.floats(0.0, 40.0), min_size=6, max_size=6))
def test_no_bound_is_passed_whatever_the_others_are_and_nothing_is_raised(found, powers):
    envelopes = [an_envelope(site_id, powers[n], powers[n + 3]) for n, site_id in enumerate(SITES)]
    after = capped(envelopes, found, FLOWS)
    for bound in found:
        given_kw = sum(e.charge_kw if bound.is_import else e.discharge_kw for e in after if e.site_id in bound.members)
        assert given_kw <= room_kw(bound, FLOWS) + 1e-9
    for old, new in zip(envelopes, after, strict=True):
        assert new.discharge_kw <= old.discharge_kw
        assert new.charge_kw <= old.charge_kw
        assert new == replace(old, discharge_kw=new.discharge_kw, charge_kw=new.charge_kw)


class TestJudging:
    def test_the_worst_interval_is_named_and_missing_is_neither_kept_nor_broken(self):
        flow_kw = np.array([40.0, 55.0, np.nan, 61.0])
        verdict = judged((Step(AT, 50.0),), HOUR, flow_kw, is_import=True, resolution_s=900.0)
        assert (verdict.intervals, verdict.within, verdict.over, verdict.missing) == (4, 1, 2, 1)
        assert (verdict.worst_at, verdict.worst_kw) == (AT + timedelta(minutes=45), 61.0)
        assert verdict.worst_over_kw == pytest.approx(11.0)

    def test_an_export_limit_looks_at_what_flows_out(self):
        flow_kw = np.array([40.0, -12.0, -10.0, 0.0])
        verdict = judged((Step(AT, 10.0),), HOUR, flow_kw, is_import=False, resolution_s=900.0)
        assert (verdict.over, verdict.worst_kw, verdict.worst_over_kw) == (1, 12.0, 2.0)

    def test_over_a_step_the_limit_is_the_mean_as_the_power_is(self):
        course = (Step(AT, 40.0), Step(AT + timedelta(minutes=5), 10.0))
        # (40 x 5 + 10 x 10) / 15 = 20
        verdict = judged(course, HOUR, np.array([20.0, 9.0, 9.0, 9.0]), is_import=True, resolution_s=900.0)
        assert (verdict.over, verdict.worst_limit_kw, verdict.worst_over_kw) == (0, 20.0, 0.0)

    def test_with_nothing_metered_nothing_is_said(self):
        verdict = judged((Step(AT, 1.0),), HOUR, np.full(4, np.nan), is_import=True, resolution_s=900.0)
        assert (verdict.missing, verdict.worst_at, verdict.worst_kw) == (4, None, None)
