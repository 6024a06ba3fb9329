"""Run every benchmark, each in its own process, and print what it measured.

usage: python -m tests.benchmarks [NAME…]      NAME as in bench_NAME.py; all when none is given
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIMIT_S = 600


def main(names: list[str]) -> int:
    """Run the named benchmarks; return how many failed."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, kernel {platform.release()}, load {load:.2f}")
    failed = 0
    for name in names or known:
        print(f"\n## {name}", flush=True)
        run = subprocess.run([sys.executable, str(known[name])], cwd=FOLDER.parent.parent, timeout=LIMIT_S, check=False)
        failed += run.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
