"""What the market costs: scores, and whatever else registers here, each row against its target.

usage: python -m tests.benchmarks.market [--only NAME]… [--minutes N] [--json OUT]

A row's benchmark stands in a ``market_*.py`` beside this file and registers itself in ``BENCHMARKS``. Each is bounded
and stops by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from benchmarks import market_arming, market_delivery, market_islands, market_scores, market_vtn3, market_vtn20b
from benchmarks.fleet_rows import Benchmark
from benchmarks.running import run_benchmarks

BENCHMARKS: tuple[Benchmark, ...] = (
    *market_scores.BENCHMARKS,
    *market_arming.BENCHMARKS,
    *market_delivery.BENCHMARKS,
    *market_islands.BENCHMARKS,
    *market_vtn3.BENCHMARKS,
    *market_vtn20b.BENCHMARKS,
)


if __name__ == "__main__":
    sys.exit(run_benchmarks(BENCHMARKS, sys.argv[1:], module="tests.benchmarks.market", title=__doc__.splitlines()[0]))
