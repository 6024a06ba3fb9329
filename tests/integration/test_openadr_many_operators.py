"""One VEN process at several operators: what one of them does or fails to do is not the others'."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.openadr import CONTEXT, GridOperatorProcess, PlatformProcesses
from support.watchers import asked, gone

TABLE = """
[[operator]]
name = "{name}"
url = "{url}"
ven_name = "open-vpp"

[[operator.program]]
name = "{name}-low"
product = "neso-dc-low"
market_context = "{context}"
signal_sign = -1
sign_note = "less consumption is negative"
"""
OWED = (
    "SELECT e.operator, o.dispatch_id, o.power_kw, o.status FROM markets_obligation o "
    "JOIN markets_marketevent e ON e.id = o.event_id ORDER BY e.operator"
)
REFUSED = "SELECT DISTINCT source, error FROM markets_refusedmessage"


@contextmanager
def a_vtn_of_nonsense() -> Iterator[str]:
    """Serve what is no XML to everything."""

    class Nonsense(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"<open>")

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/OpenADR2/Simple/2.0b"
        finally:
            server.shutdown()
            thread.join()


def test_two_operators_with_one_event_id_and_a_third_that_talks_nonsense(tmp_path):
    """All three call their program by the same market context; both sane ones name their VTN and their event alike."""
    north, south = GridOperatorProcess(None), GridOperatorProcess(None)
    platform = PlatformProcesses(tmp_path)
    try:
        with a_vtn_of_nonsense() as nonsense:
            urls = {"north": north.url, "south": south.url, "west": nonsense}
            platform.declare("".join(TABLE.format(name=name, url=url, context=CONTEXT) for name, url in urls.items()))
            platform.add_sites(3)
            platform.start_ven()
            for operator, power_kw in ((north, -10), (south, -20)):
                operator.event("twin", power_kw=power_kw)
                assert operator.said.wait_for("opt", event_id="twin")["opt"] == "optIn"
            rows = platform.rows(OWED)
            assert [(row["operator"], row["power_kw"]) for row in rows] == [("north", 10.0), ("south", 20.0)]
            assert len({row["dispatch_id"] for row in rows}) == 2
            platform.wait_until(lambda: gone(tmp_path, "openadr") == {"vtn west"})
            status, text = asked(tmp_path, "openadr", "/metrics")
            assert status == 200
            registered = {name: f'vpp_openadr_registered{{operator="{name}"}}' for name in urls}
            assert f"{registered['north']} 1.0" in text
            assert f"{registered['west']} 0.0" in text
            # One goes for good, the other takes its event back: only that one is owed no longer.
            north.stop()
            south.command(cmd="cancel", event_id="twin")
            platform.wait_until(lambda: [row["status"] for row in platform.rows(OWED)] == ["open", "cancelled"])
            platform.wait_until(lambda: "link.down operator=north" in platform.log_path.read_text())
            assert platform.rows(REFUSED) == [{"source": nonsense, "error": "xml_malformed"}]
            assert platform.stop_ven() == 0
    finally:
        platform.stop_ven()
        north.stop()
        south.stop()


def test_a_table_that_is_wrong_ends_the_start_and_names_the_place(tmp_path):
    platform = PlatformProcesses(tmp_path)
    path = tmp_path / "operators.toml"
    path.write_text(TABLE.format(name="north", url="http://grid.example/2.0b", context=CONTEXT))
    platform.env["VPP_OPERATORS"] = str(path)
    platform.start_ven()
    assert platform.ven is not None
    assert platform.ven.wait(60) != 0
    assert f"{path}: operator 1 (north): url is plain HTTP to grid.example" in platform.log_path.read_text()
