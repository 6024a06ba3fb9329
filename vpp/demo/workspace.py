"""A fresh folder, free ports and random passwords for one run of the demo."""

from __future__ import annotations

import os
import secrets
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
    web_port: int
    vtn_port: int
    platform_password: str
    edge_password: str

    @property
    def logs(self) -> Path:
        """Folder with one log file per process."""
        return self.folder / "logs"

    @property
    def certificates(self) -> Path:
        """Folder with the certificates of both ends of OpenADR."""
        return self.folder / "certificates"

    @property
    def platform_broker_url(self) -> str:
        """The broker's address with the platform's rights."""
        return f"mqtt://platform:{self.platform_password}@127.0.0.1:{self.mqtt_port}"

    @property
    def edge_broker_url(self) -> str:
        """The broker's address with a site's rights."""
        return f"mqtt://edge:{self.edge_password}@127.0.0.1:{self.mqtt_port}"

    def environment(self) -> dict[str, str]:
        """Return the environment of every platform process of the run."""
        settings = {
            "VPP_RUNTIME_DIR": str(self.folder),
            "DATABASE_URL": os.environ.get("VPP_DEMO_DATABASE_URL", f"sqlite:///{self.folder / 'vpp.sqlite3'}"),
            "VPP_BROKER_URL": self.platform_broker_url,
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


def make_workspace(parent: Path) -> Workspace:
    """Make the folder of one run and choose its ports; keeps the three newest older runs."""
    parent.mkdir(parents=True, exist_ok=True)
    earlier = sorted(parent.glob("run-*"), key=lambda path: path.stat().st_mtime)
    for path in earlier[:-3]:
        shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    for name in ("logs", "static"):
        (folder / name).mkdir()
    mqtt_port, web_port, vtn_port = free_ports(3)
    return Workspace(
        folder=folder,
        mqtt_port=mqtt_port,
        web_port=web_port,
        vtn_port=vtn_port,
        platform_password=secrets.token_urlsafe(24),
        edge_password=secrets.token_urlsafe(24),
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
