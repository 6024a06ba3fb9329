"""A device that sends the same few messages again and again as fast as its socket takes them, until its input ends."""

from __future__ import annotations

import select
import sys
import time

from support.fleet_sender import RawPublisher, packet

from sites.wire.edge_session import EdgeSession
from sites.wire.metrics import NODE_METRICS


def main(url: str, site_id: str) -> None:
    """Bear, then loop; print how many messages went out."""
    session = EdgeSession(site_id, "vpp", NODE_METRICS, {})
    session.will(1)
    now_ms = time.time_ns() // 1_000_000
    messages = [*session.births(now_ms, {}, {}), session.node_data(now_ms, {"frequency_hz": 50.0})]
    packets = [packet(message.topic, message.payload) for message in messages]
    publisher, sent = RawPublisher(url), 0
    print("looping", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        publisher.send(packets)
        sent += len(packets)
    publisher.close()
    print(sent, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
