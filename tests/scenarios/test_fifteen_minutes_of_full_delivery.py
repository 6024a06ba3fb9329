"""Fifteen minutes at full deviation: the contracted power is there to the last second, above every reserve."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop

DURATION_S = 900
LEAD_S = 2


@pytest.mark.long
def test_full_delivery_lasts_fifteen_minutes_and_leaves_the_reserve() -> None:
    fleet = synthetic_fleet(9, 6)
    loop = ClosedLoop(fleet, seed=1)
    loop.advance(np.full(1_000, 50.0))
    before = loop.measured()
    # The share rule of the platform: min(headroom, usable energy / time), from what the sites report.
    contracted_kw = np.minimum(before["discharge_kw"], before["usable_energy_kwh"] * 3600.0 / DURATION_S)
    assert np.any(contracted_kw < before["discharge_kw"]), "some site must be bound by its energy"
    assert np.any(contracted_kw == before["discharge_kw"]), "some site must be bound by its power"
    for index, power_kw in enumerate(contracted_kw):
        loop.arm(index, curve_named("neso-dc-low"), float(power_kw), 0.0, 0, 10**9)
    loop.advance(np.full(LEAD_S * 10_000 - 1_000, 50.0))
    loop.drain_records()
    delivered_kw = []
    for _ in range(DURATION_S // 30):
        loop.advance(np.full(300_000, 49.4))
        delivered_kw.append(loop.drain_records()[1][:, :, 1])
    # Each second's mean over the fleet, the first left to the response time of 1 s.
    seconds_kw = np.concatenate(delivered_kw).sum(axis=1).reshape(-1, 100).mean(axis=1)[1:]
    worst_10s_kw = np.convolve(seconds_kw, np.full(10, 0.1), mode="valid").min()
    assert worst_10s_kw >= 0.95 * contracted_kw.sum()
    for site, soc_ratio in zip(fleet, loop.measured()["soc_ratio"], strict=True):
        # Reported in whole tenths of a per cent.
        assert soc_ratio * site.battery_kwh >= site.reserve_kwh - 0.0011 * site.battery_kwh, site.site_id
    energy_kwh = loop.registers()["service_into_j"].sum() / 3.6e6
    assert energy_kwh >= 0.97 * contracted_kw.sum() * DURATION_S / 3600.0
