"""A VTN of OpenADR 3 as found in the field: it says what a test lets it say, over real HTTP on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    bearer: str
    body: bytes
    accepts_encoding: str


@dataclass
class FieldVtn:
    """What it answers, by the last word of the path; a callable is asked each time."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=lambda: {"access_token": "t1", "token_type": "Bearer"})
    asked: list[Asked] = field(default_factory=list)

    def paths(self, path: str) -> list[Asked]:
        """Return the requests to a path."""
        return [asked for asked in self.asked if asked.path == path]

    def answer(self, asked: Asked) -> Answer:
        """Return status, content and headers."""
        held: Any = self.answers.get(asked.path)
        if asked.path == "auth/server" and held is None:
            held = {"tokenURL": f"{self.url}/auth/token"}
        if asked.path == "auth/token" and held is None:
            held = self.token
        if isinstance(held, Callable):  # type: ignore[arg-type]
            held = held(asked)
        if held is None:
            held = [] if asked.path in ("programs", "events", "reports") else 404
        if isinstance(held, int):
            return held, b'{"title": "as told"}', {}
        if isinstance(held, tuple):
            return held
        if isinstance(held, bytes):
            return 200, held, {}
        return 200, json.dumps(held).encode(), {}


@contextmanager
def a_field_vtn() -> Iterator[FieldVtn]:
    """Serve on a free port."""
    vtn = FieldVtn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            accepts = self.headers.get("Accept-Encoding", "")
            asked = Asked(self.command, parts.path.removeprefix("/3/"), query, bearer, body, accepts)
            vtn.asked.append(asked)
            status, content, headers = vtn.answer(asked)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up on an answer that is too long is what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        vtn.url = f"http://127.0.0.1:{server.server_port}/3"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield vtn
        finally:
            server.shutdown()
            thread.join()
