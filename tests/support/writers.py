"""Several processes that write to one database at once: all ready first, then let go together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from support.platform_processes import CHECKOUT

READY = "ready\n"
WITHIN_S = 180.0


@dataclass(frozen=True)
class Ended:
    """How a writer ended."""

    code: int
    said: str
    error: str


def environment(database_url: str) -> dict[str, str]:
    """Return what a process needs that runs on a database with the product's and the tests' modules at hand."""
    paths = f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"
    return os.environ | {"DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "vpp.settings", "PYTHONPATH": paths}


def run(database_url: str, *arguments: str, accepts: tuple[int, ...] = (0,)) -> str:
    """Run Python with arguments (``manage.py …`` or ``-c code``) to its end; return what it said, fail with why.

    ``accepts`` are the exit codes that are no failure: a check says 1 when it finds something.
    """
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(database_url), cwd=CHECKOUT, capture_output=True, text=True,
        timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode in accepts, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def write_at_once(database_url: str, script: str, arguments: Sequence[Sequence[str]]) -> list[Ended]:
    """Start a script once for each set of arguments, let all go when each has said ``ready``; return how they ended."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, *each], env=environment(database_url), cwd=CHECKOUT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for each in arguments
    ]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == READY
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        ended = []
        for writer in writers:
            said, error = writer.communicate(timeout=WITHIN_S)
            ended.append(Ended(writer.returncode, said, error[-3000:]))
        return ended
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
