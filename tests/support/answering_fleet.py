"""A fleet's control devices on one connection, in a process of its own: takes assignments, answers each.

usage: python answering_fleet.py BROKER_URL SITES PLATFORM_KEY

In the real world each site has a processor of its own; here one process plays them all on a machine that the platform
needs too. So while the clock runs a site does what its answer depends on: it takes the body out of the envelope, hashes
it, reads its sequence, and writes the answer. What it would do beside that it does afterwards, for every message:
on the line ``audit`` from standard input each goes once more through the edge's own code, which verifies the signature,
judges the assignment, and writes the answer, and that must be byte for byte the one that was sent. The line that comes
back tells how many were.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sites.core.envelope import OperatingEnvelope
from sites.edge.link.holding import CurveHolding
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.edge_session import DeviceCommand, EdgeSession
from sites.wire.messages import Message
from sites.wire.metrics import CONTROL_METRICS, NODE_METRICS, MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.schema import FlatPayloadMessage, MetricMessage
from sites.wire.sealed import varint
from sites.wire.signature import HEADER_BYTES

COMMANDS = "spBv1.0/+/DCMD/+/control"
SITE_KW = 1e5
SEQUENCE = re.compile(rb'"sequence":(\d+)')
SEQ_OF_FIRST_ANSWER = 2
"""After the births of the node and of the control device."""


class PlayedSite:
    """One site: what it has received and answered, and the edge's own session to check that with."""

    def __init__(self, site_id: str) -> None:
        self.site_id = site_id
        self.session = EdgeSession(site_id, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
        self.seq = SEQ_OF_FIRST_ANSWER
        self.received: list[tuple[int, str, bytes]] = []
        self.answered: list[bytes] = []

    def birth(self, now_ms: int) -> Message:
        """Return the birth of the control device."""
        return self.session.births(now_ms, {}, {"control": CurveHolding(self.site_id, []).reported()})[-1]

    def answer(self, topic: str, payload: bytes, now_ms: int) -> bytes:
        """Return the answer to one command, as quickly as one process can for thousands of sites."""
        command, metric = FlatPayloadMessage(), MetricMessage()
        command.ParseFromString(payload)
        metric.ParseFromString(command.metrics[0])
        body = metric.bytes_value[HEADER_BYTES:]
        sequence = SEQUENCE.search(body)
        assert sequence is not None, body
        answer = b"".join(
            (
                b"\x08", varint(now_ms), STATE, HASH_HEAD, hashlib.sha256(body).hexdigest().encode(),
                metric_of_sequence(int(sequence[1])), b"\x18", varint(self.seq),
            )
        )  # fmt: skip
        self.seq = (self.seq + 1) % 256
        self.received.append((now_ms, topic, payload))
        self.answered.append(answer)
        return answer

    def audit(self, platform_key: bytes) -> tuple[int, int]:
        """Return how many messages were signed and are taken, and how many answers are the edge's own byte for byte."""
        holding = CurveHolding(self.site_id, [platform_key])
        verified = true_answers = 0
        for (now_ms, topic, payload), answered in zip(self.received, self.answered, strict=True):
            (event,) = self.session.receive(topic, payload, now_ms)
            assert isinstance(event, DeviceCommand), event
            envelope = event.metrics["desired"]
            assert isinstance(envelope, bytes)
            at = datetime.fromtimestamp(now_ms / 1000.0, UTC)
            room = OperatingEnvelope(self.site_id, at, SITE_KW, SITE_KW, SITE_KW, SITE_KW)
            taken = holding.receive(envelope, operating=room, locked_out=False, at=at)
            if taken is not None:
                verified += 1
                holding.confirmed_hash = taken.content_hash
            true_answers += self.session.device_data(now_ms, "control", dict(holding.news())).payload == answered
        return verified, true_answers


def metric_of(name: str, kind: MetricType, value: Any) -> bytes:
    """Return a named metric as it stands in a payload."""
    return encode_payload(Payload(None, None, [Metric(name, type=kind, value=value)]))


SEQUENCE_HEAD = metric_of("reported/sequence", MetricType.INT64, 1)
SEQUENCES: dict[int, bytes] = {}
STATE = metric_of("reported/state", MetricType.STRING, "armed")
HASH_HEAD = metric_of("reported/hash", MetricType.STRING, "0" * 64)[:-64]


def metric_of_sequence(sequence: int) -> bytes:
    """Return the metric of a sequence; the sites of a fleet have few different ones."""
    if sequence not in SEQUENCES:
        SEQUENCES[sequence] = metric_of("reported/sequence", MetricType.INT64, sequence)
    return SEQUENCES[sequence]


async def play(url: str, count: int, platform_key: bytes) -> None:
    """Connect, be born, say ``ready``, answer; on ``audit`` tell what the edge's own code says of it all."""
    sites = {site.site_id: site for site in (PlayedSite(f"site-{number:04d}") for number in range(1, count + 1))}
    up = asyncio.Event()

    def take(topic: str, payload: bytes) -> None:
        site = sites[topic.split("/")[3]]
        connection.publish(Message(topic.replace("DCMD", "DDATA"), site.answer(topic, payload, now_ms())))

    connection = Connection(
        BrokerAddress.of(urlsplit(url)), name="answering", on_message=take, subscriptions=[(COMMANDS, 0)], on_up=up.set
    )
    task = asyncio.create_task(connection.run())
    await up.wait()
    for site in sites.values():
        connection.publish(site.birth(now_ms()))
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        audits = [site.audit(platform_key) for site in sites.values()]
        received = sum(len(site.received) for site in sites.values())
        answer_bytes = sum(len(answer) for site in sites.values() for answer in site.answered)
        told = {
            "received": received,
            "verified": sum(verified for verified, _ in audits),
            "true_answers": sum(true for _, true in audits),
            "answer_bytes": answer_bytes / max(1, received),
        }
        print(json.dumps(told), flush=True)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def now_ms() -> int:
    """Return the wall clock [ms]."""
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])))
