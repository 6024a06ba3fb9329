"""One device loops at full speed beside 50 good sites: it is cut off, nobody else notices, and it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.brokers import nats_broker
from support.fleet_sender import Job
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import CHECKOUT, a_platform, wait_until

GOOD, SECONDS, LOOPS_FOR_S = 50, 14, 6.0
MAX_AGE_S = 4.0
"""A message a second, a batch, and what two busy cores add; without the gate it grows without end."""
LOOPER = "site-0051"


def a_process(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def told(process: subprocess.Popen[str], line: str = "") -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def ages_s(database: sqlite3.Connection) -> list[float]:
    """Return the age of the newest value of each good site."""
    rows = database.execute(
        "SELECT l.measured_at FROM metering_livestate l JOIN registry_site s ON s.id = l.site_id WHERE s.site_id <> ?",
        [LOOPER],
    )
    now = datetime.now(UTC)
    return [(now - datetime.fromisoformat(text).replace(tzinfo=UTC)).total_seconds() for (text,) in rows]


async def test_a_looping_device_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    with (
        nats_broker() as broker,
        a_platform(tmp_path, broker.url, VPP_QUARANTINE_QUIET_S="3") as platform,
    ):
        platform.set_up(a_manifest(GOOD + 1))
        platform.start("run_ingest")
        wait_until(lambda: "link.up" in platform.log_of("run_ingest"), 30.0, "the worker's connection")
        sender = a_process("support.fleet_sender")
        told(sender, json.dumps(asdict(Job(broker.edge_url, GOOD, SECONDS, 1.0))))
        assert said(sender)["born"] == GOOD
        with contextlib.closing(sqlite3.connect(tmp_path / "vpp.sqlite3", timeout=20.0)) as database:
            told(sender)
            wait_until(lambda: len(ages_s(database)) == GOOD, 20.0, "all good sites are stored")
            looper = a_process("support.looping_device", broker.edge_url, LOOPER)
            assert looper.stdout is not None
            assert looper.stdout.readline() == "looping\n"
            began_s, oldest_s = time.monotonic(), []
            while time.monotonic() - began_s < LOOPS_FOR_S:
                oldest_s.append(max(ages_s(database)))
                await asyncio.sleep(0.25)
            told(looper)
            sent = int(looper.stdout.readline())
            looper.wait(10)
            assert max(oldest_s) < MAX_AGE_S, (sent, oldest_s)
            assert said(sender)["sent"] == GOOD * SECONDS
            told(sender)
            sender.wait(10)

            def stored() -> int:
                return int(
                    database.execute(
                        "SELECT count(*) FROM metering_reading r JOIN registry_site s ON s.id = r.site_id "
                        "WHERE s.site_id <> ?", [LOOPER],
                    ).fetchone()[0]
                )  # fmt: skip

            wait_until(lambda: stored() == GOOD * SECONDS, 20.0, "nothing of the good sites is lost")
        rows = platform.read(
            "list(Quarantine.objects.values('site_id', 'reason', 'dropped', 'ended_by'))",
        )
        assert [row["site_id"] for row in rows] == [LOOPER]
        assert rows[0]["reason"] in {"messages", "births"}
        # What it sent in the first moments was read, all else was dropped unread; what the broker itself cut is less.
        assert 0 < rows[0]["dropped"] <= sent
        # The loop has ended: after the stated quiet time it is heard as any other.
        edge = OutboxEdge(LOOPER, broker.edge_url)
        edge.outbox = {number: now_ms() - 60_000 + number * 1_000 for number in range(1, 11)}
        async with connected(edge):

            def heard() -> bool:
                edge.pump()
                return not edge.outbox

            await until(heard, 40.0, "the device is heard again")
        (row,) = platform.read("list(Quarantine.objects.values('ended_by', 'ended_at'))")
        assert row["ended_by"] == "quiet"


async def test_refused_payloads_cut_a_site_off_until_a_person_releases_it(tmp_path: Path) -> None:
    with (
        nats_broker() as broker,
        a_platform(tmp_path, broker.url, VPP_SITE_REFUSALS_PER_MIN="60", VPP_SITE_BURST_S="10") as platform,
    ):
        platform.set_up(a_manifest(1))
        platform.start("run_ingest")
        wait_until(lambda: "link.up" in platform.log_of("run_ingest"), 30.0, "the worker's connection")
        edge = OutboxEdge("site-0001", broker.edge_url)
        async with connected(edge):
            for _ in range(40):
                edge.send_live(mode="dancing")
            await until(lambda: "site.quarantined" in platform.log_of("run_ingest"), 20.0, "the site is cut off")
            (row,) = platform.read("list(Quarantine.objects.values('pk', 'reason', 'ended_at'))")
            assert (row["reason"], row["ended_at"]) == ("refusals", None)
            released = (
                "__import__('sites.metering.quarantine', fromlist=['x']).release("
                f"quarantine=Quarantine.objects.get(pk={row['pk']}), by='ada', "
                "at=__import__('django.utils.timezone', fromlist=['x']).now())"
            )
            platform.read(released)
            edge.outbox = {1: now_ms() - 5_000}

            def heard() -> bool:
                edge.pump()
                return not edge.outbox

            await until(heard, 20.0, "the site is heard again")
        assert platform.read("list(Quarantine.objects.values_list('ended_by', flat=True))") == ["ada"]
