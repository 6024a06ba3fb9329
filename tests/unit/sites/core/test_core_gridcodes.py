"""Grid codes: each figure has a source, no code contradicts itself, no code of another frequency is taken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core import gridcodes
from sites.core.gridcode_profile import Cited, Operation, Quantity, Side, TripStage
from sites.core.gridcodes import CATALOGUE, GridCodeError, GridCodeProfile, WrongNominalFrequency, profile_named
from sites.edge.control.settings import ControlSettings, control_parameters
from sites.edge.plant.fleet import synthetic_fleet

PROFILES = list(CATALOGUE.values())
DT_S = 0.01


def citations(value: object) -> list[Cited]:
    """Return every source in a profile, however deep."""
    if isinstance(value, Cited):
        return [value]
    if isinstance(value, tuple):
        return [cited for item in value for cited in citations(item)]
    if dataclasses.is_dataclass(value):
        return [cited for field in dataclasses.fields(value) for cited in citations(getattr(value, field.name))]
    return []


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_rule_of_a_code_names_source_and_certainty(profile: GridCodeProfile) -> None:
    rules = len(profile.trips) + len(profile.ride_through) + len(profile.synchronism)
    cited = citations(profile)
    # Six single rules besides: ROCOF, phase jump, loss of mains, enter service, droop, momentary island.
    assert len(cited) == rules + 6
    assert all(len(one.source) > 10 and one.certainty in ("V", "M", "U") for one in cited)


def test_a_name_outside_the_catalogue_tells_what_is_accepted() -> None:
    with pytest.raises(GridCodeError, match=r"grid code 'g83' is not in the catalogue, accepted: en50549-1, g99"):
        profile_named("g83")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_code_of_another_nominal_frequency_is_refused_everywhere(profile: GridCodeProfile) -> None:
    other_hz = 110.0 - profile.nominal_hz
    words = f"grid code '{profile.name}' is for {profile.nominal_hz:g} Hz, the site is {other_hz:g} Hz"
    with pytest.raises(WrongNominalFrequency, match=words):
        gridcodes.profile_for(profile.name, other_hz)
    with pytest.raises(WrongNominalFrequency, match=words):
        ControlSettings(nominal_hz=other_hz, grid_code=profile.name)
    with pytest.raises(WrongNominalFrequency, match=words):
        dataclasses.replace(synthetic_fleet(1, 1)[0], nominal_hz=other_hz, grid_code=profile.name)


def test_a_site_without_a_named_code_gets_the_one_of_its_frequency() -> None:
    assert gridcodes.profile_for("", 50.0).name == "g99"
    assert gridcodes.profile_for("", 60.0).name == "ieee1547-iii"
    with pytest.raises(GridCodeError, match="no grid code for 55 Hz, accepted: 50 or 60"):
        gridcodes.default_profile(55.0)


def test_a_code_that_trips_where_it_must_ride_is_refused() -> None:
    code = profile_named("ieee1547-iii")
    hasty = dataclasses.replace(code.trips[2], clear_by_s=5.0)
    with pytest.raises(GridCodeError, match=r"UV1: clears by 5\.0 s inside the region .* ridden through for 20"):
        dataclasses.replace(code, trips=(hasty,))
    touchy = TripStage("ROCOF", Quantity.ROCOF_HZ_PER_S, Side.ABOVE, 1.0, 0.5, code.trips[0].cited)
    with pytest.raises(GridCodeError, match=r"ROCOF: trips at 1\.0 Hz/s, accepted: 3\.0 or more"):
        dataclasses.replace(code, trips=(touchy,))
    inside = dataclasses.replace(code.trips[2], level=0.95)
    with pytest.raises(GridCodeError, match=r"UV1: level 0\.95 inside continuous operation"):
        dataclasses.replace(code, trips=(inside,))


@pytest.mark.parametrize(
    ("name", "value_pu", "until_s"),
    [
        # IEEE 1547-2018 tables 14-16, on both sides of each region's edges.
        ("ieee1547-i", 0.70, 0.7),
        ("ieee1547-i", 0.80, 1.1),
        ("ieee1547-i", 0.69, 0.16),
        ("ieee1547-i", 0.49, 0.0),
        ("ieee1547-ii", 0.65, 3.0),
        ("ieee1547-ii", 0.87, 3.0 + 8.7 * 0.22),
        ("ieee1547-ii", 0.50, 0.32),
        ("ieee1547-ii", 0.30, 0.16),
        ("ieee1547-ii", 1.15, 1.0),
        ("ieee1547-ii", 1.151, 0.5),
        ("ieee1547-iii", 0.88, float("inf")),
        ("ieee1547-iii", 0.70, 20.0),
        ("ieee1547-iii", 0.69, 10.0),
        ("ieee1547-iii", 0.10, 1.0),
        ("ieee1547-iii", 1.20, 12.0),
        ("ieee1547-iii", 1.21, 0.0),
        ("en50549-1", 0.45, 0.25 + 0.40 * 2.75 / 0.80),
        ("g99", 0.50, 0.0),
    ],
)
def test_a_voltage_is_ridden_through_as_long_as_the_table_says(name: str, value_pu: float, until_s: float) -> None:
    assert gridcodes.must_ride_until_s(profile_named(name), Quantity.VOLTAGE_PU, value_pu) == pytest.approx(until_s)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@given(level=st.floats(0.0, 1.4), held_s=st.floats(0.1, 30.0))
def test_no_code_asks_to_trip_while_it_asks_to_stay(profile: GridCodeProfile, level: float, held_s: float) -> None:
    steps = round(held_s / DT_S)
    voltage = np.full(steps, level)
    trip = gridcodes.first_trip(profile, DT_S, voltage, np.full(steps, profile.nominal_hz))
    if trip is not None:
        asked = gridcodes.rides_through(profile, Quantity.VOLTAGE_PU, level, trip.at_s - 2.0 * DT_S)
        # At the very end of both times they meet: 0.16 s of permissive operation, 0.16 s to clear.
        assert asked is None or asked is Operation.PERMISSIVE


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_worst_phase_and_each_stage_s_own_clock_decide(profile: GridCodeProfile) -> None:
    for stage in profile.trips:
        if stage.quantity is not Quantity.VOLTAGE_PU:
            continue
        needed = round(stage.clear_by_s / DT_S)
        voltage = np.ones((2 * needed + 2, 3))
        voltage[1:needed, 1] = stage.level + (-0.01 if stage.side is Side.BELOW else 0.01)
        frequency = np.full(len(voltage), profile.nominal_hz)
        # One step short of the clearing time, on one phase only: this stage does not trip.
        trip = gridcodes.first_trip(profile, DT_S, voltage, frequency)
        assert trip is None or trip.stage != stage.name
        voltage[needed, 1] = voltage[1, 1]
        trip = gridcodes.first_trip(profile, DT_S, voltage, frequency)
        assert trip is not None
        assert trip.at_s == pytest.approx((needed + 1) * DT_S) or trip.stage != stage.name


def test_a_ramp_of_frequency_trips_the_loss_of_mains_stage_and_a_slower_one_does_not() -> None:
    code = profile_named("g99")
    t_s = np.arange(0.0, 1.5, DT_S)
    fast = gridcodes.first_trip(code, DT_S, np.ones_like(t_s), 50.0 + 1.05 * t_s)
    assert fast is not None
    assert fast.stage == "ROCOF"
    assert 0.7 <= fast.at_s <= 0.82
    assert gridcodes.first_trip(code, DT_S, np.ones_like(t_s), 50.0 + 0.95 * t_s) is None


def test_a_controller_takes_its_return_and_its_policy_from_the_code() -> None:
    k = control_parameters(ControlSettings(nominal_hz=60.0, rated_kva=2000.0))[0]
    assert k["enter_delay_ticks"] == 300 * 10_000
    assert (k["enter_low_hz"], k["enter_high_hz"]) == (59.5, 60.1)
    assert (k["enter_low_pu"], k["enter_high_pu"]) == (0.917, 1.05)
    assert 0.0 < k["sync_voltage_pu"] <= 0.03
    assert k["momentary_island"] == 0
    assert control_parameters(ControlSettings())[0]["momentary_island"] == 1
    assert control_parameters(ControlSettings(momentary_island=False))[0]["momentary_island"] == 0
