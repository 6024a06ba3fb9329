"""What wins over everything, faults, stuck poles, dead feeders and the neutral-earth bond, in closed loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.operation import CABINET, RATE_HZ, TELECOM, a_site, an_island, run

from sites.edge.control.exchange import INPUT_NAMES
from sites.edge.control.islanding import MODE_NAMES, Controller, alarm_text
from sites.edge.control.kernels.records import SAMPLES
from sites.edge.control.settings import ControlSettings
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

TRIPS = ("emergency_stop", "fire", "bms_trip")
ALL = (0, 1, 2)
NEVER = 10**9


def in_mode(mode: str, site: SiteParameters) -> ClosedLoop:
    """A loop of one site that stands in a mode by its own way there."""
    if mode == "black_start":
        loop = ClosedLoop([dataclasses.replace(site, starts_dead=True)], seed=1)
        run(loop, 0.8)
    elif mode in ("grid_tied", "maintenance", "lockout"):
        loop = ClosedLoop([site], seed=1)
        run(loop, 0.5)
        if mode == "maintenance":
            loop.request_maintenance(0)
        elif mode == "lockout":
            loop.set_input(0, "fire", 1)
            run(loop, 0.1)
            loop.set_input(0, "fire", 0)
        run(loop, 0.2)
    elif mode == "islanding":
        # A contactor takes 25 ms to part: long enough to trip in between.
        loop = ClosedLoop([dataclasses.replace(site, switch_kind="contactor")], seed=1)
        run(loop, 0.5)
        loop.open_feeder(0, loop.sample)
        for _ in range(500):
            run(loop, 0.0001)
            if loop.mode(0) == "islanding":
                break
    else:
        loop = an_island(site)
        if mode == "resynchronizing":
            loop.jump_phase(0, np.pi, loop.sample)
            loop.close_feeder(0, loop.sample)
            run(loop, 1.1)
    assert loop.mode(0) == mode
    return loop


def gives_power(loop: ClosedLoop) -> bool:
    """Whether anything of the site's still gives current into its bus."""
    phases = loop._phases[0]
    converter = bool(loop._c["converter_on"][0])
    return converter or bool(np.abs(phases["i_genset"]).max() > 0.0) or bool(loop._c["pv_connected"][0])


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize(
    "mode", ["grid_tied", "islanding", "islanded", "resynchronizing", "black_start", "lockout", "maintenance"]
)
def test_a_trip_takes_the_site_s_power_off_within_2_ms_in_every_mode(mode: str, trip: str) -> None:
    loop = in_mode(mode, a_site())
    loop.set_input(0, trip, 1)
    run(loop, 0.002)
    assert not gives_power(loop)
    if trip != "bms_trip":
        assert loop.mode(0) == "lockout"
        run(loop, 0.1)
        assert loop._m["poles_closed"][0] == 0, "the site is not cut off"
    # Whatever anybody asks: as long as it stands, and from afar also after it is gone.
    for request in (loop.request_start, loop.request_island, loop.request_reconnect):
        request(0)
        run(loop, 0.05)
    loop.request_start(0, local=False)
    loop.request_maintenance(0, False)
    run(loop, 0.5)
    loop.set_input(0, trip, 0)
    loop.request_start(0, local=False)
    run(loop, 3.0)
    assert not gives_power(loop)
    # The key at the site, and only it.
    loop.set_input(0, "local_reset", 1)
    run(loop, 6.0)
    assert loop.mode(0) in ("grid_tied", "islanded")
    assert loop.measured()["latched"][0] == 0


def test_a_battery_that_trips_leaves_the_load_on_the_grid() -> None:
    loop = in_mode("grid_tied", a_site())
    loop.set_input(0, "bms_trip", 1)
    run(loop, 1.0)
    measured = loop.measured()[0]
    assert loop.mode(0) == "lockout"
    assert measured["switch_closed"] == 1.0
    assert measured["voltage_pu"] > 0.95
    assert measured["load_kw"] < 0.0
    # Fire besides: now the site is cut off as well.
    loop.set_input(0, "fire", 1)
    run(loop, 0.1)
    assert loop._m["poles_closed"][0] == 0


def test_a_start_from_afar_is_refused_and_counted_while_something_is_latched() -> None:
    loop = in_mode("lockout", a_site())
    refused = loop.counters(0)["refusals"]
    for _ in range(3):
        loop.request_start(0, local=False)
        run(loop, 0.01)
    assert loop.counters(0)["refusals"] == refused + 3
    assert loop.mode(0) == "lockout"


def test_a_key_left_turned_clears_once_and_not_what_trips_later() -> None:
    loop = in_mode("lockout", a_site())
    loop.set_input(0, "local_reset", 1)
    run(loop, 5.0)
    assert loop.mode(0) == "grid_tied"
    loop.set_input(0, "emergency_stop", 1)
    run(loop, 0.1)
    loop.set_input(0, "emergency_stop", 0)
    run(loop, 5.0)
    assert loop.mode(0) == "lockout"


@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_a_fault_on_the_island_s_bus_locks_out_and_stays(base: SiteParameters) -> None:
    loop = an_island(a_site(base))
    loop.fault(0, loop.sample, phases=ALL, to_earth=True, resistance_pu=0.02, where="bus")
    began = loop.sample
    run(loop, 2.0)
    assert loop.mode(0) == "lockout"
    took_ms = (loop.mode_changes(0)[-1].sample - began) / 10.0
    assert 400.0 < took_ms < 700.0
    loop.request_start(0, local=False)
    run(loop, 2.0)
    assert loop.mode(0) == "lockout"
    # The key starts it, the soft start meets the fault and ends at once, at a tenth of the voltage.
    loop.request_start(0)
    run(loop, 2.0)
    assert loop.alarm(0) == "black_start: bus_fault"
    assert loop._c["level_e"][0] < 0.4


def test_a_fault_that_a_branch_clears_in_time_does_not_lock_out() -> None:
    loop = an_island(a_site())
    ends = loop.sample + 2500
    loop.fault(0, ends - 2500, phases=(0,), to_earth=True, resistance_pu=0.05, where="bus", cleared_at_sample=ends)
    run(loop, 3.0)
    assert loop.mode(0) == "islanded"
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.02)


def dead_feeder_site(**changes: object) -> SiteParameters:
    return a_site(switch_kind="sic", neighbor_load_pu=0.5, pv_now_ratio=1.0, **changes)


@pytest.mark.parametrize("stuck", [(0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_a_pole_that_sticks_does_not_feed_a_dead_feeder_for_two_seconds(
    base: SiteParameters, stuck: tuple[int, ...]
) -> None:
    loop = ClosedLoop([dataclasses.replace(dead_feeder_site(), **_circuit(base))], seed=1)
    run(loop, 0.5)
    loop.stick_pole(0, loop.sample, stuck)
    loop.open_feeder(0, loop.sample + 10)
    opened = loop.sample
    fed_until = opened
    for _ in range(300):
        run(loop, 0.01)
        if float(np.abs(loop._phases["u"][0, : loop.sites[0].phases]).max()) > 0.05:
            fed_until = loop.sample
    assert (fed_until - opened) / RATE_HZ < 2.0
    if 0 in stuck or base is CABINET:
        assert loop.mode(0) == "lockout"
        assert not gives_power(loop)


def _circuit(base: SiteParameters) -> dict[str, object]:
    names = ("phases", "nominal_voltage_v", "pcs_kva", "battery_kwh", "load_kw", "pv_kw", "reserve_kwh")
    return {name: getattr(base, name) for name in (*names, "import_limit_kw", "export_limit_kw")}


@pytest.mark.parametrize("phases", [1, 3])
def test_contacts_that_lie_about_a_welded_pole_are_found_by_its_current(phases: int) -> None:
    """The auxiliary contact reports open, the pole conducts: an island must not go on feeding the street."""
    controller = Controller(ControlSettings(phases=phases))
    state = controller.state[0]
    state["mode"], state["switch_command"] = MODE_NAMES.index("islanded"), 0
    m = np.zeros(6000, SAMPLES)
    wave = np.cos(2 * np.pi * 50.0 * np.arange(len(m)) / RATE_HZ)
    for name, turn in (("va", 0), ("vb", 67), ("vc", 133)):
        m[name] = np.roll(wave, turn)
    m["ia"] = -0.2 * wave
    m["soc_ratio"], m["pcs_running"], m["poles_closed"] = 0.8, 1, 0
    controller.step(m)
    assert controller.mode == "lockout"
    assert state["converter_on"] == 0
    assert alarm_text(state["alarm"]) == "islanded: switch_stuck"


def test_a_black_start_never_raises_a_dead_feeder_through_a_pole_that_conducts() -> None:
    loop = ClosedLoop([a_site(starts_dead=True, neighbor_load_pu=0.2)], seed=1)
    loop.stick_pole(0, 0, (1,))
    loop._phases["switch_closed"][0, 1] = 1
    highest_pu = 0.0
    for _ in range(300):
        run(loop, 0.01)
        highest_pu = max(highest_pu, float(np.abs(loop._phases["u"][0]).max()))
    assert loop.alarm(0) == "black_start: switch_stuck"
    assert highest_pu < 0.1


def test_a_black_start_ends_where_the_bus_already_lives() -> None:
    """Somebody else feeds the bus that should be dead: a set plugged in by hand."""
    loop = in_mode("lockout", a_site())
    loop.set_input(0, "local_reset", 1)
    run(loop, 0.01)
    assert loop.mode(0) == "black_start"
    loop._phases["switch_closed"][0] = 1
    loop._phases["switch_stuck"][0] = 1
    run(loop, 2.0)
    assert loop.mode(0) == "lockout"
    assert loop.alarm(0) in ("black_start: bus_live", "black_start: switch_stuck")
    assert not gives_power(loop)


def test_poles_that_part_by_themselves_make_an_island_of_it() -> None:
    loop = ClosedLoop([a_site()], seed=1)
    run(loop, 1.0)
    loop.open_pole(0, loop.sample, ALL)
    run(loop, 1.0)
    assert loop.mode(0) in ("islanded", "resynchronizing", "grid_tied")
    assert loop.measured()["voltage_pu"][0] > 0.95
    assert loop.counters(0)["decisions"] == 1


def test_an_island_without_its_bond_stops_after_its_time() -> None:
    loop = an_island(a_site())
    loop.set_input(0, "neutral_earth_closed", 0)
    began = loop.sample
    run(loop, 0.45)
    assert loop.mode(0) == "islanded"
    run(loop, 0.2)
    assert loop.alarm(0) == "islanded: bond_open"
    assert 0.5 <= (loop.mode_changes(0)[-1].sample - began) / RATE_HZ < 0.55
    # Nor does it start without one.
    loop.request_start(0)
    run(loop, 2.0)
    assert loop.alarm(0) == "black_start: bond_open"


@pytest.mark.parametrize(("refuses", "mode"), [(False, "grid_tied"), (True, "islanded")])
def test_a_bond_that_stays_closed_beside_the_grid_s_warns_or_parts_as_set(refuses: bool, mode: str) -> None:
    loop = ClosedLoop([a_site(bond_refuses=refuses)], seed=1)
    run(loop, 0.5)
    assert loop.measured()["warnings"][0] == 0
    loop.set_input(0, "neutral_earth_closed", 1)
    run(loop, 5.0)
    assert loop.mode(0) == mode
    assert loop.measured()["warnings"][0] == 1


def test_an_empty_island_sheds_then_stops_and_comes_back_with_the_grid() -> None:
    site = a_site(soc_ratio=0.0512, reserve_kwh=0.0, battery_kwh=0.5 * CABINET.pcs_kva, pv_kw=0.0, genset_kw=0.0)
    loop = an_island(site)
    tiers = [3]
    for _ in range(600):
        run(loop, 0.05)
        now = int(loop.measured()["tiers_closed"][0])
        if now != tiers[-1]:
            tiers.append(now)
        if loop.mode(0) == "lockout":
            break
    assert loop.alarm(0) == "islanded: energy_out"
    assert tiers[-1] == 0
    assert sorted(tiers, reverse=True) == tiers
    assert loop.measured()["latched"][0] == 0
    # Nobody has to come: the grid's return is enough, and the load goes on with the grid, not before.
    loop.close_feeder(0, loop.sample)
    while_alone = []
    for _ in range(80):
        run(loop, 0.1)
        if loop.mode(0) != "grid_tied":
            while_alone.append(int(loop.measured()["tiers_closed"][0]))
    assert loop.mode(0) == "grid_tied"
    assert set(while_alone) == {0}
    assert loop.measured()["tiers_closed"][0] == 3
    assert loop.alarm(0) == ""


def test_every_input_that_a_test_can_set_is_one_that_the_controller_reads() -> None:
    assert set(INPUT_NAMES) <= set(ClosedLoop([a_site()], seed=1)._m.dtype.names or ())
