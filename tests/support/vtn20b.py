"""Our VTN as a process with its own SQLite file, credentials, and openleadr's VEN as the other side."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.migrated import SQLITE, make_tables

from markets.openadr.certificates import fingerprint_of
from sites.core.certificate_parts import begun_certificate, key_usage, named

ROOT: Final = Path(__file__).resolve().parents[2]
READY_WITHIN_S: Final = 60.0
VTN_ID: Final = "OPEN-VPP-TEST"
CONTEXT: Final = "http://open-vpp.example/programs/flexibility"
DESK: Final = """
import io, json, sys
import django
django.setup()
from django.core.management import CommandError, call_command
for line in sys.stdin:
    printed = io.StringIO()
    try:
        call_command(*json.loads(line), stdout=printed)
        print(json.dumps({"printed": printed.getvalue()}), flush=True)
    except CommandError as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""


@dataclass(frozen=True)
class Party:
    """One end's files."""

    cert: Path
    key: Path
    fingerprint: str


class Authority:
    """Issues certificates of either kind into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(f"authority {folder.name}")
        at = datetime.now(UTC)
        certificate = (
            begun_certificate(self._name, self._name, self._key.public_key(), at=at, valid_for=timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def party(self, name: str, *, uses_rsa: bool = False) -> Party:
        """Issue a certificate for both ends of TLS."""
        key: Any = rsa.generate_private_key(65537, 2048) if uses_rsa else ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        at = datetime.now(UTC)
        certificate = (
            begun_certificate(named(name), self._name, key.public_key(), at=at, valid_for=timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert, path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Party(cert, path, fingerprint_of(certificate))


class OurVtnProcess:
    """`manage.py run_vtn`; killed and started again it listens on the same port over the same file."""

    def __init__(self, folder: Path, authority: Authority | None, *, uses_rsa: bool = False, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = authority
        self.database = folder / "platform.sqlite3"
        self.log_path = folder / "vtn.log"
        self.port = self.free_port()
        self.env = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "VPP_RUNTIME_DIR": str(folder),
            "VPP_SECRET_KEY": os.urandom(32).hex(),
            "VPP_SIGNING_KEY": os.urandom(32).hex(),
            "VPP_OWN_VTN_ID": VTN_ID,
            "VPP_OWN_VTN_POLL_S": "1",
            "VPP_OWN_VTN_REPORT_S": "1",
            **env,
        }
        self.party = authority.party("vtn", uses_rsa=uses_rsa) if authority else None
        if authority is not None and self.party is not None:
            self.env |= {
                "VPP_OWN_VTN_CERT": str(self.party.cert),
                "VPP_OWN_VTN_KEY": str(self.party.key),
                "VPP_OWN_VTN_CA": str(authority.ca),
            }
        self.process: subprocess.Popen[bytes] | None = None
        self._desk: subprocess.Popen[str] | None = None
        self._desk_lock = threading.Lock()
        make_tables(f"{SQLITE}{self.database}", lambda: self.manage("migrate", "--verbosity", "0"))

    @staticmethod
    def free_port() -> int:
        """Return a port that nobody listens on."""
        with closing(socket.create_server(("127.0.0.1", 0))) as found:
            port: int = found.getsockname()[1]
            return port

    @property
    def url(self) -> str:
        """What a VEN is given."""
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}/OpenADR2/Simple/2.0b"

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed.

        In one process for all of them: starting Django for each takes seconds of a shared machine.
        """
        if self._desk is None:
            self._desk = subprocess.Popen(
                [sys.executable, "-c", DESK], cwd=ROOT, env={**self.env, "DJANGO_SETTINGS_MODULE": "vpp.settings"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            )  # fmt: skip
        with self._desk_lock:
            assert self._desk.stdin is not None
            assert self._desk.stdout is not None
            self._desk.stdin.write(json.dumps(arguments) + "\n")
            told = json.loads(self._desk.stdout.readline())
        assert "error" not in told, told["error"]
        return told["printed"]

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that prints JSON lines."""
        return [json.loads(line) for line in self.manage(*arguments).splitlines()]

    def issue(self, event_id: str, *vens: str, value: float = -250.0, starts_in_s: float = 3600.0, **more: str) -> None:
        """Issue an event, or its modification."""
        start = (datetime.now(UTC) + timedelta(seconds=starts_in_s)).isoformat()
        words = [word for name, given in more.items() for word in (f"--{name.replace('_', '-')}", given)]
        chosen = [word for ven in vens for word in ("--ven", ven)]
        self.manage(
            "vtn_events", "issue", event_id, *chosen, f"--start={start}", f"--interval=1800:{value}",
            "--market-context", CONTEXT, *words,
        )  # fmt: skip

    def answers(self, event_id: str) -> dict[str, dict[str, Any]]:
        """Return what VENs answered to an event, by name."""
        rows = self.rows(
            "SELECT v.ven_name, c.opt_type, c.opt_code, c.opt_modification FROM markets_eventcopy c "
            "JOIN markets_downstreamven v ON v.id = c.ven_id JOIN markets_downstreamevent e ON e.id = c.event_id "
            "WHERE e.event_id = ?",
            event_id,
        )
        return {row["ven_name"]: row for row in rows}

    def start(self) -> None:
        """Start it and wait until it listens."""
        plain = [] if self.authority else ["--plain"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run_vtn", "--listen", f"127.0.0.1:{self.port}", *plain],
                cwd=ROOT, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.wait_until(self._listens)

    def kill(self) -> None:
        """End it without a goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """End it in order and return its exit code."""
        if self._desk is not None:
            self._desk.communicate(timeout=15)
            self._desk = None
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.terminate()
        return self.process.wait(15)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Read its database."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]

    def wait_until(self, condition: Callable[[], Any], within_s: float = READY_WITHIN_S) -> Any:
        """Return the condition's first true value; fail with the VTN's log otherwise."""
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s; VTN log:\n{self.log_path.read_text()[-3000:]}")
            time.sleep(0.05)
        return value

    def post(
        self,
        service: str,
        message: bytes,
        party: Party | None = None,
        content_type: str = "application/xml",
        port: int | None = None,
        **headers: str,
    ) -> tuple[int, str]:
        """Post raw bytes as a peer; returns status and answer. Raises what TLS raises."""
        context = None
        if self.authority is not None:
            context = ssl.create_default_context(cafile=str(self.authority.ca))
            context.check_hostname = False
            if party is not None:
                context.load_cert_chain(party.cert, party.key)
        request = urllib.request.Request(  # noqa: S310
            f"{self.url.replace(str(self.port), str(port or self.port))}/{service}",
            data=message,
            headers={"Content-Type": content_type, **headers},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=15) as response:  # noqa: S310
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_path.read_text()[-3000:]
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
