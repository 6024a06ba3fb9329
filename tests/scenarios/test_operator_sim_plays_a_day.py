"""A grid operator's scripted day against our running VEN: it stands in the database, and what came back is told."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from support.openadr import ROOT, JsonLines, PlatformProcesses

# Ten minutes of the day are a second.
SPEED = 600
DAY = """
title = "a short day"
report_s = 600

[[step]]
at = "08:00"
event = "kept"
product = "neso-dc-low"
kW = 100
starts = "09:20"
duration = "30min"

[[step]]
at = "08:00"
event = "not-needed"
product = "neso-dc-low"
kW = 20
starts = "12:00"
duration = "1h"

[[step]]
at = "08:30"
modify = "kept"
kW = 80

[[step]]
at = "08:40"
cancel = "not-needed"

[[step]]
at = "08:40"
event = "too-much"
product = "neso-dc-low"
kW = 100000
starts = "09:20"
duration = "30min"
"""


@pytest.fixture
def platform(tmp_path):
    platform = PlatformProcesses(tmp_path)
    platform.add_sites(3)
    yield platform
    platform.stop_ven()


def test_a_day_of_two_zero_b(platform, tmp_path):
    script = tmp_path / "day.toml"
    script.write_text(DAY)
    sim = subprocess.Popen(
        [sys.executable, "manage.py", "operator_sim", "--plain", "--script", str(script), "--speed", str(SPEED),
         "--stay-s", "1"],
        cwd=ROOT, env=platform.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    said = JsonLines()
    reader = threading.Thread(target=said.read, args=(sim.stdout,), daemon=True)
    reader.start()
    try:
        platform.start_ven(said.wait_for("ready")["url"])
        said.wait_for("sent", step="cancel", within_s=60.0)
        summary = said.wait_for("summary", within_s=60.0)
        # It ends by itself.
        assert sim.wait(20.0) == 0
    finally:
        if sim.poll() is None:
            sim.kill()
        reader.join(10.0)
    owed = {
        row["event_id"]: row
        for row in platform.rows(
            "SELECT e.event_id, o.power_kw, o.status, o.revision, e.modification_number FROM markets_obligation o "
            "JOIN markets_marketevent e ON e.id = o.event_id"
        )
    }
    assert set(owed) == {"kept", "not-needed"}
    kept = owed["kept"]
    assert (kept["power_kw"], kept["status"], kept["revision"], kept["modification_number"]) == (80.0, "open", 2, 1)
    assert owed["not-needed"]["status"] == "cancelled"
    assert (summary["events"], summary["modifications"], summary["cancellations"]) == (3, 1, 1)
    assert summary["answers"] == {"kept": "optIn", "not-needed": "optIn", "too-much": "optOut"}
    assert summary["unanswered"] == []
    # Telemetry was asked for each second and came; the sites' meters tell nothing yet, their envelopes do.
    assert summary["report_values"] > summary["report_values_missing"] > 0
    up = said.wait_for("report", point="neso-dc-low/up_available")
    assert 0.0 < up["value"] <= 150.0
    assert said.wait_for("report", point="neso-dc-low/power")["value"] is None
