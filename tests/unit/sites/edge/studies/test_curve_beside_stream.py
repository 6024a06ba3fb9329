"""A curve and a setpoint stream at one site at once: who gets what of the battery's power, in registers and record."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.core.curves import CATALOGUE, curve_named
from sites.edge.control.exchange import RECORD_COLUMNS
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop

FLEET = synthetic_fleet(12, 4)
SITE = dataclasses.replace(FLEET[0], anti_islanding=False)
"""Without the active method, whose drive of 5 % of the rating to and fro would stand in the rest judged here."""
BATTERY, BASELINE, STREAM = (RECORD_COLUMNS.index(name) for name in ("battery_kw", "baseline_kw", "stream_kw"))
SECOND = 10_000
FOREVER = 10**9


def net_kws(loop: ClosedLoop, name: str, index: int = 0) -> float:
    registers = loop.registers()[index]
    return float(registers[f"{name}_into_j"] - registers[f"{name}_from_j"]) / 1000.0


def swing(loop: ClosedLoop, power_kw: float, *, times: int, hz: float = 50.0, index: int = 0) -> None:
    """A signal that goes to and fro around zero, 2 s each way."""
    for turn in range(2 * times):
        loop.follow_setpoint(index, power_kw * (1 if turn % 2 == 0 else -1), power_kw, loop.sample + 7 * SECOND)
        loop.advance(np.full(2 * SECOND, hz))


def test_a_swing_around_zero_is_counted_each_way_and_leaves_nothing_to_the_idle_curve() -> None:
    loop = ClosedLoop([SITE], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), 10.0, 0.0, 0, FOREVER)
    loop.advance(np.full(SECOND, 50.0))
    before = loop.registers()[0].copy()
    swing(loop, 8.0, times=3)
    after = loop.registers()[0]
    into_kws, from_kws = ((after[f"stream_{way}_j"] - before[f"stream_{way}_j"]) / 1e3 for way in ("into", "from"))
    # At 8 kW/s: up in 1 s (4 kWs), 1 s held (8); then six crossings less one of 1 s down and 1 s up, 4 kWs each.
    assert into_kws == pytest.approx(4.0 + 8.0 + 5 * 4.0, rel=0.01)
    assert from_kws == pytest.approx(5 * 4.0, rel=0.01)
    served = [(after[f"service_{way}_j"] - before[f"service_{way}_j"]) / 1e3 for way in ("into", "from")]
    # Lag and losses of the loop: 3 % of what the stream moved.
    assert max(served) < 0.03 * (into_kws + from_kws)


@pytest.mark.parametrize("baseline_kw", [0.0, -4.0, 3.0])
def test_baseline_curve_and_stream_are_the_battery_s_meter(baseline_kw: float) -> None:
    loop = ClosedLoop([SITE], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), 15.0, baseline_kw, 0, FOREVER)
    swing(loop, 6.0, times=1)
    swing(loop, 6.0, times=1, hz=49.5)
    seconds = loop.sample / SECOND
    whole = baseline_kw * seconds + net_kws(loop, "service") + net_kws(loop, "stream")
    assert whole == pytest.approx(net_kws(loop, "battery"), abs=1e-6)
    rows = loop.drain_records()[1][:, 0].astype(float)
    # Of the record likewise, row by row: what the curve gave is what is left of the battery.
    curve_kws = (rows[:, BATTERY] - rows[:, BASELINE] - rows[:, STREAM]).sum() * 0.01
    assert curve_kws == pytest.approx(net_kws(loop, "service"), abs=1e-3)


def test_a_curve_answers_in_full_beside_a_stream_that_runs_the_other_way() -> None:
    loop = ClosedLoop([SITE], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), 20.0, 0.0, 0, FOREVER)
    loop.follow_setpoint(0, -6.0, 60.0, FOREVER)
    loop.advance(np.full(2 * SECOND, 50.0))
    loop.advance(np.full(2 * SECOND, 49.4))
    loop.drain_records()
    loop.advance(np.full(SECOND, 49.4))
    rows = loop.drain_records()[1][:, 0].mean(axis=0)
    assert rows[STREAM] == pytest.approx(-6.0, rel=0.01)
    assert rows[BATTERY] - rows[STREAM] == pytest.approx(20.0, rel=0.02)
    assert loop.measured()["service_kw"][0] == pytest.approx(20.0, rel=0.02)
    assert loop.measured()["stream_kw"][0] == pytest.approx(-6.0, rel=0.02)


def test_where_the_rating_binds_the_stream_gives_way_first() -> None:
    loop = ClosedLoop([SITE], seed=1)
    # The connection would bind before the rating.
    loop._k["export_limit_pu"] = 10.0
    rated_kw = SITE.pcs_kva
    loop.arm(0, curve_named("neso-dc-low"), 0.8 * rated_kw, 0.0, 0, FOREVER)
    loop.follow_setpoint(0, 0.5 * rated_kw, 10.0 * rated_kw, FOREVER)
    loop.advance(np.full(2 * SECOND, 50.0))
    # Alone it has its half.
    assert loop.measured()["stream_kw"][0] == pytest.approx(0.5 * rated_kw, rel=0.02)
    loop.advance(np.full(3 * SECOND, 49.3))
    measured = loop.measured()
    assert measured["limited_by"][0] == 4
    assert measured["stream_kw"][0] == pytest.approx(0.2 * rated_kw, rel=0.02)
    assert measured["service_kw"][0] == pytest.approx(0.8 * rated_kw, rel=0.02)


def test_an_empty_battery_gives_nothing_and_nothing_is_counted_whatever_is_asked() -> None:
    loop = ClosedLoop([SITE], seed=1)
    rated_kw = SITE.pcs_kva
    loop.follow_setpoint(0, 0.4 * rated_kw, 10.0 * rated_kw, FOREVER)
    loop.advance(np.full(SECOND, 50.0))
    assert loop.measured()["stream_kw"][0] == pytest.approx(0.4 * rated_kw, rel=0.02)
    loop._p["soc_ratio"] = 0.0
    loop.advance(np.full(2 * SECOND, 50.0))
    measured = loop.measured()
    assert abs(measured["battery_kw"][0]) < 0.01 * rated_kw
    assert abs(measured["stream_kw"][0]) < 0.01 * rated_kw


def test_a_stream_alone_is_counted_for_itself_and_for_no_curve() -> None:
    loop = ClosedLoop([SITE], seed=1)
    loop.advance(np.full(SECOND, 50.0))
    marks = [net_kws(loop, "battery")]
    loop.advance(np.full(4 * SECOND, 50.0))
    marks.append(net_kws(loop, "battery"))
    loop.follow_setpoint(0, 5.0, 50.0, FOREVER)
    loop.advance(np.full(4 * SECOND, 50.0))
    marks.append(net_kws(loop, "battery"))
    # What the idle converter draws is the site's own use before and beside the stream.
    idle_kws, busy_kws = np.diff(marks)
    assert idle_kws < 0.0
    # The power follows its order 9 ms late: 0.043 kWs of a step of 5 kW.
    assert net_kws(loop, "stream") == pytest.approx(busy_kws - idle_kws, abs=0.05)
    # 4 s at 5 kW, less the ramp of 0.1 s.
    assert net_kws(loop, "stream") == pytest.approx(19.75, abs=0.05)
    assert (net_kws(loop, "service"), loop.measured()["service_kw"][0]) == (0.0, 0.0)


def test_an_island_serves_no_stream() -> None:
    loop = ClosedLoop([SITE], seed=1)
    loop.follow_setpoint(0, 5.0, 50.0, FOREVER)
    loop.advance(np.full(SECOND, 50.0))
    loop.open_feeder(0, loop.sample)
    loop.advance(np.full(SECOND, 50.0))
    told = net_kws(loop, "stream")
    assert 0.0 < told < 5.5
    loop.advance(np.full(2 * SECOND, 50.0))
    assert net_kws(loop, "stream") == told
    assert loop.measured()["stream_kw"][0] == 0.0


def test_a_dc_site_splits_likewise() -> None:
    site = next(site for site in FLEET if site.is_dc)
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(SECOND, 50.0))
    offered_kw = float(loop.measured()["discharge_kw"][0])
    loop.arm(0, curve_named("neso-dc-low"), 0.5 * offered_kw, 0.0, loop.sample, FOREVER)
    loop.follow_setpoint(0, -0.2 * offered_kw, offered_kw, FOREVER)
    loop.advance(np.full(3 * SECOND, 49.4))
    loop.drain_records()
    before = {name: net_kws(loop, name) for name in ("battery", "service", "stream")}
    loop.advance(np.full(2 * SECOND, 49.4))
    spent = {name: net_kws(loop, name) - value for name, value in before.items()}
    assert spent["service"] + spent["stream"] == pytest.approx(spent["battery"], abs=1e-6)
    assert spent["stream"] == pytest.approx(-0.4 * offered_kw, rel=0.03)
    assert spent["service"] == pytest.approx(offered_kw, rel=0.05)


def test_a_curve_takes_back_what_it_gave_itself_and_not_what_a_stream_moved() -> None:
    product = next(curve for curve in CATALOGUE.values() if curve.recovery is not None and curve.sign > 0)
    loop = ClosedLoop([SITE], seed=1)
    loop.arm(0, product, 20.0, 0.0, 0, FOREVER)
    loop.advance(np.full(2 * SECOND, 50.0))
    before = float(loop._c["given_pu_s"][0])
    loop.follow_setpoint(0, 8.0, 80.0, FOREVER)
    loop.advance(np.full(10 * SECOND, 50.0))
    given_kws = (float(loop._c["given_pu_s"][0]) - before) * SITE.pcs_kva
    # Of 80 kWs that the stream gave: the lag of its ramp and the idle converter, a thousandth of the rating.
    assert net_kws(loop, "stream") == pytest.approx(79.6, abs=0.2)
    assert abs(given_kws) < 0.001 * SITE.pcs_kva * 10.0 + 0.1
