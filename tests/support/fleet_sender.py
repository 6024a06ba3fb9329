"""A whole fleet behind one socket: MQTT packets written as bytes, at a pace or as fast as they are taken.

Run as a program by the benchmarks, so that the generator's time is its own: ``python -m support.fleet_sender``
with a JSON object of ``Job``'s fields on standard input. It prints one JSON line for each thing done.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sites.wire.edge_session import EdgeSession
from sites.wire.messages import Message
from sites.wire.metrics import NODE_METRICS
from sites.wire.topics import node_topic

TEN_METRICS = tuple(declared for declared in NODE_METRICS if declared.name != "saturates_in_s")
TICKS_PER_S = 50


@dataclass
class Job:
    """What to send."""

    broker_url: str
    sites: int
    messages: int
    """From each site."""
    per_second: float = 0.0
    """Messages of each site per second; 0: as fast as they are taken."""
    is_encoded_before: bool = False
    """Only the time and the sequence number of a message are made anew; else a real edge session makes it whole."""


def site_name(index: int) -> str:
    """Return the id of a site, as ``a_manifest`` counts them."""
    return f"site-{index + 1:04d}"


def values_of(index: int, tick: int) -> dict[str, Any]:
    """Return ten metrics that move."""
    return {
        "frequency_hz": 50.0 - 0.001 * (tick % 100), "voltage_pu": 1.0 + 0.0001 * (index % 50), "mode": "grid_tied",
        "service_kw": 0.1 * (tick % 30), "required_kw": 0.1 * (tick % 31), "discharge_kw": 30.0 + index % 7,
        "charge_kw": 20.0, "usable_energy_kwh": 60.0 - 0.01 * (tick % 1000), "absorbable_energy_kwh": 40.0,
        "samples_late": tick // 600,
    }  # fmt: skip


class RawPublisher:
    """MQTT 3.1.1 at QoS 0 by its bytes."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        body = _text("MQTT") + bytes([4, 0xC2]) + struct.pack(">H", 0)
        for text in (f"sender-{secrets.token_hex(6)}", parts.username or "", parts.password or ""):
            body += _text(text)
        self._socket = socket.create_connection((str(parts.hostname), parts.port or 1883), timeout=60.0)
        self._socket.sendall(bytes([0x10]) + _length(len(body)) + body)
        answer = self._socket.recv(4)
        if answer != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker answered {answer!r}")

    def send(self, packets: list[bytes]) -> None:
        """Write packets."""
        self._socket.sendall(b"".join(packets))

    def close(self) -> None:
        """Leave in order."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()


def packet(topic: str, payload: bytes) -> bytes:
    """Return a PUBLISH at QoS 0."""
    body = _text(topic) + payload
    return b"\x30" + _length(len(body)) + body


class EncodedSite:
    """A site whose payloads exist already, but for time and sequence number."""

    def __init__(self, session: EdgeSession, index: int) -> None:
        self.topic = node_topic("NDATA", session.site_id)
        self._bodies = []
        for tick in range(8):
            payload = session.node_data(1_700_000_000_000, values_of(index, tick * 40)).payload
            # Field 1 is the time, which stands first and has six bytes until the year 2109; field 3, the sequence,
            # stands last and has one byte while it is below 128.
            self._bodies.append(payload[7:-2])
        self._seq = 8

    def packet(self, tick: int, stamp: bytes) -> bytes:
        """Return the next message."""
        self._seq = (self._seq + 1) % 256
        seq = bytes([self._seq]) if self._seq < 128 else bytes([self._seq & 0x7F | 0x80, 1])
        return packet(self.topic, b"\x08" + stamp + self._bodies[tick % 8] + b"\x18" + seq)


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _varint(number: int) -> bytes:
    return _length(number)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _packed(message: Message) -> bytes:
    return packet(message.topic, message.payload)


def run(job: Job) -> None:
    """Bear all sites, wait for a line on standard input, send, and say what was sent."""
    sessions = [EdgeSession(site_name(index), "vpp", TEN_METRICS, {}) for index in range(job.sites)]
    publisher = RawPublisher(job.broker_url)
    for session in sessions:
        session.will(1)
        publisher.send([_packed(message) for message in session.births(_now_ms(), {}, {})])
    encoded: list[EncodedSite] = []
    if job.is_encoded_before:
        encoded = [EncodedSite(session, index) for index, session in enumerate(sessions)]
        # The eight that were encoded took a sequence number each: they are sent, so that none is missing.
        for index, session in enumerate(sessions):
            born = EdgeSession(session.site_id, "vpp", TEN_METRICS, {})
            born.will(1)
            first = born.births(_now_ms(), {}, {})
            # Instants that no sender before this one used: a site's second message of one instant is a repeat to the
            # ingest, and no row.
            born_ms = _now_ms()
            started = [born.node_data(born_ms - 8 + n, values_of(index, n)) for n in range(8)]
            publisher.send([_packed(message) for message in [*first, *started]])
    _say(born=job.sites, before=8 * len(encoded))
    sys.stdin.readline()
    began_ms, began_s, cpu_s = _now_ms(), time.perf_counter(), time.process_time()
    latest_s = (
        _blast(job, publisher, encoded, began_ms) if job.per_second == 0 else _paced(job, publisher, sessions, encoded)
    )
    _say(
        sent=job.sites * job.messages, began_ms=began_ms, wall_s=time.perf_counter() - began_s,
        cpu_s=time.process_time() - cpu_s, latest_s=latest_s,
    )  # fmt: skip
    sys.stdin.readline()
    publisher.close()


def _blast(job: Job, publisher: RawPublisher, encoded: list[EncodedSite], began_ms: int) -> float:
    rounds = []
    for number in range(job.messages):
        # Behind the births', by a millisecond each: sent later than that, and still each message's own.
        stamp = _varint(began_ms + number)
        rounds.append([site.packet(number, stamp) for site in encoded])
    _say(encoded=job.messages * job.sites)
    sys.stdin.readline()
    for packets in rounds:
        publisher.send(packets)
    return 0.0


def _paced(job: Job, publisher: RawPublisher, sessions: list[EdgeSession], encoded: list[EncodedSite]) -> float:
    """Send each site's messages evenly over each period; return how late the generator itself ever was [s]."""
    steps = max(1, round(TICKS_PER_S / job.per_second))
    began_s, latest_s = time.perf_counter() + 0.2, 0.0
    for number in range(job.messages):
        for step in range(steps):
            due_s = began_s + (number + step / steps) / job.per_second
            wait_s = due_s - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            latest_s = max(latest_s, -wait_s)
            now_ms = _now_ms()
            indexes = range(step, job.sites, steps)
            if encoded:
                stamp = _varint(now_ms)
                publisher.send([encoded[index].packet(number, stamp) for index in indexes])
            else:
                publisher.send(
                    [_packed(sessions[index].node_data(now_ms, values_of(index, number))) for index in indexes]
                )
    return latest_s


def _say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    run(Job(**json.loads(sys.stdin.readline())))
