"""The grid code's windows as the controller counts them: never early, never late, to the tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sites.core.gridcode_profile import GridCodeProfile, Operation, Quantity, Side, TripStage
from sites.core.gridcodes import CATALOGUE, must_ride_until_s, profile_named, rides_through
from sites.edge.control.islanding import CAUSE_NAMES
from sites.edge.control.kernels import records
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.windows import gather_squares, reset_windows, watch_windows
from sites.edge.control.settings import CLEARING_MARGIN_S, ControlSettings, control_parameters, initial_state

PROFILES = list(CATALOGUE.values())
STAGES = [(profile, stage) for profile in PROFILES for stage in profile.trips]
OPENING_S = 0.012
"""Longest time from the order to all poles open: a static switch without forced commutation."""
MEASURING_S = 0.025
"""Window of the r.m.s., and of the PLL."""


@kernel
def hold(k: Record, c: Record, voltage_pu: Any, frequency_hz: float, longest_ms: int) -> Any:
    """Hold r.m.s. voltages and a frequency until something trips; return (milliseconds, cause)."""
    for ms in range(longest_ms):
        for phase in range(3):
            c["grid_square"][phase] = 0.5 * voltage_pu[phase] ** 2 * k["ticks_per_ms"]
        cause = watch_windows(k, c, frequency_hz)
        if cause:
            return ms + 1, cause
    return longest_ms, 0


class Windows:
    """One controller's windows alone, fed with voltage and frequency per millisecond instead of samples."""

    def __init__(self, profile: GridCodeProfile, phases: int = 3) -> None:
        settings = ControlSettings(phases=phases, nominal_hz=profile.nominal_hz, grid_code=profile.name)
        self._k = control_parameters(settings)
        self._c = initial_state(self._k)
        reset_windows(self._k[0], self._c[0], profile.nominal_hz)

    def tick(self, voltage_pu: tuple[float, float, float], frequency_hz: float) -> str:
        """Pass one millisecond at r.m.s. voltages [pu]; return the cause of a trip."""
        _, cause = hold(self._k[0], self._c[0], np.array(voltage_pu), frequency_hz, 1)
        return CAUSE_NAMES[cause]

    def trip_ms(self, voltage_pu: tuple[float, float, float], frequency_hz: float, longest_ms: int) -> int | None:
        """Hold a voltage and a frequency; return after how many milliseconds it trips."""
        ms, cause = hold(self._k[0], self._c[0], np.array(voltage_pu), frequency_hz, longest_ms)
        return ms if cause else None


def beyond(profile: GridCodeProfile, stage: TripStage, by: float = 1e-3) -> tuple[tuple[float, float, float], float]:
    """Return a voltage (on phase b only) and a frequency that lie just beyond a stage's level."""
    level = stage.level + (-by if stage.side is Side.BELOW else by)
    if stage.quantity is Quantity.VOLTAGE_PU:
        return (1.0, level, 1.0), profile.nominal_hz
    return (1.0, 1.0, 1.0), level


@pytest.mark.parametrize(
    ("profile", "stage"),
    [(profile, stage) for profile, stage in STAGES if stage.clear_by_s <= 25.0 and "ROCOF" not in stage.name],
    ids=lambda item: item.name if isinstance(item, GridCodeProfile | TripStage) else "",
)
def test_a_dip_one_tick_short_of_the_trip_time_does_not_island(profile: GridCodeProfile, stage: TripStage) -> None:
    hold_ms = round(1000.0 * (stage.delay_s or stage.clear_by_s - CLEARING_MARGIN_S))
    voltage, frequency = beyond(profile, stage)
    # The window's mean crosses the level after some milliseconds: from there on each one counts.
    to_cross = Windows(profile).trip_ms(voltage, frequency, hold_ms + 30)
    assert to_cross is not None
    assert hold_ms <= to_cross <= hold_ms + 1000.0 * MEASURING_S
    again = Windows(profile)
    assert again.trip_ms(voltage, frequency, to_cross - 1) is None
    # Back inside for as long as the window needs: the clock starts anew.
    assert again.trip_ms((1.0, 1.0, 1.0), profile.nominal_hz, 30) is None
    assert again.trip_ms(voltage, frequency, to_cross - 1) is None
    assert again.trip_ms(voltage, frequency, 1) == 1


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@given(level=st.floats(0.0, 1.4), phase=st.integers(0, 2), share=st.floats(0.05, 1.0))
@example(level=0.5, phase=1, share=1.0)
@example(level=0.88, phase=0, share=1.0)
def test_no_sag_or_swell_that_must_be_ridden_through_trips(
    profile: GridCodeProfile, level: float, phase: int, share: float
) -> None:
    until_s = must_ride_until_s(profile, Quantity.VOLTAGE_PU, level)
    operation = rides_through(profile, Quantity.VOLTAGE_PU, level, 0.0)
    if operation is None or (operation is Operation.PERMISSIVE and until_s <= 0.16):
        return  # Category II permits 0.16 s below 0.45 pu and asks to have cleared by then.
    voltage = [1.0, 1.0, 1.0]
    voltage[phase] = level
    longest_ms = min(2500, int(1000.0 * until_s * share)) if until_s < 1e6 else 2500
    assert Windows(profile).trip_ms((voltage[0], voltage[1], voltage[2]), profile.nominal_hz, longest_ms) is None


@pytest.mark.parametrize(
    ("profile", "stage"),
    [(profile, stage) for profile, stage in STAGES if stage.clear_by_s <= 3.2 and "ROCOF" not in stage.name],
    ids=lambda item: item.name if isinstance(item, GridCodeProfile | TripStage) else "",
)
@given(deeper=st.floats(0.02, 0.3), phases=st.sampled_from([1, 3]))
def test_beyond_a_shall_trip_level_the_switch_is_open_by_the_clearing_time(
    profile: GridCodeProfile, stage: TripStage, deeper: float, phases: int
) -> None:
    voltage, frequency = beyond(profile, stage, deeper)
    one = (voltage[1],) * 3
    tripped_ms = Windows(profile, phases).trip_ms(one, frequency, 3300)
    assert tripped_ms is not None
    # Tolerance: 10 ms, a window that crosses late and a switch that waits for its current zero.
    assert tripped_ms / 1000.0 + OPENING_S <= stage.clear_by_s + 0.010


@given(
    st.lists(st.tuples(st.floats(0.3, 1.3), st.floats(45.0, 55.0), st.integers(1, 300)), min_size=1, max_size=5),
    st.permutations([0, 1, 2]),
)
def test_the_phases_are_alike(course: list[tuple[float, float, int]], order: list[int]) -> None:
    straight, mixed = Windows(profile_named("g99")), Windows(profile_named("g99"))
    for level, frequency_hz, ms in course:
        voltage = (level, 1.0, 0.5 + 0.5 * level)
        swapped = (voltage[order[0]], voltage[order[1]], voltage[order[2]])
        assert straight.trip_ms(voltage, frequency_hz, ms) == mixed.trip_ms(swapped, frequency_hz, ms)


@pytest.mark.parametrize(("rate", "trips"), [(1.05, True), (-1.05, True), (0.95, False), (-0.95, False)])
def test_a_rate_of_change_trips_after_half_a_second_in_both_directions(rate: float, trips: bool) -> None:
    windows = Windows(profile_named("g99"))
    causes = [windows.tick((1.0, 1.0, 1.0), 50.0 + rate * ms / 1000.0) for ms in range(900)]
    assert any(causes) is trips
    if trips:
        at = next(ms for ms, cause in enumerate(causes) if cause)
        assert causes[at] == "rocof_window"
        assert 500 <= at <= 700


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_ramp_that_must_be_ridden_through_and_the_blip_of_a_phase_jump_trip_nothing(profile: GridCodeProfile) -> None:
    windows = Windows(profile)
    low_hz, high_hz = profile.continuous_hz
    hz = profile.nominal_hz
    course = []
    for side in (high_hz, low_hz):
        steps = int(1000.0 * abs(side - hz) / profile.rocof.hz_per_s) - 1
        rate = np.sign(side - hz) * profile.rocof.hz_per_s / 1000.0
        course += [hz + rate * 0.999 * ms for ms in range(steps)] + [hz] * 200
    # Measured on the PLL at a jump of 60 degrees: up to 0.4 Hz for a tenth of a second.
    course += [hz + 0.45 * np.exp(-(((ms - 60) / 40.0) ** 2)) for ms in range(200)]
    assert not any(windows.tick((1.0, 1.0, 1.0), value) for value in course)


def test_samples_that_are_no_number_neither_trip_nor_stay() -> None:
    profile = profile_named("g99")
    windows = Windows(profile)
    nan = float("nan")
    assert windows.trip_ms((1.0, nan, 1.0), 50.0, 3000) is None
    assert windows.trip_ms((1.0, 0.5, 1.0), 50.0, 3000) is not None


@pytest.mark.parametrize("nominal_hz", [50.0, 60.0])
@pytest.mark.parametrize("phases", [1, 3])
def test_the_window_s_mean_of_a_sine_carries_no_ripple(nominal_hz: float, phases: int) -> None:
    k = control_parameters(ControlSettings(phases=phases, nominal_hz=nominal_hz))
    c = initial_state(k)
    reset_windows(k[0], c[0], nominal_hz)
    m = np.zeros(1, records.SAMPLES)
    sums = []
    for n in range(1000):
        angle = 2.0 * np.pi * nominal_hz * n / 10_000.0
        for i, name in enumerate("abc"[:phases]):
            m[f"u{name}"] = 0.8 * np.cos(angle - 2.0 * np.pi * i / 3.0)
        gather_squares(k[0], c[0], m[0])
        if n % 10 == 9:
            watch_windows(k[0], c[0], nominal_hz)
            sums.append(c["grid_sum"][0][0] * 2.0 / (10 * k["rms_ms"][0]))
    assert np.allclose(np.sqrt(sums[30:]), 0.8, atol=1e-9)
