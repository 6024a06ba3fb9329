"""The vectorized voltage paths give, bit for bit, what the record kernels give one site after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.control.kernels import records
from sites.edge.control.kernels.controller import INVERSE_SQRT3
from sites.edge.control.kernels.detector import watch_samples
from sites.edge.control.kernels.fleet_trip import FIELDS, WIDTH
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state
from sites.edge.studies.fleet_trip import FleetTrip

RATE_HZ = 10_000.0
SITES = [
    ControlSettings(nominal_hz=50.0),
    ControlSettings(nominal_hz=60.0),
    ControlSettings(nominal_hz=50.0, phases=1),
] * 25
LOST = 400


def some_volts(samples: int = 700) -> npt.NDArray[np.float32]:
    """Noisy grids a little off nominal [samples, 3, sites]; every fifth site loses phase a at sample 400."""
    random = np.random.default_rng(1)
    t = np.arange(samples)[:, None] / RATE_HZ
    volts = np.zeros((samples, 3, len(SITES)), np.float32)
    for place, site in enumerate(SITES):
        hertz = site.nominal_hz + random.uniform(-0.4, 0.4)
        for k in range(site.phases):
            wave = np.cos(2 * np.pi * hertz * t[:, 0] - k * 2 * np.pi / 3) + random.uniform(-0.01, 0.01, samples)
            volts[:, k, place] = wave
    volts[LOST:, 0, ::5] = 0.0
    return volts


def of_record_kernels(site: ControlSettings, volts: npt.NDArray[np.float32]) -> dict[str, float]:
    """Run one site's samples through the record kernels and return the fields by the fleet's names."""
    k = control_parameters(site)
    c = initial_state(k)
    m = np.zeros(1, records.SAMPLES)
    for va, vb, vc in volts.astype(np.float64):
        m["va"], m["vb"], m["vc"] = va, vb, vc
        if site.phases == 3:
            alpha, beta = (2.0 * va - vb - vc) * (1.0 / 3.0), (vb - vc) * INVERSE_SQRT3
        else:
            alpha, beta = va, 0.0
        watch_samples(k[0], c[0], m[0], alpha, beta)
        track_sequence(k[0], c[0], alpha, beta)
    state = c[0]
    # One phase has no second axis: what stands there is not read.
    found = {name: float(state[name]) for name in FIELDS[:9] if site.phases == 3 or not name.endswith("beta")}
    for place, name in enumerate("abc"[: site.phases]):
        found |= {f"lack_{name}": float(state["lack"][place]), f"weight_{name}": float(state["weight"][place])}
    return found


def test_every_site_is_as_the_record_kernels_have_it() -> None:
    volts = some_volts()
    fleet = FleetTrip(SITES, threads=2)
    arranged = fleet.arranged(volts)
    # In two pieces: the state goes on from one call to the next.
    fleet.watch(np.ascontiguousarray(arranged[:, :300]))
    fleet.watch(np.ascontiguousarray(arranged[:, 300:]))
    assert len(SITES) > WIDTH
    for place in (0, 1, 2, 5, 10, 15, 63, 64, len(SITES) - 1):
        for name, value in of_record_kernels(SITES[place], volts[:, :, place]).items():
            assert fleet.field(name)[place] == value, (place, name)


def test_only_sites_that_lost_a_phase_lack_their_wave_for_long() -> None:
    fleet = FleetTrip(SITES)
    fleet.watch(fleet.arranged(some_volts()))
    longest = fleet.field("lost_longest")
    hold = int(control_parameters(SITES[0])["lost_hold_ticks"][0])
    lost = np.arange(len(SITES)) % 5 == 0
    assert (longest[lost] >= hold).all()
    assert (longest[~lost] < hold).all()


def test_sites_of_different_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="of different rates"):
        FleetTrip([ControlSettings(), ControlSettings(rate_hz=20_000.0)])
