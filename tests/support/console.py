"""The console as a real server on a free port: ingest and uvicorn on one platform, with a speaking fleet."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.brokers import Broker, nats_broker
from support.console_event import a_fleet
from support.platform_processes import CHECKOUT, Platform, a_platform, wait_until
from support.speaking_fleet import KINDS, SpeakingFleet

SITES = 60
ISLANDED = "site-0003"
OWNED = ("site-0003", "site-0007")


@dataclass
class Console:
    """A running console."""

    platform: Platform
    broker: Broker
    fleet: SpeakingFleet
    passwords: dict[str, str]
    web: WebProcess

    @property
    def url(self) -> str:
        """Where the pages are."""
        return self.web.url

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the status and body of the health page."""
        return health(self.url)


def health(url: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a console's health page; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)
    except OSError:
        return 0, {}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class WebProcess:
    """Uvicorn on a platform, on one port for as long as it lives, and again after a kill."""

    platform: Platform
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start and return once every page would work."""
        self._start(lambda: health(self.url)[0] == 200)

    def start_listening(self) -> None:
        """Start and return once pages are served; without a broker nothing lives on them."""
        self._start(lambda: health(self.url)[0] != 0)

    def _start(self, is_there: Callable[[], bool]) -> None:
        address = ["--host", self.host, "--port", str(self.port), "--log-level", "warning", "--no-proxy-headers"]
        log_path = self.platform.folder / f"web-{self.port}.log"
        with log_path.open("ab") as log:
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "vpp.asgi:application", *address],
                cwd=CHECKOUT, env=self.platform.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        wait_until(lambda: is_there() or process.poll() is not None, 60.0, "the console to be well")
        assert process.poll() is None, log_path.read_text()

    def kill(self) -> None:
        """End it without a goodbye (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20.0)


@contextlib.contextmanager
def a_console(folder: Path) -> Iterator[Console]:
    """Yield a console in the middle of an event, with live data moving."""
    with nats_broker() as broker, a_platform(folder, broker.url, VPP_FRESH_WITHIN_S="30") as platform:
        manifest = a_fleet(SITES, KINDS)
        platform.set_up(manifest)
        owned = [text for site_id in OWNED for text in ("--owner-site", site_id)]
        people = json.loads(platform.manage("create_demo_users", "--demo", "--json", *owned))
        platform.start("run_ingest")
        wait_until(
            lambda: platform.read("PartitionLease.objects.exclude(holder='').count()"), 60.0, "the ingest to be ready"
        )
        fleet = SpeakingFleet(broker.edge_url, [row["site_id"] for row in manifest], islanded=ISLANDED)
        web = WebProcess(platform)
        try:
            fleet.start()
            wait_until(
                lambda: platform.read("LiveState.objects.filter(soc_ratio__isnull=False).count()") == SITES,
                60.0,
                "every site to be stored",
            )
            fleet.send_waveform()
            fleet.send_nonsense()
            seed = "import sys; sys.path.insert(0, 'tests')\nfrom support import console_event\n"
            answer = platform.manage("shell", "-v", "0", "-c", f"{seed}console_event.main()")
            assert answer.split() == ["optIn", str(SITES - 1)], answer
            web.start()
            yield Console(platform, broker, fleet, {name: row["password"] for name, row in people.items()}, web)
        finally:
            web.kill()
            fleet.stop()
