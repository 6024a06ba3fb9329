"""A DC site under the mains of a measured telecom tower: is what the plant shows plausible beside what was logged?

The log (one tower, about 6.5 h, no date) has artefacts: its battery voltage stands at 40.0 or 41.0 V for hours, by
its own "BAT LOW" message a bench or a failed string; so only its mains are taken, and the orders of its voltages.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from support.dc_sites import a_dc_site

from sites.edge.studies.closed_loop import ClosedLoop

TOWER = Path(__file__).parents[6] / "shared" / "data" / "site" / "telecom_tower_grid_genset_battery_fuel_30s.csv.gz"
RATE_HZ = 2000
"""Enough for an outage of hours; nothing here is faster than a second."""


def logged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds from the first line, volts of the mains (one phase), volts of the battery."""
    with gzip.open(TOWER, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    clock = [[int(part) for part in row["time"].split(":")] for row in rows]
    t_s = np.array([3600.0 * hour + 60.0 * minute + second for hour, minute, second in clock])
    t_s -= t_s[0]
    return t_s, *(np.array([float(row[name]) for row in rows]) for name in ("grid_R_V", "batt_V"))


@pytest.mark.shared_data
@pytest.mark.skipif(not TOWER.is_file(), reason="../shared/data is absent")
@pytest.mark.long
def test_a_measured_night_of_a_tower_is_carried_and_its_outage_lasts_as_long_as_the_battery() -> None:
    t_s, mains_v, _ = logged()
    begin = int(np.searchsorted(t_s, 12_500.0))
    t_s, mains_v = t_s[begin:] - t_s[begin], mains_v[begin:]
    dark = mains_v < 100.0
    lost_s, back_s = t_s[np.argmax(dark)], t_s[np.flatnonzero(dark)[-1] + 1]
    assert 7_000 < back_s - lost_s < 7_300
    # The logged mains wander over 205-245 V: 0.89-1.07 pu.
    ample = a_dc_site(soc_ratio=0.9, pv_kw=0.0)
    scant = a_dc_site(soc_ratio=0.9, pv_kw=0.0, battery_kwh=5.12, reserve_kwh=1.0)
    loop = ClosedLoop([ample, scant], seed=1, sample_rate_hz=RATE_HZ)
    for index in range(2):
        for at, volts in zip(t_s[::4], mains_v[::4], strict=True):
            if volts > 100.0:
                sample = round(at * RATE_HZ)
                loop.sag(index, sample, residual_pu=(volts / 230.0,) * 3, until_sample=sample + 60 * RATE_HZ)
        loop.open_feeder(index, round(lost_s * RATE_HZ))
        loop.close_feeder(index, round(back_s * RATE_HZ))
    seen = []
    while loop.sample < (back_s + 600.0) * RATE_HZ:
        loop.advance(np.full(10 * RATE_HZ, 50.0))
        behind = loop.dc.measured()
        seen.append((loop.sample / RATE_HZ, behind["low_v"], behind["high_v"], behind["tier_on"].sum(axis=1)))
    at = np.array([s[0] for s in seen])
    low_v, high_v, tiers = (np.array([s[k] for s in seen]) for k in (1, 2, 3))
    powered = tiers > 0
    assert low_v[powered].min() > 40.5
    assert high_v.max() < 57.0
    # 13.8 kWh carry 3 kW for two hours to 6 kWh left: no tier goes.
    assert tiers[:, 0].min() == 3
    # 4.6 kWh do not: tiers go one by one, the last after an hour and more, and all are back within minutes.
    assert tiers[:, 1].min() < 3
    first_shed_s = at[np.argmax(tiers[:, 1] < 3)] - lost_s
    assert 3_600 < first_shed_s < 4_700
    assert tiers[-1].tolist() == [3, 3]
    assert loop.measured()["mode"].tolist() == [0, 0]


@pytest.mark.shared_data
@pytest.mark.skipif(not TOWER.is_file(), reason="../shared/data is absent")
def test_the_logged_voltages_lie_where_the_plants_do() -> None:
    t_s, mains_v, battery_v = logged()
    live = mains_v[mains_v > 100.0]
    # Inside the rectifiers' window of 92-299 V, most of it where they give their full power (184 V and more).
    assert live.min() > 184.0
    assert live.max() < 299.0
    charged = battery_v[(battery_v > 50.0) & (battery_v < 60.0)]
    # Held on mains after the outage: 54-56 V, float to charge voltage of 16 cells (54.4-56.0 V).
    assert 54.0 < np.median(charged) < 56.1
    # The outage drains it below every disconnect of ours within minutes of 45 V: tiers would have gone.
    falling = battery_v[(t_s > 12_800.0) & (battery_v < 50.0) & (battery_v > 41.5)]
    assert falling.size >= 3
    assert np.all(np.diff(falling[:4]) < 0.0)
