"""Kill -9 of the ingest and of its database at random instants: nothing that a site was told to forget is missing."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform
from support.postgres import postgres_server

PER_ROUND = 400
FIRST_S, LAST_S = 0.05, 1.5
"""When in a round somebody is killed [s]."""

pytestmark = pytest.mark.postgres


async def killed_rounds(tmp_path: Path, *, rounds: int, seed: int) -> None:
    """Play so many rounds: intervals flow, the ingest or the database dies and comes back, all are stored once."""
    chance = random.Random(seed)
    with (
        nats_broker() as broker,
        postgres_server(durable=True) as database,
        a_platform(tmp_path, broker.url, database.url, VPP_INGEST_BATCH_S="0.05", VPP_LEASE_S="2") as platform,
    ):
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        first_ms = now_ms() - 86_400_000
        edge = OutboxEdge("site-0001", broker.edge_url)
        async with connected(edge):
            for number in range(rounds):
                first = number * PER_ROUND + 1
                edge.outbox |= {n: first_ms + n * 1_000 for n in range(first, first + PER_ROUND)}
                victim, after_s = chance.choice(["ingest", "database", "both"]), chance.uniform(FIRST_S, LAST_S)
                began_s = time.monotonic()
                while time.monotonic() - began_s < after_s:
                    edge.pump()
                    await asyncio.sleep(0.02)
                if victim in {"ingest", "both"}:
                    platform.kill(worker)
                if victim in {"database", "both"}:
                    await asyncio.to_thread(database.kill)
                    await asyncio.sleep(chance.uniform(0.0, 0.5))
                    await asyncio.to_thread(database.start)
                if victim in {"ingest", "both"}:
                    worker = platform.start("run_ingest")

                def pumped() -> bool:
                    edge.pump()
                    return not edge.outbox

                await until(pumped, 60.0, f"seed {seed}, round {number}: {victim} killed after {after_s:.3f} s: stored")
                assert worker.poll() is None, platform.log_of("run_ingest")[-3000:]
        assert platform.stop(worker) == 0
        count = rounds * PER_ROUND
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[n, 0] for n in range(1, count + 1)]
        assert platform.read("list(StreamMark.objects.values_list('stream', 'stored_through'))") == [["battery", count]]
        assert platform.manage("audit_gaps").strip() == "no gaps"
        assert platform.read("queries.refusals().counts") == {}


@pytest.mark.long
async def test_a_few_rounds(tmp_path: Path) -> None:
    await killed_rounds(tmp_path, rounds=3, seed=4)


@pytest.mark.long
async def test_many_rounds(tmp_path: Path) -> None:
    seed = int(os.environ.get("VPP_TEST_SEED", "20260301"))
    await killed_rounds(tmp_path, rounds=60, seed=seed)


async def test_a_slow_database_delays_and_loses_nothing(tmp_path: Path) -> None:
    import psycopg

    with (
        nats_broker() as broker,
        postgres_server() as database,
        a_platform(tmp_path, broker.url, database.url, VPP_LEASE_S="2") as platform,
    ):
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        stand_by = platform.start("run_ingest", "--partitions", "none", "--stand-by", "0-63")
        edge, first_ms = OutboxEdge("site-0001", broker.edge_url), now_ms() - 3_600_000
        async with connected(edge):
            edge.outbox = {n: first_ms + n * 1_000 for n in range(1, 301)}

            def pumped() -> bool:
                edge.pump()
                return not edge.outbox

            await until(lambda: edge.pump() or edge.told, 30.0, "the first are stored")
            # For more than two leases every write of an interval waits, as behind a long repair of a table.
            with psycopg.connect(database.url) as blocker:
                blocker.execute("LOCK TABLE metering_meterinterval IN EXCLUSIVE MODE")
                edge.outbox |= {n: first_ms + n * 1_000 for n in range(301, 601)}
                began_s = time.monotonic()
                while time.monotonic() - began_s < 5.0:
                    edge.pump()
                    edge.send_live()
                    await asyncio.sleep(0.1)
                assert edge.outbox
                blocker.rollback()
            await until(pumped, 40.0, "all are stored")
        assert worker.poll() is None
        assert platform.stop(stand_by) == 0
        assert platform.stop(worker) == 0
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[n, 0] for n in range(1, 601)]
        # The write that waited held its partitions' rows: the stand-by did not write beside it.
        assert "batch_fenced" not in platform.log_of("run_ingest")
