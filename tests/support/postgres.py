"""A real PostgreSQL for tests: its own cluster on a free loopback port, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.services import require_service

READY_WITHIN_S = 30.0
USER = "postgres"
USER_NAME = "vpp"
"""The database's own user."""


def postgres_folder() -> Path | None:
    """Return the folder with PostgreSQL's programs, the newest of Debian's; None when absent."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders = [folder for folder in folders if (folder / "pg_ctl").exists()]
    return max(folders, key=lambda folder: int(folder.parent.name.split(".")[0]), default=None)


@dataclass
class PostgresServer:
    """A running cluster that may be killed and started again."""

    folder: Path
    programs: Path
    port: int
    password: str
    options: str

    @property
    def url(self) -> str:
        """Its DATABASE_URL."""
        return f"postgresql://{USER_NAME}:{self.password}@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """End the server and all its processes without a goodbye (SIGKILL)."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        # Stopped before its children are listed, so that none is born meanwhile.
        os.kill(first, signal.SIGSTOP)
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in [first, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + READY_WITHIN_S
        while any(_is_running(pid) for pid in [first, *map(int, children)]):
            if time.monotonic() > deadline:
                raise RuntimeError("killed processes of PostgreSQL are still there")
            time.sleep(0.02)
        # Where nobody reaps orphans the dead one keeps its number, and a new server would take it for alive.
        for lock in (self.folder / "data" / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
            lock.unlink()

    def start(self) -> None:
        """Start again on the same port and data; it recovers first."""
        _run(self.folder, self.programs / "pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log",
             "-o", self.options, "-w", "-t", str(int(READY_WITHIN_S)), "start")  # fmt: skip
        _wait_for_port(self.port)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def postgres_database(*, durable: bool = False) -> Iterator[str]:
    """Yield the DATABASE_URL of an empty database; skip or fail when PostgreSQL is absent."""
    with postgres_server(durable=durable) as server:
        yield server.url


@contextlib.contextmanager
def postgres_server(*, durable: bool = False, connections: int = 20) -> Iterator[PostgresServer]:
    """Yield a cluster with an empty database; skip or fail when PostgreSQL is absent.

    ``durable`` keeps what was committed through a power cut, as in use; a test's cluster need not.
    """
    programs = postgres_folder()
    require_service("postgresql", programs is not None, "apt-get install postgresql")
    assert programs is not None
    password = secrets.token_urlsafe(18)
    folder = Path(tempfile.mkdtemp(prefix="vpp-postgres-"))
    data = folder / "data"
    password_file = folder / "password"
    password_file.write_text(password)
    if os.geteuid() == 0:
        # initdb and postgres refuse root.
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        os.chown(password_file, owner.pw_uid, owner.pw_gid)
    started = False
    try:
        _run(folder, programs / "initdb", "-D", data, "-U", USER_NAME, "-A", "scram-sha-256", "--pwfile", password_file,
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        port, options = _start(folder, programs, data, durable, connections)
        started = True
        yield PostgresServer(folder, programs, port, password, options)
    finally:
        if started:
            _run(folder, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, programs: Path, data: Path, durable: bool, connections: int) -> tuple[int, str]:
    """Start the cluster; return its port and options; another port when somebody took the first one meanwhile."""
    for attempt in range(5):
        port = _free_port()
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} "
            f"-c max_connections={connections}"
        )
        if not durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        try:
            _run(folder, programs / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w",
                 "-t", str(int(READY_WITHIN_S)), "start")  # fmt: skip
        except RuntimeError:
            if attempt == 4:
                raise
        else:
            _wait_for_port(port)
            return port, options
    raise AssertionError("unreachable")


def _run(folder: Path, *command: object) -> None:
    line = [str(part) for part in command]
    if os.geteuid() == 0:
        line = ["runuser", "-u", USER, "--", *line]
    # Its output goes to a file: the started server keeps an inherited pipe open, and reading it would never end.
    with (folder / "commands.log").open("ab") as log:
        done = subprocess.run(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, check=False)
    if done.returncode:
        texts = [path.read_text(errors="replace")[-1500:] for path in folder.glob("*log")]
        raise RuntimeError(f"{line} ended with {done.returncode}:\n" + "\n".join(texts))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
