"""Intervals add up to the register, whatever restarts between them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sites.core.readings import Quality
from sites.core.units import uwh_from_joule
from sites.edge.control.exchange import REGISTER_DTYPE
from sites.edge.link.meter import Meter

SECOND = 1_000_000


def registers(**values: float) -> np.void:
    row = np.zeros(1, REGISTER_DTYPE)
    for name, value in values.items():
        row[name] = value
    return row[0]


def a_meter() -> Meter:
    return Meter(["pcc", "battery"], 60)


def test_the_first_interval_is_short_and_signs_stay_apart() -> None:
    closed = a_meter().close(
        epoch_us=90 * SECOND,
        at_us=120 * SECOND,
        registers=registers(battery_into_j=3600.0, battery_from_j=7200.0, service_into_j=360.0, service_from_j=3600.0),
    )
    battery = next(interval for interval in closed if interval.asset == "battery")
    assert (battery.starts_at_ms, battery.ends_at_ms) == (90_000, 120_000)
    assert (battery.into_bus_uwh, battery.from_bus_uwh) == (1_000_000, 2_000_000)
    assert (battery.service_into_uwh, battery.service_from_uwh) == (100_000, 1_000_000)
    assert battery.quality is Quality.GOOD


def test_a_boundary_is_closed_once() -> None:
    meter = a_meter()
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers())
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers()) == []


def test_a_lost_boundary_makes_one_long_questionable_interval() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers())
    closed = meter.close(epoch_us=1, at_us=180 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert [(i.starts_at_ms, i.ends_at_ms, i.quality) for i in closed] == [
        (60_000, 180_000, Quality.QUESTIONABLE),
        (60_000, 180_000, Quality.QUESTIONABLE),
    ]


def test_registers_go_on_over_a_restart_of_the_controller() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=7200.0))
    again = a_meter()
    again.restore(meter.to_bytes())
    pcc, _ = again.close(epoch_us=70 * SECOND, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert (pcc.starts_at_ms, pcc.into_bus_uwh, pcc.register_into_uwh) == (70_000, 1_000_000, 3_000_000)


def test_an_old_boundary_read_again_after_a_restart_changes_nothing() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=3600.0))
    meter.close(epoch_us=70 * SECOND, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=3600.0)) == []
    pcc, _ = meter.close(epoch_us=70 * SECOND, at_us=180 * SECOND, registers=registers(pcc_into_j=7200.0))
    assert pcc.into_bus_uwh == 1_000_000


def test_a_register_that_is_no_number_waits_for_the_next_boundary() -> None:
    meter = a_meter()
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=float("nan"))) == []
    pcc, _ = meter.close(epoch_us=1, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert (pcc.starts_at_ms, pcc.into_bus_uwh) == (0, 1_000_000)


@given(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=200))
def test_intervals_add_up_to_the_register_exactly(steps_j: list[float]) -> None:
    meter = a_meter()
    total_j, booked_uwh = 0.0, 0
    for minute, step_j in enumerate(steps_j, start=1):
        total_j += step_j
        pcc, _ = meter.close(epoch_us=0, at_us=minute * 60 * SECOND, registers=registers(pcc_into_j=total_j))
        booked_uwh += pcc.into_bus_uwh
        assert pcc.register_into_uwh == booked_uwh == uwh_from_joule(total_j)
