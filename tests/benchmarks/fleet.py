"""What a fleet costs the platform, each row against its target; ratios are taken within one run.

usage: python -m tests.benchmarks.fleet [--only NAME]… [--minutes N] [--json OUT]

A row's benchmark stands in a ``fleet_*.py`` beside this file and registers itself in ``ROWS``. Each is bounded and
stops by itself; ``--minutes`` shortens the sustained ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from benchmarks import fleet_dispatch, fleet_ingest, fleet_numbered, fleet_reconnect
from benchmarks.fleet_rows import Benchmark
from benchmarks.running import run_benchmarks

BENCHMARKS: tuple[Benchmark, ...] = (
    *fleet_ingest.BENCHMARKS,
    *fleet_numbered.BENCHMARKS,
    *fleet_dispatch.BENCHMARKS,
    *fleet_reconnect.BENCHMARKS,
)


if __name__ == "__main__":
    sys.exit(run_benchmarks(BENCHMARKS, sys.argv[1:], module="tests.benchmarks.fleet", title=__doc__.splitlines()[0]))
