"""Three brokers as one: a node is killed, another is cut off from the rest, and no metered interval is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.nats_cluster import Cluster, Node, nats_cluster
from support.platform_processes import CHECKOUT, Platform, a_platform, wait_until

SITES = 9
INTERVAL_S = 2


@contextmanager
def sites_of(platform: Platform, cluster: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """Run simulated sites with the real uplink, spread over the cluster."""
    folder = platform.folder / "edge"
    manifest = platform.folder / "fleet.json"
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(platform.signing_key)).public_key().public_bytes_raw()
    command = [
        sys.executable, "-m", "sites.edge", "simulate", "--sites", str(SITES), "--seed", "3",
        "--host-id", "vpp", "--platform-key", key.hex(), "--interval-s", str(INTERVAL_S),
        "--runtime-dir", str(folder), "--manifest", str(manifest),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VPP_")}
    with (platform.folder / "sites.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**environment, "VPP_EDGE_BROKER_URL": cluster.url, "VPP_OPEN_BROKER": "1"},
            stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(manifest.exists, 60.0, "the fleet's manifest")
        platform.set_up(json.loads(manifest.read_text()))
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def stored_of(platform: Platform) -> dict[str, int]:
    """Return how far each site's battery is stored without a hole."""
    rows = platform.read(
        "list(StreamMark.objects.filter(stream='battery').values_list('site__site_id', 'stored_through'))"
    )
    return dict(rows)


def everybody_goes_on(platform: Platform, within_s: float, what: str) -> float:
    """Wait until every site has three more intervals stored; return how long that took [s]."""
    before = stored_of(platform)
    began_s = time.monotonic()

    def is_on() -> bool:
        now = stored_of(platform)
        return len(now) == SITES and all(now[site_id] >= mark + 3 for site_id, mark in before.items())

    wait_until(is_on, within_s, what)
    return time.monotonic() - began_s


def busiest(cluster: Cluster) -> Node:
    return max((node for node in cluster.nodes if node.process is not None), key=cluster.connections)


@pytest.mark.long
def test_a_killed_node_and_one_that_is_cut_off(tmp_path: Path) -> None:
    # Its nodes stand in network namespaces of their own, so not on the loopback interface.
    with (
        nats_cluster() as cluster,
        a_platform(tmp_path, cluster.url, VPP_OPEN_BROKER="1") as platform,
        sites_of(platform, cluster),
    ):
        workers = [platform.start("run_ingest", "--partitions", half) for half in ("0-31", "32-63")]
        workers.append(platform.start("run_host"))
        wait_until(lambda: len(stored_of(platform)) == SITES, 90.0, "every site's first interval is stored")
        everybody_goes_on(platform, 60.0, "the fleet's metering")

        killed = busiest(cluster)
        cluster.kill(killed)
        everybody_goes_on(platform, 120.0, "the fleet's metering without a killed node")
        cluster.start(killed)
        cluster.wait_ready()

        cut = busiest(cluster)
        held = cluster.connections(cut)
        assert held > 0
        cluster.cut_off(cut)
        everybody_goes_on(platform, 180.0, "the fleet's metering without a node that is cut off")
        # They left by themselves: the node still answers, and carries nothing.
        wait_until(lambda: cluster.connections(cut) == 0, 60.0, "nobody stays at the node that is cut off")
        cluster.join_again(cut)
        everybody_goes_on(platform, 120.0, "the fleet's metering with all nodes again")

        for worker in workers:
            assert worker.poll() is None, platform.log_of("run_ingest")
        assert platform.manage("audit_gaps").strip() == "no gaps"
        repeated = platform.read(
            "[list(r) for r in MeterInterval.objects.exclude(revision=0).values_list('asset__site__site_id', 'number')]"
        )
        assert repeated == []
