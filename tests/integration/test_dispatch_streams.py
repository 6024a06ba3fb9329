"""Setpoint streams on a real database: granted beside curves."""

from __future__ import annotations

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current

from sites.core.intervals import Interval
from sites.core.streams import grant_from_bytes, stream_product
from sites.registry.models import Enrollment, Site
from vpp.dispatch import operations, queries
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.operations import NothingToArm

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
        # 50 kW of each are armed as a curve: 50 are left each way, of 100 that were wanted.
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
