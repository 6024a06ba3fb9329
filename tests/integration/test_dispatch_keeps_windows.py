"""Who is armed for what was sold: the unit's sites, none in its owner's window, no feeder above its limit."""

from __future__ import annotations

import pytest
from support.dispatched import acknowledge, current, desired_kw
from support.offered import NOW, WINDOW, a_site, a_unit, an_award, an_offer

from markets import queries as market_queries
from markets.models import Obligation
from markets.offers.operations import keep_site_out, let_site_back
from sites.core.intervals import Interval
from sites.registry.models import FeederGroup, Site
from vpp.dispatch import operations
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.models import Dispatch
from vpp.dispatch.operations import NothingToArm

pytestmark = pytest.mark.django_db
NEVER = operations.Turns(period_s=0.0, since_s=0.0, until_s=0.0)
EVERYONE = operations.Turns(period_s=60.0, since_s=0.0, until_s=60.0)


def sold(*sites: Site, kw: float = 1_000.0) -> Obligation:
    an_award(an_offer(a_unit(*sites)), kw)
    return Obligation.objects.get()


def test_only_the_sold_units_sites_are_armed() -> None:
    first, second = a_site(1), a_site(2)
    a_site(3)
    operations.arm_obligation(obligation=sold(first, second), at=NOW)
    # 1000 kW over 0.98, halved.
    assert desired_kw() == pytest.approx({"site-0001": 510.204082, "site-0002": 510.204082})


def test_a_site_whose_window_touches_the_obligation_is_not_armed() -> None:
    sites = a_site(1), a_site(2), a_site(3)
    obligation = sold(*sites)
    late = Interval(WINDOW.ends_at - (WINDOW.duration / 10), WINDOW.ends_at + WINDOW.duration)
    keep_site_out(site=sites[0], kind="maintenance", window=late, by=None, at=NOW)
    after = Interval(WINDOW.ends_at, WINDOW.ends_at + WINDOW.duration)
    keep_site_out(site=sites[1], kind="maintenance", window=after, by=None, at=NOW)
    operations.arm_obligation(obligation=Obligation.objects.get(pk=obligation.pk), at=NOW)
    assert set(desired_kw()) == {"site-0002", "site-0003"}


def test_a_window_added_later_disarms_its_site_and_others_take_over() -> None:
    sites = a_site(1), a_site(2), a_site(3)
    dispatch = operations.arm_obligation(obligation=sold(*sites), at=NOW)
    acknowledge(current(dispatch), at=NOW)
    kept_out, _ = keep_site_out(site=sites[0], kind="opt_out", window=WINDOW, by=None, at=NOW)

    def review(turns: operations.Turns) -> operations.Review:
        return operations.review_dispatch(dispatch=dispatch, at=NOW, freeze=FreezeWatch(), turns=turns)

    assert review(NEVER).changed == 1
    assert desired_kw()["site-0001"] == 0.0
    # Until it says that it let go, its power may still be there, and others stay within the product's limit.
    acknowledge([row for row in current(dispatch) if row.site_id == sites[0].pk], at=NOW)
    assert review(NEVER).changed == 2
    assert desired_kw() == pytest.approx({"site-0001": 0.0, "site-0002": 510.204082, "site-0003": 510.204082})
    acknowledge(current(dispatch), at=NOW)
    assert review(NEVER).changed == 0
    # Taken back, it takes over from the next one that is kept out.
    let_site_back(pk=kept_out.pk, by=None, at=NOW)
    keep_site_out(site=sites[1], kind="maintenance", window=WINDOW, by=None, at=NOW)
    assert review(NEVER).changed == 1
    acknowledge(current(dispatch), at=NOW)
    assert review(NEVER).changed > 0
    assert desired_kw()["site-0002"] == 0.0
    assert desired_kw() == pytest.approx({"site-0001": 255.102041, "site-0002": 0.0, "site-0003": 765.306123})
    assert Dispatch.objects.get().obligation_revision == 1


def test_a_site_that_keeps_a_higher_reserve_gets_a_smaller_share() -> None:
    sites = a_site(1), a_site(2)
    # 500 enrolled, 1400 asked: 100 of 1000 kWh are left, 400 kW for 15 min against 1000 kW.
    keep_site_out(site=sites[0], kind="reserve", window=WINDOW, reserve_kwh=1_400.0, by=None, at=NOW)
    operations.arm_obligation(obligation=sold(*sites), at=NOW)
    assert desired_kw() == pytest.approx({"site-0001": 291.545190, "site-0002": 728.862974})


def test_no_feeders_sites_are_armed_beyond_its_limit() -> None:
    sites = a_site(1), a_site(2), a_site(3)
    group = FeederGroup.objects.create(name="feeder-7", up_kw=300.0, down_kw=300.0)
    Site.objects.filter(site_id__in=["site-0001", "site-0002"]).update(feeder=group)
    operations.arm_obligation(obligation=sold(*sites, kw=1_250.0), at=NOW)
    shares = desired_kw()
    assert shares["site-0001"] + shares["site-0002"] <= 300.0
    assert sum(shares.values()) == pytest.approx(1_250.0 / 0.98)


def test_nobody_is_armed_when_all_owners_keep_out() -> None:
    site = a_site(1, discharge_kw=1_100.0)
    obligation = sold(site)
    keep_site_out(site=site, kind="opt_out", window=WINDOW, by=None, at=NOW)
    with pytest.raises(NothingToArm):
        operations.arm_obligation(obligation=obligation, at=NOW)


def test_an_operators_event_is_decided_without_the_sites_that_are_kept_out() -> None:
    sites = a_site(1), a_site(2), a_site(3)
    a_unit(*sites)
    group = FeederGroup.objects.create(name="feeder-7", up_kw=300.0, down_kw=300.0)
    Site.objects.filter(site_id="site-0002").update(feeder=group)
    keep_site_out(site=sites[0], kind="opt_out", window=WINDOW, by=None, at=NOW)

    def available_kw(window: Interval | None) -> float:
        context = market_queries.program_named("neso-dc-low").market_context
        return market_queries.available_kw(
            market_context=context, at=NOW, fresh_within_s=10.0, dropout_margin=0.02, window=window
        )

    after = Interval(WINDOW.ends_at, WINDOW.ends_at + WINDOW.duration)
    assert available_kw(WINDOW) == pytest.approx(1_300.0 * 0.98)
    assert available_kw(after) == available_kw(None) == pytest.approx(2_300.0 * 0.98)


def test_two_dispatches_on_one_feeder_stay_within_its_limit_together() -> None:
    sites = a_site(1), a_site(2), a_site(3), a_site(4)
    group = FeederGroup.objects.create(name="feeder-7", up_kw=700.0, down_kw=300.0)
    Site.objects.filter(site_id__in=["site-0001", "site-0003"]).update(feeder=group)
    first, second = a_unit(*sites[:2]), a_unit(*sites[2:], name="other")
    # 1000 kW with 700 behind the feeder and 1000 beside it: 420 and 600 kW. The feeder has 280 kW left for the other.
    an_award(an_offer(first, 1_000.0), 1_000.0)
    operations.arm_obligation(obligation=Obligation.objects.get(), at=NOW)
    an_award(an_offer(second, 1_000.0), 1_000.0, "A2")
    operations.arm_obligation(obligation=Obligation.objects.get(dispatch_id="DC-A2"), at=NOW)
    shares = desired_kw()
    assert shares["site-0001"] == pytest.approx(1_000.0 / 0.98 * 700 / 1_700)
    assert shares["site-0001"] + shares["site-0003"] <= 700.0 + 1e-6
    assert shares["site-0003"] + shares["site-0004"] == pytest.approx(1_000.0 / 0.98)
