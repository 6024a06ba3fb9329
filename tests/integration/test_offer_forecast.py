"""A headroom of a later window: by the same hours of the last days, or nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from support.offered import NOW, a_site, a_unit

from markets.offers import queries
from sites.core.intervals import Interval
from sites.metering.models import QuarterRollUp, ReadingShape
from sites.registry.models import Site
from sites.registry.windows import add_window

pytestmark = pytest.mark.django_db
WINDOW = Interval(NOW + timedelta(hours=6), NOW + timedelta(hours=6, minutes=30))
NODE = "frequency_hz,discharge_kw,charge_kw,usable_energy_kwh,absorbable_energy_kwh"


def roll_up(site: Site, starts_at: datetime, *, kw: float, kwh: float, import_kw: float) -> None:
    """One quarter of an hour: lows as given, highs 50 above."""
    node, _ = ReadingShape.objects.get_or_create(names=NODE)
    pcc, _ = ReadingShape.objects.get_or_create(names="power_kw")
    for asset, shape, lows in (("", node, [49.9, kw, kw, kwh, kwh]), ("pcc", pcc, [import_kw])):
        low = np.array(lows)
        QuarterRollUp.objects.create(
            site=site, starts_at=starts_at, asset=asset, shape=shape, counts=np.full(low.size, 900.0),
            totals=low * 900.0, lows=low, highs=low + 50.0,
        )  # fmt: skip


def days(site: Site, *least_kw: float, kwh: float = 1_000.0, import_kw: float = 100.0, quarters: int = 2) -> None:
    """Past days, yesterday first; the second quarter of each has 10 kW more."""
    for day, kw in enumerate(least_kw, 1):
        for quarter in range(quarters):
            at = WINDOW.starts_at - timedelta(days=day) + timedelta(minutes=15 * quarter)
            roll_up(site, at, kw=kw + 10.0 * quarter, kwh=kwh, import_kw=import_kw)


def forecast_kw(*sites: Site) -> dict[str, float]:
    found = queries.headroom(unit=a_unit(*sites), window=WINDOW, at=NOW)
    assert found.forecast == "roll-ups"
    return found.shares


def test_the_median_of_each_days_least_quarter() -> None:
    site = a_site(1)
    days(site, 500.0, 300.0, 900.0, 400.0, 100.0)
    assert forecast_kw(site) == {"site-0001": 400.0}


def test_a_day_with_a_missing_quarter_does_not_count() -> None:
    site = a_site(1)
    days(site, 500.0, 500.0, 500.0)
    QuarterRollUp.objects.filter(starts_at=WINDOW.starts_at - timedelta(days=2), asset="").delete()
    unit = a_unit(site)
    found = queries.headroom(unit=unit, window=WINDOW, at=NOW)
    assert (found.gross_kw, found.causes) == (
        0.0, {"site-0001": "2 days with data in these hours, accepted: 3 or more"}
    )  # fmt: skip


def test_the_connection_the_battery_and_the_reserve_bound_it() -> None:
    exporting, small, kept = a_site(1), a_site(2), a_site(3)
    exporting.assets.filter(name="pcc").update(export_limit_kw=200.0)
    days(exporting, 900.0, 900.0, 900.0, import_kw=-80.0)
    days(small, 9_000.0, 9_000.0, 9_000.0, kwh=9_000.0)
    days(kept, 900.0, 900.0, 900.0)
    add_window(site=kept, kind="reserve", window=WINDOW, reserve_kwh=1_450.0, by=None, at=NOW)
    # 200 - 80; twice the rating of 1000 kW; (1000 - 950) kWh for a quarter of an hour.
    assert forecast_kw(exporting, small, kept) == pytest.approx(
        {"site-0001": 120.0, "site-0002": 2_000.0, "site-0003": 200.0}
    )


def test_an_owners_window_in_it_counts() -> None:
    site = a_site(1)
    days(site, 500.0, 500.0, 500.0)
    add_window(site=site, kind="opt_out", window=WINDOW, by=None, at=NOW)
    found = queries.headroom(unit=a_unit(site), window=WINDOW, at=NOW)
    assert (found.gross_kw, found.causes) == (0.0, {"site-0001": "opt_out"})
