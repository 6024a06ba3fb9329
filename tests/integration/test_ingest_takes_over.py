"""Workers and their partitions: one dies and its stand-by goes on, it comes back and gets them again; nothing lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.brokers import nats_broker
from support.manifests import a_manifest
from support.meters import START, a_batch, an_interval
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform

from sites.metering import leases, operations
from sites.metering.leases import LeaseLost, covered_partitions, hold_partitions, release_partitions
from sites.metering.models import MeterInterval
from sites.registry.models import Asset
from sites.registry.operations import enrol_sites

LEASE_S = 2.0
TAKEN_OVER_WITHIN_S = LEASE_S + 3.0
"""Lease, a look each fifth of it, and the time that a busy machine takes."""


async def test_a_stand_by_takes_over_and_gives_back(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_LEASE_S=str(LEASE_S)) as platform:
        platform.set_up(a_manifest(1))
        own = platform.start("run_ingest", "--partitions", "0-63")
        await until(lambda: "link.up" in platform.log_of("run_ingest"), 30.0, "the worker's connection")
        stand_by = platform.start("run_ingest", "--partitions", "none", "--stand-by", "0-63")
        await until(lambda: platform.log_of("run_ingest").count("link.up") == 2, 30.0, "the stand-by's connection")
        edge, first_ms = OutboxEdge("site-0001", broker.edge_url), now_ms() - 3_600_000
        async with connected(edge):

            async def stored(first: int, last: int) -> None:
                edge.outbox |= {number: first_ms + number * 1_000 for number in range(first, last + 1)}

                def pumped() -> bool:
                    edge.pump()
                    edge.send_live()
                    return not edge.outbox

                await until(pumped, 30.0, f"numbers {first} to {last} stored")

            await stored(1, 200)
            platform.kill(own)
            log = platform.log_of("run_ingest")
            await until(
                lambda: "partitions_taken" in platform.log_of("run_ingest")[len(log) :],
                TAKEN_OVER_WITHIN_S,
                "taken over",
            )
            await stored(201, 400)
            # The worker of its own is back: it asks, and the stand-by lets go in order.
            back = platform.start("run_ingest", "--partitions", "0-63")
            await until(lambda: "partitions_given_back" in platform.log_of("run_ingest"), 30.0, "given back")
            await stored(401, 600)
        assert platform.stop(stand_by) == 0
        assert platform.read("[list(set(PartitionLease.objects.values_list('is_own', flat=True)))]") == [[True]]
        assert platform.stop(back) == 0
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[number, 0] for number in range(1, 601)]
        assert platform.manage("audit_gaps").strip() == "no gaps"
        assert platform.read("queries.refusals().counts") == {}


@pytest.mark.django_db
class TestLeases:
    def hold(self, worker: str, own: range, stand_by: range = range(0), *, at_s: float) -> leases.Holding:
        return hold_partitions(
            worker=worker, own=own, stand_by=stand_by, lease_s=5.0, at=START + timedelta(seconds=at_s)
        )

    def test_each_partition_has_one_holder_and_overlap_is_told(self) -> None:
        assert self.hold("a", range(40), at_s=0).partitions == frozenset(range(40))
        found = self.hold("b", range(32, 64), at_s=1)
        assert found.partitions == frozenset(range(40, 64))
        assert found.elsewhere == frozenset(range(32, 40))
        assert covered_partitions(at=START + timedelta(seconds=2)) == set(range(64))

    def test_a_stand_by_takes_what_nobody_holds_and_its_own_worker_asks_for_it(self) -> None:
        self.hold("a", range(64), at_s=0)
        assert self.hold("s", range(0), range(64), at_s=4.9).partitions == frozenset()
        assert covered_partitions(at=START + timedelta(seconds=5)) == set()
        assert len(self.hold("s", range(0), range(64), at_s=5.0).partitions) == 64
        assert self.hold("a", range(64), at_s=6).partitions == frozenset()
        asked = self.hold("s", range(0), range(64), at_s=7)
        assert asked.wanted == asked.partitions == frozenset(range(64))
        release_partitions(worker="s", partitions=asked.wanted, at=START + timedelta(seconds=7))
        assert len(self.hold("a", range(64), at_s=8).partitions) == 64
        # Nobody asks any more, and nothing is wanted of the worker of its own.
        assert self.hold("a", range(64), at_s=9).wanted == frozenset()

    def test_a_worker_that_slept_through_its_lease_writes_nothing(self) -> None:
        enrol_sites(manifest=a_manifest(1), program="neso-dc-low", at=START)
        battery = Asset.objects.get(name="battery")
        self.hold("a", range(64), at_s=0)
        batch = a_batch(an_interval(battery, 1))
        batch.partitions = frozenset(range(64))
        self.hold("b", range(64), at_s=6)
        with pytest.raises(LeaseLost, match="64 of 64 partitions"):
            operations.store_batch(batch=batch, states={}, at=START, worker="a", lease_s=5.0)
        assert not MeterInterval.objects.exists()
        operations.store_batch(batch=batch, states={}, at=START + timedelta(seconds=7), worker="b", lease_s=5.0)
        assert MeterInterval.objects.count() == 1
        # Writing renewed it: a slow database does not cost a worker its partitions.
        assert len(covered_partitions(at=START + timedelta(seconds=11.9))) == 64
