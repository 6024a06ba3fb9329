"""A process's own door for its watchers: ``/metrics`` for Prometheus and ``/healthz``, on a thread of its own.

The thread answers even while the process's loop stands still; what it answers then is decided by the beats of
`health.py`. With port 0 the system chooses a free one, so that any number of workers run on a machine without a list of
ports; where each listens stands in a file that Prometheus reads (``file_sd_configs``).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sites.core import observe
from sites.observability.health import Health
from sites.observability.metrics import REGISTRY

log = logging.getLogger(__name__)

OFF: Final = "off"
REQUEST_WITHIN_S: Final = 2.0
"""A watcher that has not asked by then is hung up on: requests are served one at a time."""


class ObservabilityAddressError(ValueError):
    """An address that is not accepted; the message says which are."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """Return ``host:port`` (port 0: any free one), or None for ``off``; raise ObservabilityAddressError."""
        if text == OFF:
            return None
        host, sign, port = text.rpartition(":")
        if not sign or not host or not port.isdecimal() or int(port) > 65_535:
            raise ObservabilityAddressError(f"{text[:60]!r} is no address, accepted: host:port, or {OFF}")
        return cls(host.strip("[]"), int(port))


@contextlib.contextmanager
def watched(health: Health, address: Address | None, *, folder: Path | None = None) -> Iterator[int | None]:
    """Serve a process's metrics and health while the context lasts; yield the port, None when it is off.

    ``folder`` receives ``<process>-<pid>.json`` in the form of Prometheus's file discovery. An address that is taken
    raises OSError: a process that nobody can watch shall not start unnoticed.
    """
    if address is None:
        yield None
        return
    server = _server(health, address)
    thread = threading.Thread(target=server.serve_forever, name="observability", daemon=True)
    thread.start()
    port = int(server.server_address[1])
    log.info("%s process=%s host=%s port=%d", observe.WATCHED_AT, health.process, address.host, port)
    announced = _announce(folder, health.process, f"{address.host}:{port}") if folder is not None else None
    try:
        yield port
    finally:
        if announced is not None:
            announced.unlink(missing_ok=True)
        server.shutdown()
        thread.join()
        server.server_close()


def _server(health: Health, address: Address) -> HTTPServer:
    class Answer(BaseHTTPRequestHandler):
        timeout = REQUEST_WITHIN_S
        server_version = "vpp"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._say(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif path == "/healthz":
                faults = health.faults()
                body = {"process": health.process, "status": "unavailable" if faults else "ok", "gone": faults}
                self._say(503 if faults else 200, "application/json", json.dumps(body).encode())
            else:
                self._say(404, "text/plain; charset=utf-8", b"accepted: /metrics, /healthz\n")

        def _say(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a line for each scrape would drown the rest."""

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET

    return Server((address.host, address.port), Answer)


def _announce(folder: Path, process: str, target: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    _forget_ended(folder)
    path = folder / f"{process}-{os.getpid()}.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps([{"targets": [target], "labels": {"process": process}}]))
    draft.replace(path)
    return path


def _forget_ended(folder: Path) -> None:
    """Remove what killed processes left: a target that will never answer again."""
    for path in folder.glob("*-*.json"):
        number = path.stem.rpartition("-")[2]
        if not number.isdecimal():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (PermissionError, OverflowError):
            continue
