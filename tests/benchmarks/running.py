"""Run a registry of benchmarks: choose, print each row against its target, write them as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fleet_rows import Benchmark, Options, Row


def run_benchmarks(benchmarks: Sequence[Benchmark], arguments: list[str], *, module: str, title: str) -> int:
    """Run the chosen benchmarks; return 1 when one broke. A missed target is told and is no failure."""
    names = [benchmark.name for benchmark in benchmarks]
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=title)
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
    for benchmark in benchmarks:
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
