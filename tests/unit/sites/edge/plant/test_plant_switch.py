"""The static switch pole by pole; its commutation worked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.records import PHASE
from sites.edge.plant.switch import commutation_s, move_switch
from sites.edge.plant.values import plant_parameters, plant_state

CABINET = synthetic_fleet(1, 3)[0]
RATE = 10_000
STEP = np.arange(1_000) / RATE


def opening(kind: str, peak_pu: float, start_rad: float = 0.0, seed: int = 1) -> tuple[list[float], list[float]]:
    """After how many ms each pole is out, and the current it cut; currents are sines that know of nothing."""
    site = dataclasses.replace(CABINET, switch_kind=kind)
    g, p = plant_parameters(site, 1.0 / RATE)[0], plant_state(site, seed, 0)[0]
    phases: npt.NDArray[np.void] = np.zeros(3, PHASE)
    phases["switch_closed"] = 1
    angles = start_rad + 2.0 * np.pi * 50.0 * STEP[:, None] - 2.0 * np.pi * np.arange(3) / 3.0
    currents = peak_pu * np.sin(angles)
    out_ms, cut_pu = [np.nan] * 3, [np.nan] * 3
    phases["i_switch"] = phases["i_before"] = currents[0]
    for n in range(len(STEP)):
        move_switch(g, p, phases, 0)
        for k in range(3):
            if np.isnan(out_ms[k]) and not phases["switch_closed"][k]:
                out_ms[k], cut_pu[k] = (n + 1) * 1000.0 / RATE, abs(float(phases["i_switch"][k]))
        phases["i_before"] = phases["i_switch"]
        phases["i_switch"] = np.where(phases["switch_closed"], currents[n], 0.0)
    return out_ms, cut_pu


def test_forced_commutation_takes_inductance_times_current_over_voltage() -> None:
    """0.05 pu at 500 kVA and 400 V are 51 uH; 1 kA (0.98 pu of peak) against 65 V: 51e-6 * 1000 / 65 = 0.78 ms."""
    base_ohm, base_a = 400.0**2 / 500e3, 500e3 / 3.0 / 230.94 * 2.0**0.5
    inductance_h = 0.05 * base_ohm / (2.0 * np.pi * 50.0)
    assert inductance_h == pytest.approx(51e-6, rel=0.01)
    by_hand_s = inductance_h * 1000.0 / 65.0
    assert commutation_s(1000.0 / base_a, 2.0 * np.pi * 50.0) == pytest.approx(by_hand_s + 150e-6, rel=0.01)


def test_a_forced_pole_is_out_the_later_the_more_it_carries() -> None:
    out_ms, _ = opening("forced", 1.0, start_rad=np.pi / 2.0)
    # Phase a at its peak of 1 pu: 0.8 + 0.15 ms; b and c at half of it: 0.4 + 0.15 ms; on the raster of 0.1 ms.
    assert out_ms == pytest.approx([1.0, 0.6, 0.6], abs=0.06)
    assert opening("forced", 0.0)[0] == pytest.approx([0.2] * 3)
    assert opening("forced", 1.5, start_rad=np.pi / 2.0)[0][0] == pytest.approx(1.4, abs=0.06)


def test_transistors_cut_whatever_flows() -> None:
    out_ms, cut_pu = opening("sic", 1.0, start_rad=np.pi / 2.0)
    assert out_ms == [0.1, 0.1, 0.1]
    assert cut_pu[0] > 0.9


@pytest.mark.parametrize("start_deg", range(0, 360, 45))
def test_thyristors_alone_end_each_at_its_own_current_zero_within_half_a_cycle(start_deg: int) -> None:
    out_ms, cut_pu = opening("natural", 1.0, start_rad=np.radians(start_deg))
    assert max(out_ms) <= 10.2
    # Three sines pass their zeros a sixth of a cycle apart.
    assert max(out_ms) - min(out_ms) == pytest.approx(6.67, abs=0.3)
    assert max(cut_pu) < 0.05


def test_a_contactors_poles_part_one_after_the_other_in_any_order() -> None:
    found = [opening("contactor", 0.0, seed=seed)[0] for seed in range(1, 60)]
    first, last = np.array([min(out) for out in found]), np.array([max(out) for out in found])
    assert first.min() >= 15.0
    assert first.max() <= 40.2
    assert np.ptp(first) > 15.0
    assert np.all((last - first > 2.8) & (last - first < 6.2))
    assert {int(np.argmin(out)) for out in found} == {0, 1, 2}
    _, cut_pu = opening("contactor", 1.0)
    assert max(cut_pu) < 0.05
