"""Rows a second that one ingest worker stores, on SQLite and on PostgreSQL: 200 sites, batches of 250 ms."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.manifests import a_manifest
from support.platform_processes import CHECKOUT, a_platform
from support.postgres import postgres_database, postgres_folder

# Runs inside the platform: its database is chosen by the environment.
SCRIPT = """
import json, sys, time
sys.path.insert(0, "tests")
from datetime import timedelta
from support.meters import START, an_interval, a_batch
from sites.metering import operations
from sites.metering.batches import Batch, LiveRow
from sites.registry.models import Asset, Site

ROWS, BATCHES = 5_000, 20
sites = list(Site.objects.all())
states, readings_s = {}, 0.0
for index in range(BATCHES):
    at = START + timedelta(seconds=index)
    rows = [(site.pk, "", f"metric_{i}", at, at, float(i)) for i in range(ROWS // len(sites)) for site in sites]
    live = {site.pk: LiveRow(site.site_id, at, at, {"frequency_hz": 50.0, "mode": "grid_tied"}) for site in sites}
    begun = time.perf_counter()
    states |= operations.store_batch(batch=Batch(readings=rows, live=live), states=states, at=at).states
    readings_s += time.perf_counter() - begun
assets = list(Asset.objects.select_related("site"))
intervals_s, worst_s = 0.0, 0.0
for number in range(1, BATCHES + 1):
    batch = a_batch(*(an_interval(asset, number) for asset in assets))
    begun = time.perf_counter()
    states |= operations.store_batch(batch=batch, states=states, at=START).states
    took_s = time.perf_counter() - begun
    # The first batch looks up where every stream stands.
    intervals_s, worst_s = intervals_s + took_s, max(worst_s, took_s)
print("@" + json.dumps({
    "readings_per_s": round(ROWS * BATCHES / readings_s),
    "intervals_per_s": round(len(assets) * BATCHES / intervals_s),
    "worst_interval_batch_ms": round(worst_s * 1000),
}))
"""


def measure(database_url: str = "") -> dict[str, Any]:
    """Return the rates on a database; an empty address means a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder, a_platform(Path(folder), "mqtt://127.0.0.1:1", database_url) as made:
        made.set_up(a_manifest(200))
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", SCRIPT],
            cwd=CHECKOUT, env=made.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return dict(json.loads(done.stdout.rsplit("@", 1)[1]))


def main() -> dict[str, Any]:
    """Measure both databases; PostgreSQL only where it is installed."""
    found = {"sqlite": measure()}
    if postgres_folder() is not None:
        with postgres_database() as url:
            found["postgresql"] = measure(url)
    return found


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
