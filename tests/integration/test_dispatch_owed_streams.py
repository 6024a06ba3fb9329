"""Obligations of products without a curve: each opens its stream, follows its changes, and closes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current

from markets.core.course import Step, stored
from markets.models import Obligation
from sites.core.streams import StreamGrant, grant_from_bytes
from sites.metering.models import LiveState
from sites.registry.models import Enrollment
from vpp.dispatch import leases, operations, queries
from vpp.dispatch.models import Dispatch, SiteAssignment

pytestmark = pytest.mark.django_db


def enrolled(product: str, *powers_kw: float) -> None:
    for site in a_fleet(*powers_kw):
        Enrollment.objects.create(site=site, program=product, since=NOW)


def armed(obligation: Obligation, at_s: float = 0.0) -> Dispatch:
    return operations.arm_obligation(obligation=obligation, at=after(at_s))


def grants(dispatch: Dispatch) -> list[StreamGrant]:
    return [grant_from_bytes(bytes(SiteAssignment.objects.get(pk=row.pk).body)) for row in current(dispatch)]


class TestOpening:
    @pytest.mark.parametrize(
        ("product", "dispatch_id", "up_kw", "down_kw"),
        [
            ("pjm-regd", "REG-1", 50.0, 50.0),
            ("ercot-reg-up", "REG-1", 50.0, 0.0),
            ("ercot-reg-down", "REG-1", 0.0, 50.0),
            ("energy-dispatch", "EN-1", 50.0, 50.0),
        ],
    )
    def test_each_site_grants_the_ways_that_its_product_has(self, product, dispatch_id, up_kw, down_kw):
        enrolled(product, 100.0, 100.0)
        dispatch = armed(an_obligation(98.0, product=product))
        assert (dispatch.dispatch_id, dispatch.kind, dispatch.product) == (dispatch_id, "stream", product)
        for grant in grants(dispatch):
            assert (grant.up_kw, grant.down_kw) == (pytest.approx(up_kw), pytest.approx(down_kw))
            assert (grant.stream, grant.starts_at, grant.ends_at) == (dispatch_id, after(30.0), after(90.0))

    def test_a_curve_product_arms_its_curve_still(self):
        a_fleet(100.0)
        dispatch = armed(an_obligation(49.0))
        assert (dispatch.kind, dispatch.product) == ("curve", "neso-dc-low")

    def test_a_one_way_stream_leaves_the_other_way_to_a_curve(self):
        enrolled("ercot-reg-down", 100.0)
        armed(an_obligation(98.0, product="ercot-reg-down"))
        dispatch = armed(an_obligation(98.0, name="2"))
        assert [row.power_kw for row in current(dispatch)] == [pytest.approx(100.0)]

    def test_the_leader_finds_it_among_what_is_owed(self):
        enrolled("pjm-regd", 100.0)
        obligation = an_obligation(49.0, product="pjm-regd")
        assert queries.obligations_to_arm(at=NOW) == [obligation]
        armed(obligation)
        assert queries.obligations_to_arm(at=NOW) == []


class TestChanging:
    def test_less_power_is_granted_anew_and_a_cancellation_withdraws_it(self):
        enrolled("pjm-regd", 100.0, 100.0)
        obligation = an_obligation(98.0, product="pjm-regd")
        armed(obligation)
        Obligation.objects.update(power_kw=49.0, revision=2)
        obligation.refresh_from_db()
        LiveState.objects.update(measured_at=after(40.0), received_at=after(40.0))
        dispatch = armed(obligation, 40.0)
        assert sum(grant.up_kw for grant in grants(dispatch)) == pytest.approx(50.0)
        Obligation.objects.update(status="cancelled", revision=3)
        assert list(queries.dispatches_to_cancel(at=after(50.0))) == [dispatch]
        operations.cancel_dispatch(dispatch=dispatch, at=after(50.0))
        assert [grant.power_kw for grant in grants(dispatch)] == [0.0, 0.0]

    def test_its_end_lapses_it(self):
        enrolled("pjm-regd", 100.0)
        dispatch = armed(an_obligation(49.0, product="pjm-regd"))
        assert operations.lapse_dispatches(at=after(90.0)) == 1
        dispatch.refresh_from_db()
        assert dispatch.status == "lapsed"


class TestPlans:
    def test_an_instruction_is_told_in_its_steps_over_what_sites_hold(self):
        enrolled("energy-dispatch", 100.0, 100.0)
        obligation = an_obligation(98.0, product="energy-dispatch")
        obligation.steps = stored((Step(after(30.0), 98.0), Step(after(60.0), -49.0)))
        obligation.save()
        dispatch = armed(obligation)
        assert queries.planned_streams(at=after(20.0)) == []
        acknowledge(current(dispatch), at=after(5.0), kind="stream")
        LiveState.objects.update(measured_at=after(31.0), received_at=after(31.0))
        (plan,) = queries.planned_streams(at=after(31.0))
        assert plan.firm_kw == pytest.approx(100.0)
        assert plan.value_at(after(31.0)) == pytest.approx(0.98)
        assert plan.value_at(after(60.0)) == pytest.approx(-0.49)
        # With their data too old to count on, each gives all that it was granted.
        (plan,) = queries.planned_streams(at=after(45.0))
        assert (plan.firm_kw, plan.value_at(after(45.0))) == (0.0, 1.0)

    def test_a_signal_of_the_operator_is_none_of_its_plans(self):
        enrolled("pjm-regd", 100.0)
        armed(an_obligation(49.0, product="pjm-regd"))
        assert queries.planned_streams(at=after(31.0)) == []


class TestUnheard:
    def test_a_stream_in_its_window_without_a_sender_is_told(self):
        enrolled("pjm-regd", 100.0)
        armed(an_obligation(49.0, product="pjm-regd"))
        assert queries.unheard_streams(at=after(32.9)) == []
        assert queries.unheard_streams(at=after(33.0)) == ["REG-1"]
        assert queries.dispatch_summary(dispatch_id="REG-1", at=after(33.0)).is_unheard
        token = leases.take_lease(name=leases.lease_name("REG-1"), holder="me", lease_s=10.0, at=after(33.0))
        assert token is not None
        assert queries.unheard_streams(at=after(34.0)) == []
        assert not queries.dispatch_summary(dispatch_id="REG-1", at=after(34.0)).is_unheard
        # One that died tells by its lease.
        assert queries.unheard_streams(at=after(33.0) + timedelta(seconds=10.1)) == ["REG-1"]
        leases.release_lease(name=leases.lease_name("REG-1"), token=token, at=after(42.0))
        assert queries.unheard_streams(at=after(91.0)) == []
