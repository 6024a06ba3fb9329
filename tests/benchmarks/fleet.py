"""What a fleet costs the platform, each row against its target; ratios are taken within one run.

usage: python -m tests.benchmarks.fleet [--only NAME]… [--minutes N] [--json OUT]

A row's benchmark stands in a ``fleet_*.py`` beside this file and registers itself in ``ROWS``. Each is bounded and
stops by itself; ``--minutes`` shortens the sustained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from benchmarks import fleet_dispatch, fleet_ingest, fleet_numbered, fleet_reconnect
from benchmarks.fleet_rows import Benchmark, Options, Row

BENCHMARKS: tuple[Benchmark, ...] = (
    *fleet_ingest.BENCHMARKS,
    *fleet_numbered.BENCHMARKS,
    *fleet_dispatch.BENCHMARKS,
    *fleet_reconnect.BENCHMARKS,
)


def main(arguments: list[str]) -> int:
    """Run the chosen benchmarks; return 1 when one broke. A missed target is told and is no failure."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=names, help="this benchmark; may be given again")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the sustained ones, 0.2 to 60")
    parser.add_argument("--json", type=Path, help="write the targets as JSON")
    chosen = parser.parse_args(arguments)
    if not 0.2 <= chosen.minutes <= 60.0:
        parser.error(f"--minutes is {chosen.minutes:g}, accepted: 0.2 to 60")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"--json: {chosen.json.parent} is no folder")
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, kernel {platform.release()}, load {load:.2f}")
    rows: list[Row] = []
    broken = 0
    for benchmark in BENCHMARKS:
        if chosen.only and benchmark.name not in chosen.only:
            continue
        print(f"\n## {benchmark.name}: {benchmark.title}", flush=True)
        try:
            found = benchmark.run(Options(minutes=chosen.minutes))
        except Exception:  # noqa: BLE001 - the others still run
            traceback.print_exc()
            broken += 1
            continue
        for row in found:
            verdict = "" if row.target is None else f"  target {row.target_text}: {'kept' if row.met else 'MISSED'}"
            print(f"  {row.title:<72} {row.value:>12,.4g}{verdict}", flush=True)
        rows += found
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(as_json(rows), indent=2) + "\n")
    return 1 if broken else 0


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Return targets and facts by name."""
    return {
        "targets": {
            row.name: {"value": row.value, "target": row.target_text, "met": row.met}
            for row in rows
            if row.target is not None
        },
        "facts": {row.name: row.value for row in rows if row.target is None},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
