"""IEEE 1547-2018 by EPRI's OpenDER (BSD-3): the same courses of voltage and frequency, the same trips and regions.

OpenDER's defaults per category are its own; nothing of ours is written into it. Source: EPRI, IEEE 1547-2018
OpenDER Model 2.2, report 3002030962, sections 3.5.1.2 and 3.5.1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sites.core.gridcode_profile import Operation, Quantity
from sites.core.gridcodes import first_trip, profile_named, rides_through

opender: Any = pytest.importorskip("opender", reason="EPRI's OpenDER is not installed (extra: dev)")

DT_S = 0.02
THIRD = 2.0943951023931953
CATEGORIES = {"CAT_I": "ieee1547-i", "CAT_II": "ieee1547-ii", "CAT_III": "ieee1547-iii"}
MODES = {
    "Continuous Operation": Operation.CONTINUOUS,
    "Mandatory Operation": Operation.MANDATORY,
    "Permissive Operation": Operation.PERMISSIVE,
    "Momentary Cessation": Operation.MOMENTARY_CESSATION,
}


@dataclass
class Oracle:
    """What OpenDER says of a course."""

    trip_s: float | None
    modes: list[str]
    frequency_modes: list[str]


def ask(category: str, voltage: npt.NDArray[np.float64], frequency: npt.NDArray[np.float64]) -> Oracle:
    """Drive OpenDER's battery model with r.m.s. voltages [n, 3] and a frequency."""
    opender.DER.t_s = DT_S
    der = opender.DER_BESS()
    der.der_file.NP_ABNORMAL_OP_CAT = category
    oracle = Oracle(None, [], [])
    for n, (v, f) in enumerate(zip(voltage, frequency, strict=True)):
        der.update_der_input(v_pu=list(v), theta=[0.0, -THIRD, THIRD], f=float(f), p_dem_pu=0.5)
        der.run()
        oracle.modes.append(str(der.opstatus.ridethroughcrit.rt_mode_v))
        oracle.frequency_modes.append(str(der.opstatus.ridethroughcrit.rt_mode_f))
        if der.der_status == "Trip" and oracle.trip_s is None:
            oracle.trip_s = (n + 1) * DT_S
            break
    return oracle


def course(levels: Sequence[tuple[float, float]], phases: Sequence[int] = (0, 1, 2)) -> npt.NDArray[np.float64]:
    """Return voltages [n, 3] of (level, seconds) on some phases, the others at nominal."""
    steps = [(level, round(seconds / DT_S)) for level, seconds in levels]
    voltage = np.ones((sum(count for _, count in steps), 3))
    at = 0
    for level, count in steps:
        voltage[at : at + count, list(phases)] = level
        at += count
    return voltage


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize(
    "level", [1.25, 1.21, 1.19, 1.15, 1.11, 1.05, 0.89, 0.87, 0.80, 0.71, 0.69, 0.6, 0.49, 0.44, 0.1]
)
def test_a_held_voltage_trips_when_opender_trips(category: str, level: float) -> None:
    # Three phases: for one alone OpenDER judges the phase-to-phase voltages besides.
    voltage = course([(1.0, 0.4), (level, 22.0)])
    frequency = np.full(len(voltage), 60.0)
    ours = first_trip(profile_named(CATEGORIES[category]), DT_S, voltage, frequency)
    theirs = ask(category, voltage, frequency)
    assert (ours is None) == (theirs.trip_s is None)
    if ours is not None and theirs.trip_s is not None:
        assert ours.at_s == pytest.approx(theirs.trip_s, abs=1.5 * DT_S)


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("hz", [63.0, 62.02, 61.98, 58.6, 57.0, 56.52, 56.48, 55.0])
def test_a_held_frequency_trips_within_the_first_seconds_when_opender_does(category: str, hz: float) -> None:
    voltage = course([(1.0, 4.0)])
    frequency = np.full(len(voltage), 60.0)
    frequency[20:] = hz
    ours = first_trip(profile_named(CATEGORIES[category]), DT_S, voltage, frequency)
    theirs = ask(category, voltage, frequency)
    assert (ours is None) == (theirs.trip_s is None)
    if ours is not None and theirs.trip_s is not None:
        assert ours.at_s == pytest.approx(theirs.trip_s, abs=1.5 * DT_S)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_voltage_that_comes_and_goes_trips_as_opender_does(category: str) -> None:
    random = np.random.default_rng(7)
    profile = profile_named(CATEGORIES[category])
    tripped = 0
    for _ in range(12):
        levels = [(1.0, 0.2)]
        levels += [(float(random.uniform(0.3, 1.3)), float(random.uniform(0.05, 2.0))) for _ in range(6)]
        voltage = course(levels)
        frequency = 60.0 + np.repeat(random.uniform(-4.0, 2.5, len(voltage) // 20 + 1), 20)[: len(voltage)]
        # OpenDER's timers stand at infinity before the first step inside.
        frequency[:10] = 60.0
        ours = first_trip(profile, DT_S, voltage, frequency)
        theirs = ask(category, voltage, frequency)
        assert (ours is None) == (theirs.trip_s is None)
        if ours is not None and theirs.trip_s is not None:
            tripped += 1
            assert ours.at_s == pytest.approx(theirs.trip_s, abs=1.5 * DT_S)
    assert tripped >= 4


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("level", [1.05, 1.12, 1.16, 1.19, 0.89, 0.87, 0.75, 0.66, 0.60, 0.55, 0.46, 0.40, 0.31])
def test_what_a_site_does_in_a_region_is_what_opender_says(category: str, level: float) -> None:
    voltage = course([(1.0, 0.1), (level, 0.1)])
    oracle = ask(category, voltage, np.full(len(voltage), 60.0))
    ours = rides_through(profile_named(CATEGORIES[category]), Quantity.VOLTAGE_PU, level, 0.1)
    theirs = MODES.get(oracle.modes[-1])
    if category != "CAT_III" and level > 1.1:
        # Table 14 and 15 permit what is above 1.1 pu for a second and less; OpenDER names it the same way.
        assert theirs is Operation.PERMISSIVE
    assert ours is theirs


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("hz", [61.9, 61.5, 61.0, 59.0, 58.7, 57.5, 56.8])
def test_what_a_site_does_at_a_frequency_is_what_opender_says(category: str, hz: float) -> None:
    voltage = course([(1.0, 0.2)])
    oracle = ask(category, voltage, np.concatenate((np.full(5, 60.0), np.full(len(voltage) - 5, hz))))
    ours = rides_through(profile_named(CATEGORIES[category]), Quantity.FREQUENCY_HZ, hz, 0.1)
    assert ours is MODES.get(oracle.frequency_modes[-1])
