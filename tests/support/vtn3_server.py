"""Our OpenADR 3 VTN as a real server: uvicorn on loopback as deployed, and the sender of what it owes."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from support.platform_processes import CHECKOUT, Platform, a_platform, wait_until

NO_BROKER = "mqtt://127.0.0.1:1"
"""Nothing of what is tested here goes over MQTT."""


@dataclass
class Vtn:
    """A platform whose web process serves the VTN."""

    platform: Platform
    port: int
    clients: dict[str, dict[str, str]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    sender: subprocess.Popen[bytes] | None = None

    def url(self, version: str = "3.1.0") -> str:
        return f"http://127.0.0.1:{self.port}/openadr3/{version}"

    def start(self) -> None:
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning", "--no-proxy-headers"]
        with (self.platform.folder / "web.log").open("ab") as log:
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "vpp.asgi:application", *address],
                cwd=CHECKOUT, env=self.platform.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        wait_until(lambda: self._answers() or process.poll() is not None, 60.0, "the VTN to answer")
        assert process.poll() is None, (self.platform.folder / "web.log").read_text()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url()}/auth/server", timeout=5) as answer:  # noqa: S310 - loopback
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End the web process and the sender without a goodbye (SIGKILL)."""
        for process in (self.process, self.sender):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(20.0)

    def make_client(self, name: str, *words: str) -> dict[str, str]:
        held = self.clients[name] = json.loads(self.platform.manage("make_openadr_client", name, *words))
        return held

    def token(self, name: str) -> str:
        held = self.clients[name]
        form = {"grant_type": "client_credentials"} | {key: held[key] for key in ("client_id", "client_secret")}
        request = urllib.request.Request(f"{self.url()}/auth/token", urlencode(form).encode())  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return str(json.load(answer)["access_token"])


@contextlib.contextmanager
def a_vtn(folder: Path, database_url: str = "", **settings: str) -> Iterator[Vtn]:
    """Yield a running VTN with the client ``desk`` (business logic)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with a_platform(folder, NO_BROKER, database_url, VPP_OBSERVE="off", **settings) as platform:
        platform.make_tables()
        vtn = Vtn(platform, port)
        try:
            vtn.make_client("desk", "--role", "bl")
            vtn.start()
            yield vtn
        finally:
            vtn.kill()
