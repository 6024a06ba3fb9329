"""Real processes for OpenADR tests: the grid operator's VTN, our VEN, and a platform database of their own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.migrated import SQLITE, copy_file, make_tables

from markets.openadr.certificates import OpenAdrPair, make_openadr_certificates

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 10.0
CONTEXT = "http://grid-operator.example/programs/neso-dc-low"
_template: Path | None = None


@dataclass
class JsonLines:
    """What a process wrote, line by line, with a wait for the line that a test needs."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def read(self, stream: Any) -> None:
        """Collect lines until the process closes its end."""
        for text in stream:
            with self.changed:
                self.lines.append(json.loads(text))
                self.changed.notify_all()

    def wait_for(self, event: str, within_s: float = READY_WITHIN_S, *, after: int = 0, **facts: Any) -> dict[str, Any]:
        """Return the first line (from number ``after`` on) with this event and these facts."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **facts}
            return next((line for line in self.lines[after:] if wanted.items() <= line.items()), None)

        with self.changed:
            if not self.changed.wait_for(lambda: found() is not None, within_s):
                raise AssertionError(f"no line {event} {facts} within {within_s} s; seen: {self.lines[after:]}")
            line = found()
        assert line is not None
        return line


class GridOperatorProcess:
    """The separate VTN process."""

    def __init__(self, pair: OpenAdrPair | None, *, port: int = 0, ven_name: str = "open-vpp") -> None:
        command = [sys.executable, "-m", "markets.openadr.grid_operator", "--port", str(port), "--ven-name", ven_name]
        if pair is None:
            command.append("--plain")
        else:
            command += ["--cert", str(pair.vtn.cert), "--key", str(pair.vtn.key), "--ca", str(pair.ca)]
            command += ["--ven-fingerprint", pair.ven.fingerprint]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.said = JsonLines()
        self.reader = threading.Thread(target=self.said.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        self.url = self.said.wait_for("ready")["url"]

    @property
    def port(self) -> int:
        """Port it listens on."""
        return int(self.url.split(":")[2].split("/")[0])

    def command(self, **command: Any) -> None:
        """Send one command line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def event(self, event_id: str, *, starts_in_s: float = 60.0, duration_s: float = 30.0, **facts: Any) -> None:
        """Issue an event of 100 kW for the low program unless told otherwise."""
        starts_at = (datetime.now(UTC) + timedelta(seconds=starts_in_s)).isoformat()
        command = {"market_context": CONTEXT, "power_kw": -100, "starts_at": starts_at, "duration_s": duration_s}
        self.command(cmd="event", event_id=event_id, **{**command, **facts})

    def stop(self) -> None:
        """End it; kill it when it does not go."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOPPED_WITHIN_S)
        self.reader.join(STOPPED_WITHIN_S)


class PlatformProcesses:
    """A platform with its own SQLite file, and its VEN as a real process."""

    def __init__(self, folder: Path, pair: OpenAdrPair | None = None) -> None:
        self.folder = folder
        self.pair = pair
        self.database = folder / "platform.sqlite3"
        self.log_path = folder / "ven.log"
        self.env = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "VPP_RUNTIME_DIR": str(folder),
            "VPP_FRESH_WITHIN_S": "600",
            "VPP_SECRET_KEY": os.urandom(32).hex(),
            "VPP_SIGNING_KEY": os.urandom(32).hex(),
            "VPP_VEN_POLL_S": "1",
        }
        if pair is not None:
            self.env |= {
                "VPP_VEN_CERT": str(pair.ven.cert),
                "VPP_VEN_KEY": str(pair.ven.key),
                "VPP_VEN_CA": str(pair.ca),
                "VPP_VTN_FINGERPRINT": pair.vtn.fingerprint,
            }
        self.ven: subprocess.Popen[bytes] | None = None
        if _template is None:
            self._make_template()
        copy_file(_require_template(), self.database)

    def _make_template(self) -> None:
        # Migrating takes seconds of a shared machine: once for all tests of a run.
        global _template
        make_tables(f"{SQLITE}{self.database}", lambda: self.manage("migrate", "--verbosity", "0"))
        self.manage("load_programs")
        _template = Path(tempfile.mkdtemp(prefix="openadr-template-")) / "platform.sqlite3"
        copy_file(self.database, _template)

    def manage(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a management command and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.env, input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def add_sites(self, count: int, *, discharge_kw: float = 50.0, usable_energy_kwh: float = 100.0) -> None:
        """Enroll sites that report an envelope now."""
        manifest = [
            {
                "site_id": f"site-{number:04d}", "name": f"Site {number}",
                "grid_zone": "GB", "time_zone": "Europe/London",
                "nominal_hz": 50.0, "nominal_voltage_v": 230.0, "phases": 3, "loss_of_link": "hold",
                "assets": [
                    {"name": "pcc", "kind": "pcc", "rated_kw": 100.0, "export_limit_kw": 100.0,
                     "capacity_kwh": 0.0, "reserve_kwh": 0.0},
                    {"name": "battery", "kind": "battery", "rated_kw": discharge_kw, "export_limit_kw": 0.0,
                     "capacity_kwh": 2 * usable_energy_kwh, "reserve_kwh": 10.0},
                ],
            }
            for number in range(1, count + 1)
        ]  # fmt: skip
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest))
        self.manage("enrol_sites", str(path), "--program", "neso-dc-low")
        now = datetime.now(UTC).isoformat(sep=" ")
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(
                "INSERT INTO metering_livestate (site_id, measured_at, received_at, mode, discharge_kw, charge_kw, "
                "usable_energy_kwh, absorbable_energy_kwh) "
                "SELECT id, ?, ?, 'grid_tied', ?, ?, ?, ? FROM registry_site",
                (now, now, discharge_kw, discharge_kw, usable_energy_kwh, usable_energy_kwh),
            )

    def set_measured_at(self, instant: str) -> None:
        """Make all sites' newest reading as old as this."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute("UPDATE metering_livestate SET measured_at = ?", (instant,))

    def declare(self, table: str) -> None:
        """Declare operators by a table, and set up the programs that it declares."""
        path = self.folder / "operators.toml"
        path.write_text(table)
        self.env["VPP_OPERATORS"] = str(path)
        self.manage("load_programs")

    def start_ven(self, vtn_url: str = "") -> None:
        """Start our VEN against a VTN, or against the declared operators'."""
        with self.log_path.open("ab") as log:
            self.ven = subprocess.Popen(
                [sys.executable, "manage.py", "run_openadr"],
                cwd=ROOT, env={**self.env, "VPP_VTN_URL": vtn_url}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def kill_ven(self) -> None:
        """End the VEN without a goodbye."""
        assert self.ven is not None
        self.ven.send_signal(signal.SIGKILL)
        self.ven.wait(STOPPED_WITHIN_S)

    def stop_ven(self) -> int:
        """End the VEN in order and return its exit code."""
        if self.ven is None or self.ven.poll() is not None:
            return 0
        self.ven.terminate()
        try:
            return self.ven.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill_ven()
            return -9

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Read the platform's database."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]

    def wait_until(self, condition: Callable[[], Any], within_s: float = READY_WITHIN_S) -> Any:
        """Return the condition's first true value; fail with the VEN's log otherwise."""
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s; VEN log:\n{self.log_path.read_text()[-3000:]}")
            time.sleep(0.05)
        return value


def certificates(folder: Path) -> OpenAdrPair:
    """Write credentials for both ends."""
    return make_openadr_certificates(folder, at=datetime.now(UTC))


def _require_template() -> Path:
    assert _template is not None
    return _template
