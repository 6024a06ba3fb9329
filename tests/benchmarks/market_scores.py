"""Scoring one day of a site's 20 Hz record: rows of the market benchmark."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.fleet_rows import Benchmark, Options, Row

from markets.core.products import product_named
from markets.core.scores.recording import recording_of_rows
from markets.core.scores.registry import score_recording
from markets.measured_csv import read_measured
from sites.core.curves import required_course

RATE_HZ = 20.0
SAMPLES = 1_728_000
CONTRACT_KW = 100.0
MOST_S = 1.0
RUNS = 5
PRODUCTS = ("neso-dc-low", "entsoe-fcr", "fcr-d-up", "fcr-n", "nordic-ffr", "aemo-r6", "cn-primary", "pjm-regd")


def a_day(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return t_s, frequency, power and signal: noise around nominal, two falls to full activation, a late response."""
    product, rng = product_named(name), np.random.default_rng(1)
    t_s = np.arange(SAMPLES) / RATE_HZ
    nominal = product.nominal_hz or 50.0
    hz = nominal + np.interp(np.arange(SAMPLES), np.arange(0, SAMPLES, 200), rng.normal(0.0, 0.03, SAMPLES // 200))
    for at in (20_000.0, 60_000.0):
        hz -= 0.6 * np.clip((t_s - at) / 5.0, 0.0, 1.0) * np.clip((at + 300.0 - t_s) / 60.0, 0.0, 1.0)
    if product.curve_name is None:
        signal = np.interp(t_s, np.arange(0.0, 86_400.0, 20.0), rng.uniform(-1.0, 1.0, 4320))
        return t_s, hz, CONTRACT_KW * np.roll(signal, 40), signal
    share = required_course(product.curve, t_s, hz, product.curve.nominal_hz)
    return t_s, hz, CONTRACT_KW * np.roll(share, 10), None


def seconds(work) -> tuple[float, float]:
    """Return the middle of several runs: this thread's processor time, and the wall's."""
    own, wall = [], []
    for _ in range(RUNS):
        began, began_wall = time.thread_time(), time.perf_counter()
        work()
        own.append(time.thread_time() - began)
        wall.append(time.perf_counter() - began_wall)
    return statistics.median(own), statistics.median(wall)


def run_scores(_options: Options) -> list[Row]:
    """Score a day by each rule, rows in memory; the target holds for the slowest, by the wall clock: wait included."""
    rows, slowest, slowest_own = [], 0.0, 0.0
    for name in PRODUCTS:
        product = product_named(name)
        t_s, hz, power, signal = a_day(name)

        def work(product=product, t_s=t_s, hz=hz, power=power, signal=signal) -> None:
            score_recording(product, recording_of_rows(t_s, hz, power, signal), contract_kw=CONTRACT_KW)

        own, wall = seconds(work)
        slowest = max(slowest, wall)
        slowest_own = max(slowest_own, own)
        key = name.replace("-", "_")
        rows.append(Row(f"score_day_{key}_s", f"{name}, a day at 20 Hz: processor time [s]", own))
        rows.append(Row(f"score_day_{key}_wall_s", f"{name}, the same by the wall clock [s]", wall))
    title = f"scoring a day of 20 Hz ({SAMPLES:,} rows), slowest rule, by the wall clock [s]"
    return [
        Row("score_day_s", title, slowest, MOST_S, is_most=True),
        Row("score_day_cpu_s", "the same: processor time of its own thread [s]", slowest_own),
        *rows,
    ]


def run_with_file(_options: Options) -> list[Row]:
    """Score a day from its CSV file, as `manage.py score_response` does, after Django has started."""
    product = product_named("neso-dc-low")
    t_s, hz, power, _ = a_day("neso-dc-low")
    with tempfile.TemporaryDirectory(prefix="vpp-score-") as folder:
        path = Path(folder) / "day.csv"
        with path.open("w") as file:
            file.write("t_s,frequency_hz,power_kw\n")
            file.writelines(f"{t:.2f},{f:.4f},{p:.3f}\n" for t, f, p in zip(t_s, hz, power, strict=True))
        megabytes = path.stat().st_size / 1e6

        def work() -> None:
            recording = read_measured(path, product, contract_kw=CONTRACT_KW)
            score_recording(product, recording, contract_kw=CONTRACT_KW)

        def read() -> None:
            read_measured(path, product, contract_kw=CONTRACT_KW)

        own, wall = seconds(work)
        own_read, _ = seconds(read)
    return [
        Row("score_day_csv_s", f"the same with reading its CSV file ({megabytes:.0f} MB): processor time [s]", own),
        Row("score_day_csv_wall_s", "the same by the wall clock [s]", wall),
        Row("score_day_csv_read_s", "of it reading and checking the file: processor time [s]", own_read),
    ]


BENCHMARKS = (
    Benchmark("scores", "a day at 20 Hz scored by each rule", run_scores),
    Benchmark("score_csv", "a day at 20 Hz from its CSV file", run_with_file),
)
