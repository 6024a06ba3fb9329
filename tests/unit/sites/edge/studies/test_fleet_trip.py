"""The vectorized loss detector decides what the detector of one site decides, at the same samples, bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sites.edge.control.kernels import records
from sites.edge.control.kernels.controller import INVERSE_SQRT3
from sites.edge.control.kernels.detector import watch_millisecond, watch_samples
from sites.edge.control.kernels.fleet_trip import FLEET_STATE, WIDTH
from sites.edge.control.kernels.samples import mend_sample
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state
from sites.edge.studies.fleet_trip import FleetTrip

RATE_HZ = 10_000.0
SETTLED = 350
SITES = [
    ControlSettings(nominal_hz=50.0),
    ControlSettings(nominal_hz=60.0, grid_code="ieee1547-iii"),
    ControlSettings(nominal_hz=50.0, phases=1),
    ControlSettings(nominal_hz=50.0, converter="grid_following"),
]
Float32 = npt.NDArray[np.float32]


def waves(site: ControlSettings, samples: int, random: np.random.Generator, *, at: int, kind: str) -> Float32:
    """Voltages and currents of a noisy grid [samples, 6], disturbed from a sample on."""
    t = np.arange(samples) / RATE_HZ
    hit = np.arange(samples) >= at
    hertz = site.nominal_hz + random.uniform(-0.3, 0.3)
    noise = 0.05 if kind == "noisy" else 0.004
    found = np.zeros((samples, 6), np.float32)
    struck = random.integers(0, 3)
    for place in range(site.phases):
        mine = hit & ((kind != "one_lost") | (place == struck % site.phases))
        angle = 2 * np.pi * hertz * t - place * 2 * np.pi / 3 + (0.3 * hit if kind == "jump" else 0.0)
        wave = np.cos(angle) + (0.06 * np.cos(5 * angle) if kind == "harmonic" else 0.0)
        level = {"lost": 0.0, "one_lost": 0.0, "dip": 0.6, "swell": 1.35}.get(kind, 1.0)
        fading = np.exp(-np.clip(np.arange(samples) - at, 0, None) / 300.0) if kind == "motors" else 1.0
        wave = wave * np.where(mine, level, 1.0) * fading
        found[:, place] = wave + random.uniform(-noise, noise, samples)
        out = hit if kind in ("lost", "pole") else mine & (kind == "one_lost")
        found[:, 3 + place] = 0.5 * np.cos(angle) * np.where(out, 0.0, 1.0) + random.uniform(-0.002, 0.002, samples)
    if kind == "lossy":
        for bad in (np.nan, np.inf, 1e9):
            found[random.integers(0, samples, 12), random.integers(0, 6, 12)] = bad
    return found


def of_one_site(site: ControlSettings, values: Float32) -> tuple[tuple[int, int, int] | None, npt.NDArray[np.void]]:
    """Return the first decision of a site's own detector (sample, cause, path), and its state at the end."""
    k = control_parameters(site)
    c = initial_state(k)
    m = np.zeros(1, records.SAMPLES)
    ticks = int(k["ticks_per_ms"][0])
    first = None
    for n, row in enumerate(values.astype(np.float64)):
        for name, value in zip(("va", "vb", "vc", "ia", "ib", "ic"), row, strict=True):
            m[name] = value
        m["ua"] = m["ub"] = m["uc"] = 0.0
        mend_sample(k[0], c[0], m[0])
        va, vb, vc = (float(m[name][0]) for name in ("va", "vb", "vc"))
        three = site.phases == 3
        alpha, beta = ((2.0 * va - vb - vc) * (1.0 / 3.0), (vb - vc) * INVERSE_SQRT3) if three else (va, 0.0)
        cause = watch_samples(k[0], c[0], m[0], alpha, beta)
        path = int(c["path"][0])
        track_sequence(k[0], c[0], alpha, beta)
        if cause and n >= SETTLED and first is None:
            first = (n, cause, path)
        if n % ticks == ticks - 1:
            cause = watch_millisecond(k[0], c[0], n // ticks)
            if cause and n >= SETTLED and first is None:
                first = (n, cause, int(c["path"][0]))
    return first, c


KINDS = ("quiet", "noisy", "harmonic", "lossy", "lost", "one_lost", "pole", "dip", "swell", "motors", "jump")


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**16),
    kinds=st.lists(st.sampled_from(KINDS), min_size=4, max_size=8),
    at=st.integers(400, 700),
    cut=st.integers(257, 900),
)
def test_every_site_decides_as_its_own_detector(seed: int, kinds: list[str], at: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    samples = 1000
    sites = [SITES[place % len(SITES)] for place in range(len(kinds))]
    values = np.stack(
        [waves(site, samples, random, at=at, kind=kind) for site, kind in zip(sites, kinds, strict=True)], axis=2
    )
    fleet = FleetTrip(sites, threads=1)
    # In two calls: the state and the last cycle go on from one to the next.
    for part in (values[:cut], values[cut:]):
        fleet.watch(fleet.arranged(part[:, :3], part[:, 3:]))
    decided = fleet.decided()
    for place, site in enumerate(sites):
        first, state = of_one_site(site, values[:, :, place])
        assert decided[place] == first, (kinds[place], site)
        mine = state.view(FLEET_STATE)["numbers"][0]
        np.testing.assert_array_equal(fleet.numbers(place), mine, err_msg=f"{kinds[place]} {site}")


def test_a_fleet_on_two_threads_finds_the_sites_that_lost_a_phase() -> None:
    random = np.random.default_rng(1)
    sites = [SITES[0]] * (2 * WIDTH + 5)
    values = np.stack(
        [waves(SITES[0], 600, random, at=450, kind="lost" if n % 7 == 0 else "quiet") for n in range(len(sites))],
        axis=2,
    )
    fleet = FleetTrip(sites, threads=2)
    fleet.watch(fleet.arranged(values[:, :3], values[:, 3:]))
    found = fleet.decisions()
    assert set(found) == set(range(0, len(sites), 7))
    assert all(450 <= decision.sample < 465 for decision in found.values())


def test_sites_of_different_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="of different rates"):
        FleetTrip([ControlSettings(), ControlSettings(rate_hz=20_000.0)])
