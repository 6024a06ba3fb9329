"""A baseline from the meter book: numbered intervals, uneven and revised ones, become readings on an even grid."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from markets.core.baselines.meter import BaselineError, MeterPlace
from markets.metered_power import metered_power
from sites.core.intervals import Interval
from sites.metering.models import MeterInterval
from sites.registry.models import Asset, Site

pytestmark = pytest.mark.django_db

START = datetime(2026, 6, 17, 13, tzinfo=UTC)
KWH = 1_000_000_000


@pytest.fixture
def site() -> Site:
    found = Site.objects.create(
        site_id="site-0001", name="Site", grid_zone="GB", time_zone="Europe/London", nominal_hz=50.0,
        nominal_voltage_v=230.0, loss_of_link="hold", partition=1, enrolled_at=START,
    )  # fmt: skip
    for kind in ("pcc", "battery"):
        Asset.objects.create(site=found, name=kind, kind=kind, rated_kw=100.0)
    return found


def an_interval(asset: Asset, number: int, starts_at: datetime, *, kw: float, seconds: float = 60.0, **changes) -> None:
    energy = round(kw * seconds / 3600.0 * KWH)
    MeterInterval.objects.create(
        asset=asset, number=number, starts_at=starts_at, ends_at=starts_at + timedelta(seconds=seconds),
        into_bus_uwh=max(energy, 0), from_bus_uwh=max(-energy, 0), register_into_uwh=0, register_from_uwh=0,
        received_at=START, **changes,
    )  # fmt: skip


def minutes(asset: Asset, kw_of_minute, count: int = 120) -> None:
    for minute in range(count):
        an_interval(asset, minute + 1, START + timedelta(minutes=minute), kw=kw_of_minute(minute))


def the_asset(site: Site, name: str) -> Asset:
    return site.assets.get(name=name)


HOUR = Interval(START, START + timedelta(hours=1))


class TestMeteredPower:
    def test_minutes_become_quarters(self, site):
        minutes(the_asset(site, "pcc"), lambda minute: 10.0 + minute // 15)
        meter = metered_power(asset=the_asset(site, "pcc"), period=HOUR)
        assert (meter.place, meter.resolution_s) == (MeterPlace.CONNECTION, 900)
        assert meter.consumption_kw == pytest.approx([10.0, 11.0, 12.0, 13.0])

    def test_what_a_battery_gives_is_negative_consumption(self, site):
        minutes(the_asset(site, "battery"), lambda minute: 30.0)
        meter = metered_power(asset=the_asset(site, "battery"), period=HOUR)
        assert meter.place is MeterPlace.DEVICE
        assert meter.consumption_kw == pytest.approx([-30.0] * 4)

    def test_an_interval_over_a_boundary_is_split_by_its_time(self, site):
        asset = the_asset(site, "pcc")
        # From 12:55 to 13:25, at 6 kW: a third of it before the period, ten minutes in the second quarter; then 12 kW.
        an_interval(asset, 1, START - timedelta(minutes=5), kw=6.0, seconds=1800.0)
        an_interval(asset, 2, START + timedelta(minutes=25), kw=12.0, seconds=300.0)
        meter = metered_power(asset=asset, period=Interval(START, START + timedelta(minutes=30)))
        assert meter.consumption_kw == pytest.approx([6.0, 8.0])

    def test_a_hole_and_a_reading_that_proves_nothing_are_gaps(self, site):
        asset = the_asset(site, "pcc")
        for minute in range(60):
            if minute != 20:
                quality = "invalid" if minute == 40 else "good"
                an_interval(asset, minute + 1, START + timedelta(minutes=minute), kw=5.0, quality=quality)
        meter = metered_power(asset=asset, period=HOUR)
        assert np.array_equal(np.isfinite(meter.consumption_kw), [True, False, False, True])

    def test_the_latest_revision_counts(self, site):
        asset = the_asset(site, "pcc")
        minutes(asset, lambda minute: 5.0, 15)
        for minute in range(15):
            an_interval(asset, minute + 1, START + timedelta(minutes=minute), kw=7.0, revision=1)
        meter = metered_power(asset=asset, period=Interval(START, START + timedelta(minutes=15)))
        assert meter.consumption_kw == pytest.approx([7.0])

    def test_nothing_metered_is_told(self, site):
        with pytest.raises(BaselineError, match="has no metered interval from 2026-06-17T13:00"):
            metered_power(asset=the_asset(site, "pcc"), period=HOUR)


class TestCommand:
    def test_a_site_s_connection_in_its_own_zone(self, site, tmp_path):
        # 50 kW until 15:00 local, 20 kW after: 15 kWh saved in half an hour.
        minutes(the_asset(site, "pcc"), lambda minute: 50.0 if minute < 60 else 20.0)
        out, path = StringIO(), tmp_path / "out.json"
        call_command(
            "baseline", "--site", "site-0001", "--event", "2026-06-17T15:00", "2026-06-17T15:30", "--json", str(path),
            stdout=out,
        )  # fmt: skip
        document = json.loads(path.read_text())
        assert (document["saving_kwh"], document["zone"]) == (15.0, "Europe/London")
        assert "saving of the event: 15.000 kWh" in out.getvalue()

    def test_a_battery_by_the_minute(self, site):
        minutes(the_asset(site, "battery"), lambda minute: 0.0 if minute < 60 else 60.0)
        out = StringIO()
        call_command(
            "baseline", "--site", "site-0001", "--asset", "battery", "--resolution-min", "1",
            "--event", "2026-06-17T14:00Z", "2026-06-17T14:10Z", stdout=out,
        )  # fmt: skip
        assert "saving of the event: 10.000 kWh" in out.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "accepted: METER.csv or --site ID, one of the two"),
            (["meter.csv", "--site", "site-0001"], "accepted: METER.csv or --site ID, one of the two"),
            (["--site", "site-0009"], "site 'site-0009' with asset 'pcc' is not enrolled"),
            (["--site", "site-0001", "--resolution-min", "7"], "--resolution-min 7, accepted: a part of an hour"),
            (["--site", "site-0001"], "has no metered interval from"),
        ],
    )
    def test_a_refusal_says_what_is_accepted(self, site, arguments, said):
        with pytest.raises(CommandError) as refused:
            call_command("baseline", *arguments, "--event", "2026-06-17T15:00Z", "2026-06-17T15:30Z", stdout=StringIO())
        assert said in str(refused.value)
