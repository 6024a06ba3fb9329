"""A DC site through losses and returns of its mains: the loads see none of it."""

from __future__ import annotations

import numpy as np
import pytest
from support.dc_sites import SECOND, a_dc_site, run

from sites.core.ridethrough import islanding_figures
from sites.edge.control.islanding import MODE_NAMES
from sites.edge.studies.closed_loop import ClosedLoop

ETSI_V = (40.5, 57.0)
"""Normal service voltage of a 48 V system at the loads' terminals: ETSI EN 300 132-2, certainty B."""


def mode(loop: ClosedLoop, index: int = 0) -> str:
    return MODE_NAMES[int(loop.measured()["mode"][index])]


@pytest.mark.parametrize("phases", [1, 3])
def test_the_loads_see_nothing_of_a_lost_feeder_at_any_point_of_the_wave(phases: int) -> None:
    loop = ClosedLoop([a_dc_site(phases=phases)] * 24, seed=1)
    run(loop, 1.0)
    loop.dc.measured()
    for index in range(24):
        loop.open_feeder(index, loop.sample + round(index * 200 / 24))
    run(loop, 1.5)
    behind, measured = loop.dc.measured(), loop.measured()
    assert behind["low_v"].min() > 52.5
    assert behind["high_v"].max() < 53.3
    assert np.all(np.abs(measured["load_kw"] + 3.0) < 0.15)
    assert np.all(measured["pcc_kw"] == 0.0)
    figures = [islanding_figures(w.columns, w.samples, w.rate_hz) for w in loop.drain_waveforms()]
    assert len(figures) == 24
    assert all(figure.transfer_ms == 0.0 and not figure.load_outside_itic for figure in figures)
    assert all(0.0 <= figure.decision_ms <= 1.0 for figure in figures)


def test_auxiliaries_are_transferred_and_return() -> None:
    loop = ClosedLoop([a_dc_site(auxiliary_kw=0.3)], seed=1)
    run(loop, 1.0)
    pcc_kw = loop.measured()["pcc_kw"][0]
    loop.open_feeder(0, loop.sample)
    run(loop, 2.0)
    # Decision within a millisecond, then the relay's 4 ms between its contacts: far inside ITIC's 20 ms.
    dark_s = float(loop.dc.measured()["auxiliary_dark_s"][0])
    assert 0.002 < dark_s <= 0.005
    assert loop.measured()["battery_kw"][0] == pytest.approx(3.0 - 0.45 + 0.3 / 0.9 + 0.03, abs=0.12)
    loop.close_feeder(0, loop.sample)
    run(loop, 16.0)
    assert mode(loop) == "grid_tied"
    assert loop.measured()["pcc_kw"][0] == pytest.approx(pcc_kw, rel=0.05)
    assert float(loop.dc.measured()["auxiliary_dark_s"][0]) < dark_s + 0.006


def test_rectifiers_walk_in_after_the_mains_return() -> None:
    loop = ClosedLoop([a_dc_site(walk_in_s=8.0, mains_return_delay_s=2.0)], seed=1)
    run(loop, 1.0)
    loop.open_feeder(0, loop.sample)
    run(loop, 3.0)
    loop.close_feeder(0, loop.sample)
    run(loop, 1.9)
    assert loop.measured()["pcc_kw"][0] < 0.05
    loop.drain_records()
    run(loop, 8.0)
    _, rows = loop.drain_records()
    pcc_kw = rows[:, 0, 3].reshape(-1, 10).mean(axis=1)
    # First the modules' empty DC links; then 6 kW in 8 s, 75 W in 100 ms, and nowhere a step.
    assert pcc_kw[:4].max() < 0.7
    assert np.abs(np.diff(pcc_kw[4:])).max() < 0.12
    assert pcc_kw[:30].max() < 2.6
    assert pcc_kw[-1] > 2.5
    behind = loop.dc.measured()[0]
    assert behind["low_v"] > 52.5
    assert behind["high_v"] < 53.5


def test_rectifiers_bridge_a_dip_of_the_mains_without_a_walk_in() -> None:
    loop = ClosedLoop([a_dc_site()], seed=1)
    run(loop, 1.0)
    loop.sag(0, loop.sample + 1000, residual_pu=(0.5, 0.5, 0.5), until_sample=loop.sample + 2500)
    run(loop, 1.0)
    assert loop.measured()["switch_closed"][0] == 1.0
    run(loop, 1.0)
    assert mode(loop) == "grid_tied"
    assert loop.dc.measured()["low_v"][0] > 52.5
    assert loop.measured()["pcc_kw"][0] == pytest.approx(2.75, abs=0.2)


def test_a_long_outage_sheds_tiers_saves_the_battery_and_all_comes_back() -> None:
    """At 2 kHz, a fifth of the samples: nothing here is faster than a second."""
    site = a_dc_site(battery_kwh=3.072, soc_ratio=0.13, reserve_kwh=0.2, pv_kw=0.0, mains_return_delay_s=2.0)
    loop = ClosedLoop([site], seed=1, sample_rate_hz=2000)
    loop.open_feeder(0, 2000)
    seen = []
    for _ in range(120):
        loop.advance(np.full(20_000, 50.0))
        behind = loop.dc.measured()[0]
        seen.append((tuple(int(on) for on in behind["tier_on"]), float(behind["low_v"])))
        if mode(loop) == "black_start":
            break
    order = [tiers for at, (tiers, _) in enumerate(seen) if at == 0 or tiers != seen[at - 1][0]]
    assert order[-3:] == [(1, 1, 0), (1, 0, 0), (0, 0, 0)]
    # No load was left on the bus below its window.
    assert min(low_v for tiers, low_v in seen if tiers != (0, 0, 0)) > ETSI_V[0]
    loop.close_feeder(0, loop.sample)
    for _ in range(8):
        loop.advance(np.full(20_000, 50.0))
    behind = loop.dc.measured()[0]
    assert mode(loop) == "grid_tied"
    assert behind["tier_on"].tolist() == [1, 1, 1]
    assert loop.measured()["battery_kw"][0] < -0.5


def test_a_dead_bus_comes_back_from_the_mains() -> None:
    loop = ClosedLoop([a_dc_site(soc_ratio=0.002, pv_kw=0.0, mains_return_delay_s=1.0, walk_in_s=2.0)], seed=1)
    loop.open_feeder(0, 100)
    run(loop, 45.0)
    assert mode(loop) == "black_start"
    behind = loop.dc.measured()[0]
    assert behind["bus_v"] < 30.0
    assert behind["battery_closed"] == 0
    assert loop.measured()["load_kw"][0] == pytest.approx(0.0, abs=0.05)
    loop.close_feeder(0, loop.sample)
    run(loop, 40.0)
    behind = loop.dc.measured()[0]
    assert mode(loop) == "grid_tied"
    assert behind["battery_closed"] == 1
    assert behind["tier_on"].tolist() == [1, 1, 1]
    assert loop.measured()["load_kw"][0] < -2.8


def test_a_dead_bus_comes_back_from_the_sun() -> None:
    site = a_dc_site(soc_ratio=0.002, pv_kw=0.0, mains_return_delay_s=1.0)
    loop = ClosedLoop([site], seed=1)
    loop.open_feeder(0, 100)
    run(loop, 45.0)
    assert mode(loop) == "black_start"
    loop._g["pv_pu"] = 0.2
    loop.dc._dg["pv_max_a"] = 40.0
    loop.dc._dg["pv_droop_ohm"] = 0.02
    run(loop, 10.0)
    behind, measured = loop.dc.measured()[0], loop.measured()[0]
    assert mode(loop) == "islanded"
    assert behind["battery_closed"] == 1
    assert measured["battery_kw"] < -0.8
    assert measured["pcc_kw"] == 0.0


def test_the_genset_carries_and_charges_through_an_outage_inside_its_rating() -> None:
    site = a_dc_site(genset_kw=4.0, soc_ratio=0.19, pv_kw=0.0, walk_in_s=2.0)
    loop = ClosedLoop([site], seed=1)
    run(loop, 1.0)
    loop.open_feeder(0, loop.sample)
    run(loop, 5.0)
    assert loop.measured()["genset_kw"][0] == 0.0
    run(loop, 12.0)
    measured = loop.measured()[0]
    assert measured["genset_running"] == 1.0
    assert 3.0 < measured["genset_kw"] <= 4.0
    assert measured["pcc_kw"] == 0.0
    assert loop.registers()["fuel_ul"][0] > 0.0
    loop.close_feeder(0, loop.sample)
    run(loop, 10.0)
    measured = loop.measured()[0]
    assert mode(loop) == "grid_tied"
    assert measured["genset_kw"] == 0.0
    assert measured["pcc_kw"] > 2.5


def test_a_battery_that_trips_leaves_the_load_on_the_rectifiers() -> None:
    loop = ClosedLoop([a_dc_site()], seed=1)
    run(loop, 1.0)
    loop.dc._d["bms_trip"] = 1
    loop.dc._d["emf_v"] = 38.0  # What holds the trip: cells that look empty.
    loop.dc.measured()
    run(loop, 0.005)
    behind, measured = loop.dc.measured()[0], loop.measured()[0]
    assert behind["battery_closed"] == 0
    assert ETSI_V[0] < behind["low_v"] <= behind["high_v"] < ETSI_V[1]
    assert measured["mode"] == 0
    assert (loop.measured()["discharge_kw"][0], loop.measured()["charge_kw"][0]) == (0.0, 0.0)


def test_failed_modules_bound_what_rectifiers_give() -> None:
    loop = ClosedLoop([a_dc_site(pv_kw=0.0)], seed=1)
    run(loop, 1.0)
    before_kw = loop.measured()["charge_kw"][0]
    loop.dc.fail_modules(0, 3)
    run(loop, 2.0)
    measured = loop.measured()[0]
    # One of four modules is left: 1.5 kW; the battery gives the rest.
    assert loop.dc.measured()["rectifier_kw"][0] == pytest.approx(1.5, rel=0.02)
    assert measured["battery_kw"] == pytest.approx(1.53, abs=0.1)
    assert before_kw > 2.0
    assert measured["charge_kw"] == 0.0
    with pytest.raises(ValueError, match="-1 rectifier modules would be left, accepted: 0 to 4"):
        loop.dc.fail_modules(0, 2)
    loop.dc.fail_modules(0, -3)
    run(loop, 2.0)
    assert loop.measured()["battery_kw"][0] == pytest.approx(0.0, abs=0.1)


def test_a_full_battery_curtails_the_sun_at_its_upper_voltage() -> None:
    loop = ClosedLoop([a_dc_site(soc_ratio=0.985, pv_kw=6.0, pv_now_ratio=1.0, load_kw=1.0)], seed=1)
    loop.open_feeder(0, SECOND)
    run(loop, 20.0)
    measured, behind = loop.measured()[0], loop.dc.measured()[0]
    assert behind["high_v"] < 55.0
    assert measured["pv_kw"] < 5.0
    assert measured["soc_ratio"] < 1.0


def test_what_an_outage_took_is_put_back_and_no_more() -> None:
    site = a_dc_site(battery_kwh=5.12, reserve_kwh=1.0, pv_kw=0.0, mains_return_delay_s=1.0, walk_in_s=2.0)
    loop = ClosedLoop([site], seed=1)
    run(loop, 1.0)
    loop.open_feeder(0, loop.sample)
    run(loop, 90.0)
    spent_ratio = loop.measured()["soc_ratio"][0]
    assert spent_ratio < 0.69
    loop.close_feeder(0, loop.sample)
    run(loop, 10.0)
    assert mode(loop) == "grid_tied"
    assert loop.measured()["battery_kw"][0] < -2.0
    run(loop, 120.0)
    measured = loop.measured()[0]
    assert measured["soc_ratio"] == pytest.approx(0.7, abs=0.002)
    assert measured["battery_kw"] == pytest.approx(0.0, abs=0.05)
