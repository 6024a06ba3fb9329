"""A thousand sites with certificates of their own lose their broker in one instant: when are all back and even?"""

from __future__ import annotations

import asyncio
import logging
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fleet_rows import Benchmark, Options, Row
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, now_ms, until
from support.platform_processes import Platform, a_platform
from support.tls_brokers import TlsBroker, a_tls_broker

SITES = 1_000
AWAY_S = 5.0
"""How long the broker stays away; each site measures three intervals meanwhile."""
OWED = 3
WITHIN_S = 60.0
FILES = 8_192
PUMP_EVERY_S = 0.2


def run_reconnect(_options: Options) -> list[Row]:
    """Kill the broker under all connections, start it again, and wait for the last site's last interval."""
    # Three thousand lines of links that come and go would bury the figures.
    logging.getLogger("sites.mqtt").setLevel(logging.ERROR)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    with tempfile.TemporaryDirectory(prefix="vpp-reconnect-") as name, a_tls_broker("mosquitto") as broker:
        address = broker.url(broker.pair("vpp.ingest"), service=True)
        authority = {
            "VPP_SITE_CA_CERT": str(broker.folder / "site-ca.pem"),
            "VPP_SITE_CA_KEY": str(broker.folder / "site-ca.key"),
        }
        with a_platform(Path(name), address, "", **authority) as platform:
            platform.set_up(a_manifest(SITES))
            platform.manage(
                "keep_broker", "mosquitto", "--folder", str(broker.folder), "--pid-file", str(broker.pid_file), "--once"
            )
            broker.start()
            platform.start("run_ingest")
            return asyncio.run(_measure(broker, platform))


async def _measure(broker: TlsBroker, platform: Platform) -> list[Row]:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=16))
    ids = [f"site-{number:04d}" for number in range(1, SITES + 1)]
    edges = [OutboxEdge(site_id, broker.url(broker.pair(site_id, site_identity=f"b{site_id}"))) for site_id in ids]
    links = [asyncio.create_task(edge.connection.run()) for edge in edges]
    pumping = asyncio.create_task(_pump(edges))
    try:
        began_s = time.monotonic()
        await until(lambda: all(edge.connection.is_up for edge in edges), 120.0, "every site's first connection")
        first_s = time.monotonic() - began_s
        _owe(edges, 1)
        await until(lambda: not any(edge.outbox for edge in edges), 120.0, "every site's first interval")

        process = broker.process
        assert process is not None
        process.kill()
        process.wait(10.0)
        await until(lambda: not any(edge.connection.is_up for edge in edges), 60.0, "every site sees it")
        _owe(edges, 2)
        await asyncio.sleep(AWAY_S)
        began_s = time.monotonic()
        broker.start()
        await until(lambda: all(edge.connection.is_up for edge in edges), 300.0, "every site is back")
        back_s = time.monotonic() - began_s
        await until(lambda: not any(edge.outbox for edge in edges), 300.0, "every site's intervals")
        even_s = time.monotonic() - began_s
    finally:
        pumping.cancel()
        for task in links:
            task.cancel()
        await asyncio.gather(pumping, *links, return_exceptions=True)
    stored = platform.read("MeterInterval.objects.filter(revision=0).count()")
    title = f"{SITES} TLS connections dropped at once"
    return [
        Row("reconnect_even_s", f"{title}: all back and all owed rows stored [s]", even_s, WITHIN_S, is_most=True),
        Row("reconnect_lost", f"{title}: intervals lost", SITES * (1 + OWED) - stored, 0.0, is_most=True),
        Row("reconnect_back_s", f"{title}: all connected again [s]", back_s),
        Row("reconnect_first_s", f"{SITES} TLS connections made at once, the first time [s]", first_s),
    ]


def _owe(edges: list[OutboxEdge], first: int) -> None:
    """Let each site owe its next intervals: one the first time, OWED later."""
    count = 1 if first == 1 else OWED
    starts_ms = now_ms() - 600_000
    for edge in edges:
        edge.outbox |= {number: starts_ms + number * 1_000 for number in range(first, first + count)}


async def _pump(edges: list[OutboxEdge]) -> None:
    while True:
        for edge in edges:
            if edge.outbox and edge.connection.is_up:
                edge.pump()
        await asyncio.sleep(PUMP_EVERY_S)


BENCHMARKS = (Benchmark("reconnect", "a fleet that loses its broker", run_reconnect),)
