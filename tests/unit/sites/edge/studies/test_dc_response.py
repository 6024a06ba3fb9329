"""A DC site's answer to the grid's frequency: its rectifiers' input follows the armed curve and never turns round."""

from __future__ import annotations

import numpy as np
import pytest
from support.dc_sites import SECOND, a_dc_site, run

from sites.core.curves import curve_named
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.studies.closed_loop import ClosedLoop, charge_headroom_kw, discharge_headroom_kw


def armed(curve: str, power_kw: float, **given: object) -> ClosedLoop:
    """A site that has settled at nominal frequency with a curve armed."""
    loop = ClosedLoop([a_dc_site(**given)], seed=1)
    loop.arm(0, curve_named(curve), power_kw, 0.0, 0, 10**9)
    run(loop, 3.0)
    loop.drain_records()
    return loop


@pytest.mark.parametrize(
    ("curve", "grid_hz", "power_kw", "sign"), [("neso-dc-low", 49.4, 2.0, 1), ("neso-dc-high", 50.6, 2.0, -1)]
)
def test_nine_tenths_of_the_power_stand_200_ms_after_the_step(
    curve: str, grid_hz: float, power_kw: float, sign: int
) -> None:
    loop = armed(curve, power_kw, reserve_kwh=2.0)
    before_kw = loop.measured()["pcc_kw"][0]
    run(loop, 1.0, grid_hz)
    _, rows = loop.drain_records()
    battery_kw, pcc_kw = rows[:, 0, 1] * sign, (before_kw - rows[:, 0, 3]) * sign
    # At the battery's shunt and at the grid's meter alike; the row that ends at 200 ms is the twentieth.
    assert battery_kw[19:].min() > 0.9 * power_kw
    assert pcc_kw[19:].min() > 0.9 * power_kw
    assert battery_kw.max() < 1.1 * power_kw
    assert battery_kw[-30:].mean() == pytest.approx(power_kw, rel=0.01)
    # The rectifiers' own losses move with their power: some 4 % more at the grid's meter.
    assert 1.02 < pcc_kw[-30:].mean() / power_kw < 1.07


def test_a_site_asked_for_more_than_it_draws_stops_at_nothing() -> None:
    loop = armed("neso-dc-low", 6.0)
    run(loop, 2.0, 49.0)
    _, rows = loop.drain_records()
    assert rows[:, 0, 3].min() >= 0.0
    measured = loop.measured()[0]
    assert measured["pcc_kw"] < 0.1  # Idle losses are 36 W.
    assert measured["battery_kw"] == pytest.approx(3.0 - 0.45, abs=0.15)
    run(loop, 2.0, 50.0)
    assert loop.measured()["battery_kw"][0] == pytest.approx(0.0, abs=0.05)


def test_headroom_is_what_the_rectifiers_carry_and_what_they_have_left() -> None:
    loop = ClosedLoop([a_dc_site()], seed=1)
    run(loop, 2.0)
    measured = loop.measured()[0]
    rectifier_kw = loop.dc.measured()["rectifier_kw"][0]
    assert measured["discharge_kw"] == pytest.approx(0.9 * rectifier_kw, rel=0.03)
    assert measured["charge_kw"] == pytest.approx(0.9 * (6.0 - rectifier_kw), rel=0.03)
    # The load walks, the offer stands: it must still hold when somebody takes it seconds later.
    run(loop, 20.0)
    assert loop.measured()["discharge_kw"][0] == measured["discharge_kw"]
    assert loop.measured()["charge_kw"][0] == measured["charge_kw"]
    # A site in delivery still says what it could give, not what is left of it.
    loop.arm(0, curve_named("neso-dc-low"), 2.0, 0.0, 0, 10**9)
    run(loop, 2.0, 49.4)
    assert loop.measured()["discharge_kw"][0] == pytest.approx(measured["discharge_kw"], rel=0.05)


@pytest.mark.parametrize(
    ("given", "discharge_kw", "charge_kw"),
    [
        # 0.9 · 3 − 1.1 · 0.45 = 2.205; 0.95 · 6 − 1.1 · 3 = 2.4.
        ({}, 2.205, 2.4),
        # The sun carries the load: nothing is drawn, so nothing can be left off.
        ({"pv_kw": 4.0, "pv_now_ratio": 0.9}, 0.0, 2.4),
        # One string of 100 Ah charges with 50 A: 0.9 · 0.5 · 5.12.
        ({"battery_kwh": 5.12, "reserve_kwh": 1.0, "load_kw": 2.0}, 1.305, 2.304),
        # A connection of 4 kW: 0.95 · 0.93 · 4 − 3.3.
        ({"import_limit_kw": 4.0}, 2.205, 0.234),
        # Base stations at night draw 68 %.
        ({"load_profile": "radio"}, 1.341, 2.4),
    ],
)
def test_declared_headroom_by_hand(given: dict[str, object], discharge_kw: float, charge_kw: float) -> None:
    site = a_dc_site(**given)
    assert discharge_headroom_kw(site) == pytest.approx(discharge_kw, abs=0.002)
    assert charge_headroom_kw(site) == pytest.approx(charge_kw, abs=0.002)


def test_charging_keeps_inside_the_connection() -> None:
    loop = armed("neso-dc-high", 3.0, import_limit_kw=4.0, reserve_kwh=1.0)
    run(loop, 3.0, 50.6)
    assert loop.measured()["pcc_kw"][0] <= 4.0


def test_the_reserve_stays_for_the_own_load() -> None:
    loop = ClosedLoop([a_dc_site(soc_ratio=0.4, reserve_kwh=6.1)], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), 2.0, 0.0, 0, 10**9)
    run(loop, 100.0, 49.4)
    measured = loop.measured()[0]
    assert measured["soc_ratio"] == pytest.approx(6.1 / 15.36, abs=0.002)
    assert measured["battery_kw"] == pytest.approx(0.0, abs=0.1)
    assert measured["discharge_kw"] == 0.0


def test_the_fall_of_9_august_2019_is_answered_all_the_way() -> None:
    trace = load_gb_trace()
    loop = armed("neso-dc-low", 2.0, reserve_kwh=2.0)
    before_kw = loop.measured()["pcc_kw"][0]
    drained = []
    for at_s in range(3, 93):
        loop.advance(trace.at(at_s + np.arange(SECOND) / SECOND))
        drained.append(loop.drain_records()[1])
    rows = np.concatenate(drained)
    frequency_hz = rows[:, 0, 0]
    points = curve_named("neso-dc-low").points
    due_kw = 2.0 * np.interp(50.0 - frequency_hz, [x for x, _ in points], [y for _, y in points], left=0.0)
    given_kw = rows[:, 0, 1]
    pcc_kw = rows[:, 0, 3]
    assert frequency_hz.min() < 49.1
    # Worst 10 s mean, where more than a fifth of the contract is due.
    means = [(given_kw[i : i + 1000].mean(), due_kw[i : i + 1000].mean()) for i in range(0, len(due_kw) - 1000, 100)]
    ratios = [gave / due for gave, due in means if due > 0.4]
    assert min(ratios) > 0.97
    assert max(ratios) < 1.03
    assert pcc_kw.min() >= 0.0
    assert before_kw - pcc_kw.min() > 1.9


def test_dc_sites_of_the_synthetic_fleet_can_be_armed_and_deliver() -> None:
    fleet = [site for site in synthetic_fleet(200, 1) if site.is_dc]
    assert len(fleet) == 20
    assert all(site.kind == "telecom" and site.export_limit_kw == 0.0 for site in fleet)
    loop = ClosedLoop(fleet, seed=1)
    run(loop, 2.0)
    offered_kw = loop.measured()["discharge_kw"].copy()
    assert np.all(offered_kw > 0.0)
    assert np.all(offered_kw >= [discharge_headroom_kw(site) for site in fleet])
    for index, kw in enumerate(offered_kw):
        loop.arm(index, curve_named("neso-dc-low"), float(kw), 0.0, 0, 10**9)
    run(loop, 2.0, 49.3)
    measured = loop.measured()
    assert measured["service_kw"] == pytest.approx(offered_kw, rel=0.02)
    assert np.all(measured["pcc_kw"] > 0.0)
