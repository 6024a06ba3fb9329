"""A fresh folder, free ports and random passwords for one run of the demo."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VEN_NAME = "open-vpp"


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what happened and where to look."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one run of the demo lives. Nothing of it outlasts the run but the folder itself."""

    folder: Path
    mqtt_port: int
    monitor_port: int
    web_port: int
    vtn_port: int

    @property
    def logs(self) -> Path:
        """Folder with one log file per process."""
        return self.folder / "logs"

    @property
    def certificates(self) -> Path:
        """Folder with the certificates of both ends of OpenADR."""
        return self.folder / "certificates"

    @property
    def keys(self) -> Path:
        """Folder with both authorities and a folder for each of the broker and the services."""
        return self.folder / "keys"

    @property
    def broker_folder(self) -> Path:
        """The broker's own folder: its certificate, whom it trusts, and its users as the keeper writes them."""
        return self.keys / "broker"

    @property
    def broker_pid(self) -> Path:
        """Where the broker writes its process id."""
        return self.folder / "nats.pid"

    @property
    def identities(self) -> Path:
        """Folder with each site's key and certificate."""
        return self.folder / "identities"

    @property
    def broker_url(self) -> str:
        """The broker's address without a certificate; each site takes its own identity."""
        return f"mqtts://127.0.0.1:{self.mqtt_port}"

    def environment(self) -> dict[str, str]:
        """Return what every platform process of the run gets; none of it opens the broker (`service_environment`)."""
        settings = {
            "VPP_RUNTIME_DIR": str(self.folder),
            "DATABASE_URL": os.environ.get("VPP_DEMO_DATABASE_URL", f"sqlite:///{self.folder / 'vpp.sqlite3'}"),
            "VPP_BROKER_URL": self.broker_url,
            "VPP_VTN_URL": f"https://127.0.0.1:{self.vtn_port}/OpenADR2/Simple/2.0b",
            "VPP_VEN_NAME": VEN_NAME,
            "VPP_VEN_CERT": str(self.certificates / "ven.pem"),
            "VPP_VEN_KEY": str(self.certificates / "ven.key"),
            "VPP_VEN_CA": str(self.certificates / "ca.pem"),
            "VPP_LOG_LEVEL": os.environ.get("VPP_LOG_LEVEL", "INFO"),
            "DJANGO_SETTINGS_MODULE": "vpp.settings",
        }
        # A fleet on one machine shares two cores with everything else: no library may spread out.
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        return {**os.environ, **threads, **settings}

    def service_environment(self, service: str) -> dict[str, str]:
        """Return a service's address of the broker: with its own certificate, as `make_service_certificate` wrote."""
        name, _, value = (self.keys / service / "broker.env").read_text().strip().partition("=")
        return {name: value}

    def signing_environment(self) -> dict[str, str]:
        """Return where the sites' authority is, for the two processes that sign: this one and the pages."""
        return {
            "VPP_SITE_CA_CERT": str(self.keys / "site-ca.pem"),
            "VPP_SITE_CA_KEY": str(self.keys / "site-ca.key"),
            "VPP_BROKER_CA": str(self.keys / "service-ca.pem"),
        }


def make_workspace(parent: Path) -> Workspace:
    """Make the folder of one run and choose its ports; keeps the three newest older runs."""
    parent.mkdir(parents=True, exist_ok=True)
    earlier = sorted(parent.glob("run-*"), key=lambda path: path.stat().st_mtime)
    for path in earlier[:-3]:
        shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    for name in ("logs", "static"):
        (folder / name).mkdir()
    mqtt_port, monitor_port, web_port, vtn_port = free_ports(4)
    return Workspace(
        folder=folder,
        mqtt_port=mqtt_port,
        monitor_port=monitor_port,
        web_port=web_port,
        vtn_port=vtn_port,
    )


def free_ports(count: int) -> list[int]:
    """Return loopback ports that are free now; all are held while the others are chosen."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def installed_program(name: str) -> str:
    """Return the path of a program that the installation put beside this Python."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise DemoError(f"{name} is not installed beside {sys.executable}; type: make install")
    return str(path)
