"""Rows a second that one ingest worker stores, on SQLite and on PostgreSQL: 200 sites, batches of 250 ms."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from support.brokers import nats_broker  # noqa: E402
from support.manifests import a_manifest  # noqa: E402
from support.outbox_edge import NODE_VALUES, now_ms  # noqa: E402
from support.platform_processes import CHECKOUT, a_platform, wait_until  # noqa: E402
from support.postgres import postgres_database, postgres_folder  # noqa: E402

from sites.mqtt.address import BrokerAddress  # noqa: E402
from sites.mqtt.connection import Connection  # noqa: E402
from sites.wire.edge_session import EdgeSession  # noqa: E402
from sites.wire.metrics import ASSET_METRICS, NODE_METRICS  # noqa: E402

LABELS = {
    "readings_per_s": "readings stored [1/s]",
    "intervals_per_s": "intervals stored [1/s]",
    "worst_interval_batch_ms": "slowest batch of intervals [ms]",
    "messages": "messages sent",
    "readings_stored": "readings stored",
    "readings_sent": "readings sent",
    "messages_per_s": "messages taken in [1/s]",
    "worker_cpu_us_per_message": "processor time of a message [us]",
}

# Runs inside the platform: its database is chosen by the environment.
SCRIPT = """
import json, sys, time
sys.path.insert(0, "tests")
from datetime import timedelta
from support.meters import START, an_interval, a_batch
from sites.metering import operations
from sites.metering.batches import Batch, LiveRow
from sites.registry.models import Asset, Site

ROWS, BATCHES = 5_000, 20
sites = list(Site.objects.all())
states, readings_s = {}, 0.0
for index in range(BATCHES):
    at = START + timedelta(seconds=index)
    rows = [(site.pk, "", f"metric_{i}", at, at, float(i)) for i in range(ROWS // len(sites)) for site in sites]
    live = {site.pk: LiveRow(site.site_id, at, at, {"frequency_hz": 50.0, "mode": "grid_tied"}) for site in sites}
    begun = time.perf_counter()
    states |= operations.store_batch(batch=Batch(readings=rows, live=live), states=states, at=at).states
    readings_s += time.perf_counter() - begun
assets = list(Asset.objects.select_related("site"))
intervals_s, worst_s = 0.0, 0.0
for number in range(1, BATCHES + 1):
    batch = a_batch(*(an_interval(asset, number) for asset in assets))
    begun = time.perf_counter()
    states |= operations.store_batch(batch=batch, states=states, at=START).states
    took_s = time.perf_counter() - begun
    # The first batch looks up where every stream stands.
    intervals_s, worst_s = intervals_s + took_s, max(worst_s, took_s)
print("@" + json.dumps({
    "readings_per_s": round(ROWS * BATCHES / readings_s),
    "intervals_per_s": round(len(assets) * BATCHES / intervals_s),
    "worst_interval_batch_ms": round(worst_s * 1000),
}))
"""


def measure(database_url: str = "") -> dict[str, Any]:
    """Return the rates on a database; an empty address means a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder, a_platform(Path(folder), "mqtt://127.0.0.1:1", database_url) as made:
        made.set_up(a_manifest(200))
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", SCRIPT],
            cwd=CHECKOUT, env=made.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return dict(json.loads(done.stdout.rsplit("@", 1)[1]))


async def measure_whole_path(site_count: int = 200, rounds: int = 20) -> dict[str, Any]:
    """Return what the real process takes from the wire, end to end, sent as fast as the broker takes it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        nats_broker() as broker,
        a_platform(Path(folder), broker.url) as made,
    ):
        made.set_up(a_manifest(site_count))
        worker = made.start("run_ingest")
        await asyncio.to_thread(wait_until, lambda: "link.up" in made.log_of("run_ingest"))
        devices = {kind: ASSET_METRICS[kind] for kind in ("pcc", "battery", "load")}
        sessions = [EdgeSession(f"site-{n + 1:04d}", "vpp", NODE_METRICS, devices) for n in range(site_count)]
        sender = Connection(BrokerAddress.parse(broker.url), name="bench", on_message=lambda *_: None)
        link = asyncio.create_task(sender.run())
        while not sender.is_up:
            await asyncio.sleep(0.05)

        def publish(message: Any) -> None:
            sender.publish(message)

        for session in sessions:
            for message in session.births(now_ms(), {}, {}):
                publish(message)
        await asyncio.sleep(0.5)
        cpu_s, begun, first_ms = _cpu_s(worker.pid), time.perf_counter(), now_ms() - rounds * 1000
        for index in range(rounds):
            at_ms = first_ms + index * 1000
            for session in sessions:
                publish(session.node_data(at_ms, NODE_VALUES))
                for device in devices:
                    publish(session.device_data(at_ms, device, {"power_kw": 1.0}))
                await asyncio.sleep(0)
        rows = site_count * rounds * (len(NODE_VALUES) - 1 + len(devices))
        with contextlib.closing(sqlite3.connect(Path(folder) / "vpp.sqlite3")) as database:
            count = 0
            while count < rows and time.perf_counter() - begun < 120.0:
                await asyncio.sleep(0.1)
                count = database.execute("SELECT count(*) FROM metering_reading").fetchone()[0]
        wall_s = time.perf_counter() - begun
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)
        messages = site_count * rounds * (1 + len(devices))
        return {
            "messages": messages,
            "readings_stored": count,
            "readings_sent": rows,
            "messages_per_s": round(messages / wall_s),
            "worker_cpu_us_per_message": round((_cpu_s(worker.pid) - cpu_s) / messages * 1e6),
        }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> dict[str, Any]:
    """Measure both databases; PostgreSQL only where it is installed."""
    found = {"sqlite": measure()}
    if postgres_folder() is not None:
        with postgres_database() as url:
            found["postgresql"] = measure(url)
    found["wire_to_sqlite"] = asyncio.run(measure_whole_path())
    return found


if __name__ == "__main__":
    for store, figures in main().items():
        print(store.replace("_", " "))
        for name, figure in figures.items():
            print(f"  {LABELS[name]:<36} {figure:>9,}")
