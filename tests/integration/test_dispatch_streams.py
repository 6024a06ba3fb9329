"""Setpoint streams on a real database: granted beside curves."""

from __future__ import annotations

from datetime import datetime

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current

from sites.core.intervals import Interval
from sites.core.streams import grant_from_bytes, stream_product
from sites.metering.models import LiveState
from sites.registry.models import Enrollment, Site
from vpp.dispatch import operations, queries, recording
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.operations import NothingToArm
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

pytestmark = pytest.mark.django_db


class TestStreams:
    def open(self, power_kw: float) -> Dispatch:
        return operations.open_stream(
            dispatch_id="REG-1", product=stream_product("pjm-regd"), power_kw=power_kw,
            window=Interval(after(30.0), after(630.0)), at=NOW,
        )  # fmt: skip

    def test_a_stream_is_granted_beside_the_curve_from_what_that_leaves(self) -> None:
        sites = a_fleet(100.0, 100.0)
        for site in sites:
            Enrollment.objects.create(site=site, program="pjm-regd", since=NOW)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        stream = self.open(196.0)
        grants = current(stream)
        # 50 kW of each are armed as a curve: 50 are left into the bus, of 100 that were wanted each way.
        assert [(row.kind, row.power_kw) for row in grants] == [("stream", pytest.approx(50.0))] * 2
        grant = grant_from_bytes(bytes(grants[0].body))
        assert (grant.up_kw, grant.down_kw, grant.stream) == (grants[0].power_kw, grants[0].power_kw, "REG-1")
        assert (grant.max_age_s, grant.sequence) == (7.0, 2)
        # Both stand side by side, each acknowledged by its own report.
        acknowledge(grants, at=after(2.0), kind="stream")
        assert queries.dispatch_summary(dispatch_id="REG-1", at=after(2.0)).firm_kw == pytest.approx(100.0)
        assert queries.dispatch_summary(dispatch_id="DC-1", at=after(2.0)).firm_kw == pytest.approx(100.0)
        assert {(row.site_id, row.kind) for row in queries.desired_rows(at=NOW)} == {
            (site.site_id, kind) for site in sites for kind in ("curve", "stream")
        }

    def test_a_site_that_releases_at_a_lost_link_serves_a_stream(self) -> None:
        sites = a_fleet(100.0)
        Enrollment.objects.create(site=sites[0], program="pjm-regd", since=NOW)
        Site.objects.update(loss_of_link="release")
        stream = self.open(49.0)
        acknowledge(current(stream), at=after(1.0), kind="stream")
        assert queries.dispatch_summary(dispatch_id="REG-1", at=after(2.0)).firm_kw == pytest.approx(50.0)

    def test_opening_it_again_changes_nothing_and_without_sites_it_is_refused(self) -> None:
        with pytest.raises(NothingToArm, match="stream REG-1: 0 free sites"):
            self.open(10.0)
        sites = a_fleet(100.0)
        Enrollment.objects.create(site=sites[0], program="pjm-regd", since=NOW)
        self.open(10.0)
        self.open(20.0)
        assert SiteAssignment.objects.count() == 1
        assert operations.cancel_dispatch(dispatch=Dispatch.objects.get(), at=after(1.0)) == 1
        assert grant_from_bytes(bytes(SiteAssignment.objects.get(superseded=False).body)).power_kw == 0.0

    def test_the_energy_behind_the_other_duty_is_not_given_twice(self) -> None:
        (site,) = a_fleet(100.0)
        Enrollment.objects.create(site=site, program="pjm-regd", since=NOW)
        # 20 kWh: the curve's 40 kW for 15 min take 10 of them, and 10 kWh over 15 min are 40 kW.
        LiveState.objects.update(usable_energy_kwh=20.0)
        operations.arm_obligation(obligation=an_obligation(40.0 * 0.98), at=NOW)
        (grant,) = current(self.open(100.0))
        assert grant.power_kw == pytest.approx(40.0)

    def test_a_product_that_left_the_catalogue_stops_no_other_dispatch(self) -> None:
        (site,) = a_fleet(100.0)
        Enrollment.objects.create(site=site, program="pjm-regd", since=NOW)
        operations.arm_obligation(obligation=an_obligation(49.0), at=NOW)
        Dispatch.objects.update(product="gone")
        # 100 kWh less an hour of 50 kW, over 15 min: the power binds.
        (grant,) = current(self.open(100.0))
        assert grant.power_kw == pytest.approx(50.0)


def measured(at: datetime, **values: float) -> None:
    LiveState.objects.update(measured_at=at, received_at=at, **values)


class Running:
    """A stream in its window, granted to sites of 100 kW each, beside a frequency that nobody has to fear."""

    def __init__(self, count: int, power_kw: float) -> None:
        for site in a_fleet(*[100.0] * count):
            Enrollment.objects.create(site=site, program="pjm-regd", since=NOW)
        self.dispatch = operations.open_stream(
            dispatch_id="REG-1", product=stream_product("pjm-regd"), power_kw=power_kw,
            window=Interval(after(0.0), after(600.0)), at=NOW,
        )  # fmt: skip
        self.freeze = FreezeWatch()
        for second in range(12):
            measured(after(float(second)), frequency_hz=50.0)
            self.review(float(second))
        self.rows = current(self.dispatch)

    def review(self, at_s: float, *, every: bool = False) -> operations.Review:
        turns = operations.Turns(60.0, 0.0, 60.0) if every else operations.Turns(0.0, 0.0, 0.0)
        return operations.review_dispatch(dispatch=self.dispatch, at=after(at_s), freeze=self.freeze, turns=turns)

    def shares_kw(self) -> list[float]:
        return [row.power_kw for row in current(self.dispatch)]

    def summary(self, at_s: float) -> queries.DispatchSummary:
        return queries.dispatch_summary(dispatch_id="REG-1", at=after(at_s))


class TestSharesOfARunningStream:
    def test_a_silent_site_s_share_goes_to_others_and_the_sum_stays(self) -> None:
        stream = Running(20, 980.0)
        silent = stream.rows[-1]
        acknowledge(stream.rows[:-1], at=after(12.0), kind="stream")
        for number in range(queries.SILENT_SENDS):
            recording.record_sent(sendings=[Sending(silent.pk, after(12.0 + number))])
        # 50 kW are missing of 1000: two sites with 50 kW of room each take them over.
        assert stream.review(17.0).changed == 3
        shares_kw = stream.shares_kw()
        assert shares_kw[-1] == 0.0
        assert sum(shares_kw) == pytest.approx(1000.0)
        summary = stream.summary(17.0)
        # It may have heard its grant all the same.
        assert summary.upper_kw == pytest.approx(1050.0)
        assert summary.upper_kw <= summary.limit_kw == pytest.approx(1078.0)
        changed = [row for row in current(stream.dispatch) if row.sequence == 2 and row.power_kw > 0.0]
        acknowledge(changed, at=after(18.0), kind="stream")
        assert stream.summary(18.0).firm_kw == pytest.approx(1000.0)
        # What a site is asked to hold is signed for it, for the same window and the same signal.
        for row in changed:
            grant = grant_from_bytes(bytes(SiteAssignment.objects.get(pk=row.pk).body))
            assert (grant.stream, grant.up_kw, grant.down_kw) == ("REG-1", row.power_kw, row.power_kw)
            assert (grant.starts_at, grant.ends_at, grant.max_age_s) == (after(0.0), after(600.0), 7.0)

    @pytest.mark.parametrize("leaves", [{"mode": "islanded"}, {"measured_at": after(-60.0)}])
    def test_a_site_that_leaves_is_replaced_as_far_as_the_limit_bears(self, leaves: dict[str, object]) -> None:
        stream = Running(20, 980.0)
        acknowledge(stream.rows, at=after(12.0), kind="stream")
        assert stream.review(13.0).changed == 0
        LiveState.objects.filter(site=stream.rows[0].site).update(**leaves)
        assert stream.summary(14.0).firm_kw == pytest.approx(950.0)
        assert stream.review(14.0).changed == 2
        acknowledge(current(stream.dispatch)[1:], at=after(15.0), kind="stream")
        summary = stream.summary(15.0)
        assert summary.firm_kw == pytest.approx(1000.0)
        assert summary.upper_kw <= summary.limit_kw
        # Back again it has its share still, and nothing has to be asked.
        LiveState.objects.update(mode="grid_tied", measured_at=after(15.0))
        assert stream.review(16.0).changed == 0

    def test_shares_follow_headroom_and_energy_at_their_turn(self) -> None:
        stream = Running(3, 147.0)
        acknowledge(stream.rows, at=after(12.0), kind="stream")
        # 5 kWh over 15 min are 20 kW, and the smaller way counts.
        LiveState.objects.filter(site=stream.rows[0].site).update(absorbable_energy_kwh=5.0)
        for round_ in range(40):
            at_s = 13.0 + 0.1 * round_
            stream.review(at_s, every=True)
            summary = stream.summary(at_s)
            assert summary.firm_kw >= 147.0 - 1e-6
            assert summary.upper_kw <= summary.limit_kw + 1e-6
            acknowledge(current(stream.dispatch), at=after(at_s + 0.05), kind="stream")
        assert stream.shares_kw() == pytest.approx([20.0, 65.0, 65.0], abs=0.1)

    def test_nothing_moves_while_the_frequency_is_away(self) -> None:
        stream = Running(20, 980.0)
        acknowledge(stream.rows, at=after(12.0), kind="stream")
        measured(after(13.0), frequency_hz=49.7)
        LiveState.objects.filter(site=stream.rows[0].site).update(mode="islanded")
        found = stream.review(13.0)
        assert (found.is_frozen, found.changed) == (True, 0)

    def test_what_it_may_have_held_bounds_what_a_curve_beside_it_leaves_out(self) -> None:
        """The market hears with each share how much of the battery's power may have been a stream's."""
        stream = Running(2, 49.0)
        acknowledge(stream.rows, at=after(12.0), kind="stream")
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=after(12.0))
        first, second = current(dispatch)
        acknowledge([first, second], at=after(13.0))
        shares = queries.contracted_shares(dispatch_id="DC-1")
        assert [share.stream_kw for share in shares] == [pytest.approx(25.0)] * 2
        assert [(share.contracted_kw, share.moves) for share in shares] == [(pytest.approx(50.0), ())] * 2


class TestSharesThatMoved:
    def test_each_counts_from_its_acknowledgement(self) -> None:
        a_fleet(100.0, 100.0, 100.0)
        # From 30 s to 90 s.
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:2], at=after(1.0))
        recording.record_sent(sendings=[Sending(rows[2].pk, after(1.0))])
        recording.record_acknowledgements(
            reports=[
                SiteReport(site_id="site-0003", received_at=after(1.0), state="refused", refusal="locked_out",
                           refused_hash=rows[2].content_hash, refused_sequence=1)
            ]
        )  # fmt: skip
        operations.review_dispatch(
            dispatch=dispatch, at=after(2.0), freeze=FreezeWatch(), turns=operations.Turns(0.0, 0.0, 0.0)
        )
        # The two others have 75 kW each from their second acknowledgement: at 50.04 s and after the window.
        again = current(dispatch)[:2]
        acknowledge(again[:1], at=after(50.0))
        acknowledge(again[1:], at=after(95.0))
        first, second = queries.contracted_shares(dispatch_id="DC-1")
        assert first.moves == ((after(30.0), pytest.approx(50.0)), (after(50.04), pytest.approx(75.0)))
        # 20.04 s at 50 kW and 39.96 s at 75 kW.
        assert first.contracted_kw == pytest.approx((20.04 * 50.0 + 39.96 * 75.0) / 60.0)
        assert (second.contracted_kw, second.moves) == (pytest.approx(50.0), ())
