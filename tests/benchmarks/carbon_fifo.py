"""First in, first out against the weighted average over real years of grid factors: both, and their difference."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from benchmarks.fleet_rows import Benchmark, Options, Row

from carbon.core.fifo import Layers
from carbon.core.inventory import METHOD_EFFICIENCY, Pool, charge_pool, discharge_pool, stored_for

HOURLY = Path(__file__).resolve().parents[3] / "shared" / "data" / "carbon" / "hourly"
YEARS = {
    "gb_2020": ("GB_2020_30min.csv.gz", "start", "gco2_per_kwh"),
    "ciso_2022": ("US_CISO_2022_hourly_mix_ci.csv.gz", "timestamp", "avg_CI"),
    "erco_2022": ("US_ERCO_2022_hourly_mix_ci.csv.gz", "timestamp", "avg_CI"),
    "pjm_2022": ("US_PJM_2022_hourly_mix_ci.csv.gz", "timestamp", "avg_CI"),
}
HOURS = 4
CHARGE_UWH = 25_000_000_000
"""In an hour; four of them fill 96 of the 100 kWh."""
STANDING = Pool(100_000_000_000, 30_000_000_000, 0)
"""What is in store before the year: the layers of a pool that is never emptied."""
MOST_SHARE = 0.01


def hourly(name: str) -> pd.Series:
    """Return a year's factors by the hour [g/kWh]."""
    file, at, value = YEARS[name]
    table = pd.read_csv(HOURLY / file)
    series = pd.Series(table[value].to_numpy(float), pd.to_datetime(table[at], utc=True))
    return series.resample("1h").mean().dropna()


def both(series: pd.Series) -> tuple[float, float, float]:
    """Cycle once a day, cleanest hours in and dirtiest out; return both mean intensities and the steps' RMS [g/kWh]."""
    pool, layers = STANDING, Layers.opened_with(STANDING, METHOD_EFFICIENCY)
    out_uwh = average_ug = fifo_ug = 0
    apart = []
    give = CHARGE_UWH * METHOD_EFFICIENCY.charge * METHOD_EFFICIENCY.discharge
    for _, day in series.groupby(series.index.date):
        if len(day) < 24:
            continue
        order = np.argsort(day.to_numpy(), kind="stable")
        doing = np.zeros(len(day), int)
        doing[order[:HOURS]], doing[order[-HOURS:]] = 1, -1
        for factor, does in zip(day, doing, strict=True):
            if does > 0:
                carbon = round(Fraction(factor) * CHARGE_UWH / 1000)
                pool = charge_pool(pool, CHARGE_UWH, carbon, 0, METHOD_EFFICIENCY)
                layers.charge(CHARGE_UWH, carbon)
            elif does < 0 and stored_for(int(give), METHOD_EFFICIENCY) <= pool.energy_uwh:
                taken = discharge_pool(pool, int(give), METHOD_EFFICIENCY)
                pool, oldest_ug = taken.pool, layers.discharge(int(give))
                average_ug, fifo_ug, out_uwh = average_ug + taken.carbon_ug, fifo_ug + oldest_ug, out_uwh + int(give)
                apart.append(1000.0 * (oldest_ug - taken.carbon_ug) / int(give))
    rms = float(np.sqrt(np.mean(np.square(apart))))
    return 1000.0 * average_ug / out_uwh, 1000.0 * fifo_ug / out_uwh, rms


def run_fifo(_options: Options) -> list[Row]:
    """Report both methods for each year beside the checkout, and the largest difference."""
    if not HOURLY.is_dir():
        print("  skipped: the measured years are not beside the checkout")
        return []
    rows, worst = [], 0.0
    for name in YEARS:
        average, fifo, rms = both(hourly(name))
        worst = max(worst, abs(fifo - average) / average)
        rows += [
            Row(f"average_{name}", f"{name}: discharge, weighted average [g/kWh]", average),
            Row(f"fifo_{name}", f"{name}: discharge, first in first out [g/kWh]", fifo),
            Row(f"fifo_steps_{name}", f"{name}: single steps apart, RMS [g/kWh]", rms),
        ]
    return [
        Row("fifo_year_difference", "largest yearly difference of the two [-]", worst, MOST_SHARE, is_most=True),
        *rows,
    ]


BENCHMARKS = (Benchmark("fifo", "first in first out against the weighted average, real years", run_fifo),)
