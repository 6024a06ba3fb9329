"""Our OpenADR 3 VTN for tests: clients of it, in process or over a socket, and a receiver of webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

AN_INTERVAL = {"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [-250.0]}]}


def a_program(name: str = "frequency response", **more: Any) -> dict[str, Any]:
    return {"programName": name, **more}


def an_event(program_id: str, **more: Any) -> dict[str, Any]:
    period = {"start": "2026-03-01T16:00:00Z", "duration": "PT1H"}
    return {"programID": program_id, "intervalPeriod": period, "intervals": [AN_INTERVAL], **more}


def a_report(event_id: str, **more: Any) -> dict[str, Any]:
    interval = {"id": 0, "payloads": [{"type": "READING", "values": [12.5]}]}
    return {
        "eventID": event_id,
        "clientName": "a ven",
        "resources": [{"resourceName": "battery", "intervals": [interval]}],
        **more,
    }


def a_subscription(url: str, objects: tuple[str, ...] = ("EVENT",), **more: Any) -> dict[str, Any]:
    part = {"objects": list(objects), "operations": ["CREATE", "UPDATE", "DELETE"], "callbackUrl": url}
    return {"clientName": "a ven", "objectOperations": [part], **more}


@dataclass
class Receiver:
    """A VEN's end for webhooks: echoes, keeps what comes, and refuses as long as it is told to."""

    port: int = 0
    refuses: int = 0
    """Answers 503 to so many notifications first."""
    redirects_to: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    bearers: list[str] = field(default_factory=list)
    echoed: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    held = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            word = parse_qs(urlsplit(self.path).query).get("echo", [""])[0]
            held.echoed += 1
            self.answer(200, word.encode())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if held.redirects_to:
                self.send_response(307)
                self.send_header("Location", held.redirects_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if held.refuses > 0:
                held.refuses -= 1
                self.answer(503, b"")
                return
            held.bearers.append(self.headers.get("Authorization", ""))
            held.received.append(json.loads(body))
            self.answer(200, b"")

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


class Peer:
    """One client in process: Django's own test client with a token."""

    def __init__(self, http: Any, client_id: str, secret: str, scope: str = "") -> None:
        self.http = http
        self.client_id = client_id
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        answer = http.post(
            "/openadr3/3.1.0/auth/token",
            data="&".join(f"{name}={value}" for name, value in ({**form, "scope": scope} if scope else form).items()),
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status_code == 200, answer.content
        self.token = answer.json()["access_token"]

    def call(self, method: str, path: str, body: Any = None, version: str = "3.1.0", **headers: str) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.http.generic(
            method,
            f"/openadr3/{version}/{path}",
            data,
            content_type=headers.pop("content_type", "application/json"),
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )

    def get(self, path: str, version: str = "3.1.0", **headers: str) -> Any:
        return self.call("GET", path, version=version, **headers)

    def made(self, path: str, body: Any, version: str = "3.1.0") -> dict[str, Any]:
        answer = self.call("POST", path, body, version)
        assert answer.status_code == 201, answer.content
        return answer.json()


def peer(http: Any, name: str, role: str, targets: tuple[str, ...] = (), *, ven: bool = True, scope: str = "") -> Peer:
    from django.utils import timezone

    from markets.openadr.vtn3 import operations
    from markets.openadr.vtn3.kinds import Role

    client_id, secret = operations.make_client(
        name=name, role=Role(role), at=timezone.now(), ven_name=name if role == "ven" and ven else "", targets=targets
    )
    return Peer(http, client_id, secret, scope)
