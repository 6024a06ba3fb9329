"""What PostgreSQL does otherwise than SQLite: COPY, partitions by day, roll-ups beside writers; the same tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.manifests import a_manifest
from support.platform_processes import CHECKOUT, Platform, a_platform
from support.postgres import postgres_database

pytestmark = pytest.mark.postgres

SAME_ON_BOTH = (
    "tests/integration/test_metering_rollups.py",
    "tests/integration/test_metering_numbered.py",
    "tests/integration/test_metering_retention.py::test_the_command_keeps_the_configured_days_and_all_numbered_data",
    "tests/integration/test_ingest_takes_over.py::TestLeases",
    "tests/integration/test_console_quarantines.py::test_a_site_is_cut_off_once_at_a_time_and_may_be_again",
)

# Both run inside the platform on PostgreSQL: this test process is on another database.
DAYS = """
import json, sys, threading, time
sys.path.insert(0, "tests")
from datetime import timedelta
from django.db import connection, transaction
from support.meters import START, START_MS, a_batch
from sites.core.intervals import Interval
from sites.metering import operations, partitions, queries
from sites.metering.models import MinuteRollUp, Reading
from sites.metering.rollups import roll_up
from sites.registry.models import Site

site = Site.objects.get()
def store(*days, second=0):
    day_ms, first_ms = 86_400_000, START_MS + second * 1_000
    readings = [(site.pk, "", ("frequency_hz",), first_ms + d * day_ms, START_MS, (50.0 + d,)) for d in days]
    batch = a_batch(readings=readings)
    batch.due = {(site.partition, item[3] // 60_000) for item in readings}
    operations.store_batch(batch=batch, states={}, at=START)
def where():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM metering_reading GROUP BY 1 ORDER BY 1")
        return dict(cursor.fetchall())
found = {}
store(-40, 0, 1)
found["before"] = where()
found["made"] = len(partitions.make_partitions(at=START))
found["again"] = partitions.make_partitions(at=START)
found["moved"] = where()
store(-1, 0, 3)
found["stored"] = where()
period = Interval(START - timedelta(days=50), START + timedelta(days=9))
found["read"] = [value for _, value in queries.metric_values(
    site_id=site.site_id, asset="", metric="frequency_hz", period=period
)]
# Readings that are being written when the roll-up looks: it waits for them, or they are due again.
def write():
    with transaction.atomic():
        store(0, second=30)
        told.set()
        time.sleep(0.5)
    connection.close()
told = threading.Event()
writer = threading.Thread(target=write)
writer.start()
told.wait(10)
roll_up(at=START + timedelta(days=9), oldest=START - timedelta(days=50))
writer.join()
roll_up(at=START + timedelta(days=9), oldest=START - timedelta(days=50))
found["counts"] = [int(row.counts[0]) for row in MinuteRollUp.objects.order_by("starts_at")]
pruned = operations.prune_readings(before=START + timedelta(hours=13), at=START + timedelta(days=9))
found["pruned"] = [pruned.rows, pruned.days]
found["left"] = where()
print("@" + json.dumps(found))
"""

BATCH = """
import json, os, sys
sys.path.insert(0, "tests")
from datetime import timedelta
import numpy as np
import psycopg
from django.db import DatabaseError, connection
from django.utils import timezone
from support.meters import START, START_MS, a_batch, a_record, an_interval
from sites.core.intervals import Interval
from sites.metering import audit, marks, operations, queries
from sites.metering import readings as copying
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
# The database goes away in the middle of a copy: told as the ingest knows it, and nothing of the batch stands.
def cut_off(*given):
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    return whole(*given)
whole, copying._binary_rows = copying._binary_rows, cut_off
try:
    operations.store_batch(batch=batch(), states={}, at=START)
except DatabaseError as error:
    fault = type(error).__name__
copying._binary_rows = whole
operations.close_database()
left = MeterInterval.objects.count() + Reading.objects.count()
states, new = {}, []
for _ in range(2):
    stored = operations.store_batch(batch=batch(), states=states, at=timezone.now())
    states |= stored.states
    new.append([stored.readings, stored.readings_repeated])
late = a_batch(an_interval(battery, 3), an_interval(battery, 1, into_bus_uwh=5))
operations.store_batch(batch=late, states={}, at=START)
hour = Interval(START, START + timedelta(hours=1))
(energy,) = queries.interval_energy(period=hour)
(record,) = queries.records_of(period=hour)
lease = operations.take_host_lease
stood = marks.stream_states(partitions=[site.partition])
print("@" + json.dumps({
    "readings": Reading.objects.count(),
    "new": new,
    "fault": [fault, left],
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
    "mark": {key[1]: state.stored_through for key, state in stood.items() if state.stored_through},
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


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with postgres_database() as url, a_platform(tmp_path, "mqtt://127.0.0.1:1", url) as found:
        yield found


def run(platform: Platform, script: str) -> dict[str, Any]:
    """Return what a script says behind its ``@``."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
        cwd=CHECKOUT, env=platform.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.rsplit("@", 1)[1]))


def test_days_have_partitions_and_go_whole(platform: Platform) -> None:
    platform.set_up(a_manifest(1))
    found = run(platform, DAYS)
    assert found["before"] == {"metering_reading_rest": 3}
    # Five days of readings and of minutes; what the default partition held of them moved.
    assert (found["made"], found["again"]) == (10, [])
    days = {"metering_reading_20260301": 1, "metering_reading_20260302": 1}
    assert found["moved"] == {**days, "metering_reading_rest": 1}
    stored = {**days, "metering_reading_20260228": 1, "metering_reading_20260304": 1, "metering_reading_rest": 1}
    assert found["stored"] == stored
    assert found["read"] == [10.0, 49.0, 50.0, 51.0, 53.0]
    assert found["counts"] == [1, 1, 2, 1, 1]
    # The days that ended before the instant, and what had no day of its own.
    assert found["pruned"] == [1, 2]
    assert found["left"] == {"metering_reading_20260302": 1, "metering_reading_20260304": 1}


def test_a_batch_on_postgres(platform: Platform) -> None:
    platform.set_up(a_manifest(2))
    found = run(platform, BATCH)
    assert found == {
        "readings": 100,
        "new": [[100, 0], [0, 100]],
        "fault": ["OperationalError", 0],
        "powers": ["2026-03-01 12:01:38+00:00", 98.0],
        "unknown": [],
        "intervals": 5,
        "repeated": 4,
        "mark": {"battery": 4, "record": 1},
        "energy": [3_005, 4],
        "record_rows": 100,
        "counts": {"number_revised": 1, "payload_malformed": 2},
        "live": {"grid_tied": 1},
        "gaps": 0,
        "tokens": [1, None, 2, None],
    }
    assert platform.manage("makemigrations", "registry", "metering", "--check", "--dry-run")


def test_the_meter_books_own_tests_hold_there_too() -> None:
    with postgres_database() as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *SAME_ON_BOTH],
            cwd=CHECKOUT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
