"""A site that lost its disk goes on behind what the platform holds of it: no revision, no hole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.brokers import nats_broker
from support.edge import CHECKOUT, simulator
from support.platform_processes import Platform, a_platform, wait_until

SITES = 2
STREAMS = (
    "[[r.asset.site.site_id + '/' + r.asset.name, r.number, r.revision] for r in"
    " MeterInterval.objects.select_related('asset__site').order_by('received_at')]"
)


def a_fleet_manifest(folder: Path) -> list[dict[str, Any]]:
    path = folder / "fleet.json"
    subprocess.run(
        [sys.executable, "-m", "sites.edge", "simulate", "--sites", str(SITES), "--seed", "7", "--manifest", str(path)],
        cwd=CHECKOUT, check=True, timeout=60,
    )  # fmt: skip
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def newest(platform: Platform) -> dict[str, int]:
    """Return the highest number stored of every stream."""
    rows: dict[str, int] = {}
    for stream, number, _ in platform.read(STREAMS):
        rows[stream] = max(number, rows.get(stream, 0))
    return rows


@pytest.mark.long
def test_a_site_with_a_new_disk_revises_nothing_and_leaves_no_hole(tmp_path: Path) -> None:
    runtime = tmp_path / "edge"
    runtime.mkdir()
    with nats_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        manifest = a_fleet_manifest(tmp_path)
        platform.set_up(manifest)
        platform.start("run_ingest")
        platform.start("run_host")
        streams = {f"{site['site_id']}/{asset['name']}" for site in manifest for asset in site["assets"]}

        def all_reached(number: int) -> bool:
            rows = newest(platform)
            return set(rows) == streams and min(rows.values()) >= number

        with simulator(broker, SITES, bytes.fromhex(platform.signing_key), runtime, interval_s=1) as edge:
            edge.wait_for("ready", within_s=90.0)
            wait_until(lambda: all_reached(5), 60.0, "five intervals of every asset")
            edge.kill()
            before = newest(platform)
            for path in runtime.iterdir():
                path.unlink() if path.is_file() else shutil.rmtree(path)
            edge.restart()
            edge.wait_for("ready", within_s=90.0)
            wait_until(lambda: all_reached(max(before.values()) + 5), 60.0, "five intervals more")
            said = (runtime / "simulate.log").read_text()
        assert all(f"stream={name} " in said for name in ("pcc", "battery", "load"))
        assert said.count("numbering.adopted") == len(streams)
        rows = platform.read(STREAMS)
        assert {revision for _, _, revision in rows} == {0}
        for stream in streams:
            numbers = sorted(number for name, number, _ in rows if name == stream)
            assert numbers == list(range(1, numbers[-1] + 1))
        assert platform.read("audit.gaps()") == []
        assert platform.read("queries.refusals().counts") == {}
