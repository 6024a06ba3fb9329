"""Looking after an armed fleet on a real database: replacing, following the headroom, freezing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current, desired_kw, refuse

from sites.metering.models import LiveState
from sites.registry.models import Asset, Enrollment, Site
from vpp.dispatch import operations, queries, recording
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.models import Dispatch
from vpp.dispatch.recording import Sending
from vpp.dispatch.resharing import WORTH_MOVING

pytestmark = pytest.mark.django_db

NEVER = operations.Turns(period_s=0.0, since_s=0.0, until_s=0.0)
EVERYONE = operations.Turns(period_s=60.0, since_s=0.0, until_s=60.0)


def review(
    dispatch: Dispatch, *, at: datetime, turns: operations.Turns = NEVER, freeze: FreezeWatch | None = None
) -> operations.Review:
    return operations.review_dispatch(dispatch=dispatch, at=at, freeze=freeze or FreezeWatch(), turns=turns)


def measured(at: datetime, **values: Any) -> None:
    """Let all sites report again."""
    LiveState.objects.update(measured_at=at, received_at=at, **values)


class TestReviewing:
    def test_a_refused_share_goes_to_sites_with_room(self) -> None:
        a_fleet(100.0, 100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:2], at=after(1.0))
        refuse(rows[2], "locked_out", at=after(1.0))
        assert review(dispatch, at=after(2.0)).changed == 2
        assert [row.power_kw for row in current(dispatch)] == pytest.approx([75.0, 75.0, 50.0])
        assert [row.sequence for row in current(dispatch)] == [2, 2, 1]
        # Until the new ones are acknowledged, the old ones are what is held and settled.
        assert sum(share.contracted_kw for share in queries.contracted_shares(dispatch_id="DC-1")) == pytest.approx(
            100.0
        )
        assert review(dispatch, at=after(3.0)).changed == 0

    def test_a_site_that_refused_for_a_passing_reason_is_asked_anew_later(self, settings: Any) -> None:
        settings.REARM_EVERY_S = 20.0
        settings.FRESH_WITHIN_S = 60.0
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:1], at=after(1.0))
        refuse(rows[1], "out_of_envelope", at=after(1.0))
        review(dispatch, at=after(2.0))
        assert desired_kw() == pytest.approx({"site-0001": 100.0, "site-0002": 75.0})
        acknowledge(current(dispatch)[:1], at=after(3.0))
        assert review(dispatch, at=after(20.5)).changed == 0
        assert review(dispatch, at=after(21.5)).changed == 1
        assert desired_kw() == pytest.approx({"site-0001": 100.0, "site-0002": 50.0})
        assert current(dispatch)[1].sequence == 2
        # One that was refused for good, or while no retries are wanted, is not.
        refuse(current(dispatch)[1], "wrong_site", at=after(22.0))
        assert review(dispatch, at=after(80.0)).changed == 0

    def test_a_site_that_refuses_more_keeps_what_it_holds(self, settings: Any) -> None:
        settings.REARM_EVERY_S = 20.0
        settings.FRESH_WITHIN_S = 60.0
        sites = a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        LiveState.objects.filter(site=sites[1]).update(usable_energy_kwh=10.0)
        review(dispatch, at=after(2.0), turns=EVERYONE)
        moved = current(dispatch)[0]
        assert moved.power_kw > 50.0
        refuse(moved, "out_of_envelope", at=after(3.0), held_sequence=1)
        assert queries.standing(dispatch=dispatch, at=after(4.0)).asked_kw[sites[0].pk] == moved.power_kw
        assert queries.standing(dispatch=dispatch, at=after(24.0)).asked_kw[sites[0].pk] == pytest.approx(50.0)

    def test_a_silent_site_is_withdrawn_and_its_share_given_away_as_far_as_the_limit_bears(self) -> None:
        a_fleet(*[100.0] * 20)
        dispatch = operations.arm_obligation(obligation=an_obligation(980.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:-1], at=after(1.0))
        for number in range(queries.SILENT_SENDS - 1):
            recording.record_sent(sendings=[Sending(rows[-1].pk, after(1.0 + number))])
        assert review(dispatch, at=after(6.0)).changed == 0
        recording.record_sent(sendings=[Sending(rows[-1].pk, after(6.0))])
        # 50 kW are missing; the silent site may hold its 50 all the same, and 1009.4 is the most.
        assert review(dispatch, at=after(7.0)).changed == 2
        powers_kw = [row.power_kw for row in current(dispatch)]
        assert powers_kw[-1] == 0.0
        assert sum(powers_kw) == pytest.approx(959.4)
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(7.0))
        assert summary.upper_kw == pytest.approx(1009.4)
        assert summary.limit_kw == pytest.approx(1009.4)
        assert (summary.over_delivery.share, summary.over_delivery.is_published) == (0.03, True)

    def test_replacing_never_lifts_the_upper_bound_over_the_limit(self) -> None:
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:1], at=after(1.0))
        for number in range(queries.SILENT_SENDS):
            recording.record_sent(sendings=[Sending(rows[1].pk, after(1.0 + number))])
        # 100.94 kW is the most, and 100 may be held already: only 0.94 of the missing 50 may be given away.
        review(dispatch, at=after(7.0))
        assert [row.power_kw for row in current(dispatch)] == pytest.approx([50.94, 0.0])
        assert queries.dispatch_summary(dispatch_id="DC-1", at=after(7.0)).upper_kw == pytest.approx(100.94)
        # Once the silent one speaks and says that it holds nothing, the rest goes out too, to it as well.
        acknowledge(current(dispatch), at=after(8.0))
        review(dispatch, at=after(9.0))
        assert desired_kw() == pytest.approx({"site-0001": 50.94, "site-0002": 49.06})

    def test_in_the_window_shares_move_while_the_frequency_is_near(self) -> None:
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:1], at=after(1.0))
        refuse(rows[1], "locked_out", at=after(1.0))
        freeze = FreezeWatch()
        # Nobody tells the frequency; then it is away; then it is back, but not long enough.
        measured(after(30.0))
        assert review(dispatch, at=after(30.0), freeze=freeze).is_frozen
        measured(after(31.0), frequency_hz=49.79)
        assert review(dispatch, at=after(31.0), freeze=freeze).is_frozen
        measured(after(40.0), frequency_hz=49.95)
        assert review(dispatch, at=after(40.0), freeze=freeze).is_frozen
        assert desired_kw() == pytest.approx({"site-0001": 50.0, "site-0002": 50.0})
        measured(after(41.5), frequency_hz=49.95)
        found = review(dispatch, at=after(41.5), freeze=freeze)
        assert (found.is_frozen, found.changed) == (False, 1)
        assert desired_kw() == pytest.approx({"site-0001": 100.0, "site-0002": 50.0})

    def test_shares_follow_headroom_and_energy_at_their_turn(self) -> None:
        sites = a_fleet(100.0, 100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        # 5 kWh over 15 min are 20 kW.
        LiveState.objects.filter(site=sites[0]).update(usable_energy_kwh=5.0)
        assert review(dispatch, at=after(2.0)).changed == 0
        assert review(dispatch, at=after(2.0), turns=EVERYONE).changed == 3
        # The ideal is 13.6, 68.2, 68.2; firm power may not fall under the 147 promised while the rest is on its way.
        first = [row.power_kw for row in current(dispatch)]
        assert first == pytest.approx([48.59, 50.705, 50.705], abs=1e-3)
        for round_ in range(40):
            acknowledge(current(dispatch), at=after(3.0 + 0.1 * round_))
            summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(3.0 + 0.1 * round_))
            assert summary.firm_kw >= 147.0 - 1e-6
            review(dispatch, at=after(3.05 + 0.1 * round_), turns=EVERYONE)
        # What is left to the ideal is less than is worth a message to those whose share would rise.
        powers_kw = [row.power_kw for row in current(dispatch)]
        assert powers_kw == pytest.approx([20.4, 64.8, 64.8], abs=0.1)
        assert 1.0 - powers_kw[1] / 68.2 == pytest.approx(WORTH_MOVING, abs=0.001)

    def test_without_room_no_site_is_armed_anew_for_crumbs(self) -> None:
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(196.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:1], at=after(1.0))
        refuse(rows[1], "locked_out", at=after(1.0))
        assert review(dispatch, at=after(2.0)).changed == 0

    def test_sites_that_came_later_fill_what_was_missing(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        late = Site.objects.create(
            site_id="site-late", name="Late", grid_zone="GB", nominal_hz=50.0, nominal_voltage_v=230.0,
            loss_of_link="hold", partition=0, enrolled_at=NOW,
        )  # fmt: skip
        Enrollment.objects.create(site=late, program="neso-dc-low", since=NOW)
        Asset.objects.create(site=late, name="battery", kind="battery", rated_kw=80.0, capacity_kwh=1_000.0)
        LiveState.objects.create(
            site=late, measured_at=after(1.0), received_at=after(1.0), mode="grid_tied", discharge_kw=80.0,
            charge_kw=0.0, usable_energy_kwh=80.0, absorbable_energy_kwh=0.0,
        )  # fmt: skip
        assert review(dispatch, at=after(2.0)).changed == 1
        assert desired_kw() == pytest.approx({"site-0001": 50.0, "site-late": 50.0})

    def test_how_long_firm_power_was_missing_is_noted(self) -> None:
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        review(dispatch, at=after(1.0))
        assert queries.dispatch_summary(dispatch_id="DC-1", at=after(1.5)).short_since == NOW
        acknowledge(current(dispatch), at=after(2.0))
        review(dispatch, at=after(3.0))
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(3.0))
        assert (summary.short_since, summary.restored_in_s) == (None, pytest.approx(3.0))

    def test_a_site_with_a_higher_sequence_is_asked_above_it(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        refuse(current(dispatch)[0], "stale", at=after(1.0), held_sequence=41)
        assert operations.reissue_stale(at=after(2.0)) == 1
        assert [row.sequence for row in current(dispatch)] == [42]
        assert operations.reissue_stale(at=after(3.0)) == 0
