"""The ingest's own restart, and its broker's, must not look like an attack: live data goes on, nothing is refused."""

from __future__ import annotations

from pathlib import Path

from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, until
from support.platform_processes import Platform, a_platform

from sites.wire.messages import Message

SERVICE_KW = "LiveState.objects.values_list('service_kw', flat=True).first()"


async def speaks_until_stored(edge: OutboxEdge, platform: Platform, service_kw: float, is_asked: int) -> None:
    """Send live data by alias until the site was asked for its births and its values are stored."""

    def asked() -> bool:
        edge.send_live(service_kw=service_kw)
        return edge.rebirths >= is_asked

    await until(asked, 30.0, "a request for births")

    def stored() -> bool:
        edge.send_live(service_kw=service_kw)
        return platform.read(SERVICE_KW) == service_kw

    await until(stored, 30.0, "the live values")


async def test_data_before_a_birth_is_asked_about_and_not_counted(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_LOG_LEVEL="DEBUG") as platform:
        platform.set_up(a_manifest(1))
        edge = OutboxEdge("site-0001", broker.edge_url)
        async with connected(edge):
            worker = platform.start("run_ingest")
            await speaks_until_stored(edge, platform, 1.0, 1)
            platform.kill(worker)
            worker = platform.start("run_ingest")
            await speaks_until_stored(edge, platform, 2.0, 2)
            assert platform.read("queries.refusals().counts") == {}
            # A message that no birth could make good is an attack or a fault, before as after.
            edge.connection.publish(Message("spBv1.0/VPP-99/NDATA/site-0001", b"\xff"))
            await until(lambda: platform.read("queries.refusals().counts") == {"topic_invalid": 1}, 20.0, "the count")
            assert platform.stop(worker) == 0
        assert "awaits a birth: alias_unknown" in platform.log_of("run_ingest")


async def test_births_missed_while_the_broker_was_away_are_asked_for(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        platform.set_up(a_manifest(1))
        worker = platform.start("run_ingest")
        edge = OutboxEdge("site-0001", broker.edge_url)
        async with connected(edge):
            await speaks_until_stored(edge, platform, 1.0, 0)
            asked, edge.bears_when_connected = edge.rebirths, False
            broker.kill()
            await until(lambda: not edge.connection.is_up, 20.0, "the edge sees the broker gone")
            broker.start()
            await until(lambda: platform.log_of("run_ingest").count("link.up") == 2, 20.0, "the ingest is back")
            await until(lambda: edge.connection.is_up, 20.0, "the edge is back")
            # Its sequence goes on without a hole: only the lost connection tells that births may be missing.
            await speaks_until_stored(edge, platform, 3.0, asked + 1)
        assert platform.stop(worker) == 0
        assert platform.read("queries.refusals().counts") == {}
