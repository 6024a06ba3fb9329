"""What the carbon book costs and how exact it is, each row against its target.

usage: python -m tests.benchmarks.carbon [--only NAME]… [--json OUT]

A row's benchmark stands in a ``carbon_*.py`` beside this file and registers itself in ``BENCHMARKS``. Each is bounded
and stops by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from benchmarks import carbon_fifo, carbon_inventory
from benchmarks.fleet_rows import Benchmark
from benchmarks.running import run_benchmarks

BENCHMARKS: tuple[Benchmark, ...] = (*carbon_inventory.BENCHMARKS, *carbon_fifo.BENCHMARKS)


if __name__ == "__main__":
    sys.exit(run_benchmarks(BENCHMARKS, sys.argv[1:], module="tests.benchmarks.carbon", title=__doc__.splitlines()[0]))
