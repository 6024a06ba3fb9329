"""The non-detection zone, and what the active method costs: power, voltage, frequency, false suspicions, time."""

import dataclasses
import itertools
import time
from collections import Counter

import numpy as np

from sites.core.curves import curve_named
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.shared_feeder import run_feeder
from sites.edge.studies.zone import (
    LIMIT_S,
    ONE_PHASE,
    THREE_PHASE,
    balance_cases,
    hard_cases,
    mismatch_cases,
    run_zone,
)


def zone() -> None:
    """Print every class of islands and the slowest of each."""
    print("time to ceasing, from the breaker's last pole to the static switch's last")
    print("class          runs   p50 s   p99 s   max s   over 2 s   causes")
    runs = run_zone([*mismatch_cases(), *balance_cases(), *hard_cases()])
    for name in dict.fromkeys(run.case.class_name for run in runs):
        own = [run for run in runs if run.case.class_name == name]
        took = np.array([run.ceased_s for run in own])
        causes = ", ".join(f"{cause or 'none'} {count}" for cause, count in Counter(run.cause for run in own).items())
        p50, p99 = np.quantile(took, [0.5, 0.99], method="higher")
        late = int((took > LIMIT_S).sum())
        print(f"{name:14} {len(own):4} {p50:7.3f} {p99:7.3f} {took.max():7.3f} {late:10}   {causes}")


def neighbors() -> None:
    """Print islands of several sites behind one breaker, 9 mismatches each."""
    print("\nsites behind one feeder, P and Q mismatch -5, 0, 5 %: slowest site of 9 islands")
    print("signs and clocks            sites:      2        3        5       10")
    for words, same, skew in (("same, in step", True, 0.0), ("same, +-20 ms", True, 20.0), ("their own", False, 0.0)):
        cells = []
        for count in (2, 3, 5, 10):
            runs = [
                run_feeder(THREE_PHASE, count, p_mismatch=p, q_mismatch=q, same_code=same, skew_ms=skew, seed=seed)
                for seed, (p, q) in enumerate(itertools.product((-0.05, 0.0, 0.05), repeat=2))
            ]
            late = sum(run.ceased_s > LIMIT_S for run in runs)
            cells.append(f"{max(run.ceased_s for run in runs):5.2f}/{late}")
        print(f"{words:32} {'  '.join(f'{cell:>7}' for cell in cells)}   (s / over 2 s)")


def cost() -> None:
    """Print what the probe does to power, voltage and frequency on grids of different strength."""
    print("\npower quality at rest, r.m.s. over 20 s without (with) the probe; 10 ms means")
    print("phases  SCR   battery power %        voltage %        frequency estimate mHz")
    for base, ratio in itertools.product((THREE_PHASE, ONE_PHASE), (3.0, 5.0, 10.0, 20.0)):
        cells: list[list[float]] = []
        for on in (False, True):
            site = dataclasses.replace(base, short_circuit_ratio=ratio, anti_islanding=on)
            loop = ClosedLoop([site], seed=3)
            loop.advance(np.full(30_000, 50.0))
            power, voltage, frequency = [], [], []
            for _ in range(2000):
                loop.advance(np.full(100, 50.0))
                measured = loop.measured()
                voltage.append(float(measured["voltage_pu"][0]))
                frequency.append(float(measured["frequency_hz"][0]))
            _, rows = loop.drain_records()
            power = rows[-2000:, 0, 1] / site.pcs_kva
            cells.append(
                [100.0 * float(np.std(power)), 100.0 * float(np.std(voltage)), 1000.0 * float(np.std(frequency))]
            )
        off, on_ = cells
        print(
            f"{base.phases:6} {ratio:4.0f}   "
            + "   ".join(f"{a:7.3f} ({b:6.3f})" for a, b in zip(off, on_, strict=True))
        )


def false_islands() -> None:
    """Print suspicions and islands over the recorded frequency of 9 August 2019 with a noise on it."""
    trace = load_gb_trace()
    clean = trace.at(np.arange(trace.t_s[0], trace.t_s[-1], 1e-4))
    print(
        "\n9 August 2019, 149 s, 20 sites (SCR 3-20, one and three phases), white noise of 20 ms steps on the frequency"
    )
    print("noise mHz   armed   suspicions   share of time driven   left the grid")
    ratios = np.linspace(3.0, 20.0, 10)
    sites = [
        dataclasses.replace(base, short_circuit_ratio=float(r)) for base in (THREE_PHASE, ONE_PHASE) for r in ratios
    ]
    for noise_hz, armed in itertools.product((0.0, 0.003, 0.01), (False, True)):
        noise = np.repeat(np.random.default_rng(4).normal(0.0, noise_hz, len(clean) // 200 + 1), 200)[: len(clean)]
        loop = ClosedLoop(sites, seed=2)
        for index, site in enumerate(sites):
            loop.arm(index, curve_named("neso-dc-low"), 0.8 * site.pcs_kva * armed, 0.0, 0, 10**9)
        left = 0
        for at in range(0, len(clean), 100_000):
            loop.advance((clean + noise)[at : at + 100_000])
            left += len(loop.drain_waveforms())
        suspicions = int(loop.step_arrays()[6]["suspicions"].sum())
        share = 100.0 * suspicions * 0.2 / (149.0 * len(sites))
        print(f"{1000 * noise_hz:9.0f}   {armed!s:5} {suspicions:12} {share:21.2f} % {left:13}")


def step_time() -> None:
    """Print what the method adds to a fused step."""
    took = []
    for on in (False, True):
        sites = [dataclasses.replace(THREE_PHASE, anti_islanding=on)] * 200
        loop = ClosedLoop(sites, seed=1)
        loop.advance(np.full(1000, 50.0))
        best = 1e9
        for _ in range(5):
            start = time.perf_counter()
            loop.advance(np.full(2000, 50.0))
            best = min(best, time.perf_counter() - start)
        took.append(best / 2000 / 200 * 1e9)
    print(f"\nfused step: {took[0]:.1f} ns a site-sample without the method, {took[1]:.1f} ns with it")


if __name__ == "__main__":
    zone()
    neighbors()
    cost()
    false_islands()
    step_time()
