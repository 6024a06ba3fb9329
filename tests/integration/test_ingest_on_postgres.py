"""The meter book on a real PostgreSQL: migrations, a batch with everything in it, queries, the lease."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.platform_processes import CHECKOUT, a_platform
from support.postgres import postgres_database

pytestmark = pytest.mark.postgres

# Runs inside the platform on PostgreSQL: this test process is on another database.
SCRIPT = """
import json, sys
sys.path.insert(0, "tests")
from datetime import timedelta
import numpy as np
from django.utils import timezone
from support.meters import START, START_MS, a_batch, a_record, an_interval
from sites.core.intervals import Interval
from sites.metering import audit, operations, queries
from sites.metering.batches import LiveRow
from sites.metering.models import LiveState, MeterInterval, Reading
from sites.registry.models import Asset

battery = Asset.objects.get(site__site_id="site-0001", name="battery")
site = battery.site
shape = ("power_kw", "soc_ratio")
readings = [(site.pk, "battery", shape, START_MS + 1_000 * i, START_MS, (float(i), float("nan"))) for i in range(99)]
readings.append((site.pk, "", ("frequency_hz",), START_MS, START_MS, (49.9,)))
values = {"mode": "grid_tied", "frequency_hz": 49.9, "genset_running": None}
live = {site.pk: LiveRow("site-0001", START, START, values)}
items = [an_interval(battery, n) for n in (1, 2, 4)]
items.append(a_record(site, 1, np.ones((100, 2)), starts_at=START))
def batch():
    made = a_batch(*items, readings=list(readings), live=dict(live))
    made.refuse(error="payload_malformed", topic="a\\x00b", detail="x", payload=b"\\x00\\xff", received_at=START)
    return made
states = {}
for _ in range(2):
    stored = operations.store_batch(batch=batch(), states=states, at=timezone.now())
    states |= stored.states
late = a_batch(an_interval(battery, 3), an_interval(battery, 1, into_bus_uwh=5))
operations.store_batch(batch=late, states={}, at=START)
hour = Interval(START, START + timedelta(hours=1))
(energy,) = queries.interval_energy(period=hour)
(record,) = queries.records_of(period=hour)
lease = operations.take_host_lease
print("@" + json.dumps({
    "readings": Reading.objects.count(),
    "powers": list(
        queries.metric_values(site_id="site-0001", asset="battery", metric="power_kw", period=Interval(
            START + timedelta(seconds=97), START + timedelta(hours=1)
        ))
    )[1],
    "unknown": list(
        queries.metric_values(site_id="site-0001", asset="battery", metric="soc_ratio", period=hour)
    ),
    "intervals": MeterInterval.objects.count(),
    "repeated": stored.repeated,
    "mark": [state.stored_through for key, state in sorted(queries.stream_states(partitions=range(64)).items())],
    "energy": [energy.into_bus_uwh, energy.intervals],
    "record_rows": len(record.samples),
    "counts": queries.refusals().counts,
    "live": queries.fleet_live(at=START, fresh_within_s=10.0).by_mode,
    "gaps": len(audit.gaps()),
    "tokens": [
        lease(name="vpp", holder="a", lease_s=5, at=START),
        lease(name="vpp", holder="b", lease_s=5, at=START + timedelta(seconds=4)),
        lease(name="vpp", holder="b", lease_s=5, at=START + timedelta(seconds=5)),
        lease(name="vpp", holder="a", lease_s=5, at=START + timedelta(seconds=6)),
    ],
}, default=str))
"""


def test_a_batch_on_postgres(tmp_path: Path) -> None:
    with postgres_database() as url, a_platform(tmp_path, "mqtt://127.0.0.1:1", url) as platform:
        from support.meters import a_manifest

        platform.set_up(a_manifest(2))
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", SCRIPT],
            cwd=CHECKOUT, env=platform.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.rsplit("@", 1)[1])
        assert found == {
            "readings": 100,
            "powers": ["2026-03-01 12:01:38+00:00", 98.0],
            "unknown": [],
            "intervals": 5,
            "repeated": 4,
            "mark": [4, 1],
            "energy": [3_005, 4],
            "record_rows": 100,
            "counts": {"number_revised": 1, "payload_malformed": 2},
            "live": {"grid_tied": 1},
            "gaps": 0,
            "tokens": [1, None, 2, None],
        }
        assert platform.manage("makemigrations", "registry", "metering", "--check", "--dry-run")
