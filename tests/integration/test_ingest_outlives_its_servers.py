"""The ingest goes on when its database or its broker goes away, and nothing numbered is lost."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import Platform, a_platform
from support.postgres import postgres_database


def filled(edge: OutboxEdge, first: int, last: int) -> None:
    start_ms = now_ms() - 10_000_000
    edge.outbox |= {number: start_ms + number * 1_000 for number in range(first, last + 1)}


async def drained(edge: OutboxEdge, platform: Platform, worker: Any) -> None:
    def is_empty() -> bool:
        assert worker.poll() is None, platform.log_of("run_ingest")
        edge.pump()
        return not edge.outbox

    await until(is_empty, 60.0, "the outbox is empty")


async def test_a_locked_database_and_a_restarted_broker(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        edge = OutboxEdge("site-0001", broker.edge_url)
        async with connected(edge):
            filled(edge, 1, 50)
            await drained(edge, platform, worker)

            other = sqlite3.connect(tmp_path / "vpp.sqlite3", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            filled(edge, 51, 300)
            locked_until = time.monotonic() + 2.0

            def lock_is_over() -> bool:
                edge.pump()
                return time.monotonic() > locked_until

            await until(lock_is_over, 10.0, "the lock's time")
            assert edge.told[-1] == 50
            other.execute("ROLLBACK")
            other.close()
            await drained(edge, platform, worker)

            broker.kill()
            await until(lambda: not edge.connection.is_up, 20.0, "the edge sees the broker gone")
            filled(edge, 301, 400)
            broker.start()
            await drained(edge, platform, worker)
        assert platform.stop(worker) == 0
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[number, 0] for number in range(1, 401)]


@pytest.mark.postgres
async def test_connections_that_the_database_server_drops(tmp_path: Path) -> None:
    with postgres_database() as url, nats_broker() as broker, a_platform(tmp_path, broker.url, url) as platform:
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        edge = OutboxEdge("site-0001", broker.edge_url)
        filled(edge, 1, 1_000)
        dropped = 0
        with psycopg.connect(url, autocommit=True) as administrator:
            async with connected(edge):
                drop_at = 100

                def is_empty() -> bool:
                    nonlocal dropped, drop_at
                    edge.pump()
                    if edge.told and edge.told[-1] >= drop_at:
                        drop_at = edge.told[-1] + 200
                        ended = administrator.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                        )
                        dropped += len(ended.fetchall())
                    return not edge.outbox

                await until(is_empty, 60.0, "the outbox is empty")
            assert dropped >= 2
            assert platform.stop(worker) == 0
            rows = administrator.execute("SELECT number, revision FROM metering_meterinterval ORDER BY number")
            assert rows.fetchall() == [(number, 0) for number in range(1, 1_001)]
