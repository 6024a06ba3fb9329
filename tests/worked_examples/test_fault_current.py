"""Short circuit behind a line, worked by hand as in IEC 60909: V / |Z| and the factor of its first peak."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop

SITE = dataclasses.replace(
    synthetic_fleet(1, 3)[0],
    short_circuit_ratio=10.0,
    neighbor_load_pu=0.0,
    load_kw=0.0,
    pv_kw=0.0,
    fifth_harmonic_pu=0.0,
    meter_bias_hz=0.0,
    noise_pu=0.0,
)


@pytest.mark.parametrize(
    ("at", "kappa"), [(5_050, 1.02 + 0.98 * math.exp(-3.0 / 5.0)), (5_000, 1.0 + 0.196 * math.exp(-4.5 / 5.0))]
)
def test_a_dead_short_circuit_at_a_ratio_of_ten(at: int, kappa: float) -> None:
    """|Z| = 0.1 pu and X/R = 5: 10 pu steady, and a direct current that decays with L/R = 16 ms.

    The angle of Z is 78.7 degrees. From the voltage's zero crossing the direct current is the most and IEC
    60909 gives a first peak of kappa = 1.02 + 0.98 exp(-3 R/X) = 1.56 times the steady one. From the
    voltage's peak the current should begin at 10 cos(78.7 deg) = 1.96 pu and begins at 0: so 1.96 pu of direct
    current against it, and the trough at 78.7 + 180 deg = 4.5 rad is 10 + 1.96 exp(-4.5 R/X) = 10.8 pu deep.
    """
    loop = ClosedLoop([SITE], seed=1)
    loop.fault(0, at, phases=(0,), to_earth=True, resistance_pu=1e-4)
    loop.advance(np.full(at, 50.0))
    current = np.empty(4_000)
    for n in range(4_000):
        loop.advance(np.full(1, 50.0))
        current[n] = loop._phases["i_grid"][0, 0]
    assert np.abs(current[-400:]).max() == pytest.approx(10.0, rel=0.02)
    assert np.abs(current[:200]).max() == pytest.approx(kappa * 10.0, rel=0.05)
