"""T1 to T4 of IEEE 2030.7 in closed loop, in sample time: planned and unplanned island, reconnection, black start."""

from __future__ import annotations

import numpy as np
import pytest
from support.operation import CABINET, RATE_HZ, TELECOM, a_site, an_island, run, watch_closings

from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

SIZES = {
    # IEEE 1547-2018 table 5: angle [deg], slip [Hz], voltage [pu].
    400.0: (20.0, 0.3, 0.10),
    1200.0: (15.0, 0.2, 0.05),
    2500.0: (10.0, 0.1, 0.03),
}


def path(loop: ClosedLoop, index: int = 0) -> list[str]:
    return [f"{change.event} > {change.after}" for change in loop.mode_changes(index)]


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (CABINET, {}),
        (CABINET, {"load_kw": 20.0, "pv_kw": 90.0, "pv_now_ratio": 1.0}),
        (TELECOM, {}),
        (TELECOM, {"load_kw": 4.0, "pv_now_ratio": 0.0}),
    ],
    ids=["imports", "exports", "one phase", "one phase imports"],
)
def test_a_planned_island_opens_at_no_exchange_and_stays_until_asked(
    base: SiteParameters, changes: dict[str, float]
) -> None:
    site = a_site(base, switch_kind="sic", **changes)
    loop = ClosedLoop([site], seed=1)
    run(loop, 1.0)
    before_kw = loop.measured()["pcc_kw"][0]
    loop.request_island(0)
    worst_pu = 2.0
    flow_kw = before_kw
    for _ in range(40):
        if loop.mode(0) == "grid_tied":
            flow_kw = loop.measured()["pcc_kw"][0]
        run(loop, 0.1)
        worst_pu = min(worst_pu, loop.measured()["voltage_pu"][0])
    assert loop.mode(0) == "islanded"
    assert abs(flow_kw) < 0.05 * site.pcs_kva < abs(before_kw)
    assert worst_pu > 0.97, "the load saw the opening"
    assert loop.mode_changes(0)[0].cause == "planned"
    # The grid has been fit all the time: only somebody's wish brings the site back.
    run(loop, 5.0)
    assert loop.mode(0) == "islanded"
    loop.request_reconnect(0)
    run(loop, 5.0)
    assert path(loop) == [
        "island_planned > islanding",
        "switch_opened > islanded",
        "grid_fit > resynchronizing",
        "switch_closed > grid_tied",
    ]


def test_a_load_beyond_the_converter_cannot_be_taken_over_and_the_request_lapses() -> None:
    loop = ClosedLoop([a_site(load_kw=1.4 * CABINET.pcs_kva, pv_kw=0.0)], seed=1)
    run(loop, 1.0)
    loop.request_island(0)
    run(loop, 31.0)
    assert loop.mode(0) == "grid_tied"
    assert loop.counters(0)["refusals"] == 1


def test_a_planned_island_is_taken_back_by_a_request_to_stay() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 0.5)
    loop.request_island(0)
    run(loop, 0.05)
    loop.request_reconnect(0)
    run(loop, 3.0)
    assert loop.mode_changes(0) == []


def test_an_unplanned_island_that_is_held_waits_to_be_asked() -> None:
    loop = an_island(a_site())
    loop.request_island(0)
    loop.close_feeder(0, loop.sample)
    run(loop, 5.0)
    assert loop.mode(0) == "islanded"
    loop.request_reconnect(0)
    run(loop, 3.0)
    assert loop.mode(0) == "grid_tied"


@pytest.mark.parametrize("pcs_kva", list(SIZES))
@pytest.mark.parametrize("grid_hz", [49.7, 50.3])
def test_a_site_closes_inside_the_window_of_its_size(pcs_kva: float, grid_hz: float) -> None:
    """Measured on both sides of the poles, and every way to close: three phases and one, all kinds of switch."""
    scale = pcs_kva / CABINET.pcs_kva
    big = a_site(
        pcs_kva=pcs_kva, battery_kwh=pcs_kva, load_kw=scale * CABINET.load_kw, import_limit_kw=2.0 * pcs_kva
    )  # fmt: skip
    kinds = ("sic", "forced", "natural", "contactor")
    sites = [a_site(big, switch_kind=kind, grid_voltage_pu=level) for kind in kinds for level in (0.98, 1.03)]
    sites.append(a_site(TELECOM, pcs_kva=pcs_kva, battery_kwh=pcs_kva, import_limit_kw=2.0 * pcs_kva, load_kw=300.0))
    loop = an_island(*sites)
    for index in range(len(sites)):
        # The grid comes back at angles of its own.
        loop.jump_phase(index, 0.7 * index, loop.sample)
        loop.close_feeder(index, loop.sample + 10)
    run(loop, 0.9, grid_hz)
    closings = watch_closings(loop, 14.0, grid_hz)
    assert sorted(closings) == list(range(len(sites)))
    angle_deg, slip_hz, voltage_pu = SIZES[pcs_kva]
    for index, closing in closings.items():
        assert abs(closing.angle_deg) <= angle_deg, (index, closing)
        assert abs(closing.slip_hz) <= slip_hz, (index, closing)
        assert abs(closing.voltage_pu) <= voltage_pu, (index, closing)


def test_the_size_class_narrows_what_the_settings_want() -> None:
    sites = [a_site(pcs_kva=kva, battery_kwh=kva, import_limit_kw=2.0 * kva) for kva in SIZES]
    k = ClosedLoop(sites, seed=1)._k
    for row, (angle_deg, slip_hz, voltage_pu) in zip(k, SIZES.values(), strict=True):
        assert np.degrees(row["sync_angle_rad"]) <= angle_deg
        assert row["sync_slip_rad_s"] / (2 * np.pi) <= slip_hz
        assert row["sync_voltage_pu"] <= voltage_pu


@pytest.mark.parametrize("kind", ["sic", "contactor"])
def test_a_feeder_that_comes_back_in_opposition_while_the_switch_closes_is_not_met(kind: str) -> None:
    """The worst instant: the order is given, the poles have not touched, the grid turns round."""
    loop = an_island(a_site(switch_kind=kind, short_circuit_ratio=20.0))
    loop.close_feeder(0, loop.sample)
    one = np.array([50.0])
    run(loop, 0.9)
    while not loop._c["switch_command"][0]:
        loop.advance(one)
    loop.jump_phase(0, np.pi, loop.sample)
    peak_pu = 0.0
    for _ in range(RATE_HZ):
        loop.advance(one)
        peak_pu = max(peak_pu, float(np.abs(loop._m[["ia", "ib", "ic"]].tolist()).max()))
        if loop.mode(0) == "grid_tied":
            break
    if kind == "contactor":
        # Its coil was ordered off before its contacts met.
        assert loop.counters(0)["withdrawals"] >= 1
        assert peak_pu < 1.5
    else:
        # 50 us: the poles had met. The detector parts them again at once.
        assert loop.counters(0)["decisions"] >= 1 or loop.counters(0)["withdrawals"] >= 1
    closings = watch_closings(loop, 3.0, 50.0)
    assert all(abs(closing.angle_deg) < 20.0 for closing in closings.values())
    assert loop.measured()["voltage_pu"][0] > 0.9


def test_the_power_rises_no_faster_than_the_code_lets_it_after_entering_service() -> None:
    """EN 50549-1: 10 % of the rating a minute, counted from what the site carried when it closed."""
    loop = an_island(a_site(grid_code="en50549-1"))
    loop.close_feeder(0, loop.sample)
    run(loop, 3.0)
    assert loop.mode(0) == "grid_tied"
    ramp = loop._k["entry_ramp_per_ms"][0] * 1000.0
    assert ramp == pytest.approx(1.0 / 600.0)
    entry_pu = loop._c["entry_pu"][0]
    loop._c["base_pu"][0] = 1.0
    loop._c["baseline_pu"][0] = 1.0
    loop._c["armed"][0], loop._c["armed_ends"][0], loop._c["points"][0] = 1, 10**9, 2
    run(loop, 5.0)
    assert loop._c["power_pu"][0] < max(entry_pu, 0.0) + 10.0 * ramp + 0.02


@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_a_black_start_raises_the_voltage_then_closes_tiers_then_takes_the_sun(base: SiteParameters) -> None:
    site = a_site(base, starts_dead=True, pv_now_ratio=0.3)
    loop = ClosedLoop([site], seed=1)
    seen: list[tuple[int, int]] = []
    unloaded_pu = 0.0
    for _ in range(250):
        run(loop, 0.01)
        c = loop._c[0]
        state = (int(c["tiers_closed"]), int(c["pv_connected"]))
        if not seen or seen[-1] != state:
            seen.append(state)
        if state == (0, 0):
            unloaded_pu = max(unloaded_pu, float(c["voltage_pu"]))
    assert seen == [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1)]
    assert unloaded_pu > 0.95, "load was closed onto a bus that was not up"
    assert path(loop) == ["bus_up > islanded"]
    assert -loop.measured()["load_kw"][0] == pytest.approx(site.load_kw, rel=0.06)
    loop.close_feeder(0, loop.sample)
    run(loop, 6.0)
    assert loop.mode(0) == "grid_tied"


def test_a_black_start_closes_only_the_tiers_that_the_charge_allows() -> None:
    sites = [a_site(starts_dead=True, soc_ratio=soc, reserve_kwh=0.0) for soc in (0.08, 0.2, 0.5)]
    loop = ClosedLoop(sites, seed=1)
    run(loop, 3.0)
    assert loop.measured()["tiers_closed"].tolist() == [1, 2, 3]


def test_maintenance_leaves_the_load_on_the_grid_and_nothing_else() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 0.5)
    loop.request_maintenance(0)
    run(loop, 0.5)
    measured = loop.measured()[0]
    assert loop.mode(0) == "maintenance"
    assert measured["switch_closed"] == 1.0
    assert measured["voltage_pu"] == pytest.approx(1.0, abs=0.05)
    assert measured["pv_kw"] == 0.0
    assert measured["pcc_kw"] == pytest.approx(-measured["load_kw"], rel=0.01)
    # The grid goes: nothing of the site's answers, whatever is asked.
    loop.open_feeder(0, loop.sample)
    for request in (loop.request_start, loop.request_island, loop.request_reconnect):
        request(0)
        run(loop, 0.2)
    assert loop.mode(0) == "maintenance"
    assert loop.counters(0)["refusals"] == 2
    assert loop.measured()["voltage_pu"][0] < 0.05
    loop.close_feeder(0, loop.sample)
    run(loop, 0.5)
    loop.request_maintenance(0, False)
    run(loop, 0.5)
    assert loop.mode(0) == "lockout", "before the enter-service delay"
    assert loop.alarm(0) == ""
    run(loop, 1.0)
    assert loop.mode(0) == "grid_tied"


def test_a_site_at_work_whose_grid_is_gone_starts_alone_when_work_ends() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 0.5)
    loop.request_maintenance(0)
    loop.open_feeder(0, loop.sample + 100)
    run(loop, 0.5)
    loop.request_maintenance(0, False)
    run(loop, 5.0)
    assert loop.mode(0) == "islanded"
    assert loop.measured()["switch_closed"][0] == 0.0


def test_a_momentary_island_returns_within_a_second_and_is_counted() -> None:
    """G99 permits a type A site to leave in a dip; a second of dead feeder is no dip."""
    sites = [a_site(enter_service_delay_s=20.0, momentary_s=1.0)] * 2
    loop = ClosedLoop(sites, seed=1)
    run(loop, 1.0)
    loop.sag(0, loop.sample, residual_pu=(0.3, 0.3, 0.3), until_sample=loop.sample + 3_000)
    loop.open_feeder(1, loop.sample)
    loop.close_feeder(1, loop.sample + 20_000)
    run(loop, 0.2)
    assert [loop.mode(0), loop.mode(1)] == ["islanded", "islanded"]
    run(loop, 1.1)
    assert loop.mode(0) == "grid_tied"
    assert loop.counters(0)["momentary_islands"] == 1
    run(loop, 6.0)
    assert loop.mode(1) == "islanded"
    assert loop.counters(1)["momentary_islands"] == 0


def test_every_change_of_mode_tells_its_sample_and_cause() -> None:
    loop = an_island(a_site())
    changes = loop.mode_changes(0)
    assert [(change.before, change.after) for change in changes] == [
        ("grid_tied", "islanding"),
        ("islanding", "islanded"),
    ]
    assert 5_000 < changes[0].sample <= changes[1].sample < 5_100
    assert changes[0].cause not in ("", "planned")
    assert loop.mode_changes(0, since=1) == changes[1:]
    assert loop.counters(0)["mode_changes"] == 2
    assert sum(value for name, value in loop.counters(0).items() if name.endswith("_ms")) == 1_000


def test_an_input_or_value_that_is_not_known_is_told() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    with pytest.raises(ValueError, match="input is 'smoke', accepted: emergency_stop, fire"):
        loop.set_input(0, "smoke", 1)
    with pytest.raises(ValueError, match="fire is 2, accepted: 0 or 1"):
        loop.set_input(0, "fire", 2)
    with pytest.raises(ValueError, match="neutral_earth_closed is 7, accepted: 0, 1 or None"):
        loop.set_input(0, "neutral_earth_closed", 7)
