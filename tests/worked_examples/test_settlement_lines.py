"""Each kind of line worked by hand: what a period came to, times a price from outside.

The forms are those of the catalogue's price rules (``markets/core/catalogue``, each with its source and certainty):
PJM's credit after the GMLC code of Manual 12 (MW x score x (RMCCP + mileage ratio x RMPCP), an hour below 0.25 unpaid),
China's action energy and mileage after the southern rules, the others second-hand or by agreement. Prices here are
invented round figures: only the arithmetic is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from markets.core.delivery import Delivery, measured_delivery
from markets.core.payments import Contract, lines_by
from markets.core.prices import Price, PriceTable
from markets.core.product import Certainty
from markets.core.products import product_named
from markets.core.settled_periods import PeriodFigures, settled_periods, settlement_grid
from sites.core.intervals import Interval

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
D = Decimal


def over(hours: float, from_h: float = 0.0) -> Interval:
    return Interval(START + timedelta(hours=from_h), START + timedelta(hours=from_h + hours))


def prices(**by_name: str | list[str]) -> PriceTable:
    """Hourly prices where several are given, else one for the day."""
    rows = []
    for name, values in by_name.items():
        texts = [values] if isinstance(values, str) else values
        for number, text in enumerate(texts):
            period = over(24.0) if isinstance(values, str) else over(1.0, number)
            rows.append(Price(name, period, D(text), Certainty.UNSURE, "a round figure"))
    return PriceTable(rows)


def a_period(hours: float = 1.0, from_h: float = 0.0, ready: str = "1", score: str | None = "1", **counted: str):
    quantities = {name: D(value) for name, value in counted.items()}
    return PeriodFigures(over(hours, from_h), D(ready), None if score is None else D(score), quantities)


def told(form: str, power_kw: str, periods, table: PriceTable) -> dict[str, tuple[str, str]]:
    lines = lines_by(form, Contract("a product", D(power_kw)), periods, table)
    return {line.name: (str(line.quantity), str(line.amount)) for line in lines}


def test_capacity_of_an_fcr_block():
    """5 MW for 4 h at 12 EUR/MW/h is 240 EUR; a quarter of an hour of sixteen not ready (15/16) leaves 225; a score of
    0.96 takes 4 % of that off: 9."""
    lines = told("capacity", "5000", [a_period(4.0, ready="0.9375", score="0.96")], prices(capacity="12"))
    assert lines == {"capacity": ("18750.000000", "225.000000"), "penalty": ("0.960000", "-9.000000")}


def test_capacity_at_two_prices_where_nothing_was_due():
    """Two dispatch intervals of 5 min, 6 MW, AUD 10 and 40 per MW and hour: 5 + 20; no excursion, nothing off."""
    periods = [a_period(1 / 12, score=None), a_period(1 / 12, 1 / 12, score=None)]
    table = PriceTable(
        Price("capacity", each.period, D(value), Certainty.UNSURE, "round")
        for each, value in zip(periods, ("10", "40"), strict=True)
    )
    assert told("capacity", "6000", periods, table) == {
        "capacity": ("1000.000000", "25.000000"), "penalty": ("1.000000", "0.000000"),
    }  # fmt: skip


def test_capacity_and_energy_of_fcr_n():
    """0.5 MW for 1 h at 30 EUR/MW/h is 15; 120 kWh net into the grid at 50 EUR/MWh is 6; a score of 1 takes nothing."""
    lines = told("capacity-energy", "500", [a_period(delivered_kwh="120")], prices(capacity="30", energy="50"))
    assert lines == {
        "capacity": ("500.000000", "15.000000"), "penalty": ("1.000000", "0.000000"),
        "energy": ("120.000000", "6.000000"),
    }  # fmt: skip


def test_the_factors_of_emergency_response():
    """2 MW for 2 h at 8 USD/MW/h is 32; availability 1 x performance 0.9 takes a tenth off. What was ready counts only
    where no event told more: 0.5 ready without a score takes half off."""
    lines = told("capacity-factors", "2000", [a_period(2.0, score="0.9")], prices(capacity="8"))
    assert lines == {"capacity": ("4000.000000", "32.000000"), "penalty": ("0.900000", "-3.200000")}
    lines = told("capacity-factors", "2000", [a_period(2.0, ready="0.5", score=None)], prices(capacity="8"))
    assert lines["penalty"] == ("0.500000", "-16.000000")


def test_regulation_hour_by_hour():
    """4 MW. Hour 1: score 0.8, RMCCP 20, RMPCP 5, mileage ratio 3: capability 4 x 0.8 x 20 = 64, performance
    4 x 0.8 x 3 x 5 = 48. Hour 2: score 0.2 < 0.25, RMCCP 30, RMPCP 10, ratio 2: 24 and 16, both taken back."""
    periods = [a_period(score="0.8"), a_period(from_h=1.0, score="0.2")]
    table = prices(capacity=["20", "30"], performance=["5", "10"], mileage_ratio=["3", "2"])
    assert told("regulation", "4000", periods, table) == {
        "capability": ("4000.000000", "88.000000"),
        "performance": ("11200.000000", "64.000000"),
        "penalty": ("1.000000", "-40.000000"),
    }
    without = told("regulation", "4000", periods, prices(capacity=["20", "30"]))
    assert without == {"capability": ("4000.000000", "88.000000"), "penalty": ("1.000000", "-24.000000")}


def test_mileage_times_k():
    """40 MW moved with k = 1.25 at 6 CNY/MW: 50 x 6 = 300."""
    lines = told("mileage", "5000", [a_period(mileage_mw="40", k="1.25")], prices(mileage="6"))
    assert lines == {"mileage": ("50.000000", "300.000000")}


def test_action_energy_of_small_and_large_disturbances():
    """R1 400 CNY/MWh. 90 kWh above 70 % in an ordinary hour: 0.09 x 0.5 x 400 = 18; 30 kWh in the hour that the
    dispatch center called a large disturbance: 0.03 x 10 x 400 = 120."""
    periods = [a_period(action_kwh="90"), a_period(from_h=1.0, action_kwh="30")]
    assert told("action-energy", "5000", periods, prices(r1="400", large_disturbance=["0", "1"])) == {
        "small disturbances": ("90.000000", "18.000000"), "large disturbances": ("30.000000", "120.000000"),
    }  # fmt: skip


def test_energy_and_imbalance():
    """A plan of 1,000 kWh of which 940 came: 940 x 80 EUR/MWh = 75.2; 60 kWh of deviation x 120 EUR/MWh = 7.2."""
    periods = [a_period(delivered_kwh="940", deviation_kwh="60")]
    assert told("energy", "1000", periods, prices(energy="80", imbalance="120")) == {
        "energy": ("940.000000", "75.200000"), "imbalance": ("60.000000", "-7.200000"),
    }  # fmt: skip
    assert told("energy", "1000", periods, prices(energy="80")) == {"energy": ("940.000000", "75.200000")}


def test_a_limit():
    """50 kWh above the limit at 200 EUR/MWh cost 10. With a price for the room that was given up, 0.3 MW for 1 h at
    10 EUR/MW/h is 3, of which a score of 0.9 leaves 2.7."""
    periods = [a_period(score="0.9", excess_kwh="50")]
    assert told("limit", "300", periods, prices(excess="200")) == {"excess": ("50.000000", "-10.000000")}
    lines = told("limit", "300", periods, prices(excess="200", capacity="10"))
    assert (lines["capacity"][1], lines["penalty"][1], lines["excess"][1]) == ("3.000000", "-0.300000", "-10.000000")


def test_a_duty_is_paid_nothing():
    assert told("unpaid", "100", [a_period(delivered_kwh="2.5")], prices()) == {"duty": ("2.500000", "0.000000")}


def a_delivery(required_kw: np.ndarray, delivered_kw: np.ndarray, rate_hz: float, contracted_kw: float) -> Delivery:
    known = np.ones(required_kw.size, dtype=np.bool_)
    return Delivery(rate_hz, contracted_kw, required_kw, delivered_kw, known, np.where(known, contracted_kw, 0.0))


def test_what_an_agc_setpoint_moved():
    """1 Hz, 10 MW. A setpoint of +50 % is reached from nothing: 5 MW; then one of -20 %, of which only -10 % is
    reached: 6 MW; then one of -10 %, where the power stands: not judged. 11 MW."""
    signal = np.repeat([0.5, -0.2, -0.1], 60)
    power = np.concatenate((np.linspace(0.0, 0.5, 20), np.full(40, 0.5), np.linspace(0.5, -0.1, 30), np.full(90, -0.1)))
    window = Interval(START, START + timedelta(seconds=180))
    (found,), _ = settled_periods(
        a_delivery(signal * 10_000.0, power * 10_000.0, 1.0, 10_000.0), product_named("cn-agc-south"), window=window,
        grid=[window], signal=signal,
    )  # fmt: skip
    assert found.quantities["mileage_mw"] == D("11.000000")


def test_action_energy_above_seventy_percent():
    """1 Hz, 1 MW due in full for 60 s, 0.9 of it given: 60 MW s x (0.9 - 0.7) = 12 MW s = 3.333 kWh; 0.6: none."""
    window = Interval(START, START + timedelta(seconds=100))
    due = np.where((np.arange(100) >= 20) & (np.arange(100) < 80), 1000.0, 0.0)
    row = product_named("cn-primary")
    for given_share, energy in ((0.9, "3.333333"), (0.6, "0.000000"), (1.3, "5.000000")):
        (found,), _ = settled_periods(
            a_delivery(due, due * given_share, 1.0, 1000.0), row, window=window, grid=[window]
        )
        assert found.quantities["action_kwh"] == D(energy)


def test_the_excess_over_an_import_limit():
    """5 min readings of 60, 120 and 90 kW against 100 kW: 20 kW for 5 min are 1.666667 kWh."""
    delivery = measured_delivery(
        np.array([60.0, 120.0, 90.0]), asked=np.ones(3), rate_hz=1 / 300.0, contracted_kw=100.0
    )
    window = over(0.25)
    (found,), score = settled_periods(
        delivery, product_named("capacity-limit-import"), window=window, grid=[window], signal=np.ones(3)
    )
    assert found.quantities["excess_kwh"] == D("1.666667")
    assert score.value == pytest.approx(2 / 3)


def test_periods_follow_the_clock_and_the_prices():
    """From 12:50 to 14:10 with a price that changes at 13:20: cut at 13:00, 13:20 and 14:00."""
    window = Interval(START + timedelta(minutes=50), START + timedelta(minutes=130))
    cuts = [each.starts_at for each in settlement_grid(window, 3600.0, [START + timedelta(minutes=80), START])]
    assert [f"{at:%H:%M}" for at in cuts] == ["12:50", "13:00", "13:20", "14:00"]
