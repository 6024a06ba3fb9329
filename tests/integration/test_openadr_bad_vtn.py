"""A VTN that talks nonsense, and one on plain loopback: the VEN keeps what it refused and goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.openadr import ROOT, GridOperatorProcess, PlatformProcesses

REFUSED = "SELECT error, size_bytes FROM markets_refusedmessage"


@contextmanager
def a_vtn_that_says(content: bytes, status: int = 200) -> Iterator[str]:
    """Serve one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/OpenADR2/Simple/2.0b"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformProcesses]:
    """A platform whose VEN is stopped in the end."""
    platform = PlatformProcesses(tmp_path)
    yield platform
    platform.stop_ven()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "xml_forbidden"),
        (b"x" * 2_000_000, "message_too_large"),
        (b"<open>", "xml_malformed"),
    ],
    ids=["entities", "large", "malformed"],
)
def test_nonsense_is_kept_by_name_and_the_process_goes_on(platform, content, error):
    with a_vtn_that_says(content) as url:
        platform.start_ven(url)
        rows = platform.wait_until(lambda: len(rows := platform.rows(REFUSED)) >= 2 and rows)
        assert {row["error"] for row in rows} == {error}
        assert rows[0]["size_bytes"] <= 1_100_000
        assert platform.stop_ven() == 0


def test_a_vtn_that_fails_is_tried_again_and_found(platform):
    with a_vtn_that_says(b"broken", status=500) as url:
        platform.start_ven(url)
        platform.wait_until(lambda: platform.log_path.read_text().count("HTTP status 500") >= 2)
    platform.stop_ven()
    platform.add_sites(3)
    operator = GridOperatorProcess(None)
    try:
        platform.start_ven(operator.url)
        operator.event("plain")
        assert operator.said.wait_for("opt", event_id="plain")["opt"] == "optIn"
        assert platform.rows("SELECT power_kw FROM markets_obligation") == [{"power_kw": 100.0}]
    finally:
        operator.stop()


def test_without_a_vtn_address_the_start_is_refused_by_name(platform):
    done = subprocess.run(
        [sys.executable, "manage.py", "run_openadr"],
        cwd=ROOT, env={**platform.env, "VPP_VTN_URL": ""}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "VPP_VTN_URL" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--plain", "--host", "0.0.0.0"], "127.0.0.1 only"),  # noqa: S104 - the refusal is the test
        ([], "--plain on 127.0.0.1"),
        (["--cert", "c", "--key", "k", "--ven-fingerprint", "f"], "--ca"),
    ],
)
def test_the_grid_operator_does_not_serve_unprotected_by_accident(arguments, named):
    done = subprocess.run(
        [sys.executable, "-m", "markets.openadr.grid_operator", "--ven-name", "v", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert named in done.stderr
