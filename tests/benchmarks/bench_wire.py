"""What a message costs at the wire's ends: 10 metrics received in 40 us of CPU, a site held in 3,000 bytes."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

# ruff: noqa: E402 the benchmarks run as scripts, each in its own process, without pytest's search path
sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]

from support.wire_sites import NODE_VALUES, an_edge_session, births_of, interval_metrics

from sites.wire.host_events import NodeData
from sites.wire.host_session import HostSession
from sites.wire.messages import Message
from sites.wire.payload import decode_payload
from sites.wire.signature import open_envelope, public_key_of, seal

NOW_MS = 1_790_000_000_000
RUNS, MESSAGES = 15, 1_000
SITES = 2_000
LIMITS_US = {"receive NDATA of 10 metrics": 40.0}
MEMORY_LIMIT_BYTES_PER_SITE = 3_000
SEED = bytes(range(32))


def best_us(work: Callable[[], None], count: int, runs: int = RUNS) -> float:
    """Return the least CPU time of one of ``count`` repetitions [us]: what it costs without its neighbors."""
    times_s = []
    for _ in range(runs):
        started_s = time.process_time()
        work()
        times_s.append(time.process_time() - started_s)
    return min(times_s) / count * 1e6


def measured_us() -> dict[str, float]:
    """Return the cost of each kind of message [us]."""
    edge, host = an_edge_session(), HostSession(1_000_000, 60.0)
    for message in births_of(edge, NOW_MS):
        host.receive(message.topic, message.payload, NOW_MS)
    sent: list[Message] = []
    results = {
        "encode NDATA of 10 metrics": best_us(
            lambda: sent.extend(edge.node_data(NOW_MS, NODE_VALUES) for _ in range(MESSAGES)), MESSAGES
        )
    }
    payload = sent[0].payload
    results["decode NDATA of 10 metrics"] = best_us(
        lambda: [decode_payload(payload, max_bytes=1_000_000) for _ in range(MESSAGES)] and None, MESSAGES
    )
    waiting = iter(sent)

    def receive() -> None:
        for _ in range(MESSAGES):
            message = next(waiting)
            [event] = host.receive(message.topic, message.payload, NOW_MS)
            if type(event) is not NodeData:
                raise AssertionError(f"a message was not read: {event}")

    results["receive NDATA of 10 metrics"] = best_us(receive, MESSAGES)
    row = edge.stream_data(NOW_MS, "battery", interval_metrics(1, NOW_MS - 60_000), False)
    # A host without the site's birth takes the same row again and again.
    unborn = HostSession(1_000_000, 60.0)
    results["receive one numbered interval"] = best_us(
        lambda: [unborn.receive(row.topic, row.payload, NOW_MS) for _ in range(MESSAGES)] and None, MESSAGES
    )
    envelope, keys = seal(b"x" * 400, SEED), [public_key_of(SEED)]
    results["open a signed envelope"] = best_us(
        lambda: [open_envelope(envelope, keys) for _ in range(200)] and None, 200
    )
    flood = b"\x12\x00" * 499_999
    results["refuse 1 MB of empty metrics"] = best_us(lambda: unborn.receive(row.topic, flood, NOW_MS) and None, 1, 5)
    return results


def memory_bytes_per_site() -> float:
    """Return what a host holds of one site with seven births [bytes]."""
    births = [births_of(an_edge_session(f"site-{number:05d}"), NOW_MS) for number in range(SITES)]
    tracemalloc.start()
    host = HostSession(1_000_000, 60.0)
    for messages in births:
        for message in messages:
            host.receive(message.topic, message.payload, NOW_MS)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / SITES


def main() -> int:
    """Print every figure; 1 when one is over its limit."""
    failed = False
    for name, cost_us in measured_us().items():
        limit_us = LIMITS_US.get(name)
        over = limit_us is not None and cost_us > limit_us
        failed = failed or over
        limit = f", limit {limit_us:.0f} us" if limit_us is not None else ""
        print(f"{name:<30} {cost_us:9.1f} us{limit}{'  OVER' if over else ''}")
    per_site = memory_bytes_per_site()
    over = per_site > MEMORY_LIMIT_BYTES_PER_SITE
    limit = f", limit {MEMORY_LIMIT_BYTES_PER_SITE}{'  OVER' if over else ''}"
    print(f"{'memory of one site':<30} {per_site:9.0f} bytes{limit}")
    return 1 if failed or over else 0


if __name__ == "__main__":
    sys.exit(main())
