"""Arming and cancelling on a real database: who is asked for how much, and with which sequence."""

from __future__ import annotations

from typing import Any

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current, desired_kw

from markets.models import Obligation
from markets.operations import ensure_programs
from markets.queries import available_kw
from sites.core.assignments import assignment_from_bytes
from sites.metering.models import LiveState
from sites.registry.models import Site
from vpp.dispatch import operations, queries
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.operations import NothingToArm

pytestmark = pytest.mark.django_db


class TestArming:
    def test_the_obligation_with_its_margin_is_shared_by_what_sites_sustain(self) -> None:
        a_fleet(50.0, 100.0, 350.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(245.0), at=NOW)
        # 245 / 0.98 = 250 kW of 500 kW: half of each.
        assert desired_kw() == pytest.approx({"site-0001": 25.0, "site-0002": 50.0, "site-0003": 175.0})
        assert dispatch.armed_kw == pytest.approx(250.0)

    def test_the_margin_is_not_armed_beyond_what_the_fleet_sustains(self) -> None:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(100.0), at=NOW)
        assert dispatch.armed_kw == pytest.approx(100.0)

    def test_the_body_is_what_the_row_says(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        (row,) = current(dispatch)
        row.refresh_from_db()
        assignment = assignment_from_bytes(bytes(row.body))
        assert assignment.content_hash == row.content_hash
        assert (assignment.site_id, assignment.sequence, assignment.dispatch_id) == ("site-0001", 1, "DC-1")
        assert (assignment.power_kw, assignment.baseline_kw) == (row.power_kw, 0.0)
        assert (assignment.starts_at, assignment.ends_at) == (after(30.0), after(90.0))
        assert assignment.points == ((0.015, 0.0), (0.2, 0.05), (0.5, 1.0))

    def test_arming_again_changes_nothing(self) -> None:
        a_fleet(50.0, 60.0)
        obligation = an_obligation(40.0)
        operations.arm_obligation(obligation=obligation, at=NOW)
        operations.arm_obligation(obligation=obligation, at=after(1.0))
        assert SiteAssignment.objects.count() == 2

    def test_changed_terms_are_armed_anew_with_the_next_sequences(self) -> None:
        a_fleet(50.0, 50.0)
        obligation = an_obligation(49.0)
        operations.arm_obligation(obligation=obligation, at=NOW)
        obligation.power_kw, obligation.revision = 98.0, 2
        obligation.save()
        assert queries.obligations_to_arm(at=after(1.0)) == [obligation]
        dispatch = operations.arm_obligation(obligation=obligation, at=after(1.0))
        assert desired_kw() == pytest.approx({"site-0001": 50.0, "site-0002": 50.0})
        assert [row.sequence for row in current(dispatch)] == [2, 2]
        assert queries.obligations_to_arm(at=after(1.0)) == []

    def test_sites_without_fresh_data_are_not_counted_on(self, settings: Any) -> None:
        sites = a_fleet(50.0, 50.0)
        LiveState.objects.filter(site=sites[0]).update(measured_at=after(-settings.FRESH_WITHIN_S - 1.0))
        operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        assert desired_kw() == {"site-0002": 50.0}

    def test_without_any_site_it_is_refused_by_name_and_nothing_is_kept(self) -> None:
        with pytest.raises(NothingToArm, match="DC-1: 0 free sites"):
            operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        assert not Dispatch.objects.exists()

    def test_a_site_armed_for_one_dispatch_is_not_taken_for_another(self) -> None:
        a_fleet(50.0, 50.0)
        operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        with pytest.raises(NothingToArm):
            operations.arm_obligation(obligation=an_obligation(10.0, name="2"), at=NOW)
        # After the first window they are free.
        LiveState.objects.update(measured_at=after(91.0), received_at=after(91.0))
        operations.lapse_dispatches(at=after(91.0))
        second = an_obligation(10.0, name="3", starts_s=120.0)
        operations.arm_obligation(obligation=second, at=after(91.0))
        assert [row.sequence for row in SiteAssignment.objects.filter(superseded=False)] == [2, 2]


class TestLossOfLink:
    def test_a_site_that_releases_is_neither_promised_nor_armed(self, settings: Any) -> None:
        sites = a_fleet(50.0, 50.0)
        Site.objects.filter(pk=sites[0].pk).update(loss_of_link="release")
        context = next(row for row in ensure_programs() if row.name == "neso-dc-low").market_context
        assert available_kw(
            market_context=context, at=NOW, fresh_within_s=10.0, dropout_margin=0.0
        ) == pytest.approx(50.0)  # fmt: skip
        operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        assert desired_kw() == {"site-0002": 50.0}

    def test_a_site_that_chooses_to_release_later_is_not_firm_but_still_may_respond(self) -> None:
        sites = a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        Site.objects.filter(pk=sites[0].pk).update(loss_of_link="release")
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(2.0))
        assert (summary.promised_kw, summary.firm_kw, summary.upper_kw) == pytest.approx((98.0, 50.0, 100.0))

    @pytest.mark.parametrize("mode", ["maintenance", "lockout", "islanded"])
    def test_a_site_that_does_not_stand_on_the_grid_is_not_firm(self, mode: str) -> None:
        sites = a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        LiveState.objects.filter(site=sites[0]).update(mode=mode)
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(2.0))
        assert (summary.firm_kw, summary.upper_kw) == pytest.approx((50.0, 100.0))

    def test_a_clock_ahead_does_not_make_a_silent_site_fresh(self, settings: Any) -> None:
        sites = a_fleet(50.0, 50.0)
        LiveState.objects.filter(site=sites[0]).update(
            measured_at=after(50.0), received_at=after(-settings.FRESH_WITHIN_S - 1.0)
        )
        operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        assert desired_kw() == {"site-0002": 50.0}

    def test_nobody_counts_by_what_came_before_our_clock_was_set_back(self) -> None:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        # Everything in the database came five minutes later than this clock says.
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(-300.0))
        assert (summary.firm_kw, summary.upper_kw) == pytest.approx((0.0, 100.0))


class TestCancelling:
    def test_every_site_is_asked_to_hold_nothing(self) -> None:
        a_fleet(50.0, 50.0)
        obligation = an_obligation(49.0)
        dispatch = operations.arm_obligation(obligation=obligation, at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        obligation.status = Obligation.Status.CANCELLED
        obligation.save()
        assert list(queries.dispatches_to_cancel(at=after(2.0))) == [dispatch]
        assert operations.cancel_dispatch(dispatch=dispatch, at=after(2.0)) == 2
        assert [(row.power_kw, row.sequence) for row in current(dispatch)] == [(0.0, 2), (0.0, 2)]
        acknowledge(current(dispatch), at=after(3.0))
        assert queries.contracted_shares(dispatch_id="DC-1") == []
        assert not queries.dispatches_to_cancel(at=after(4.0)).exists()

    def test_a_window_cut_short_disarms_and_still_settles_what_was_held(self) -> None:
        a_fleet(50.0)
        obligation = an_obligation(40.0)
        dispatch = operations.arm_obligation(obligation=obligation, at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        obligation.ends_at, obligation.revision = after(50.0), 2
        obligation.save()
        assert list(queries.dispatches_to_cancel(at=after(50.1))) == [dispatch]
        operations.cancel_dispatch(dispatch=dispatch, at=after(50.1))
        acknowledge(current(dispatch), at=after(50.2))
        (share,) = queries.contracted_shares(dispatch_id="DC-1")
        assert share.contracted_kw == pytest.approx(40.0 / 0.98)
