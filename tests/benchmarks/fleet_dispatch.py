"""Sharing and arming: rows of the fleet benchmark."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.bench_arming import MOST_TIMES_BARE, measure
from benchmarks.fleet_rows import Benchmark, Options, Row

from sites.core.allocation import allocate

ALLOCATIONS = {10_000: 10.0, 100_000: 100.0}
"""Most time for so many sites [ms]."""
ARMED = 10_000
RUNS = 15


def run_allocation(_options: Options) -> list[Row]:
    """Share an obligation as arming does, by the time of its own thread: the rest is what else runs here."""
    rows = []
    for count, most_ms in ALLOCATIONS.items():
        sustainable_kw = np.random.default_rng(count).uniform(2.0, 500.0, count)
        took_ms = []
        for _ in range(RUNS):
            began_s = time.thread_time()
            allocate(float(sustainable_kw.sum()) * 0.6, sustainable_kw, minimum_kw=0.001)
            took_ms.append((time.thread_time() - began_s) * 1e3)
        name = f"allocation_{count}_ms"
        rows.append(Row(name, f"sharing over {count} sites [ms]", statistics.median(took_ms), most_ms, is_most=True))
    return rows


def run_arming(_options: Options) -> list[Row]:
    """Arm a fleet over a real broker, and send the same bytes bare in the same run."""
    with tempfile.TemporaryDirectory(prefix="vpp-arming-") as folder:
        found = measure(ARMED, Path(folder))
    title = f"{ARMED} sites, first sending to last valid acknowledgement"
    times = found.whole_ms / found.bare_ms
    return [
        Row("arming_s", f"{title} [s]", found.whole_ms / 1e3, 5.0, is_most=True),
        Row("arming_times_bare", f"{title}, over the bare bytes and back", times, MOST_TIMES_BARE, is_most=True),
        Row("arming_bare_s", "the same bytes bare [s]", found.bare_ms / 1e3),
        Row("arming_each_p99_ms", "each site, first sending to acknowledgement, p99 [ms]",
            float(np.percentile(found.each_ms, 99))),
        Row("arming_sendings_a_site", "sendings a site", found.sends / found.sites),
        Row("arming_verified", "signatures verified afterwards, and answers that were the edge's own",
            found.audit["verified"]),
        *(Row(f"arming_{name}_cpu_s", f"processor time from the decision on: {name} [s]", cpu_s)
          for name, cpu_s in found.cpu_s.items()),
    ]  # fmt: skip


BENCHMARKS = (
    Benchmark("allocation", "an obligation shared among a fleet", run_allocation),
    Benchmark("arming", "a fleet armed at once", run_arming),
)
