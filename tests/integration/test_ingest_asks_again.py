"""What is missing in a numbered stream is asked for; what its site no longer has is named and waited for no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform, wait_until


async def test_a_hole_is_asked_for_sent_again_or_settled_by_name(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_ASK_MISSING_AFTER_S="0.5") as platform:
        platform.set_up(a_manifest(1))
        platform.start("run_ingest")
        await asyncio.to_thread(wait_until, lambda: "link.up" in platform.log_of("run_ingest"))
        edge = OutboxEdge("site-0001", broker.edge_url)
        start_ms = now_ms() - 60_000
        at = {number: start_ms + 1_000 * number for number in range(1, 10)}
        async with connected(edge):
            for number in (1, 2, 5):
                edge.send_interval(number, at[number])
            await until(lambda: 2 in edge.told, 20.0, "mark 2")
            # Put back to an older state, the platform lacks what its site was told to forget.
            edge.kept = {number: at[number] for number in (3, 4)}
            await until(lambda: edge.asked, 20.0, "the question")
            assert edge.asked[0] == [3, 4]
            edge.pump()
            await until(lambda: 5 in edge.told, 20.0, "mark 5")
            edge.kept = {}
            edge.send_interval(9, at[9])
            await until(lambda: [6, 8] in edge.asked, 20.0, "the second question")
            await until(lambda: 9 in edge.told, 20.0, "mark 9 past what nobody has")
            # An answer that nobody asked for settles nothing.
            edge._send_again([10, 20])
            await asyncio.to_thread(
                wait_until, lambda: platform.read("queries.refusals().counts").get("resend_unasked"), 20.0
            )
        gaps = platform.read("[[g.first, g.last, g.reason] for g in audit.gaps()]")
        assert gaps == [[number, number, "no_longer_kept"] for number in (6, 7, 8)]
        rows = platform.read("list(MeterInterval.objects.order_by('number').values_list('number', 'revision'))")
        assert rows == [[number, 0] for number in (1, 2, 3, 4, 5, 9)]
