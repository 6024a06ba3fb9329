"""A quarter of one zone islands while the broker is down and the frequency falls: delivered, or told when it is back.

All real: broker, ingest, host and dispatcher as processes of their own, and simulated sites with their controllers in
one. The fall is Great Britain's of 9 August 2019. The feeders of a quarter of the sites open as it begins; a dip of the
voltage on top is not played, the simulation's script has none. While the broker is away the sites act by themselves;
when it is back the dispatcher has to say that it is short by what has left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fleet_rows import Benchmark, Options, Row
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform
from support.edge import Simulator
from support.openadr import ROOT

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.manifest import manifest_of

SITES = 8
ISLANDED = 2
"""A quarter."""
CONTRACT_SHARE = 0.8
"""Of what the fleet can keep up; so what has left is missed."""
FALL_FROM_S, FALL_TO_S = 2.0, 16.0
"""Part of the trace: from 49.9 Hz to what is left after the second generator."""
DOWN_BEFORE_S = 3.0
DOWN_AFTER_S = 10.0
LEAST_RATIO = 0.95
MOST_S = 10.0
STARTS_WITHIN_S = 120.0
RECORDS_WITHIN_S = 90.0

WATCH = """
import json, sys, time
from django.utils import timezone
from vpp.dispatch import queries
while True:
    at = timezone.now()
    told = queries.dispatch_summary(dispatch_id={dispatch_id!r}, at=at)
    short = None if told.short_since is None else told.short_since.timestamp()
    line = dict(at=at.timestamp(), firm_kw=told.firm_kw, promised_kw=told.promised_kw, short=short)
    print(json.dumps(line), flush=True)
    time.sleep(0.2)
"""
DELIVERED = """
import json
from datetime import datetime
from markets.core.products import product_named
from markets.measuring import Question, measured_fleet
from sites.core.intervals import Interval
from vpp.dispatch.queries import contracted_shares
window = Interval(datetime.fromisoformat({starts_at!r}), datetime.fromisoformat({ends_at!r}))
question = Question(product_named("neso-dc-low"), {power_kw!r}, window, {dispatch_id!r})
fleet, _ = measured_fleet(contracted_shares(dispatch_id={dispatch_id!r}), question=question)
print("@" + json.dumps([str(fleet.delivered_ratio), str(fleet.available_ratio)]))
"""


def measure(folder: Path) -> dict[str, float]:
    """Play it once; return ratios and times [s]."""
    sites = synthetic_fleet(SITES, 7)
    with nats_broker() as broker:
        platform = DispatchPlatform(folder, broker, VPP_FRESH_WITHIN_S="10", VPP_REARM_EVERY_S="600", VPP_OBSERVE="off")
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps([manifest_of(site) for site in sites]))
        platform.manage("enrol_sites", str(manifest), "--program", "neso-dc-low")
        edge = folder / "edge"
        edge.mkdir()
        simulator = Simulator(broker, SITES, bytes.fromhex(platform.env["VPP_SIGNING_KEY"]), edge, 2)
        watcher: subprocess.Popen[str] | None = None
        try:
            for command in ("run_ingest", "run_host", "run_dispatch"):
                platform.start(command)
            simulator.wait_for("ready", within_s=STARTS_WITHIN_S)
            platform.wait_until(lambda: _free_kw(platform) is not None, STARTS_WITHIN_S)
            free_kw = _free_kw(platform)
            assert free_kw is not None
            power_kw = round(CONTRACT_SHARE * free_kw, 1)
            dispatch_id = platform.owe(power_kw=power_kw, starts_in_s=4.0, lasts_s=600.0)
            platform.wait_until(lambda: _all_hold(platform), STARTS_WITHIN_S)
            watcher = _watch(platform, dispatch_id)
            assert watcher.stdout is not None
            first = json.loads(watcher.stdout.readline())
            assert first["short"] is None, first
            broker.kill()
            falls_s = time.time() + DOWN_BEFORE_S
            simulator.say(f"play gb-20190809 from {FALL_FROM_S} to {FALL_TO_S} at {falls_s}")
            # The largest shares: a quarter of the sites, and no less of the power.
            shares = sorted(
                platform.assignments("a.superseded = 0 AND a.power_kw > 0"), key=lambda row: -row["power_kw"]
            )
            gone = shares[:ISLANDED]
            for row in gone:
                simulator.say(f"open-feeder {row['site']} at {falls_s}")
            time.sleep(max(0.0, falls_s + DOWN_AFTER_S - time.time()))
            back_s = time.time()
            broker.restart()
            left_kw = sum(row["power_kw"] for row in shares[ISLANDED:])
            declared = _declared(watcher, left_kw, back_s)
            ends_s = falls_s + FALL_TO_S - FALL_FROM_S
            platform.wait_until(lambda: _recorded(platform, ends_s), RECORDS_WITHIN_S)
            delivered, available = _delivered(platform, dispatch_id, power_kw, falls_s, ends_s)
        finally:
            if watcher is not None:
                watcher.kill()
                watcher.wait()
            simulator.kill()
            platform.stop_dispatchers()
    return {
        "delivered_ratio": delivered,
        "available_ratio": available,
        "declared_s": declared["at"] - back_s,
        "gone_share": sum(row["power_kw"] for row in gone) / sum(row["power_kw"] for row in shares),
        "short_ratio": declared["firm_kw"] / declared["promised_kw"],
    }


def _free_kw(platform: DispatchPlatform) -> float | None:
    rows = platform.rows("SELECT discharge_kw, usable_energy_kwh FROM metering_livestate WHERE discharge_kw > 0")
    if len(rows) < SITES:
        return None
    return sum(min(row["discharge_kw"], row["usable_energy_kwh"] * 4.0) for row in rows)


def _all_hold(platform: DispatchPlatform) -> bool:
    rows = platform.assignments("a.superseded = 0 AND a.power_kw > 0")
    return bool(rows) and all(row["acknowledged_at"] for row in rows)


def _watch(platform: DispatchPlatform, dispatch_id: str) -> subprocess.Popen[str]:
    code = WATCH.format(dispatch_id=dispatch_id)
    return subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", code], cwd=ROOT, env=platform.env,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _declared(watcher: subprocess.Popen[str], left_kw: float, back_s: float) -> dict[str, Any]:
    """Return the first line after the broker's return that tells the lack as it is: short, and by what has left."""
    assert watcher.stdout is not None
    for text in watcher.stdout:
        line: dict[str, Any] = json.loads(text)
        if line["at"] < back_s:
            continue
        # Before the others are heard again it is short of everything: that tells nothing.
        if line["short"] is not None and abs(line["firm_kw"] - left_kw) <= 0.02 * line["promised_kw"]:
            return line
        if line["at"] > back_s + 60.0:
            raise AssertionError(f"the shortfall was not told within 60 s; last: {line}, {left_kw:.1f} kW are left")
    raise AssertionError("the watcher ended")


def _recorded(platform: DispatchPlatform, until_s: float) -> bool:
    rows = platform.rows("SELECT site_id, MAX(ends_at) AS ends FROM metering_highraterecord GROUP BY site_id")
    return len(rows) == SITES and all(_seconds(row["ends"]) >= until_s for row in rows)


def _delivered(
    platform: DispatchPlatform, dispatch_id: str, power_kw: float, starts_s: float, ends_s: float
) -> tuple[float, float]:
    starts_at, ends_at = (datetime.fromtimestamp(round(s, 2), UTC).isoformat() for s in (starts_s, ends_s))
    code = DELIVERED.format(starts_at=starts_at, ends_at=ends_at, power_kw=power_kw, dispatch_id=dispatch_id)
    delivered, available = json.loads(platform.manage("shell", "-v", "0", "-c", code).rsplit("@", 1)[1])
    return float(delivered), float(available)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def run_islands(_options: Options) -> list[Row]:
    """Play it once: half a minute, and the start of five processes."""
    with tempfile.TemporaryDirectory(prefix="vpp-islands-") as folder:
        found = measure(Path(folder))
    is_kept = found["delivered_ratio"] >= LEAST_RATIO or found["declared_s"] <= MOST_S
    title = f"{SITES} sites, a quarter islands, broker down: >= {LEAST_RATIO:g} delivered or told in {MOST_S:g} s"
    return [
        Row("islands_kept", f"{title} (1: yes)", float(is_kept), 1.0),
        Row("islands_delivered_ratio", "delivered / contracted, worst 10 s of the fall", found["delivered_ratio"]),
        Row("islands_declared_s", "the broker is back until the shortfall is told as it is [s]", found["declared_s"]),
        Row("islands_gone_share", "share of the contracted power that islanded", found["gone_share"]),
        Row("islands_told_ratio", "told: firm over promised power", found["short_ratio"]),
        Row("islands_available_ratio", "contracted power that stood ready in the fall", found["available_ratio"]),
    ]


BENCHMARKS = (Benchmark("islands", "a quarter of the zone islands while the broker is down", run_islands),)
