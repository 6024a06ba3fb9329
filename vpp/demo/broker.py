"""The embedded MQTT broker: nats-server from its wheel, on loopback, two users with random passwords."""

from __future__ import annotations

import socket
from pathlib import Path

from vpp.demo.workspace import Workspace

# In NATS subjects a topic's "/" is "." and its "." is "//". A site may tell what is its own to tell and
# hear commands and the host's state; it may command nobody and cannot speak for the host.
CONFIG = """\
server_name: "vpp-demo"
listen: "127.0.0.1:-1"
max_payload: 1048576
jetstream {{ store_dir: "{store}", max_file_store: 256MB, max_memory_store: 64MB }}
mqtt {{ listen: "127.0.0.1:{mqtt_port}" }}
authorization {{
  users: [
    {{ user: "platform", password: "{platform_password}", allowed_connection_types: ["MQTT"] }}
    {{ user: "edge", password: "{edge_password}", allowed_connection_types: ["MQTT"], permissions: {{
        publish: {{ allow: [{edge_publish}] }}
        subscribe: {{ allow: [{edge_subscribe}] }}
    }} }}
  ]
}}
"""
EDGE_PUBLISH = ["NBIRTH.*", "NDATA.*", "NDEATH.*", "DBIRTH.*.*", "DDATA.*.*", "DDEATH.*.*"]


def write_config(workspace: Workspace) -> Path:
    """Write the broker's configuration of one run, readable by its owner alone; return its path."""

    def subjects(names: list[str]) -> str:
        return ", ".join(f'"{name}"' for name in names)

    path = workspace.folder / "nats.conf"
    path.touch(mode=0o600)
    path.write_text(
        CONFIG.format(
            mqtt_port=workspace.mqtt_port,
            store=workspace.folder / "nats",
            platform_password=workspace.platform_password,
            edge_password=workspace.edge_password,
            edge_publish=subjects([f"spBv1//0.*.{kind}" for kind in EDGE_PUBLISH]),
            edge_subscribe=subjects(["spBv1//0.*.NCMD.*", "spBv1//0.*.DCMD.*.*", "spBv1//0.STATE.*", "vpp.setpoint.*"]),
        )
    )
    return path


def accepts_connections(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
