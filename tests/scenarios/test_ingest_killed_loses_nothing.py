"""Kill -9 of the ingest, twice, in the middle of a stream: every interval is stored once, no mark lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform

INTERVALS = 3_000


@pytest.mark.long
async def test_kill_and_restart_lose_no_interval(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_INGEST_BATCH_S="0.05") as platform:
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        first_ms = now_ms() - INTERVALS * 1_000
        edge = OutboxEdge("site-0001", broker.edge_url)
        edge.outbox = {number: first_ms + number * 1_000 for number in range(1, INTERVALS + 1)}
        async with connected(edge):
            kills = [INTERVALS // 4, INTERVALS // 2]

            def pumped() -> bool:
                nonlocal worker
                edge.pump()
                if kills and len(edge.outbox) < INTERVALS - kills[0]:
                    kills.pop(0)
                    assert worker.poll() is None, platform.log_of("run_ingest")
                    platform.kill(worker)
                    stored = platform.read("list(MeterInterval.objects.values_list('number', flat=True))")
                    # Nothing was told to the site that is not in the database after the kill.
                    assert set(range(1, edge.told[-1] + 1)) <= set(stored)
                    worker = platform.start("run_ingest")
                return not edge.outbox

            await until(pumped, 90.0, "the outbox is empty")
            assert not kills
            # A new worker asked for the births that it had not heard, and has the live values again.
            await until(lambda: edge.rebirths >= 1, 20.0, "a rebirth was asked for")
        assert platform.stop(worker) == 0

        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[number, 0] for number in range(1, INTERVALS + 1)]
        assert platform.read("list(StreamMark.objects.values_list('stream', 'stored_through'))") == [
            ["battery", INTERVALS]
        ]
        assert edge.told == sorted(edge.told)
        assert platform.manage("audit_gaps").strip() == "no gaps"
        assert platform.read("queries.refusals().counts") == {}
