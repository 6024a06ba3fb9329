"""The load of the anti-islanding tests, tuned as in a laboratory: until the breaker carries nothing."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from sites.core.curves import curve_named
from sites.edge.plant.load_values import with_island_load
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

SETTLE_S: Final = 6.0
"""A converter ramps to its baseline in up to 5 s."""
MEASURED_CYCLES: Final = 10
ROUNDS: Final = 2


def tuned_island_load(
    site: SiteParameters,
    *,
    battery_kw: float = 0.0,
    quality: float = 1.0,
    p_mismatch: float = 0.0,
    q_mismatch: float = 0.0,
    seed: int = 1,
) -> SiteParameters:
    """Return the site with a parallel R, L, C instead of its neighbors, tuned to what it really exports.

    As ``with_island_load``, and then the load is trimmed by what the feeder's breaker still carries at rest,
    before the mismatch is added: a converter that forms the voltage exchanges some reactive power with any grid.
    """
    export_kw = site.pv_kw * site.pv_now_ratio + battery_kw - site.load_kw
    tuned = with_island_load(site, battery_kw=battery_kw, quality=quality)
    for _ in range(ROUNDS):
        carried_kw, carried_kvar = breaker_power(tuned, battery_kw=battery_kw, seed=seed)
        tuned = dataclasses.replace(
            tuned,
            island_load_kw=tuned.island_load_kw - carried_kw,
            island_load_kvar=tuned.island_load_kvar - carried_kvar,
        )
    return dataclasses.replace(
        tuned,
        island_load_kw=tuned.island_load_kw + p_mismatch * export_kw,
        island_load_kvar=tuned.island_load_kvar + q_mismatch * export_kw,
    )


def breaker_power(site: SiteParameters, *, battery_kw: float = 0.0, seed: int = 1) -> tuple[float, float]:
    """Return the mean power from the grid through the feeder's breaker at rest, fundamental (kW, kvar inductive)."""
    loop = ClosedLoop([dataclasses.replace(site, meter_bias_hz=0.0, noise_pu=0.0)], seed=seed)
    loop.arm(0, curve_named("neso-dc-low"), 0.0, battery_kw, 0, 10**9)
    loop.advance(np.full(round(SETTLE_S * 10_000), site.nominal_hz))
    count = round(MEASURED_CYCLES * 10_000 / site.nominal_hz)
    turn = np.exp(-2j * np.pi * site.nominal_hz * 1e-4 * np.arange(count))
    voltage = np.zeros(site.phases, dtype=complex)
    current = np.zeros(site.phases, dtype=complex)
    for n in range(count):
        loop.advance(np.full(1, site.nominal_hz))
        seen = loop.phase_values(0)
        voltage += seen["u"][: site.phases] * turn[n]
        current += seen["i_grid"][: site.phases] * turn[n]
    power = (voltage * current.conj()).mean() * (2.0 / count) ** 2 * site.pcs_kva
    return float(power.real), float(power.imag)
