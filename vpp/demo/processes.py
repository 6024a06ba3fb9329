"""Every process of the demo, by name: broker, sites, platform, and the grid operator's own."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markets.openadr.certificates import make_openadr_certificates
from vpp.demo import broker
from vpp.demo.supervisor import Child, Supervisor
from vpp.demo.workspace import BASE_DIR, VEN_NAME, DemoError, Workspace, installed_program

STARTS_WITHIN_S = 40.0
GIVEN_UP_BEHIND_S = 5.0
"""The books wait 30 s for the last interval: a simulation that lags so far in the middle would not be there in time."""


class Processes:
    """Starts what the demo needs and holds the two that it talks to."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        signing = workspace.signing_environment()
        # Who signs sites is told to those alone who do.
        own = {name: value for name, value in workspace.environment().items() if name not in signing}
        self.environment = {**own, "PYTHONUNBUFFERED": "1"}
        self.supervisor = Supervisor()
        self.simulator: Child
        self.operator: Child

    def _start(self, name: str, command: list[str], **options: Any) -> Child:
        environment = {**self.environment, **options.pop("environment", {})}
        return self.supervisor.add(Child(name, command, environment, self.workspace.logs / f"{name}.log", **options))

    def _manage(self, *words: str, service: str = "") -> Child:
        environment = self.workspace.service_environment(service) if service else {}
        return self._start(words[0], [sys.executable, str(BASE_DIR / "manage.py"), *words], environment=environment)

    def start_broker(self) -> None:
        """Start the MQTT broker and wait until it listens; its users stand in its folder already."""
        config = broker.write_config(self.workspace)
        self._start("broker", [installed_program("nats-server"), "-c", str(config)])
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not broker.accepts_connections(self.workspace.mqtt_port):
            self.supervisor.require_alive()
            if time.monotonic() > deadline:
                raise DemoError(f"the broker did not listen within {STARTS_WITHIN_S:g} s; see {self.workspace.logs}")
            time.sleep(0.02)

    def keep_broker(self) -> None:
        """Start what carries the registry on to the broker: a site revoked in the console is cut off."""
        folder, pid_file = str(self.workspace.broker_folder), str(self.workspace.broker_pid)
        monitor = f"http://{broker.HOST}:{self.workspace.monitor_port}"
        words = ("--folder", folder, "--pid-file", pid_file, "--monitor", monitor)
        self._manage("keep_broker", "nats", *words, service="vpp.broker")

    def start_sites(self, *, sites: int, seed: int, interval_s: int, platform_key: bytes) -> None:
        """Start the simulated sites. They know the platform's public key only, and wait each for its certificate."""
        environment = {name: value for name, value in self.environment.items() if not name.startswith("VPP_")}
        self.simulator = self._start_edge(
            "sites",
            [
                "simulate",
                *("--sites", str(sites), "--seed", str(seed), "--interval-s", str(interval_s)),
                *("--host-id", "vpp", "--platform-key", platform_key.hex()),
                *("--identities", str(self.workspace.identities)),
                *("--manifest", str(self.workspace.folder / "fleet.json")),
                *("--runtime-dir", str(self.workspace.folder / "edge")),
            ],
            {**environment, "VPP_EDGE_BROKER_URL": self.workspace.broker_url},
        )

    def manifest(self) -> list[dict[str, Any]]:
        """Return what the simulated sites are, as they write it for enrollment."""
        told = self.simulator.await_said(
            lambda said: said["event"] == "manifest", within_s=STARTS_WITHIN_S, what="the fleet's manifest"
        )
        found: list[dict[str, Any]] = json.loads(Path(told["path"]).read_text())
        return found

    @property
    def lag_s(self) -> float:
        """How far the simulated sites are behind the clock, as they said last."""
        return float(self.simulator.last_said.get("behind", {}).get("lag_s", 0.0))

    def require_real_time(self) -> None:
        """Raise DemoError when a process has ended for good, or when the simulation cannot keep up with the clock."""
        self.supervisor.require_alive()
        if self.lag_s > GIVEN_UP_BEHIND_S:
            raise DemoError(
                f"the simulated sites are {self.lag_s:.0f} s behind the clock: this machine is too busy, or has too "
                "few processors, for so many in real time; end what else runs, or ask for fewer with --sites"
            )

    def _start_edge(self, name: str, words: list[str], environment: dict[str, str]) -> Child:
        log = self.workspace.logs / f"{name}.log"
        command = [installed_program("vpp-edge"), *words]
        # Not restartable: a simulated plant that starts anew would be another plant.
        return self.supervisor.add(Child(name, command, environment, log, speaks=True, restartable=False))

    def start_grid_operator(self) -> None:
        """Start the grid operator's VTN as a process of its own, over mutual TLS with fresh certificates."""
        pair = make_openadr_certificates(self.workspace.certificates, at=datetime.now(UTC), ven_name=VEN_NAME)
        command = [sys.executable, "-m", "markets.openadr.grid_operator", "--port", str(self.workspace.vtn_port)]
        credentials = ["--cert", str(pair.vtn.cert), "--key", str(pair.vtn.key), "--ca", str(pair.ca)]
        ven = ["--ven-name", VEN_NAME, "--ven-fingerprint", pair.ven.fingerprint]
        # It is somebody else's process: it gets none of our settings. It keeps its events in memory alone.
        environment = {name: value for name, value in self.environment.items() if not name.startswith("VPP_")}
        self.environment["VPP_VTN_FINGERPRINT"] = pair.vtn.fingerprint
        self.operator = self.supervisor.add(
            Child(
                "grid_operator",
                [*command, *credentials, *ven],
                environment,
                self.log_of("grid_operator"),
                speaks=True,
                restartable=False,
            )
        )

    def start_platform(self) -> None:
        """Start the platform's processes. Each comes back by itself when it dies."""
        for command, service in (
            ("run_ingest", "vpp.ingest"),
            ("run_host", "vpp.host"),
            ("run_dispatch", "vpp.dispatch"),
            ("run_openadr", ""),
        ):
            self._manage(command, service=service)

    def start_web(self) -> None:
        """Start the console, which also signs what an operator approves on its page *Enrolment*, and its history."""
        address = ["--host", "127.0.0.1", "--port", str(self.workspace.web_port)]
        self._start(
            "web",
            [sys.executable, "-m", "uvicorn", "vpp.asgi:application", *address, "--log-level", "warning"],
            environment={**self.workspace.service_environment("vpp.web"), **self.workspace.signing_environment()},
        )
        self._manage("roll_up", "--every", "60")

    @property
    def console_url(self) -> str:
        """Where the console answers."""
        return f"http://127.0.0.1:{self.workspace.web_port}/"

    def log_of(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.workspace.logs / f"{name}.log"
