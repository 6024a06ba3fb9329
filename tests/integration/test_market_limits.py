"""Capacity limits on a real database: kept, capping what is promised and armed, judged on the connections' meters."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from support.dispatched import NOW, a_fleet, acknowledge, after, current

from markets import operations, queries
from markets.capacity_limits import CapacityLimit
from markets.core.course import Step
from markets.core.events import Event, EventInterval, EventSignal, OptType
from markets.core.obligations import Decision, Reason
from markets.limiting import verdict_on
from markets.models import Obligation, Program
from markets.operations import ProgramSeed
from sites.metering.models import LiveState, MeterInterval
from sites.registry.models import Asset, Enrollment, Site
from vpp.dispatch import operations as dispatching
from vpp.dispatch.freezing import FreezeWatch

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
STARTS_AT = NOW + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _programs() -> None:
    names = ("neso-dc-low", "capacity-limit-import", "capacity-limit-export")
    operations.ensure_programs(seeds=[ProgramSeed(name, f"http://operator.example/{name}", True) for name in names])


def receive(event: Event, *, available_kw: float = 196.0, at: datetime = NOW) -> Decision:
    return operations.receive_event(raw=b"{}", event=event, available_kw=available_kw, at=at)


def a_limit(*values: float, event_id: str = "cap", number: int = 0, way: str = "export", **changes: Any) -> Event:
    program = queries.program_named(f"capacity-limit-{way}")
    length = HOUR / len(values)
    steps = tuple(EventInterval(STARTS_AT + n * length, length, value) for n, value in enumerate(values))
    signal = EventSignal(program.signal_name, program.signal_type, steps, "W", "k")
    context = program.market_context
    return replace(Event("VTN", event_id, number, "none", context, STARTS_AT, HOUR, (signal,)), **changes)


def a_service(value: float = -150.0, event_id: str = "dc") -> Event:
    context = queries.program_named("neso-dc-low").market_context
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(STARTS_AT, HOUR, value),), "W", "k")
    return Event("VTN", event_id, 0, "far", context, STARTS_AT, HOUR, (signal,))


def two_sites(product: str = "capacity-limit-export") -> list[Site]:
    """100 kW each; the first draws 10 kW from the grid, the second feeds 5 kW in."""
    sites = a_fleet(100.0, 100.0)
    for site, pcc_kw in zip(sites, (10.0, -5.0), strict=True):
        Enrollment.objects.create(site=site, program=product, since=NOW)
        Asset.objects.create(site=site, name="pcc", kind="pcc", rated_kw=120.0, export_limit_kw=110.0)
        LiveState.objects.filter(site=site).update(pcc_kw=pcc_kw)
    return sites


def owed() -> Obligation:
    return Obligation.objects.get(event__event_id="dc")


class TestReceiving:
    def test_it_is_kept_in_its_steps_and_owes_nothing(self):
        two_sites()
        decision = receive(a_limit(80.0, 0.0))
        assert (decision.opt, decision.reason, decision.is_obligation) == (OptType.OPT_IN, Reason.LIMIT_KEPT, False)
        limit = CapacityLimit.objects.get()
        assert (limit.is_import, limit.scope, limit.power_kw) == (False, "program", 0.0)
        assert limit.course == (Step(STARTS_AT, 80.0), Step(STARTS_AT + HOUR / 2, 0.0))
        assert not Obligation.objects.exists()

    def test_a_window_that_has_begun_binds_from_now_on(self):
        two_sites()
        assert receive(a_limit(80.0), at=STARTS_AT + HOUR / 4).reason is Reason.LIMIT_KEPT

    @pytest.mark.parametrize(
        ("targets", "scope", "names"),
        [
            ((("ven_id", "us"),), "program", []),
            ((("resource_id", "site-0001"),), "sites", ["site-0001"]),
            ((("", "site-0002"), ("resource_name", "site-0001")), "sites", ["site-0001", "site-0002"]),
            ((("group_id", "GB"),), "zone", ["GB"]),
        ],
    )
    def test_a_target_narrows_it(self, targets, scope, names):
        two_sites()
        assert receive(a_limit(80.0, targets=targets)).reason is Reason.LIMIT_KEPT
        limit = CapacityLimit.objects.get()
        assert (limit.scope, limit.names) == (scope, names)

    @pytest.mark.parametrize(
        ("targets", "reason"),
        [
            ((("resource_id", "elsewhere"),), Reason.TARGET_UNKNOWN),
            ((("group_id", "nowhere"),), Reason.TARGET_UNKNOWN),
            ((("weather", "GB"),), Reason.TARGET_UNSUPPORTED),
            ((("group_id", "GB"), ("resource_id", "site-0001")), Reason.TARGET_UNSUPPORTED),
        ],
    )
    def test_a_target_that_is_none_is_named(self, targets, reason):
        two_sites()
        decision = receive(a_limit(80.0, targets=targets))
        assert (decision.opt, decision.reason) == (OptType.OPT_OUT, reason)
        assert not CapacityLimit.objects.exists()

    def test_a_negative_limit_is_refused(self):
        two_sites()
        assert receive(a_limit(-1.0)).reason is Reason.VALUE_WRONG_SIGN

    def test_it_is_changed_and_ended_as_its_operator_says(self):
        two_sites()
        receive(a_limit(80.0))
        receive(a_limit(60.0, number=1), at=STARTS_AT + HOUR / 4)
        limit = CapacityLimit.objects.get()
        assert limit.course == (Step(STARTS_AT, 80.0), Step(STARTS_AT + HOUR / 4, 60.0))
        receive(a_limit(60.0, number=2, status="cancelled"), at=STARTS_AT + HOUR / 2)
        limit.refresh_from_db()
        assert (limit.status, limit.ends_at, limit.revision) == ("open", STARTS_AT + HOUR / 2, 3)

    def test_one_that_is_no_longer_listed_holds_no_longer(self):
        two_sites()
        receive(a_limit(80.0))
        assert operations.withdraw_absent_events(vtn_id="VTN", listed=[], since=NOW, at=NOW) == ["cap"]
        assert CapacityLimit.objects.get().status == "cancelled"


class TestCapping:
    def test_a_limit_cuts_what_was_promised_and_gives_it_back(self):
        two_sites()
        receive(a_service())
        receive(a_limit(75.0))
        # 75 + 10 - 5 of 200 kW: two fifths of the 196 that can be kept up.
        row = owed()
        assert (row.power_kw, row.event.reason) == (78.0, "reduced")
        assert "a capacity limit holds there" in row.event.reason_text
        receive(a_limit(75.0, number=1, status="cancelled"), at=after(60.0))
        assert (owed().power_kw, owed().event.reason) == (150.0, "restored")

    def test_what_comes_later_hears_of_it(self):
        two_sites()
        receive(a_limit(75.0))
        decision = receive(a_service())
        assert (decision.reason, decision.power_kw) == (Reason.ACCEPTED_PART, 78.0)
        assert "a capacity limit holds there" in decision.text

    def test_an_import_limit_leaves_power_into_the_grid_alone(self):
        two_sites("capacity-limit-import")
        receive(a_limit(0.0, way="import"))
        assert receive(a_service()).power_kw == 150.0

    def test_sites_are_armed_within_it(self):
        two_sites()
        Program.objects.update(allows_part=True)
        receive(a_limit(30.0, targets=(("resource_id", "site-0002"),)))
        # 30 - 5 from the second site, all from the first: 125 of 200.
        assert receive(a_service()).power_kw == 122.0
        dispatch = dispatching.arm_obligation(obligation=owed(), at=NOW)
        armed = {row.site.site_id: row.power_kw for row in current(dispatch)}
        assert armed["site-0002"] <= 25.0 + 1e-6
        assert sum(armed.values()) >= 122.0

    def test_shares_that_stand_move_below_it(self, settings):
        settings.REARM_EVERY_S = 60.0
        two_sites()
        receive(a_service(-98.0))
        dispatch = dispatching.arm_obligation(obligation=owed(), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        receive(a_limit(45.0, targets=(("resource_id", "site-0002"),)), at=after(2.0))
        assert owed().revision == 1  # 100 + 40 are enough
        turns = dispatching.Turns(60.0, 0.0, 60.0)
        for round_ in range(20):
            at = after(3.0 + 0.1 * round_)
            dispatching.review_dispatch(dispatch=dispatch, at=at, freeze=FreezeWatch(), turns=turns)
            acknowledge(current(dispatch), at=at)
        armed = {row.site.site_id: row.power_kw for row in current(dispatch)}
        assert armed["site-0002"] < 45.0
        assert sum(armed.values()) >= 98.0

    def test_a_site_that_is_not_heard_counts_with_its_whole_connection(self):
        first, _ = two_sites()
        LiveState.objects.filter(site=first).update(measured_at=after(-600.0))
        receive(a_limit(125.0))
        # 110 of the first one's connection and 5 of the second's feeding in leave 10 of the 100 that are measured.
        assert receive(a_service(), available_kw=98.0).power_kw == 9.0


class TestJudging:
    def metered(self, site: Site, *means_kw: float | None) -> None:
        """Numbered intervals of five minutes; None: missing."""
        asset = Asset.objects.get(site=site, kind="pcc")
        for number, mean_kw in enumerate(means_kw, 1):
            if mean_kw is None:
                continue
            starts_at = STARTS_AT + (number - 1) * timedelta(minutes=5)
            uwh = round(abs(mean_kw) / 12.0 * 1e9)
            MeterInterval.objects.create(
                asset=asset, number=number, revision=0, starts_at=starts_at, ends_at=starts_at + timedelta(minutes=5),
                into_bus_uwh=uwh if mean_kw > 0 else 0, from_bus_uwh=uwh if mean_kw < 0 else 0,
                service_into_uwh=0, service_from_uwh=0, fuel_ul=0, quality="good", received_at=starts_at,
                register_into_uwh=0, register_from_uwh=0,
            )  # fmt: skip

    def test_the_worst_interval_counts_and_missing_data_is_missing(self):
        first, second = two_sites("capacity-limit-import")
        receive(a_limit(50.0, way="import"))
        self.metered(first, 30.0, 45.0, 20.0, 20.0)
        self.metered(second, 15.0, 12.0, None, -8.0)
        verdict = verdict_on(limit=CapacityLimit.objects.get(), at=STARTS_AT + timedelta(minutes=21))
        assert (verdict.intervals, verdict.within, verdict.over, verdict.missing) == (4, 2, 1, 1)
        assert (verdict.worst_at, verdict.worst_kw) == (STARTS_AT + timedelta(minutes=5), pytest.approx(57.0))
        assert verdict.worst_over_kw == pytest.approx(7.0)

    def test_the_command_tells_it_with_its_certainty(self, monkeypatch):
        first, second = two_sites("capacity-limit-import")
        receive(a_limit(50.0, way="import"))
        self.metered(first, 30.0)
        self.metered(second, 30.0)
        monkeypatch.setattr("django.utils.timezone.now", lambda: STARTS_AT + timedelta(minutes=6))
        out = StringIO()
        call_command("limits", "--json", stdout=out)
        told = json.loads(out.getvalue())
        assert (told["event_id"], told["certainty"], told["sites"], told["over"]) == ("cap", "U", 2, 1)
        out = StringIO()
        call_command("limits", stdout=out)
        assert "0 intervals within, 1 over, 0 not metered; worst 60.000 of 50 kW" in out.getvalue()
