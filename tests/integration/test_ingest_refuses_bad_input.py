"""Bad input against the real ingest process: each is refused by its name, counted, kept, and the ingest goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform, wait_until

from sites.wire.messages import Message
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import device_topic, node_topic

EXPECTED = {
    "asset_unknown": 1,
    "interval_invalid": 2,
    "metric_type_mismatch": 1,
    "metric_unknown": 1,
    "number_revised": 1,
    "payload_malformed": 1,
    "payload_too_large": 1,
    # Its node's birth, its three devices' births and an interval.
    "site_unknown": 5,
    "timestamp_in_future": 2,
    "topic_invalid": 1,
    "value_out_of_range": 2,
}
HOUR_MS = 3_600_000


def a_birth_with_faults() -> bytes:
    """Return a node's birth of which four metrics are faulty and one is good."""
    metrics = [
        Metric("bdSeq", type=MetricType.UINT64, value=1),
        Metric("no_such_metric", type=MetricType.DOUBLE, value=1.0),
        Metric("mode", type=MetricType.INT64, value=3),
        Metric("frequency_hz", type=MetricType.DOUBLE, value=float("nan")),
        Metric("voltage_pu", type=MetricType.DOUBLE, value=1.0, timestamp_ms=now_ms() + HOUR_MS),
        Metric("service_kw", type=MetricType.DOUBLE, value=4.5),
    ]
    for alias, metric in enumerate(metrics[1:], 1):
        metric.alias = alias
    return encode_payload(Payload(now_ms(), 0, metrics))


def a_device_birth() -> bytes:
    """Return a faultless birth of some device."""
    return encode_payload(Payload(now_ms(), 1, [Metric("power_kw", alias=9, type=MetricType.DOUBLE, value=1.0)]))


def send_faults(edge: OutboxEdge) -> None:
    """Send one message of every faulty kind, and the good ones between them."""

    def publish(topic: str, payload: bytes) -> None:
        edge.connection.publish(Message(topic, payload))

    publish(node_topic("NBIRTH", "site-0002"), a_birth_with_faults())
    publish(device_topic("DBIRTH", "site-0002", "charger"), a_device_birth())
    publish(device_topic("DDATA", "site-0002", "battery"), b"\xff\xff\xff not a payload")
    publish(device_topic("DDATA", "site-0002", "battery"), b"\x00" * 20_001)
    publish("spBv1.0/VPP-99/NDATA/site-0002", a_device_birth())
    start_ms = now_ms() - 60_000
    edge.send_interval(1, start_ms)
    edge.send_interval(2, start_ms + 1_000, ends_at=start_ms)
    edge.send_interval(3, start_ms + 2_000, into_bus_uwh=-1)
    edge.send_interval(4, start_ms + 3_000)
    edge.send_interval(4, start_ms + 3_000, into_bus_uwh=7)
    edge.send_interval(5, start_ms + HOUR_MS)


async def test_each_kind_of_bad_input_is_refused_by_name(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_MAX_PAYLOAD_BYTES="20000") as platform:
        platform.set_up(a_manifest(2))
        worker = platform.start("run_ingest")
        await asyncio.to_thread(wait_until, lambda: "link.up" in platform.log_of("run_ingest"))
        edge, stranger = OutboxEdge("site-0001", broker.edge_url), OutboxEdge("site-9999", broker.edge_url)
        async with connected(edge), connected(stranger):
            send_faults(edge)
            stranger.send_interval(1, now_ms() - 60_000)
            # Numbers 2 and 3 can never be accepted and hold nothing up; 5 may come again when its time has come.
            await until(lambda: 4 in edge.told, 20.0, "mark 4")
            edge.send_interval(5, now_ms() - 10_000)
            await until(lambda: 5 in edge.told, 20.0, "mark 5")
            edge.send_live()
            counts: dict[str, int] = {}
            deadline = time.monotonic() + 20.0
            while counts != EXPECTED and time.monotonic() < deadline:
                counts = await asyncio.to_thread(platform.read, "queries.refusals().counts")
        assert counts == EXPECTED
        assert worker.poll() is None, platform.log_of("run_ingest")
        assert platform.stop(worker) == 0
        assert "Traceback" not in platform.log_of("run_ingest")

        kept = platform.read("list(RefusedMessage.objects.values_list('error', 'size_bytes', 'detail'))")
        assert {error for error, _, _ in kept} == set(EXPECTED) - {"number_revised"}
        assert ["payload_too_large", 20_001] in [[error, size] for error, size, _ in kept]
        assert all(detail for _, _, detail in kept)
        # Faulty metrics are refused alone: what stood beside them is stored.
        assert platform.read("LiveState.objects.get(site__site_id='site-0002').service_kw") == 4.5
        live = platform.read("LiveState.objects.filter(site__site_id='site-0001').values_list('mode', 'soc_ratio')[0]")
        assert live == ["grid_tied", 0.5]
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[1, 0], [4, 0], [4, 1], [5, 0]]
        gaps = platform.read("[[g.first, g.last, g.reason] for g in audit.gaps()]")
        assert gaps == [[2, 2, "interval_invalid"], [3, 3, "interval_invalid"]]
