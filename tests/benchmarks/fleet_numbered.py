"""Numbered rows into PostgreSQL: by COPY against Django's bulk_create, in turns; and the start of a worker."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.fleet_rows import Benchmark, Options, Row
from support.manifests import a_manifest
from support.platform_processes import a_platform
from support.postgres import postgres_database

SITES, ASSETS, AT_ONCE, ROUNDS = 2_000, 2, 5, 3

# Runs inside the platform: this process has no settings of its own.
SCRIPT = """
import json, sys, time
sys.path.insert(0, "tests")
import numpy as np
from support.meters import START, a_batch, a_record, an_interval
from sites.metering import marks, numbered, operations
from sites.registry.models import Asset

AT_ONCE, ROUNDS = {at_once}, {rounds}
assets = list(Asset.objects.select_related("site"))
sites = {{asset.site for asset in assets if asset.site_id % 10 == 0}}
samples = np.random.default_rng(7).normal(50.0, 0.1, (1_000, 2))
states, found = {{}}, {{"interval": {{"copy": [], "bulk": []}}, "record": {{"copy": [], "bulk": []}}}}
by_copy = numbered.insert_rows

def by_bulk(model, rows):
    model.objects.bulk_create([model(**row) for row in rows], batch_size=500)

def store(items, way, kind, states):
    batch = a_batch(*items)
    numbered.insert_rows = by_copy if way == "copy" else by_bulk
    began_s = time.perf_counter()
    stored = operations.store_batch(batch=batch, states=states, at=START)
    found[kind][way].append(len(items) / (time.perf_counter() - began_s))
    assert stored.numbered == len(items)
    return states | stored.states

# The first of each stream, whose state is looked up.
for kind in found:
    first = [an_interval(asset, 1) for asset in assets] if kind == "interval" else [
        a_record(site, 1, samples, starts_at=START) for site in sites
    ]
    states = store(first, "copy", kind, states)
    found[kind]["copy"].clear()
number = 2
for _ in range(ROUNDS):
    for way in ("bulk", "copy"):
        numbers = range(number, number + AT_ONCE)
        states = store([an_interval(asset, n) for asset in assets for n in numbers], way, "interval", states)
        records = [a_record(site, n, samples, starts_at=START) for site in sites for n in numbers]
        states = store(records, way, "record", states)
        number += AT_ONCE
began_s = time.perf_counter()
known = marks.stream_states(partitions=range(64))
found["start_s"] = time.perf_counter() - began_s
found["streams"] = len(known)
assert all(state == known[key] or state.last is None for key, state in states.items())
print("@" + json.dumps(found))
"""


def numbered(_: Options) -> list[Row]:
    """Store intervals and 100 Hz records of a fleet's batch in both ways."""
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_database(durable=True) as url,
        a_platform(Path(folder), "mqtt://127.0.0.1:1", url) as platform,
    ):
        platform.set_up(a_manifest(SITES, assets=("pcc", "battery")))
        said = platform.manage("shell", "-v", "0", "-c", SCRIPT.format(at_once=AT_ONCE, rounds=ROUNDS))
    found = json.loads(said.rsplit("@", 1)[1])
    rows = []
    for kind, what in (("interval", "meter intervals"), ("record", "records of 10 s at 100 Hz")):
        copied, bulk = (found[kind][way] for way in ("copy", "bulk"))
        gains = [fast / slow for fast, slow in zip(copied, bulk, strict=True)]
        rows += [
            Row(f"{kind}_per_s", f"{what} stored, whole batches by COPY [1/s]", statistics.median(copied)),
            Row(f"{kind}_bulk_per_s", f"{what}, the same by bulk_create [1/s]", statistics.median(bulk)),
            Row(f"{kind}_gain", f"{what}: COPY / bulk_create, median of the rounds", statistics.median(gains)),
        ]
    return [
        *rows,
        Row("streams_start_s", f"start of a worker: where {found['streams']} streams stand [s]", found["start_s"]),
    ]


BENCHMARKS = (Benchmark("numbered", "intervals and records into PostgreSQL by COPY and by bulk_create", numbered),)
