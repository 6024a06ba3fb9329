"""Our OpenADR 2.0b VTN against openleadr's server: signed polls over mutual TLS, and memory for each connection.

Both are processes of their own, polled by the same client with the same certificates, one after the other.
What counts is the processor time that the server's process took: the client shares the machine. Ours keeps
its state in SQLite, whose work is done in that same process; openleadr's keeps its in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.fleet_rows import Benchmark, Options, Row
from lxml import etree
from openleadr.messaging import create_message, validate_xml_schema, validate_xml_signature
from support.vtn20b import ROOT, Authority, OurVtnProcess, Party

from markets.openadr.vtn20b.xmldsig import Signer

VENS = 20
PEERS = 400
"""Connections whose memory is counted."""
LEAST_RATIO = 1.5
MOST_KB = 100.0
HEAD = "POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: vtn\r\nContent-Type: application/xml\r\n"
LEADR = """
import asyncio, json, logging, sys
from openleadr import OpenADRServer
logging.getLogger("openleadr").setLevel(logging.ERROR)
given = json.loads(sys.argv[1])
vens = {ven["ven_id"]: ven for ven in given["vens"]}

async def main():
    server = OpenADRServer(vtn_id="LEADR", cert=given["cert"], key=given["key"], http_cert=given["cert"],
                           http_key=given["key"], http_ca_file=given["ca"], http_port=given["port"],
                           ven_lookup=lambda ven_id: vens.get(ven_id), show_fingerprint=False)
    await server.run()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass(frozen=True)
class PolledVen:
    """One VEN as the client plays it."""

    ven_id: str
    party: Party


@dataclass(frozen=True)
class Measured:
    """What one server took."""

    polls: int
    wall_s: float
    cpu_s: float
    kb_per_peer: float

    @property
    def per_core_s(self) -> float:
        """Polls in a second of processor time."""
        return self.polls / self.cpu_s


class Client:
    """One keep-alive connection."""

    def __init__(self, ven: PolledVen, ca: Path, port: int) -> None:
        self.port = port
        self.context = ssl.create_default_context(cafile=str(ca))
        self.context.check_hostname = False
        self.context.load_cert_chain(ven.party.cert, ven.party.key)
        self.signer = Signer(key_pem=ven.party.key.read_bytes(), certificate_pem=ven.party.cert.read_bytes())
        poll = etree.fromstring(create_message("oadrPoll", ven_id=ven.ven_id).encode())[0]
        self.content = etree.tostring(poll, method="c14n", exclusive=True)

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)

    async def poll(self) -> bytes:
        message = self.signer.signed_payload(self.content, at=datetime.now(UTC))
        self.writer.write(f"{HEAD}Content-Length: {len(message)}\r\n\r\n".encode() + message)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        if b" 200 " not in answer.partition(b"\r\n")[0] or b"responseCode>200<" not in body:
            raise RuntimeError(f"a poll was refused: {answer[:60]!r} {body[-400:]!r}")
        return body


def run_vtn(options: Options) -> list[Row]:
    """Poll both servers, ours twice around openleadr's, so that a machine that changes does not favor one."""
    seconds = max(5.0, min(20.0, options.minutes * 6.0))
    with tempfile.TemporaryDirectory(prefix="bench-vtn20b-") as name:
        folder = Path(name)
        authority = Authority(folder / "certificates")
        ours = OurVtnProcess(folder / "vtn", authority, VPP_OWN_VTN_POLL_S="10")
        vens = [PolledVen(f"VEN-{number:02d}", authority.party(f"ven-{number:02d}")) for number in range(VENS)]
        _register(ours, vens)
        first = _ours(ours, vens, seconds / 2)
        theirs = _theirs(authority, vens, seconds)
        second = _ours(ours, vens, seconds / 2)
    per_core = (first.polls + second.polls) / (first.cpu_s + second.cpu_s)
    kb = max(first.kb_per_peer, second.kb_per_peer)
    ratio = per_core / theirs.per_core_s
    return [
        Row("vtn20b_against_openleadr", "polls per second per core against openleadr's", ratio, LEAST_RATIO),
        Row("vtn20b_kb_per_tls_peer", "memory per TLS peer [kB]", kb, MOST_KB, is_most=True),
        Row("vtn20b_polls_per_core_s", "polls per second per core, ours, state in the database", per_core),
        Row("openleadr_polls_per_core_s", "polls per second per core, openleadr, in memory", theirs.per_core_s),
        Row("openleadr_kb_per_tls_peer", "memory per TLS peer, openleadr [kB]", theirs.kb_per_peer),
        Row("vtn20b_polls_per_s", "polls per second, ours, client beside it", second.polls / second.wall_s),
        Row("openleadr_polls_per_s", "polls per second, openleadr, client beside it", theirs.polls / theirs.wall_s),
    ]


def _register(vtn: OurVtnProcess, vens: Sequence[PolledVen]) -> None:
    now = datetime.now(UTC).isoformat(sep=" ")
    with closing(sqlite3.connect(vtn.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO markets_downstreamven (ven_id, ven_name, security, fingerprint, certificate_sha256, "
            "registration_id, push_url, is_report_only, created_at, changed_at) "
            "VALUES (?, ?, 'signed', ?, '', 'REG', '', 0, ?, ?)",
            [(ven.ven_id, ven.ven_id, ven.party.fingerprint, now, now) for ven in vens],
        )


def _ours(vtn: OurVtnProcess, vens: Sequence[PolledVen], seconds: float) -> Measured:
    vtn.start()
    try:
        assert vtn.process is not None
        assert vtn.authority is not None
        assert vtn.party is not None
        return asyncio.run(_measure(vtn.process.pid, vens, vtn.authority.ca, vtn.port, seconds, vtn.party))
    finally:
        vtn.stop()


def _theirs(authority: Authority, vens: Sequence[PolledVen], seconds: float) -> Measured:
    party = authority.party("leadr")
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        port = found.getsockname()[1]
    known = [
        {"ven_id": ven.ven_id, "ven_name": ven.ven_id, "fingerprint": ven.party.fingerprint, "registration_id": "REG"}
        for ven in vens
    ]
    given = {"cert": str(party.cert), "key": str(party.key), "ca": str(authority.ca), "port": port, "vens": known}
    process = subprocess.Popen([sys.executable, "-c", LEADR, json.dumps(given)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60.0
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("openleadr's server does not listen")
            time.sleep(0.1)
        return asyncio.run(_measure(process.pid, vens, authority.ca, port, seconds, party))
    finally:
        process.terminate()
        process.wait(15)


async def _measure(pid: int, vens: Sequence[PolledVen], ca: Path, port: int, seconds: float, vtn: Party) -> Measured:
    clients = [Client(ven, ca, port) for ven in vens]
    await asyncio.gather(*(client.connect() for client in clients))
    for client in clients:
        # Once each, read as a VEN reads it: what is measured afterwards is a good answer.
        validate_xml_signature(validate_xml_schema(await client.poll()), cert_fingerprint=vtn.fingerprint)
    began, began_cpu = time.monotonic(), _cpu_s(pid)

    async def go_on(client: Client) -> int:
        polls = 0
        while time.monotonic() - began < seconds:
            await client.poll()
            polls += 1
        return polls

    polls = sum(await asyncio.gather(*(go_on(client) for client in clients)))
    wall_s, cpu_s = time.monotonic() - began, _cpu_s(pid) - began_cpu
    before_kb = _rss_kb(pid)
    peers = [Client(vens[number % len(vens)], ca, port) for number in range(PEERS)]
    for peer in peers:
        await peer.connect()
        await peer.poll()
    kb_per_peer = (_rss_kb(pid) - before_kb) / PEERS
    for client in (*clients, *peers):
        client.writer.close()
    return Measured(polls, wall_s, cpu_s, kb_per_peer)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_kb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.partition("VmRSS:")[2].split()[0])


BENCHMARKS = (
    Benchmark(
        "vtn20b", "OpenADR 2.0b VTN: mutual TLS, P-256 signatures, state in the database, against openleadr", run_vtn
    ),
)
