"""Every product of the catalogue through `respond`: steps and a ramp, then recordings; what a day costs."""

import csv
import gzip
import time
from pathlib import Path

import numpy as np

from sites.core.curves import CATALOGUE, curve_named
from sites.edge.plant.frequency import FrequencyTrace, load_gb_trace
from sites.edge.studies.respond import Response, reference_site, respond

POWER_KW = 100.0
RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "frequency"
DAY_S = 86_400


def steps(nominal_hz: float) -> FrequencyTrace:
    """Return 200 s in rows of 20 ms: steps of 0.55 Hz down and up, then a ramp of 0.5 Hz/s down to the same."""
    t_s = np.arange(0.0, 200.0, 0.02)
    f_hz = np.full(len(t_s), nominal_hz)
    f_hz[(t_s >= 20.0) & (t_s < 50.0)] -= 0.55
    f_hz[(t_s >= 80.0) & (t_s < 110.0)] += 0.55
    f_hz -= np.where(t_s < 170.0, np.clip(0.5 * (t_s - 140.0), 0.0, 0.55), 0.0)
    return FrequencyTrace(t_s, f_hz, "steps of 0.55 Hz and a ramp")


def toledo(rows: int) -> FrequencyTrace:
    """Return the last rows before the collapse of 28 April 2025, two seconds apart, measured at Toledo."""
    with gzip.open(RECORDINGS / "iberia_20250428_toledo_2s.csv.gz", "rt", encoding="utf-8") as file:
        read = [row["AnalyzerL1Frequency"] for row in csv.DictReader(file)]
    # A few rows are blank; the frequency is taken as linear over them.
    known = np.array([n for n, text in enumerate(read) if text])
    f_hz = np.array([float(read[n]) for n in known])
    ends = int(np.argmax((f_hz < 47.0) | (f_hz > 53.0))) or len(f_hz)
    kept = slice(max(0, ends - rows), ends)
    return FrequencyTrace(2.0 * known[kept], f_hz[kept], "Toledo")


def a_day(row_s: float) -> FrequencyTrace:
    """Return a day of a grid that wanders by some 20 mHz, with one loss of a power plant in it (seed 1)."""
    t_s = np.arange(0.0, DAY_S, row_s)
    random = np.random.default_rng(1)
    f_hz = np.full(len(t_s), 50.0)
    for period_s in (7.0, 31.0, 97.0, 300.0, 900.0):
        f_hz += 0.012 * np.sin(2.0 * np.pi * (t_s / period_s + random.random()))
    since_s = np.maximum(t_s - 40_000.0, 0.0)
    f_hz -= 0.45 * (1.0 - np.exp(-since_s / 4.0)) * np.exp(-since_s / 200.0)
    return FrequencyTrace(t_s, f_hz, "a day")


def line(name: str, run: Response) -> str:
    """Return a row of the table."""
    figures = run.figures()
    lags, ratio = figures["response_ms"], figures["delivered_ratio_worst_10s"]
    told = "none" if lags["p50"] is None else f"{lags['p50']:.0f} / {lags['max']:.0f}"
    return (
        f"{name:34s} {told:>12s} {'-' if ratio is None else f'{ratio:.3f}':>8s} {figures['over_delivery_max']:8.3f} "
        f"{figures['frequency_error_mhz_rms']:9.2f} {int((~run.tied).sum()):6d}"
    )


def played(name: str, trace: FrequencyTrace) -> Response:
    """Return a product's run on its reference site."""
    curve = curve_named(name)
    return respond(curve, POWER_KW, trace, reference_site(curve, POWER_KW), seed=1)


if __name__ == "__main__":
    print("product                        response p50/max ms  worst ratio    over  error mHz  rows off the grid")
    for name, curve in CATALOGUE.items():
        print(line(name, played(name, steps(curve.nominal_hz))), flush=True)
    for name in ("neso-dc-low", "neso-dm-low", "neso-dr-low"):
        print(line(f"9 August 2019: {name}", played(name, load_gb_trace())), flush=True)
    if RECORDINGS.is_dir():
        for name in ("entsoe-fcr", "nordic-ffr"):
            print(line(f"Toledo, 30 min: {name}", played(name, toledo(900))), flush=True)
    for row_s in (1.0, 0.1):
        began = time.process_time()
        run = played("entsoe-fcr", a_day(row_s))
        print(line(f"a day in rows of {row_s:g} s: entsoe-fcr", run), f"{time.process_time() - began:.0f} s")
