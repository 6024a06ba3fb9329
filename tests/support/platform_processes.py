"""The platform's own processes for tests: ``manage.py`` commands on a database and settings of their own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.migrated import make_tables

CHECKOUT = Path(__file__).resolve().parents[2]
ENDED_WITHIN_S = 40.0


@dataclass
class Platform:
    """Settings of one platform under test and the processes started for it."""

    folder: Path
    broker_url: str
    database_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(40))
    signing_key: str = field(default_factory=lambda: secrets.token_hex(32))

    def __post_init__(self) -> None:
        self.database_url = self.database_url or f"sqlite:///{self.folder / 'vpp.sqlite3'}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every process: nothing comes from the checkout's own ``.env``."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("VPP_")},
            "DATABASE_URL": self.database_url,
            "VPP_BROKER_URL": self.broker_url,
            "VPP_ENV_FILE": str(self.folder / "absent.env"),
            "VPP_RUNTIME_DIR": str(self.folder),
            "VPP_SECRET_KEY": self.secret_key,
            "VPP_SIGNING_KEY": self.signing_key,
            **self.settings,
        }

    def manage(self, *arguments: str, accepts: tuple[int, ...] = (0,)) -> str:
        """Run a command to its end and return its output; raise with the output when it fails.

        ``accepts`` are the exit codes that are no failure: a check says 1 when it finds something.
        """
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode not in accepts:
            raise RuntimeError(f"manage.py {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def read(self, expression: str) -> Any:
        """Return a Python expression's value in the platform, through JSON; models and queries are in scope."""
        code = (
            "import json\n"
            "from sites.metering import audit, queries\nfrom sites.metering.models import *\n"
            "from sites.registry.models import *\nfrom sites.identity.models import *\n"
            f"print('\\n@' + json.dumps({expression}, default=str))"
        )
        return json.loads(self.manage("shell", "-v", "0", "-c", code).rsplit("\n@", 1)[1])

    def make_tables(self) -> None:
        """Give the empty database its tables."""
        make_tables(self.database_url, lambda: self.manage("migrate", "-v", "0"))

    def set_up(self, manifest: list[dict], program: str = "neso-dc-low") -> None:
        """Make the tables and enrol a manifest."""
        self.make_tables()
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest))
        self.manage("enrol_sites", str(path), "--program", program, "--skip-checks")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a long-running command; its log is ``<command>.log`` in the folder."""
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=CHECKOUT, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log_of(self, command: str) -> str:
        """Return what a command's processes wrote so far."""
        path = self.folder / f"{command}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process without a goodbye (SIGKILL)."""
        process.send_signal(signal.SIGKILL)
        process.wait(ENDED_WITHIN_S)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a process in order (SIGTERM) and return its exit code."""
        process.terminate()
        return process.wait(ENDED_WITHIN_S)


@contextlib.contextmanager
def a_platform(folder: Path, broker_url: str, database_url: str = "", **settings: str) -> Iterator[Platform]:
    """Yield a platform without tables or processes; end what was started for it."""
    platform = Platform(folder, broker_url, database_url, settings)
    try:
        yield platform
    finally:
        for process in platform.processes:
            if process.poll() is None:
                platform.kill(process)


def wait_until(condition: Callable[[], Any], within_s: float = 30.0, what: str = "the condition") -> Any:
    """Return the condition's first true value; fail when it stays false."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {within_s} s")
        time.sleep(0.02)
