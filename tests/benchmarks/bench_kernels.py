"""Cost of the kernels: ``python tests/benchmarks/bench_kernels.py`` prints ns per site and sample.

The trip path alone (sequence, PLL and loss detector), the whole control step, the fused step with the plant, and the
loss detectors of a fleet in vector units. Processor time, so that other work on the machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sites.core.curves import curve_named
from sites.edge.control.islanding import transition_table
from sites.edge.control.kernels import records
from sites.edge.control.kernels.compiled import kernel
from sites.edge.control.kernels.controller import INVERSE_SQRT3, control_step
from sites.edge.control.kernels.detector import watch_samples
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.fleet_trip import FleetTrip

SITES = 200
SAMPLES = 1000
ROUNDS = 10
ONE_SITE_SAMPLES = 100_000
FLEET_SITES = 10_000
FLEET_SAMPLES = 200
FLEET_PARTS = 8


@kernel
def trip_path(ks: Any, cs: Any, samples: Any) -> None:
    """What runs on every sample before a decision: Clarke, detector, sequence and PLL."""
    k = ks[0]
    c = cs[0]
    for n in range(samples.shape[0]):
        m = samples[n]
        v_alpha = (2.0 * m["va"] - m["vb"] - m["vc"]) * (1.0 / 3.0)
        v_beta = (m["vb"] - m["vc"]) * INVERSE_SQRT3
        u_alpha = (2.0 * m["ua"] - m["ub"] - m["uc"]) * (1.0 / 3.0)
        u_beta = (m["ub"] - m["uc"]) * INVERSE_SQRT3
        c["cause"] += watch_samples(k, c, m, v_alpha, v_beta)
        track_sequence(k, c, u_alpha, u_beta)


@kernel
def whole_step(ks: Any, cs: Any, samples: Any, table: Any) -> None:
    """The controller as it runs: trip path, converter, supervision each millisecond."""
    for n in range(samples.shape[0]):
        control_step(ks[0], cs[0], samples[n], table, n)


def least_ns(work: Callable[[], None], count: int) -> tuple[float, float]:
    """Return the least and the median processor time of one of ``count`` items of work [ns], after a warm-up."""
    work()
    costs = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        work()
        costs.append((time.thread_time() - started) / count * 1e9)
    return min(costs), float(np.median(costs))


def quiet_samples(count: int) -> np.ndarray:
    """Samples of a three-phase site on a healthy grid that imports half its rating."""
    m = np.zeros(count, records.SAMPLES)
    noise = np.random.default_rng(1)
    for place, name in enumerate("abc"):
        angle = 2 * np.pi * 50.0 * np.arange(count) / 10_000.0 - place * 2 * np.pi / 3
        m[f"v{name}"] = m[f"u{name}"] = np.cos(angle) + noise.uniform(-0.003, 0.003, count)
        m[f"i{name}"] = 0.5 * np.cos(angle)
    m["poles_closed"] = 3
    m["soc_ratio"] = 0.5
    return m


def one_site(name: str) -> tuple[float, float]:
    """Return the cost of ``trip`` path or ``step`` for one site per sample [ns]."""
    k = control_parameters(ControlSettings())
    c = initial_state(k)
    samples, table = quiet_samples(ONE_SITE_SAMPLES), transition_table()
    if name == "trip":
        return least_ns(lambda: trip_path(k, c, samples), ONE_SITE_SAMPLES)
    return least_ns(lambda: whole_step(k, c, samples, table), ONE_SITE_SAMPLES)


def fused_step() -> tuple[float, float]:
    """Return the cost of plant, controller, meters and recorder per site and sample [ns]."""
    loop = ClosedLoop(synthetic_fleet(SITES, 1), seed=1)
    for index in range(SITES):
        loop.arm(index, curve_named("neso-dc-low"), 1.0, 0.0, 0, 10**9)
    loop.advance(np.full(SAMPLES, 50.0))
    return least_ns(lambda: loop.advance(np.full(SAMPLES, 49.7)), SITES * SAMPLES)


def fleet(threads: int, disturbed: float = 0.0) -> tuple[float, float, float]:
    """Return (least, median processor time per site and sample on all cores together [ns], speed over real time).

    ``disturbed`` is the share of sites whose voltage stands at 0.75 pu: judged on every sample, and never decided.
    """
    fleet = FleetTrip([ControlSettings()] * FLEET_SITES, threads=threads)
    random = np.random.default_rng(1)
    level = np.where(np.arange(FLEET_SITES) < disturbed * FLEET_SITES, 0.75, 1.0)
    costs, speeds = [], []
    for part in range(FLEET_PARTS):
        t = (part * FLEET_SAMPLES + np.arange(FLEET_SAMPLES))[:, None] / 10_000.0
        waves = np.stack([np.cos(2 * np.pi * 50.0 * t - k * 2 * np.pi / 3) * level for k in range(3)], axis=1)
        waves += random.uniform(-0.003, 0.003, waves.shape)
        arranged = fleet.arranged(waves, 0.5 * waves)
        wall, busy = time.perf_counter(), time.process_time()
        fleet.watch(arranged)
        if part > 0:
            costs.append((time.process_time() - busy) / (FLEET_SITES * FLEET_SAMPLES) * 1e9)
            speeds.append(FLEET_SAMPLES / 10_000.0 / (time.perf_counter() - wall))
    return min(costs), float(np.median(costs)), max(speeds)


def test_the_fused_step_runs_the_demo_fleet_on_less_than_a_core() -> None:
    assert fused_step()[0] < 500.0


if __name__ == "__main__":
    print("processor time per site and sample, best / median of 10 rounds [ns]")
    for text, (best, median) in (
        ("trip path, one site (target 50)", one_site("trip")),
        ("whole control step, one site", one_site("step")),
        ("fused step: plant + controller + meters + recorder, 200 sites", fused_step()),
    ):
        print(f"{text:64s} {best:6.1f} / {median:6.1f}")
    for threads, disturbed in ((1, 0.0), (2, 0.0), (2, 0.1)):
        best, median, speed = fleet(threads, disturbed)
        text = f"detector of 10,000 sites in vector units, {threads} threads, {disturbed:.0%} of them in a dip"
        print(f"{text:64s} {best:6.1f} / {median:6.1f}, {speed:.2f}x real time by the clock (target 1.5 on two)")
