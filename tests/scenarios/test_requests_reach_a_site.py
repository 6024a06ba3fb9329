"""From the dispatcher's request to the site's switch and back: real control, uplink, broker, ingest, dispatch and web.

A planned island and the return, an emergency stop that nobody clears from afar, a restart that clears it neither,
the key at the site, and an owner's maintenance that ends an armed response.
"""

from __future__ import annotations

import http.cookiejar
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Broker
from support.console import WebProcess
from support.edge import CHECKOUT
from support.edge_site import SITE_ID, EdgeSite
from support.manifests import a_manifest
from support.platform_processes import Platform, a_platform, wait_until

INPUTS = """
[inputs]
emergency_stop = { path = "stop" }
local_reset = { path = "key" }
"""


@dataclass
class Person:
    """Somebody signed in to the console, who uses its API."""

    url: str
    name: str
    password: str
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def __post_init__(self) -> None:
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.opener.open(f"{self.url}/login/", timeout=20).read()
        form = {"username": self.name, "password": self.password, "csrfmiddlewaretoken": self.token}
        self.opener.open(f"{self.url}/login/", urllib.parse.urlencode(form).encode(), timeout=20).read()

    @property
    def token(self) -> str:
        return next(cookie.value or "" for cookie in self.jar if cookie.name == "csrftoken")

    def get(self, path: str) -> Any:
        with self.opener.open(f"{self.url}{path}", timeout=20) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("/api/") or path.endswith(".json") else text

    def waveform(self, number: int) -> dict[str, Any] | None:
        """Return a recording of the site; None while the platform does not have it."""
        try:
            found: dict[str, Any] = self.get(f"/sites/{SITE_ID}/waveforms/{number}.json")
        except urllib.error.HTTPError:
            return None
        return found

    def ask(self, request: str) -> int:
        """Send a request to the site; return the status."""
        headers = {"Content-Type": "application/json", "X-CSRFToken": self.token, "Referer": self.url}
        body = json.dumps({"request": request}).encode()
        address = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/api/v1/sites/{SITE_ID}/commands/", body, headers
        )
        try:
            with self.opener.open(address, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as answer:
            return answer.code

    def answer_to(self, request: str) -> dict[str, Any]:
        """Send a request and return its row of the trail once the site has answered."""
        assert self.ask(request) == 201

        def answered() -> dict[str, Any] | None:
            row: dict[str, Any] = self.get(f"/api/v1/sites/{SITE_ID}/commands/")["results"][0]
            return row if row["answer"] else None

        row: dict[str, Any] = wait_until(answered, 20.0, f"an answer to {request}")
        assert row["request"] == request
        return row

    def mode(self) -> str:
        return str(self.get(f"/api/v1/sites/{SITE_ID}/")["mode"])

    def wait_mode(self, mode: str, within_s: float = 40.0) -> None:
        wait_until(lambda: self.mode() == mode, within_s, f"mode {mode}")


@dataclass
class Stage:
    """A site and its platform."""

    platform: Platform
    site: EdgeSite
    folder: Path
    dispatcher: Person
    owner: Person

    def set_line(self, name: str, value: int) -> None:
        (self.folder / name).write_text(f"{value}\n")

    def at_the_site(self, *words: str) -> tuple[int, str]:
        """Run ``vpp-edge request`` or ``status`` as somebody at the site does."""
        command, *rest = words
        done = subprocess.run(
            [sys.executable, "-m", "sites.edge", command, "--config", str(self.site.config), *rest],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def stage(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("site")
    with a_platform(tmp_path_factory.mktemp("platform"), broker.url) as platform:
        site = EdgeSite(broker, bytes.fromhex(platform.signing_key), folder, interval_s=60)
        text = site.config.read_text().replace("[[assets]]", "enter_service_delay_s = 1.0\n\n[[assets]]", 1)
        site.config.write_text(text + INPUTS)
        (folder / "stop").write_text("1\n")
        (folder / "key").write_text("0\n")
        platform.set_up(a_manifest(site_id=SITE_ID, assets=("pcc", "battery", "pv", "load")))
        made = platform.manage("create_demo_users", "--demo", "--json", "--owner-site", SITE_ID)
        people = {name: row["password"] for name, row in json.loads(made).items()}
        web = WebProcess(platform)
        try:
            site.start("control")
            for command in ("run_ingest", "run_host", "run_dispatch"):
                platform.start(command)
            site.start("uplink")
            web.start()
            dispatcher = Person(web.url, "dispatcher", people["dispatcher"])
            stage = Stage(platform, site, folder, dispatcher, Person(web.url, "owner", people["owner"]))
            dispatcher.wait_mode("grid_tied", 240.0)
            yield stage
        finally:
            web.kill()
            site.stop()


def test_a_planned_island_and_the_way_back(stage: Stage) -> None:
    row = stage.dispatcher.answer_to("island")
    assert (row["answer"], row["error"], row["issued_by_name"], row["issued_as"]) == (
        "accepted", "", "dispatcher", "dispatcher",
    )  # fmt: skip
    stage.dispatcher.wait_mode("islanded")
    wait_until(lambda: "planned at" in stage.dispatcher.get(f"/sites/{SITE_ID}/"), 20.0, "the decision on the page")
    # Smoothly: at each instant one of the load's three phases stands near its peak, 0.87 of it at least.
    wave = wait_until(lambda: stage.dispatcher.waveform(1), 30.0, "the recording")
    assert wave["cause"] == "planned"
    phases = [wave["columns"][name] for name in ("va_pu", "vb_pu", "vc_pu")]
    lowest = min(max(abs(value) for value in instant) for instant in zip(*phases, strict=True))
    print(f"planned island: the load's lowest envelope {lowest:.3f} pu")
    assert lowest > 0.8
    assert stage.dispatcher.answer_to("reconnect")["answer"] == "accepted"
    stage.dispatcher.wait_mode("grid_tied")


def test_an_emergency_stop_is_cleared_at_the_site_alone(stage: Stage) -> None:
    stage.set_line("stop", 0)
    stage.dispatcher.wait_mode("lockout")
    page = wait_until(
        lambda: "Emergency stop" in (text := stage.dispatcher.get(f"/sites/{SITE_ID}/")) and text, 20.0, "the alarm"
    )
    assert "none: the load is dark" in page
    stage.set_line("stop", 1)
    refused = stage.dispatcher.answer_to("clear_lockout")
    assert (refused["answer"], refused["error"]) == ("refused", "local_only")
    refused = stage.dispatcher.answer_to("black_start")
    assert (refused["answer"], refused["error"]) == ("refused", "latched")
    # Neither does a restart of the controller clear it.
    stage.site.kill("control")
    stage.site.start("control")
    wait_until(lambda: "control.resumed after=lockout" in stage.site.log_text("control"), 60.0, "the controller")
    wait_until(lambda: stage.at_the_site("status")[0] == 0, 30.0, "the controller's image")
    status = stage.at_the_site("status")[1]
    assert "mode:           lockout" in status
    assert "emergency_stop since " in status
    assert stage.at_the_site("request", "clear-lockout") == (0, f"{SITE_ID}: clear-lockout: accepted\n")
    stage.dispatcher.wait_mode("grid_tied", 60.0)
    page = wait_until(
        lambda: "only the key at the site does that" in (text := stage.dispatcher.get(f"/sites/{SITE_ID}/")) and text,
        20.0,
        "the trail",
    )
    assert "a latched alarm has to be cleared at the site first" in page


def test_maintenance_stops_an_armed_response_and_the_site_is_not_firm(stage: Stage) -> None:
    starts_at = datetime.now(UTC) + timedelta(seconds=2)
    dispatch_id = a_debt(stage.platform, power_kw=5.0, starts_at=starts_at)

    def standing() -> Any:
        return stage.dispatcher.get(f"/api/v1/dispatches/{dispatch_id}/")

    def firm_kw() -> float | None:
        try:
            return float(standing()["firm_kw"])
        except urllib.error.HTTPError:
            return None

    wait_until(lambda: (firm_kw() or 0.0) >= 5.0, 40.0, "the site to be firm")
    assert stage.dispatcher.ask("maintenance_on") == 403
    assert stage.owner.ask("island") == 403
    row = stage.owner.answer_to("maintenance_on")
    assert (row["answer"], row["issued_as"]) == ("accepted", "owner")
    stage.owner.wait_mode("maintenance")
    wait_until(lambda: firm_kw() == 0.0, 20.0, "nothing to be firm")
    wait_until(lambda: "armed 0.0 kW" in stage.at_the_site("status")[1], 20.0, "the site to let go")
    assert stage.owner.answer_to("maintenance_off")["answer"] == "accepted"
    stage.owner.wait_mode("grid_tied")
    # Inside the window it serves again by itself.
    wait_until(lambda: (firm_kw() or 0.0) >= 5.0, 40.0, "the site to be firm again")


def a_debt(platform: Platform, *, power_kw: float, starts_at: datetime) -> str:
    """Let the market accept an obligation of ten minutes; return its dispatch id."""
    code = f"""
from datetime import datetime, timedelta
from markets.models import MarketEvent, Obligation, Program
at = datetime.fromisoformat({starts_at.isoformat()!r})
program = Program.objects.get(product="neso-dc-low")
event = MarketEvent.objects.create(
    vtn_id="vtn", event_id="e-1", modification_number=0, program=program, market_context="", raw=b"",
    content_hash="e-1", operator_status="far", is_test=False, received_at=at, decided_at=at, status="decided",
    opt_type="optIn", reason="accepted", reason_text="", requested_kw={power_kw}, available_kw={power_kw})
Obligation.objects.create(dispatch_id="DC-e-1", program=program, event=event, revision=1, power_kw={power_kw},
    starts_at=at, ends_at=at + timedelta(minutes=10), status="open", created_at=at, changed_at=at)
"""
    platform.manage("load_programs")
    platform.manage("shell", "-v", "0", "-c", code)
    return "DC-e-1"
