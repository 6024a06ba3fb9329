"""Dynamic Containment low, worked by hand: curve, energy, K and money.

Rules: sites/core/curves.py (0 at 0.015 Hz, 5 % at 0.2 Hz, 100 % at 0.5 Hz, 15 min) and
markets/core/catalogue/neso.py (GBP/MW/h x MW x h x K; K = 1 to 3 %, 0 from 7 %, unsure).
Prices: NESO EAC monthly averages of DC low as in ../shared/data/prices.
"""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from markets.core.delivery import energy_uwh
from markets.core.products import PRODUCTS, Basis, price_at, product_named
from markets.core.scores.neso import k_factor
from markets.core.settlement import apportion, payment
from sites.core.curves import curve_named, required_share

PRICES = (
    Path(__file__).resolve().parents[3] / "shared" / "data" / "prices" / "neso_eac_monthly_avg_202311-202609.csv.gz"
)
LOW = curve_named("neso-dc-low")
# One EFA block (4 h) of 5 MW at the average of June 2026.
BLOCK_S, POWER_KW = Decimal(4 * 3600), Decimal(5000)
PRICE = Decimal("3.186")


@pytest.mark.parametrize(
    ("frequency_hz", "due_kw", "by_hand"),
    [
        (49.985, 0.0, "edge of the dead band"),
        (49.9, 5000 * 0.05 * 0.085 / 0.185, "0.085 Hz into the first 0.185 Hz, which ends at 5 %"),
        (49.8, 250.0, "the knee: 5 % of 5 000 kW"),
        (49.65, 2625.0, "halfway from 5 % to 100 %: 52.5 %"),
        (49.5, 5000.0, "full"),
        (48.8, 5000.0, "beyond full stays full (9 August 2019 fell to 48.8 Hz)"),
        (50.5, 0.0, "the other side is not its own"),
    ],
)
def test_the_power_due(frequency_hz, due_kw, by_hand):
    assert float(required_share(LOW, frequency_hz, 50.0)) * 5000.0 == pytest.approx(due_kw, abs=1e-6), by_hand


def test_a_quarter_of_an_hour_at_full_power_is_1250_kwh():
    assert energy_uwh(np.full(900 * 100, 5000.0), 100.0) == 1_250_000_000_000


@pytest.mark.parametrize(
    ("worst_error", "available_ratio", "amount", "by_hand"),
    [
        ("0.02", "1", "63.720000", "3.186 x 5 MW x 4 h"),
        ("0.03", "1", "63.720000", "at 3 % still whole"),
        ("0.04", "1", "47.790000", "K = 3/4"),
        ("0.05", "1", "31.860000", "K = 1/2"),
        ("0.07", "1", "0.000000", "nothing from 7 %"),
        ("0.02", "0.875", "55.755000", "half an hour of four not available"),
        ("0.04", "0.875", "41.816250", "55.755 x 3/4"),
    ],
)
def test_the_payment(worst_error, available_ratio, amount, by_hand):
    paid = payment(
        price_per_mw_h=PRICE,
        power_kw=POWER_KW,
        duration_s=BLOCK_S,
        available_ratio=Decimal(available_ratio),
        k_factor=Decimal(repr(round(k_factor(float(worst_error)), 9))),
    )
    assert str(paid) == amount, by_hand


def test_three_assets_share_a_block():
    amounts = apportion(Decimal("63.720000"), {"a": 2500, "b": 1500, "c": 1000})
    assert amounts == {"a": Decimal("31.86"), "b": Decimal("19.116"), "c": Decimal("12.744")}


def test_the_leftover_millionths_of_three_equal_assets():
    """100 kW for 30 s: 3.186 x 0.1 x 30/3600 = 0.002655; 885 millionths each, nothing left over;
    a millionth more goes to the first of the equal remainders."""
    assert set(apportion(Decimal("0.002655"), {"a": 1, "b": 1, "c": 1}).values()) == {Decimal("0.000885")}
    amounts = apportion(Decimal("0.002656"), {"c": 1, "b": 1, "a": 1})
    assert amounts == {"a": Decimal("0.000886"), "b": Decimal("0.000885"), "c": Decimal("0.000885")}


def test_the_price_is_that_of_its_month():
    june = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
    assert price_at(product_named("neso-dc-low"), june, Basis.DEMONSTRATION).price_per_mw_h == PRICE


@pytest.mark.shared_data
@pytest.mark.skipif(not PRICES.is_file(), reason="../shared/data is absent")
@pytest.mark.parametrize(
    ("name", "column"),
    [(f"neso-{s}-{way}", f"{s.upper()}{way[0].upper()}") for s in ("dc", "dm", "dr") for way in ("low", "high")],
)
def test_the_typed_in_prices_are_those_of_the_recording(name, column):
    with gzip.open(PRICES, "rt") as file:
        recorded = {row["month"]: Decimal(row[f"{column}_price_gbp_per_MW_h"]) for row in csv.DictReader(file)}
    prices = PRODUCTS[name].prices
    assert len(prices) == 12
    for price in prices:
        assert price.price_per_mw_h == recorded[f"{price.month:%Y-%m}"]
