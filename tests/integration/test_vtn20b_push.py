"""Our VTN pushes to a VEN's own HTTPS server, and two VTNs in one process keep to themselves."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openleadr.messaging import create_message, parse_message, validate_xml_schema, validate_xml_signature
from support.vtn20b import ROOT, Authority, OurVtnProcess, Party

TWO = """
import asyncio, sys
from pathlib import Path
import django
django.setup()
from markets.openadr.vtn20b.server import Door, Vtn
from markets.openadr.vtn20b.service import VtnConfig

async def main():
    folder, ports = Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]
    for name, port in zip(("ONE", "TWO"), ports):
        door = Door("127.0.0.1", port, folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
        await Vtn(VtnConfig(vtn_id=name), door).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class PushedTo(http.server.BaseHTTPRequestHandler):
    """Takes what is pushed."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, content))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening(authority: Authority, party: Party) -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PushedTo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(party.cert, party.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.taken = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def register(vtn: OurVtnProcess, name: str, party: Party, address: str) -> None:
    message = create_message(
        "oadrCreatePartyRegistration", cert=party.cert.read_bytes(), key=party.key.read_bytes(), request_id="r",
        ven_name=name, http_pull_model=False, xml_signature=True, report_only=False, profile_name="2.0b",
        transport_name="simpleHttp", transport_address=address,
    ).encode()  # fmt: skip
    vtn.wait_until(lambda: "certificate_unknown" not in vtn.post("OadrPoll", b"<x/>", party)[1])
    status, answer = vtn.post("EiRegisterParty", message, party)
    assert (status, parse_message(answer)[0]) == (200, "oadrCreatedPartyRegistration"), answer


@pytest.fixture(scope="module")
def vtn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurVtnProcess]:
    folder = tmp_path_factory.mktemp("vtn20b-push")
    running = OurVtnProcess(
        folder / "vtn", Authority(folder / "certificates"), VPP_OWN_VTN_PUSH_NETWORKS="127.0.0.1/32"
    )
    running.start()
    try:
        yield running
    finally:
        assert running.stop() == 0


def test_an_event_is_pushed_with_a_signature(vtn):
    party = vtn.authority.party("pushed")
    vtn.manage("vtn_vens", "add", "pushed", "--cert", str(party.cert))
    with listening(vtn.authority, party) as server:
        register(vtn, "pushed", party, f"https://127.0.0.1:{server.server_port}/ven/")
        vtn.issue("push-1", "pushed")
        path, content = vtn.wait_until(lambda: server.taken and server.taken[0])
    assert path == "/ven/EiEvent"
    validate_xml_signature(validate_xml_schema(content), cert_fingerprint=vtn.party.fingerprint)
    kind, payload = parse_message(content)
    assert (kind, payload["events"][0]["event_descriptor"]["event_id"]) == ("oadrDistributeEvent", "push-1")


def test_nothing_is_sent_to_a_server_with_anothers_certificate(vtn):
    party = vtn.authority.party("mine")
    vtn.manage("vtn_vens", "add", "mine", "--cert", str(party.cert))
    with listening(vtn.authority, vtn.authority.party("theirs")) as server:
        register(vtn, "mine", party, f"https://127.0.0.1:{server.server_port}")
        vtn.issue("push-2", "mine")
        vtn.wait_until(lambda: "is not served with the VEN's own certificate" in vtn.log_path.read_text())
        assert server.taken == []


def test_nothing_is_sent_outside_the_named_networks(vtn):
    party = vtn.authority.party("inside")
    vtn.manage("vtn_vens", "add", "inside", "--cert", str(party.cert))
    register(vtn, "inside", party, "https://169.254.169.254/latest")
    vtn.issue("push-3", "inside")
    vtn.wait_until(lambda: "169.254.169.254 is no public address" in vtn.log_path.read_text())


def test_two_vtns_in_one_process_have_each_their_own_name_and_key(vtn, tmp_path: Path):
    """openleadr's second server of a process takes over the first one's key and VENs."""
    authority = vtn.authority
    parties = {name: authority.party(name) for name in ("ONE", "TWO")}
    asker = authority.party("asker")
    vtn.manage("vtn_vens", "add", "asker", "--cert", str(asker.cert))
    ports = [str(vtn.free_port()) for _ in parties]
    process = subprocess.Popen(
        [sys.executable, "-c", TWO, str(authority.folder), *ports], cwd=ROOT, stdout=subprocess.PIPE,
        env={**vtn.env, "DJANGO_SETTINGS_MODULE": "vpp.settings"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for port, (name, party) in zip(ports, parties.items(), strict=True):
            message = create_message(
                "oadrQueryRegistration", cert=asker.cert.read_bytes(), key=asker.key.read_bytes(), request_id="r"
            ).encode()
            _, answer = vtn.post("EiRegisterParty", message, asker, port=int(port))
            validate_xml_signature(validate_xml_schema(answer), cert_fingerprint=party.fingerprint)
            assert parse_message(answer)[1]["vtn_id"] == name
    finally:
        process.kill()
        process.wait(10)
