"""A grid operator's scripted day against our running VEN: it stands in the database, and what came back is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.openadr import ROOT, JsonLines, PlatformProcesses, certificates
from support.vtn3_server import a_vtn

from markets.openadr.certificates import OpenAdrPair

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


OPERATOR_OF_3 = """
[[operator]]
name = "south"
version = "3.1.0"
url = "{url}"
ven_name = "south"
client_id = "{client_id}"
secret_env = "south_secret"
poll_s = 1

[[operator.program]]
name = "south-dc-low"
product = "neso-dc-low"
market_context = "http://grid-operator.example/programs/neso-dc-low"
signal_name = "DISPATCH_SETPOINT"
signal_type = "setpoint"
signal_sign = -1
sign_note = "consumption positive"
"""


class Sim:
    """The operator as a process, and what it said."""

    def __init__(self, folder: Path, env: dict[str, str], *arguments: str) -> None:
        script = folder / "day.toml"
        script.write_text(DAY)
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "operator_sim", "--script", str(script), "--speed", str(SPEED),
             "--stay-s", "2", *arguments],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.said = JsonLines()
        self.reader = threading.Thread(target=self.said.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def ended(self) -> dict[str, Any]:
        """Wait until it ended by itself, and return its summary."""
        summary = self.said.wait_for("summary", within_s=90.0)
        assert self.process.wait(20.0) == 0
        return summary

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10.0)
        self.reader.join(10.0)


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> OpenAdrPair | None:
    """Return credentials of both ends where a test is parametrized with any."""
    return certificates(tmp_path / "pki") if getattr(request, "param", False) else None


@pytest.fixture
def platform(tmp_path: Path, pair: OpenAdrPair | None) -> Iterator[PlatformProcesses]:
    platform = PlatformProcesses(tmp_path, pair)
    platform.add_sites(3)
    yield platform
    platform.stop_ven()


def owed(platform: PlatformProcesses) -> list[dict[str, Any]]:
    """Return the obligations with the newest version of their events, the largest first."""
    return platform.rows(
        "SELECT e.event_id, e.operator, o.power_kw, o.status, o.revision, e.modification_number "
        "FROM markets_obligation o JOIN markets_marketevent e ON e.id = o.event_id ORDER BY o.power_kw DESC"
    )


@pytest.mark.parametrize(
    "pair", [pytest.param(False, id="plain"), pytest.param(True, id="signed", marks=pytest.mark.long)], indirect=True
)
def test_a_day_of_two_zero_b(platform: PlatformProcesses, tmp_path: Path, pair: OpenAdrPair | None) -> None:
    secure = ["--plain"]
    if pair is not None:
        secure = ["--cert", str(pair.vtn.cert), "--key", str(pair.vtn.key), "--ca", str(pair.ca)]
        secure += ["--ven-fingerprint", pair.ven.fingerprint]
    sim = Sim(tmp_path, platform.env, *secure)
    try:
        platform.start_ven(sim.said.wait_for("ready")["url"])
        summary = sim.ended()
    finally:
        sim.kill()
    kept, not_needed = owed(platform)
    assert (kept["event_id"], not_needed["event_id"]) == ("kept", "not-needed")
    assert (kept["power_kw"], kept["status"], kept["revision"], kept["modification_number"]) == (80.0, "open", 2, 1)
    assert not_needed["status"] == "cancelled"
    assert (summary["events"], summary["modifications"], summary["cancellations"]) == (3, 1, 1)
    assert summary["answers"] == {"kept": "optIn", "not-needed": "optIn", "too-much": "optOut"}
    assert summary["unanswered"] == []
    # Telemetry was asked for each second and came; the sites' meters tell nothing yet, their envelopes do.
    assert summary["report_values"] > summary["report_values_missing"] > 0
    up = sim.said.wait_for("report", point="neso-dc-low/up_available")
    assert 0.0 < up["value"] <= 150.0
    assert sim.said.wait_for("report", point="neso-dc-low/power")["value"] is None


@pytest.mark.long
def test_a_day_of_three(platform: PlatformProcesses, tmp_path: Path) -> None:
    (tmp_path / "vtn").mkdir()
    with a_vtn(tmp_path / "vtn") as vtn:
        held = vtn.make_client("south", "--ven", "south", "--target", "south")
        platform.env["south_secret"] = held["client_secret"]
        platform.declare(OPERATOR_OF_3.format(url=vtn.url(), client_id=held["client_id"]))
        platform.start_ven()
        desk = vtn.clients["desk"]
        env = {**platform.env, "VPP_OPERATOR_SECRET": desk["client_secret"]}
        sim = Sim(
            tmp_path, env, "--openadr", "3", "--url", vtn.url(), "--client-id", desk["client_id"], "--target", "south"
        )
        try:
            summary = sim.ended()
        finally:
            sim.kill()
    kept, not_needed = owed(platform)
    assert (kept["operator"], kept["power_kw"], kept["status"], kept["revision"]) == ("south", 80.0, "open", 2)
    assert (not_needed["power_kw"], not_needed["status"]) == (20.0, "cancelled")
    assert (summary["answers"]["kept"], summary["answers"]["too-much"]) == ("optIn", "optOut")
    assert summary["unanswered"] == []
    up = sim.said.wait_for("report", point="south-dc-low/UP_REGULATION_AVAILABLE")
    assert 0.0 < up["value"] <= 150.0
    assert sim.said.wait_for("report", point="south-dc-low/READING")["quality"] == "MISSING"
