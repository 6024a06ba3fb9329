"""Two shares of one obligation, one of which moved inside the window, settled by hand.

An obligation of 100 kW over one hour from 12:00, paid in full (K = 1, all available). Site A acknowledged 60 kW at
11:55 and 30 kW at 12:20; site B 40 kW at 11:56 and 70 kW at 12:20:30.

A: 20 min at 60 kW and 40 min at 30 kW: (20 x 60 + 40 x 30) / 60 = (1200 + 1200) / 60 = 40 kW.
B: 20.5 min at 40 kW and 39.5 min at 70 kW: (820 + 2765) / 60 = 59.75 kW.
Together 99.75 kW: for half a minute A had let go of 30 kW that B did not have yet.

Payment at 3.00 currency units per MW and hour: 100 kW x 1 h = 0.300000. By weight A gets 0.3 x 40 / 99.75 =
0.120301 (0.12030075...) and B 0.3 x 59.75 / 99.75 = 0.179699 (0.17969924...). Settled at the last acknowledged
shares it would have been 30 : 70, 0.090000 and 0.210000.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from markets.core.delivery import SiteRecord, site_delivery
from markets.core.scores.neso import worst_error_ratio
from markets.core.settlement import apportion, payment, share_over
from sites.core.curves import curve_named
from sites.core.intervals import Interval

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WINDOW = Interval(NOON, NOON + timedelta(hours=1))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_the_mean_share_and_what_it_is_paid() -> None:
    a_kw, a_moves = share_over(WINDOW, [(at(-5), 60.0), (at(20), 30.0)])
    b_kw, b_moves = share_over(WINDOW, [(at(-4), 40.0), (at(20.5), 70.0)])
    assert (a_kw, b_kw) == (pytest.approx(40.0), pytest.approx(59.75))
    assert a_moves == ((NOON, 60.0), (at(20), 30.0))
    assert b_moves == ((NOON, 40.0), (at(20.5), 70.0))
    total = payment(
        price_per_mw_h=Decimal(3), power_kw=Decimal(100), duration_s=Decimal(3600), available_ratio=Decimal(1),
        k_factor=Decimal(1),
    )  # fmt: skip
    assert total == Decimal("0.300000")
    weights = {"a": round(a_kw * 1000), "b": round(b_kw * 1000)}
    assert apportion(total, weights) == {"a": Decimal("0.120301"), "b": Decimal("0.179699")}


def test_what_was_due_follows_the_share_of_its_time() -> None:
    """At 49.5 Hz the whole share is due: A gives 60 kW and then 30 kW, and owes no more and no less."""
    minutes = np.arange(60.0)
    share_kw = np.where(minutes < 20.0, 60.0, 30.0)
    record = SiteRecord(np.full(60, 49.5), share_kw.copy(), np.ones(60), share_kw)
    delivery = site_delivery(
        record, curve=curve_named("neso-dc-low"), nominal_hz=50.0, rate_hz=1 / 60, contracted_kw=share_kw,
        baseline_kw=0.0,
    )  # fmt: skip
    # 20 min at 60 kW and 40 min at 30 kW are 20 + 20 kWh.
    assert delivery.required_kw.sum() / 60.0 == pytest.approx(40.0)
    assert delivery.available_ratio == 1.0
    assert worst_error_ratio(delivery, within_s=0.0) == 0.0
    # Held against its last share alone it would have been 30 kW over for twenty minutes.
    last = site_delivery(
        record, curve=curve_named("neso-dc-low"), nominal_hz=50.0, rate_hz=1 / 60, contracted_kw=30.0, baseline_kw=0.0
    )  # fmt: skip
    assert worst_error_ratio(last, within_s=0.0) == 1.0
