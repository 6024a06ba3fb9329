"""A DC site's controller by itself: disconnects by tiers, charge limits, voltages, its transition table."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from sites.edge.control.dc_settings import (
    DC_TRANSITIONS,
    DcSettings,
    dc_control_parameters,
    dc_initial_state,
)
from sites.edge.control.islanding import MODE_NAMES, transition_table
from sites.edge.control.kernels import dc_battery, dc_disconnect, modes
from sites.edge.control.kernels.dc_records import DC_SAMPLES
from sites.edge.control.kernels.records import SAMPLES, STATE

SETTINGS = DcSettings(
    rectifier_w=6000.0, battery_ah=300.0, battery_ohm=8e-3 / 3.0, droop_ohm=0.0087, tier_off_ms=50, tier_on_ms=100
)


class Bench:
    """Records of one site's controller, its readings set by hand, stepped once per millisecond."""

    def __init__(self, settings: DcSettings = SETTINGS, mode: int = modes.ISLANDED) -> None:
        self.dk = dc_control_parameters(settings)
        self.dc = dc_initial_state(self.dk, bus_v=52.0, load_a=60.0, pv_a=0.0)
        self.c, self.m, self.dm = np.zeros(1, STATE), np.zeros(1, SAMPLES), np.zeros(1, DC_SAMPLES)
        self.c["mode"] = mode
        self.m["soc_ratio"], self.m["temperature_c"] = 0.7, 25.0
        self.dm["battery_closed"] = self.dm["modules"] = 1

    def disconnect(self, ms: int, **readings: float) -> list[int]:
        """Hold readings for a time; return which tiers are on then."""
        soc_ratio = readings.pop("soc_ratio", None)
        if soc_ratio is not None:
            self.m["soc_ratio"] = soc_ratio
        for name, value in readings.items():
            record: Any = self.dm if name in ("rectifier_on", "limiting") else self.dc
            record[name] = value
        for _ in range(ms):
            dc_disconnect.supervise_tiers(self.c[0], self.m[0], self.dk[0], self.dc[0], self.dm[0])
        return [int(on) for on in self.dc["tier_command"][0]]


def test_a_tier_goes_at_its_voltage_after_its_delay_and_not_a_millisecond_before() -> None:
    bench = Bench()
    assert bench.disconnect(49, bus_v=48.7, battery_a=60.0) == [1, 1, 1]
    assert bench.disconnect(1) == [1, 1, 0]
    assert bench.disconnect(200) == [1, 1, 0]
    assert bench.disconnect(50, bus_v=47.1) == [1, 0, 0]
    assert bench.disconnect(50, bus_v=44.7) == [0, 0, 0]
    assert bench.dc["disconnects"][0] == 3


def test_a_dip_shorter_than_the_delay_begins_anew() -> None:
    bench = Bench()
    for _ in range(5):
        bench.disconnect(49, bus_v=48.7)
        assert bench.disconnect(1, bus_v=48.9) == [1, 1, 1]


def test_an_empty_battery_sheds_by_charge_though_its_voltage_still_looks_well() -> None:
    bench = Bench()
    assert bench.disconnect(50, bus_v=50.5, soc_ratio=0.19) == [1, 1, 0]
    assert bench.disconnect(50, soc_ratio=0.09) == [1, 0, 0]


def test_no_tier_goes_while_rectifiers_carry_the_load() -> None:
    bench = Bench(mode=modes.GRID_TIED)
    assert bench.disconnect(500, bus_v=45.0, battery_a=-20.0, rectifier_on=1, soc_ratio=0.03) == [1, 1, 1]
    # Rectifiers at their limit leave the rest to the battery: it is drained after all.
    assert bench.disconnect(50, limiting=1, battery_a=30.0) == [1, 0, 0]


def test_tiers_return_one_after_the_other_with_hysteresis() -> None:
    bench = Bench()
    bench.disconnect(200, bus_v=44.0)
    assert bench.disconnect(1000, bus_v=50.3) == [0, 0, 0]
    assert bench.disconnect(100, bus_v=51.3) == [1, 0, 0]
    assert bench.disconnect(100) == [1, 1, 0]
    assert bench.disconnect(1000, soc_ratio=0.2) == [1, 1, 0]
    assert bench.disconnect(100, soc_ratio=0.26) == [1, 1, 1]


def test_rectifiers_with_something_left_bring_all_tiers_back_at_any_voltage() -> None:
    bench = Bench()
    bench.disconnect(200, bus_v=44.0)
    bench.c["mode"] = modes.GRID_TIED
    assert bench.disconnect(100, bus_v=45.5, battery_a=-10.0, rectifier_on=1) == [1, 0, 0]
    assert bench.disconnect(200) == [1, 1, 1]


@pytest.mark.parametrize(
    ("temperature_c", "share"), [(-1.0, 0.0), (0.0, 1.0), (25.0, 1.0), (45.0, 1.0), (50.0, 0.5), (55.0, 0.0)]
)
def test_temperature_bounds_the_charge_current(temperature_c: float, share: float) -> None:
    assert dc_battery.block_charge_ratio(temperature_c) == pytest.approx(share)


def test_lead_is_floated_at_a_voltage_that_falls_with_temperature() -> None:
    lead = dataclasses.replace(SETTINGS, float_v=24 * 2.27, charge_v=24 * 2.35, float_v_per_k=-24 * 0.003)
    bench = Bench(lead)
    volts = [float(dc_battery.upper_voltage_v(bench.dk[0], bench.dc[0], t)) for t in (15.0, 25.0, 35.0)]
    assert volts == pytest.approx([55.2, 54.48, 53.76])
    bench.dc["recharging"] = 1
    # 56.4 V less 0 K, but in the cold no more than the loads' window leaves.
    assert float(dc_battery.upper_voltage_v(bench.dk[0], bench.dc[0], 25.0)) == pytest.approx(56.4)
    assert float(dc_battery.upper_voltage_v(bench.dk[0], bench.dc[0], 0.0)) < 57.0


def test_the_charge_current_falls_where_the_bus_passes_its_upper_voltage() -> None:
    bench = Bench()
    bench.dc["upper_v"], bench.dc["bus_v"] = 56.0, 55.0
    dc_battery.move_charge_limit(bench.dk[0], bench.dc[0], 25.0)
    assert bench.dc["charge_limit_a"][0] == pytest.approx(150.0)
    bench.dc["bus_v"] = 56.2
    for _ in range(1000):
        dc_battery.move_charge_limit(bench.dk[0], bench.dc[0], 25.0)
    assert 0.0 <= bench.dc["charge_limit_a"][0] < 150.0


def test_the_battery_goes_last_and_comes_back_beside_a_fed_and_even_bus_only() -> None:
    bench = Bench()

    def hold(ms: int, **readings: float) -> int:
        for name, value in readings.items():
            (bench.dm if name in ("battery_v", "rectifier_on", "battery_closed") else bench.dc)[name] = value
        for _ in range(ms):
            dc_battery.supervise_battery_contactor(bench.m[0], bench.dk[0], bench.dc[0], bench.dm[0])
        return int(bench.dc["battery_command"][0])

    assert hold(49, bus_v=43.1, battery_closed=1) == 1
    assert hold(1) == 0
    assert hold(500, bus_v=44.0, battery_v=44.5, battery_closed=0) == 0  # Nobody feeds the bus.
    assert hold(500, bus_v=49.0, rectifier_on=1) == 0  # 4.5 V apart.
    assert hold(100, bus_v=44.9) == 1


def test_every_pair_of_the_table_names_a_mode_and_a_request_alone_leaves_lockout() -> None:
    table = transition_table(DC_TRANSITIONS)
    assert {mode for mode, _ in DC_TRANSITIONS} | set(DC_TRANSITIONS.values()) <= set(MODE_NAMES)
    leaving = np.flatnonzero(table[modes.LOCKOUT] != modes.LOCKOUT)
    assert leaving.tolist() == [modes.START_REQUESTED]
    # A lost grid never waits for a switch: there is none before the load.
    assert table[modes.GRID_TIED, modes.GRID_LOST] == modes.ISLANDED


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tier_off_v": (48.8, 47.2, 44.8)}, "tier_off_v is .* accepted: 3 values that do not fall"),
        ({"tier_off_ratio": (0.0, 0.1)}, "tier_off_ratio is .* accepted: 3 values"),
        ({"battery_off_v": 46.0}, "accepted: window, battery's disconnect, tiers, float, charge, window"),
        ({"charge_v": 58.0}, "accepted: window, battery's disconnect"),
        ({"tier_on_v": (44.0, 51.2, 51.2)}, "a tier reconnects at 44.0 V, accepted: between 44.8"),
    ],
)
def test_settings_out_of_order_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dc_control_parameters(dataclasses.replace(SETTINGS, **given))
