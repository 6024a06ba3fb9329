"""How long arming a fleet takes: a real dispatcher and NATS; and what broker and sockets do with the same bytes.

usage: python bench_arming.py [SITES …]      default 200 1000 10000
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vpp.settings")

import numpy as np  # noqa: E402
import paho.mqtt.client as mqtt  # noqa: E402
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402
from support.brokers import Broker, nats_broker  # noqa: E402
from support.dispatch import DispatchPlatform  # noqa: E402

from sites.wire.sealed import sealed_command  # noqa: E402
from sites.wire.signature import HEADER_BYTES  # noqa: E402

SIZES = (200, 1_000, 10_000)
SITE_KW = 50.0
LIMITS_MS = {200: 1000.0, 1000: 2000.0, 10_000: 5000.0}
"""First sending to last acknowledgement [ms]."""
MOST_TIMES_BARE = 2.0
WITHIN_S = 120


@dataclass(frozen=True, slots=True)
class Arming:
    """One arming of a whole fleet."""

    sites: int
    each_ms: list[float]
    """First sending to acknowledgement of each site [ms]."""
    whole_ms: float
    """First sending to last valid acknowledgement [ms]."""
    decided_ms: float
    """Decision to last acknowledgement [ms]."""
    sends: int
    audit: dict[str, float]
    """What the edge's own code says afterwards of all that the sites got and answered."""
    cpu_s: dict[str, float]
    """Processor time of each process from the decision to the last acknowledgement in the database [s]."""
    bare_ms: float
    """The same bytes through broker and sockets and back, nothing read or signed [ms]."""


def measure(count: int, folder: Path) -> Arming:
    """Arm so many sites, then send and echo the same bytes bare, on one broker."""
    with nats_broker() as broker:
        platform = DispatchPlatform(folder, broker)
        platform.add_sites(count, discharge_kw=SITE_KW)
        with fleet_process("answering_fleet", broker.edge_url, count, platform.platform_key.hex()) as fleet:
            try:
                process = platform.start_dispatcher()
                platform.wait_until(lambda: platform.leader_pid() == process.pid)
                assert broker.process is not None
                pids = {"dispatcher": process.pid, "sites": fleet.pid, "broker": broker.process.pid}
                before_s = {name: _cpu_s(pid) for name, pid in pids.items()}
                platform.owe(power_kw=count * 30.0, starts_in_s=300.0, lasts_s=60.0)
                _wait_armed(platform, count)
                cpu_s = {name: _cpu_s(pid) - before_s[name] for name, pid in pids.items()}
                rows = platform.assignments()
                audit = _audit(fleet)
            finally:
                platform.stop_dispatchers()
        topics = [(f"spBv1.0/VPP-00/DCMD/{row['site']}/control", _command_bytes(row["body"])) for row in rows]
        with fleet_process("echoing_fleet", broker.edge_url, round(audit["answer_bytes"])):
            bare_ms = _send_and_count(broker, topics)
    acknowledged = [datetime.fromisoformat(row["acknowledged_at"]) for row in rows]
    sent = [datetime.fromisoformat(row["first_sent_at"]) for row in rows]
    decided = min(datetime.fromisoformat(row["created_at"]) for row in rows)
    return Arming(
        sites=count,
        each_ms=[(later - earlier).total_seconds() * 1e3 for earlier, later in zip(sent, acknowledged, strict=True)],
        whole_ms=(max(acknowledged) - min(sent)).total_seconds() * 1e3,
        decided_ms=(max(acknowledged) - decided).total_seconds() * 1e3,
        sends=sum(row["sends"] for row in rows),
        audit=audit,
        cpu_s=cpu_s,
        bare_ms=bare_ms,
    )


@contextlib.contextmanager
def fleet_process(script: str, *arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """Yield a fleet of ``tests/support`` that runs and has said that it is ready."""
    command = [sys.executable, str(ROOT / f"tests/support/{script}.py"), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_armed(platform: DispatchPlatform, count: int) -> None:
    """Return when all sites have acknowledged; asked seldom: the question reads the whole table."""
    query = "SELECT COUNT(*) AS n FROM dispatch_siteassignment WHERE acknowledged_at IS NOT NULL"
    for _ in range(WITHIN_S):
        time.sleep(1.0)
        if (armed := platform.rows(query)[0]["n"]) == count:
            return
    raise AssertionError(f"{armed} of {count} sites armed within {WITHIN_S} s")


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _audit(fleet: subprocess.Popen[str]) -> dict[str, float]:
    """Let the sites check, now that the clock has stopped, all that came to them and all that they answered."""
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    fleet.stdin.write("audit\n")
    fleet.stdin.flush()
    told: dict[str, float] = json.loads(fleet.stdout.readline())
    assert told["verified"] == told["true_answers"] == told["received"], told
    return told


def _command_bytes(body: bytes) -> int:
    return len(sealed_command("desired", bytes(HEADER_BYTES) + body, now_ms=time.time_ns() // 1_000_000))


def _send_and_count(broker: Broker, topics: list[tuple[str, int]]) -> float:
    """Publish as many messages of the same sizes as fast as they go; return the time until all came back [ms]."""
    url = urlsplit(broker.url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare")
    client.username_pw_set(url.username or "", url.password)
    client.max_queued_messages_set(0)
    ready, done = threading.Event(), threading.Event()
    left = len(topics)

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    client.on_connect = lambda *_: client.subscribe("spBv1.0/+/DDATA/+/control")
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = count
    client.connect(str(url.hostname), url.port or 1883)
    client.loop_start()
    try:
        assert ready.wait(10.0)
        began_s = time.perf_counter()
        for topic, size in topics:
            client.publish(topic, b"\0" * size)
        assert done.wait(60.0), f"{left} of {len(topics)} did not come back"
        return (time.perf_counter() - began_s) * 1e3
    finally:
        client.disconnect()
        client.loop_stop()


def main(arguments: list[str]) -> int:
    """Print the figures per fleet size; 1 when one is over its limit."""
    failed = False
    for count in [int(argument) for argument in arguments] or SIZES:
        with tempfile.TemporaryDirectory(prefix="vpp-arming-") as folder:
            found = measure(count, Path(folder))
        p50, p99 = np.percentile(found.each_ms, [50, 99])
        limit_ms = LIMITS_MS.get(count, float("inf"))
        failed = failed or found.whole_ms > limit_ms
        print(
            f"{count:>6} sites: first sending to last acknowledgement {found.whole_ms:.0f} ms (limit {limit_ms:.0f}), "
            f"{found.whole_ms / found.bare_ms:.2f} times the bare {found.bare_ms:.0f} ms; each p50 {p50:.0f} ms, p99 "
            f"{p99:.0f} ms; decision to last {found.decided_ms:.0f} ms; {found.sends} sendings"
        )
        used = ", ".join(f"{name} {cpu_s:.2f} s" for name, cpu_s in found.cpu_s.items())
        print(f"        processor time: {used}; {found.audit['verified']:.0f} signatures verified afterwards")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
