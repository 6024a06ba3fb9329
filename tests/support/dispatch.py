"""A platform with enrolled sites and obligations, and its dispatchers as real processes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.brokers import Broker
from support.openadr import ROOT, STOPPED_WITHIN_S, PlatformProcesses

from sites.wire.signature import public_key_of


class DispatchPlatform(PlatformProcesses):
    """The platform's database, and any number of ``run_dispatch`` processes on it."""

    def __init__(self, folder: Path, broker: Broker, **settings: str) -> None:
        super().__init__(folder)
        self.log_path = folder / "dispatch.log"
        self.log_path.touch()
        self.env |= {"VPP_BROKER_URL": broker.url, "VPP_FRESH_WITHIN_S": "600", **settings}
        self.dispatchers: list[subprocess.Popen[bytes]] = []

    @property
    def platform_key(self) -> bytes:
        """What sites verify signatures with."""
        return public_key_of(bytes.fromhex(self.env["VPP_SIGNING_KEY"]))

    def start_dispatcher(self) -> subprocess.Popen[bytes]:
        return self.start("run_dispatch")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a long-running command; it ends with the dispatchers."""
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", command],
                cwd=ROOT, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.dispatchers.append(process)
        return process

    def leader_pid(self) -> int | None:
        """Return the process id of the dispatcher that holds the lease now."""
        rows = self.rows("SELECT holder, expires_at FROM dispatch_lease WHERE holder <> ''")
        if not rows or datetime.fromisoformat(rows[0]["expires_at"]).replace(tzinfo=UTC) <= datetime.now(UTC):
            return None
        return int(rows[0]["holder"].split(":")[1])

    def stop_dispatchers(self) -> list[int]:
        """End all dispatchers in order; return the exit codes."""
        codes = []
        for process in self.dispatchers:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOPPED_WITHIN_S)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait(STOPPED_WITHIN_S)
            codes.append(process.returncode)
        return codes

    def owe(
        self,
        *,
        power_kw: float,
        starts_in_s: float,
        lasts_s: float,
        event_id: str = "event-1",
        program: str = "neso-dc-low",
    ) -> str:
        """Let the market accept an obligation; return its dispatch id."""
        now = datetime.now(UTC)
        starts_at, ends_at = now + timedelta(seconds=starts_in_s), now + timedelta(seconds=starts_in_s + lasts_s)
        dispatch_id = f"DC-{event_id}"
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            program_pk = connection.execute("SELECT id FROM markets_program WHERE name = ?", (program,)).fetchone()[0]
            event = {
                "operator": "operator", "message_hash": "", "vtn_id": "vtn", "event_id": event_id,
                "modification_number": 0, "program_id": program_pk,
                "market_context": "", "raw": b"", "content_hash": event_id, "operator_status": "far", "is_test": 0,
                "received_at": _text(now), "decided_at": _text(now), "status": "decided", "opt_type": "optIn",
                "reason": "accepted", "reason_text": "", "requested_kw": power_kw, "available_kw": power_kw,
                "asked": "{}", "priority": 0,
            }  # fmt: skip
            event_pk = _insert(connection, "markets_marketevent", event)
            obligation = {
                "dispatch_id": dispatch_id, "program_id": program_pk, "event_id": event_pk, "revision": 1,
                "power_kw": power_kw, "steps": "[]", "starts_at": _text(starts_at), "ends_at": _text(ends_at),
                "status": "open", "created_at": _text(now), "changed_at": _text(now),
            }  # fmt: skip
            _insert(connection, "markets_obligation", obligation)
        return dispatch_id

    def spoil_program(self, program: str) -> None:
        """Give a program a product whose curve nobody knows."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute("UPDATE markets_program SET product = 'no-such-curve' WHERE name = ?", (program,))

    def cancel(self, dispatch_id: str) -> None:
        """Let the operator take an obligation back."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(
                "UPDATE markets_obligation SET status = 'cancelled', revision = revision + 1 WHERE dispatch_id = ?",
                (dispatch_id,),
            )

    def cut_short(self, dispatch_id: str, *, ends_at: datetime) -> None:
        """Let the operator end an obligation before its time."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(
                "UPDATE markets_obligation SET ends_at = ?, revision = revision + 1 WHERE dispatch_id = ?",
                (_text(ends_at), dispatch_id),
            )

    def assignments(self, condition: str = "1") -> list[dict[str, Any]]:
        """Return assignment rows with their site ids; ``condition`` is a part of the query."""
        found: list[dict[str, Any]] = self.rows(
            "SELECT a.*, s.site_id AS site FROM dispatch_siteassignment a JOIN registry_site s ON s.id = a.site_id "  # noqa: S608
            f"WHERE {condition} ORDER BY a.id"
        )
        return found


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> int:
    marks = ", ".join("?" for _ in values)
    cursor = connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608
        tuple(values.values()),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")
