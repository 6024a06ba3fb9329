"""Arming, replacing, cancelling and recording on a real database: sequences rise, sums hold, leaders are fenced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import include, path

from markets.models import MarketEvent, Obligation
from markets.operations import ensure_programs
from markets.queries import available_kw
from sites.core.assignments import assignment_from_bytes
from sites.core.intervals import Interval
from sites.core.streams import grant_from_bytes, stream_product
from sites.metering.models import LiveState
from sites.registry.models import Asset, Enrollment, Site
from vpp.dispatch import leases, operations, queries, recording
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.operations import NothingToArm
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARGIN = 0.02
urlpatterns = [path("api/", include("vpp.dispatch.urls"))]


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_fleet(*powers_kw: float) -> list[Site]:
    """Sites with as much discharge power and energy for an hour of it, measured now."""
    sites = []
    for number, power_kw in enumerate(powers_kw, 1):
        site = Site.objects.create(
            site_id=f"site-{number:04d}", name=f"Site {number}", grid_zone="GB", nominal_hz=50.0,
            nominal_voltage_v=230.0, loss_of_link="hold", partition=0, enrolled_at=NOW,
        )  # fmt: skip
        Enrollment.objects.create(site=site, program="neso-dc-low", since=NOW)
        Asset.objects.create(site=site, name="battery", kind="battery", rated_kw=power_kw, capacity_kwh=1_000.0)
        LiveState.objects.create(
            site=site, measured_at=NOW, received_at=NOW, mode="grid_tied", discharge_kw=power_kw, charge_kw=power_kw,
            usable_energy_kwh=power_kw, absorbable_energy_kwh=power_kw,
        )  # fmt: skip
        sites.append(site)
    return sites


def an_obligation(power_kw: float, *, name: str = "1", starts_s: float = 30.0, lasts_s: float = 60.0) -> Obligation:
    program = next(row for row in ensure_programs() if row.name == "neso-dc-low")
    event = MarketEvent.objects.create(
        vtn_id="vtn", event_id=name, modification_number=0, program=program, raw=b"", content_hash=name,
        operator_status="far", received_at=NOW, decided_at=NOW, opt_type="optIn", reason="accepted", reason_text="",
        requested_kw=power_kw, available_kw=power_kw,
    )  # fmt: skip
    return Obligation.objects.create(
        dispatch_id=f"DC-{name}", program=program, event=event, power_kw=power_kw, starts_at=after(starts_s),
        ends_at=after(starts_s + lasts_s), created_at=NOW, changed_at=NOW,
    )  # fmt: skip


def desired_kw() -> dict[str, float]:
    rows = SiteAssignment.objects.filter(superseded=False)
    return dict(rows.values_list("site__site_id", "power_kw"))


def acknowledge(rows: Sequence[SiteAssignment], *, at: datetime, **report: Any) -> None:
    recording.record_sent(sendings=[Sending(row.pk, at) for row in rows])
    recording.record_acknowledgements(
        reports=[
            SiteReport(
                site_id=row.site.site_id, received_at=at + timedelta(milliseconds=40), state="armed",
                held_hash=row.content_hash, held_sequence=row.sequence, **report,
            )
            for row in rows
        ]
    )  # fmt: skip


def refuse(row: SiteAssignment, refusal: str, *, at: datetime, held_sequence: int = 0) -> None:
    recording.record_sent(sendings=[Sending(row.pk, at)])
    report = SiteReport(
        site_id=row.site.site_id, received_at=at, state="refused", refused_hash=row.content_hash,
        refused_sequence=row.sequence, refusal=refusal, held_sequence=held_sequence,
    )  # fmt: skip
    recording.record_acknowledgements(reports=[report])


def current(dispatch: Dispatch) -> list[SiteAssignment]:
    return queries.current_rows(dispatch=dispatch)


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


class TestRecording:
    def test_first_sending_and_first_acknowledgement_stay(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        acknowledge(current(dispatch), at=after(2.0))
        (row,) = current(dispatch)
        assert (row.first_sent_at, row.last_sent_at, row.sends) == (after(1.0), after(2.0), 2)
        assert row.acknowledged_at == after(1.04)
        assert queries.arm_latencies_ms(dispatch_id="DC-1") == pytest.approx([40.0])

    def test_a_hash_of_another_site_acknowledges_nothing(self) -> None:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        first, second = current(dispatch)
        report = SiteReport(site_id=first.site.site_id, received_at=after(1.0), held_hash=second.content_hash)
        recording.record_acknowledgements(reports=[report])
        assert all(row.acknowledged_at is None for row in current(dispatch))

    def test_a_refusal_is_kept_by_its_name(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        refuse(current(dispatch)[0], "out_of_envelope", at=after(1.0))
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(1.0))
        assert (summary.armed, summary.acknowledged, summary.refused) == (0, 0, 1)
        assert current(dispatch)[0].refusal == "out_of_envelope"

    def test_the_summary_counts_only_fresh_and_agreeing_sites_as_firm(self) -> None:
        sites = a_fleet(50.0, 50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        LiveState.objects.filter(site=sites[0]).update(measured_at=after(-60.0))
        lost = SiteReport(site_id="site-0002", received_at=after(2.0), state="idle")
        recording.record_acknowledgements(reports=[lost])
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(2.0))
        assert (summary.sites, summary.armed, summary.acknowledged) == (3, 3, 3)
        assert summary.acknowledged_kw == pytest.approx(150.0)
        assert summary.firm_kw == pytest.approx(50.0)
        assert summary.arm_ms_p50 == pytest.approx(40.0)
        assert summary.all_acknowledged_ms == pytest.approx(1040.0)


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

    def test_a_silent_site_is_withdrawn_and_its_share_given_away_as_far_as_the_limit_bears(self) -> None:
        a_fleet(*[100.0] * 20)
        dispatch = operations.arm_obligation(obligation=an_obligation(980.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:-1], at=after(1.0))
        for number in range(queries.SILENT_SENDS - 1):
            recording.record_sent(sendings=[Sending(rows[-1].pk, after(1.0 + number))])
        assert review(dispatch, at=after(6.0)).changed == 0
        recording.record_sent(sendings=[Sending(rows[-1].pk, after(6.0))])
        # 50 kW are missing; the silent site may hold its 50 all the same, and 1078 is the most.
        assert review(dispatch, at=after(7.0)).changed == 3
        powers_kw = [row.power_kw for row in current(dispatch)]
        assert powers_kw[-1] == 0.0
        assert sum(powers_kw) == pytest.approx(1000.0)
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(7.0))
        assert summary.upper_kw == pytest.approx(1050.0)
        assert summary.limit_kw == pytest.approx(1078.0)
        assert (summary.over_delivery.share, summary.over_delivery.is_published) == (0.10, False)

    def test_replacing_never_lifts_the_upper_bound_over_the_limit(self) -> None:
        a_fleet(100.0, 100.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        rows = current(dispatch)
        acknowledge(rows[:1], at=after(1.0))
        for number in range(queries.SILENT_SENDS):
            recording.record_sent(sendings=[Sending(rows[1].pk, after(1.0 + number))])
        # 107.8 kW is the most, and 100 may be held already: only 7.8 of the missing 50 may be given away.
        review(dispatch, at=after(7.0))
        assert [row.power_kw for row in current(dispatch)] == pytest.approx([57.8, 0.0])
        assert queries.dispatch_summary(dispatch_id="DC-1", at=after(7.0)).upper_kw == pytest.approx(107.8)
        # Once the silent one speaks and says that it holds nothing, the rest goes out too, to it as well.
        acknowledge(current(dispatch), at=after(8.0))
        review(dispatch, at=after(9.0))
        assert desired_kw() == pytest.approx({"site-0001": 57.8, "site-0002": 42.2})

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
        assert first == pytest.approx([47.0, 51.5, 51.5], abs=1e-3)
        for round_ in range(40):
            acknowledge(current(dispatch), at=after(3.0 + 0.1 * round_))
            summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(3.0 + 0.1 * round_))
            assert summary.firm_kw >= 147.0 - 1e-6
            review(dispatch, at=after(3.05 + 0.1 * round_), turns=EVERYONE)
        # No site is asked for more than it keeps up; what is left to the ideal is less than is worth a message.
        assert [row.power_kw for row in current(dispatch)] == pytest.approx([20.0, 65.0, 65.0], abs=0.1)

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
        assert share.contracted_kw == pytest.approx(40.0 / (1 - MARGIN))


class TestLease:
    def test_one_holder_at_a_time_and_a_rising_token(self) -> None:
        take = {"name": "x", "lease_s": 5.0}
        assert leases.take_lease(holder="a", at=NOW, **take) == 1  # type: ignore[arg-type]
        assert leases.take_lease(holder="b", at=after(4.9), **take) is None  # type: ignore[arg-type]
        leases.renew_lease(name="x", token=1, lease_s=5.0, at=after(4.0))
        assert leases.take_lease(holder="b", at=after(8.9), **take) is None  # type: ignore[arg-type]
        assert leases.take_lease(holder="b", at=after(9.0), **take) == 2  # type: ignore[arg-type]
        with pytest.raises(LeaseLost, match="token 1"):
            leases.renew_lease(name="x", token=1, lease_s=5.0, at=after(9.1))

    def test_a_lease_given_back_is_free_at_once(self) -> None:
        leases.take_lease(name="x", holder="a", lease_s=5.0, at=NOW)
        leases.release_lease(name="x", token=1, at=after(1.0))
        assert leases.take_lease(name="x", holder="b", lease_s=5.0, at=after(1.0)) == 2

    def test_a_former_leader_writes_nothing(self) -> None:
        a_fleet(50.0)
        obligation = an_obligation(40.0)
        old = leases.take_lease(name=leases.DISPATCH, holder="a", lease_s=1.0, at=NOW)
        new = leases.take_lease(name=leases.DISPATCH, holder="b", lease_s=1.0, at=after(2.0))
        with pytest.raises(LeaseLost):
            operations.arm_obligation(obligation=obligation, at=after(2.0), token=old)
        assert not Dispatch.objects.exists()
        dispatch = operations.arm_obligation(obligation=obligation, at=after(2.0), token=new)
        with pytest.raises(LeaseLost):
            recording.record_sent(sendings=[Sending(current(dispatch)[0].pk, after(2.0))], token=old)
        assert current(dispatch)[0].sends == 0


class TestSettleCommand:
    def test_names_what_it_waits_for(self) -> None:
        with pytest.raises(CommandError, match="dispatch 'DC-9' is not known"):
            call_command("settle_dispatch", "DC-9", "--basis", "demonstration")
        a_fleet(50.0)
        operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        # Its window is over by the real clock, but no site acknowledged.
        with pytest.raises(CommandError, match="no acknowledged share"):
            call_command("settle_dispatch", "DC-1", "--basis", "demonstration")

    def test_hands_the_acknowledged_shares_to_the_market(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        # No meter data stands behind the share, and the market says for which site.
        with pytest.raises(CommandError, match="1 sites are not metered in full: site-0001"):
            call_command("settle_dispatch", "DC-1", "--basis", "demonstration")


@pytest.mark.urls(__name__)
class TestApi:
    @pytest.fixture
    def dispatch(self) -> Dispatch:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(49.0), at=NOW)
        acknowledge(current(dispatch)[:1], at=after(1.0))
        return dispatch

    def client_of(self, role: str) -> Client:
        user = User.objects.create_user(username=role)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    @pytest.mark.parametrize("role", ["dispatcher", "auditor"])
    def test_reads_dispatches_and_assignments(self, dispatch: Dispatch, role: str) -> None:
        client = self.client_of(role)
        (row,) = client.get("/api/dispatches/").json()["results"]
        assert row == client.get("/api/dispatches/DC-1/").json()
        assert (row["armed"], row["acknowledged"], row["armed_kw"]) == (2, 1, pytest.approx(50.0))
        rows = client.get("/api/dispatches/DC-1/assignments/").json()["results"]
        assert [(r["site_id"], r["acknowledged_at"] is not None) for r in rows] == [
            ("site-0001", True),
            ("site-0002", False),
        ]
        assert client.get("/api/dispatches/DC-9/").status_code == 404
        assert client.get("/api/dispatches/DC-9/assignments/").status_code == 404

    def test_an_owner_or_a_stranger_reads_nothing(self, dispatch: Dispatch) -> None:
        owner = self.client_of("owner")
        for path_ in ("/api/dispatches/", "/api/dispatches/DC-1/", "/api/dispatches/DC-1/assignments/"):
            assert owner.get(path_).status_code == 403
            assert Client().get(path_).status_code == 403
