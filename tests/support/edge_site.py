"""One site as it runs at a site: a control and an uplink process over one configuration file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.brokers import Broker
from support.edge import CHECKOUT

from sites.wire.signature import public_key_of

SITE_ID = "site-lab"


class EdgeSite:
    """The two processes of one simulated site."""

    def __init__(
        self,
        broker: Broker,
        seed: bytes,
        folder: Path,
        *,
        interval_s: int,
        loss_of_link: str = "hold",
        loss_grace_s: float = 10.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``environment``: what both processes get beside the usual."""
        self._broker = broker
        self._more = dict(environment or {})
        self._folder = folder
        example = (CHECKOUT / "deploy" / "edge" / "site.example.toml").read_text(encoding="utf-8")
        text = (
            example.replace('"site-example"', f'"{SITE_ID}"')
            .replace("0" * 64, public_key_of(seed).hex())
            .replace("interval_s = 60", f"interval_s = {interval_s}")
            .replace('loss_of_link = "hold"', f'loss_of_link = "{loss_of_link}"')
            .replace("loss_grace_s = 10.0", f"loss_grace_s = {loss_grace_s}")
        )
        self.config = folder / "site.toml"
        self.config.write_text(text, encoding="utf-8")
        self.block_path = folder / "run" / f"{SITE_ID}.block"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start ``control`` or ``uplink``."""
        self.processes[name] = self.spawn(name)
        return self.processes[name]

    def spawn(self, name: str) -> subprocess.Popen[bytes]:
        """Start a process without counting it as the site's own."""
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sites.edge", name, "--config", str(self.config)],
                cwd=CHECKOUT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self._environment(),
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        # Bytecode is kept, as an installed site has it: without it a start takes three times as long.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        bytecode = {"PYTHONPYCACHEPREFIX": str(self._folder / "bytecode")}
        return kept | bytecode | self._more | {"VPP_EDGE_BROKER_URL": self._broker.edge_url}

    def kill(self, name: str) -> None:
        """End one of them without a goodbye (SIGKILL)."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10.0)

    def log_text(self, name: str) -> str:
        """What a process logged so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End what still runs, in order."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10.0)
