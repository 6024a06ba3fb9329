"""The ingest of a fleet: rate against a bare consumer, sustained load, 10,000 sites, memory of one worker."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from benchmarks.fleet_rows import Benchmark, Options, Row
from support.brokers import Broker, nats_broker
from support.fleet_sender import Job
from support.manifests import a_manifest
from support.platform_processes import CHECKOUT, Platform, a_platform, wait_until
from support.postgres import postgres_database

RATIO_SITES, RATIO_MESSAGES, RATIO_ROUNDS = 1_000, 60, 3
SETTLED_WITHIN_S = 120.0


@dataclass
class Fleet:
    """A platform with one ingest worker on PostgreSQL, and what is asked of it."""

    broker: Broker
    platform: Platform
    database: psycopg.Connection[Any]
    worker: subprocess.Popen[bytes]

    def rows(self) -> int:
        """Return how many readings are stored."""
        return int(self.one("SELECT count(*) FROM metering_reading"))

    def one(self, sql: str) -> Any:
        """Return the one value of a query."""
        row = self.database.execute(sql).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]


class Sender:
    """The generator in its own process."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.fleet_sender"], cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.go(json.dumps(asdict(job)))

    def go(self, line: str = "") -> None:
        """Let it take the next step."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def said(self) -> dict[str, Any]:
        """Return the next thing that it did."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sender ended with {self._process.wait(10)}")
        return dict(json.loads(line))

    def end(self) -> None:
        """Wait for its end."""
        self.go()
        self._process.wait(30)


@contextlib.contextmanager
def a_fleet(sites: int) -> Iterator[Fleet]:
    """Yield a fresh platform: NATS, a durable PostgreSQL, one worker for all partitions."""
    with (
        tempfile.TemporaryDirectory() as folder,
        nats_broker() as broker,
        postgres_database(durable=True) as url,
        a_platform(Path(folder), broker.url, url) as platform,
        psycopg.connect(url, autocommit=True) as database,
    ):
        platform.set_up(a_manifest(sites, assets=("pcc", "battery")))
        worker = platform.start("run_ingest")
        wait_until(lambda: "link.up" in platform.log_of("run_ingest"), 60.0, "the worker's connection")
        yield Fleet(broker, platform, database, worker)


def ratio(_: Options) -> list[Row]:
    """Compare one worker that persists with a bare paho consumer of the same payloads, in turns."""
    ratios, ours, bare, cpu_us, bare_cpu_us = [], [], [], [], []
    total = RATIO_SITES * RATIO_MESSAGES
    with a_fleet(RATIO_SITES) as fleet:
        for _round in range(RATIO_ROUNDS):
            stored = fleet.rows()
            sender = Sender(Job(fleet.broker.url, RATIO_SITES, RATIO_MESSAGES, is_encoded_before=True))
            before = sender.said()["before"]
            wait_until(lambda s=stored, b=before: fleet.rows() >= s + b, SETTLED_WITHIN_S, "the births are stored")  # type: ignore[misc]
            sender.go()
            sender.said()
            stored, cpu_s, began_s = fleet.rows(), _cpu_s(fleet.worker.pid), time.perf_counter()
            sender.go()
            sender.said()
            while (found := fleet.rows() - stored) < total:
                if time.perf_counter() - began_s > SETTLED_WITHIN_S:
                    raise RuntimeError(f"{found} of {total} stored:\n{fleet.platform.log_of('run_ingest')[-2000:]}")
                time.sleep(0.05)
            ours.append(total / (time.perf_counter() - began_s))
            cpu_us.append((_cpu_s(fleet.worker.pid) - cpu_s) / total * 1e6)
            sender.end()
            fact = _bare(fleet.broker, total)
            bare.append(fact["count"] / fact["wall_s"])
            bare_cpu_us.append(fact["cpu_s"] / fact["count"] * 1e6)
            ratios.append(ours[-1] / bare[-1])
    return [
        Row("ingest_ratio", "persisted / bare paho consumer, median of the rounds", statistics.median(ratios), 0.5),
        Row("ingest_ratio_worst", "the same, worst round", min(ratios)),
        Row("ingest_per_s", "messages of 10 metrics persisted to PostgreSQL [1/s]", statistics.median(ours)),
        Row("bare_per_s", "messages taken by the bare consumer [1/s]", statistics.median(bare)),
        Row("ingest_cpu_us", "worker's processor time for a message [us]", statistics.median(cpu_us)),
        Row("bare_cpu_us", "bare consumer's processor time for a message [us]", statistics.median(bare_cpu_us)),
    ]


def _bare(broker: Broker, total: int) -> dict[str, Any]:
    """Send the same payloads to a broker's bare consumer; the ingest is a neighbor on no subscription of it."""
    with nats_broker() as alone:
        consumer = subprocess.Popen(
            [sys.executable, "-m", "support.bare_consumer", alone.url, str(total)], cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert consumer.stdout is not None
        sender = Sender(Job(alone.url, RATIO_SITES, RATIO_MESSAGES, is_encoded_before=True))
        sender.said()
        sender.go()
        sender.said()
        # Only now, so that it counts none of what the births brought along.
        assert consumer.stdout.readline().strip() == "ready"
        sender.go()
        sender.said()
        fact = dict(json.loads(consumer.stdout.readline()))
        consumer.wait(30)
        sender.end()
        return fact


def sustained(options: Options) -> list[Row]:
    """3,000 sites with real edge sessions, ten metrics a second each, everything on this machine."""
    return _sustained("sustained", 3_000, options.minutes, is_encoded_before=False)


def ten_thousand(options: Options) -> list[Row]:
    """10,000 sites with payloads made before: what the ingest alone takes, and its memory."""
    return _sustained("fleet_10000", 10_000, min(options.minutes, 3.0), is_encoded_before=True)


def _sustained(name: str, sites: int, minutes: float, *, is_encoded_before: bool) -> list[Row]:
    seconds = round(minutes * 60)
    with a_fleet(sites) as fleet:
        sender = Sender(Job(fleet.broker.url, sites, seconds, 1.0, is_encoded_before))
        before = int(sender.said()["before"])
        wait_until(
            lambda: fleet.one("SELECT count(*) FROM metering_livestate WHERE mode <> ''") >= (sites if before else 0),
            SETTLED_WITHIN_S, "the births are stored",
        )  # fmt: skip
        time.sleep(3.0)
        stored, cpu_s, broker_cpu_s = fleet.rows(), _cpu_s(fleet.worker.pid), _cpu_s(_pid(fleet.broker))
        sender.go()
        began_s = time.perf_counter()
        ages: list[float] = []
        while (elapsed_s := time.perf_counter() - began_s) < seconds:
            # The first seconds hold sites that have not spoken yet.
            if elapsed_s > 3.0:
                found = fleet.database.execute(
                    "SELECT extract(epoch FROM clock_timestamp() - measured_at)::float8 FROM metering_livestate"
                )
                ages += [row[0] for row in found]
            time.sleep(1.03)
        fact = sender.said()
        cpu_s, broker_cpu_s = _cpu_s(fleet.worker.pid) - cpu_s, _cpu_s(_pid(fleet.broker)) - broker_cpu_s
        ended_s = time.perf_counter()
        while fleet.rows() - stored < fact["sent"] and time.perf_counter() - ended_s < 30.0:
            time.sleep(0.2)
        lost = fact["sent"] - (fleet.rows() - stored)
        if lost or os.environ.get("FLEET_LOG"):
            print(fleet.platform.log_of("run_ingest")[-2500:], flush=True)
        ages.sort()
        memory_mib = _peak_mib(fleet.worker.pid)
        refused = fleet.one("SELECT coalesce(sum(count), 0) FROM metering_refusalcount")
        sender.end()
    wall_s = fact["wall_s"]
    rows = [
        Row(f"{name}_sites", "sites at 1 message/s of 10 metrics", sites, sites),
        Row(f"{name}_lost", f"of {fact['sent']} messages lost in {wall_s:.0f} s", lost, 0, is_most=True),
        Row(f"{name}_age_p99_s", "age of the newest value in the database, p99 over sites and time [s]",
            ages[int(len(ages) * 0.99)], 2.0, is_most=True),
        Row(f"{name}_age_max_s", "the same, oldest ever seen [s]", ages[-1]),
        Row(f"{name}_refused", "messages refused", float(refused)),
        Row(f"{name}_worker_cores", "cores that the worker took", cpu_s / wall_s),
        Row(f"{name}_broker_cores", "cores that the broker took", broker_cpu_s / wall_s),
        Row(f"{name}_generator_cores", "cores that the generator took", fact["cpu_s"] / wall_s),
        Row(f"{name}_generator_late_s", "the generator's own worst lateness [s]", fact["latest_s"]),
    ]  # fmt: skip
    memory = Row(f"{name}_memory_mib", "peak memory of the worker [MiB]", memory_mib)
    if sites == 10_000:
        memory = Row(
            "worker_memory_mib", "peak memory of one worker with 10,000 sites [MiB]", memory_mib, 400, is_most=True
        )
    return [*rows, memory]


def _pid(broker: Broker) -> int:
    assert broker.process is not None
    return broker.process.pid


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


BENCHMARKS = (
    Benchmark("ingest", "one worker that persists against a bare paho consumer", ratio),
    Benchmark("sustained", "3,000 sites, 1 message/s, everything on one machine", sustained),
    Benchmark("ten-thousand", "10,000 sites with payloads made before", ten_thousand),
)
