"""One site's life on the wire: token, request, approval, uplink, takeover refused, renewal, clone, revocation."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.console import WebProcess
from support.edge import CHECKOUT
from support.manifests import a_manifest
from support.platform_processes import Platform, a_platform, wait_until
from support.tls_brokers import TlsBroker, a_tls_broker

from sites.edge.link.identity import IdentityFolder
from sites.mqtt.address import BrokerAddress, TlsFiles
from sites.mqtt.connection import Connection
from sites.wire.messages import Message
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.signature import public_key_of
from sites.wire.topics import node_topic

SITE, OTHER = "site-0001", "site-0002"
# About a minute each on two busy cores; its single steps are in tests/integration/test_identity_*.py.
pytestmark = pytest.mark.long
KINDS = [pytest.param("mosquitto", marks=pytest.mark.mosquitto), "nats"]


@dataclass
class Journey:
    """The platform, its broker and one site."""

    platform: Platform
    broker: TlsBroker
    web: WebProcess
    folder: Path
    control: subprocess.Popen[bytes] | None = None

    def config(self, site_id: str) -> Path:
        """Write a site's file and return it."""
        text = (CHECKOUT / "deploy" / "edge" / "site.example.toml").read_text(encoding="utf-8")
        path = self.folder / f"{site_id}.toml"
        path.write_text(
            text.replace('"site-example"', f'"{site_id}"')
            .replace("0" * 64, public_key_of(bytes.fromhex(self.platform.signing_key)).hex())
            .replace("mqtt://127.0.0.1:1883", f"mqtts://localhost:{self.broker.port}")
            .replace('runtime_dir = "run"', f'runtime_dir = "run-{site_id}"')
            .replace("interval_s = 60", "interval_s = 1")
        )
        return path

    def identity(self, site_id: str) -> IdentityFolder:
        """Return where a site keeps its key and certificate."""
        return IdentityFolder(self.folder / f"run-{site_id}" / f"{site_id}.identity", site_id)

    def edge(self, name: str, site_id: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one of the site's commands; its log is <site>.<name>.log."""
        command = [sys.executable, "-m", "sites.edge", name, "--config", str(self.config(site_id)), *words]
        with (self.folder / f"{site_id}.{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.platform.processes.append(process)
        return process

    def log(self, name: str, site_id: str = SITE) -> str:
        """Return what one of the site's commands wrote."""
        return (self.folder / f"{site_id}.{name}.log").read_text(errors="replace")

    def measures(self) -> list[int]:
        """Return the numbers of the stored intervals; start control when it is not there, as its unit would.

        A loop that stands still for a second ends its process, and a busy machine may hold one up so long.
        """
        if self.control is None or self.control.poll() is not None:
            self.control = self.edge("control", SITE)
        return intervals(self.platform)

    def enrol(self, site_id: str) -> None:
        """Take a site from a token to its certificate, as people do it."""
        token = self.platform.manage("enrol_site", site_id).split()[0]
        enrolling = self.edge("enrol", site_id, "--url", self.web.url, "--token", token)
        (waiting,) = wait_until(lambda: self._waiting(site_id), 60.0, "the request")
        shown = wait_until(lambda: re.search(r"^[0-9a-f]{64}$", self.log("enrol", site_id), re.MULTILINE), 10.0)
        assert shown.group() == waiting[1]
        self.platform.manage("decide_request", str(waiting[0]), "approve", "--fingerprint", shown.group()[:8])
        assert enrolling.wait(60.0) == 0, self.log("enrol", site_id)

    def _waiting(self, site_id: str) -> list[tuple]:
        sql = (
            "SELECT r.id, r.fingerprint FROM identity_certificaterequest r JOIN registry_site s ON s.id = r.site_id "
            "WHERE s.site_id = ? AND r.status = 'pending'"
        )
        return held(self.platform, sql, site_id)


@pytest.fixture(params=KINDS)
def journey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journey]:
    with a_tls_broker(request.param) as broker:
        folder = broker.folder
        services = {name: broker.pair(name) for name in ("vpp.ingest", "vpp.host", "vpp.web", "vpp.broker")}
        settings = {
            "VPP_SITE_CA_CERT": str(folder / "site-ca.pem"), "VPP_SITE_CA_KEY": str(folder / "site-ca.key"),
            "VPP_BROKER_CA": str(folder / "service-ca.pem"),
        }  # fmt: skip
        with a_platform(tmp_path, broker.url(services["vpp.web"], service=True), **settings) as platform:
            platform.set_up(a_manifest(2, assets=("pcc", "battery", "pv", "load")))
            keep = ["keep_broker", request.param, "--folder", str(folder), "--pid-file", str(broker.pid_file)]
            platform.manage(*keep, "--once")
            broker.start()
            for name, command in (
                ("vpp.broker", [*keep, "--every-s", "0.3"]), ("vpp.ingest", ["run_ingest"]), ("vpp.host", ["run_host"]),
            ):  # fmt: skip
                platform.broker_url = broker.url(services[name], service=True)
                platform.start(*command)
            platform.broker_url = broker.url(services["vpp.web"], service=True)
            web = WebProcess(platform)
            web.start()
            assert web.process is not None
            platform.processes.append(web.process)
            yield Journey(platform, broker, web, tmp_path)


def held(platform: Platform, sql: str, *values: object, writes: bool = False) -> list[tuple]:
    """Read the platform's own database file: a command for each look would take most of the test's time."""
    with contextlib.closing(sqlite3.connect(platform.folder / "vpp.sqlite3", timeout=20.0)) as database:
        rows = database.execute(sql, values).fetchall()
        if writes:
            database.commit()
        return rows


def intervals(platform: Platform) -> list[int]:
    """Return the numbers of the site's stored battery intervals."""
    sql = (
        "SELECT number FROM metering_meterinterval i JOIN registry_asset a ON a.id = i.asset_id "
        "JOIN registry_site s ON s.id = a.site_id WHERE s.site_id = ? AND a.name = 'battery' ORDER BY number"
    )
    return [number for (number,) in held(platform, sql, SITE)]


def alarms(platform: Platform) -> list[str]:
    """Return the evidence of the site's open alarms."""
    return [text for (text,) in held(platform, "SELECT evidence FROM identity_clonealarm WHERE closed_at IS NULL")]


async def session(address: BrokerAddress, *, for_s: float, say: Message | None = None) -> tuple[int, str]:
    """Try to hold a session for a while; return how often it came up and why it is down."""
    ups: list[float] = []
    connection = Connection(
        address, name="thief", on_message=lambda *_: None, on_up=lambda: ups.append(0.0), backoff_s=(0.2, 0.4)
    )
    task = asyncio.create_task(connection.run())
    deadline_s = time.monotonic() + for_s
    while time.monotonic() < deadline_s:
        await asyncio.sleep(0.05)
        if say is not None and connection.is_up:
            connection.publish(say)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return len(ups), connection.down_reason


def test_from_token_to_revocation(journey: Journey) -> None:
    platform, broker = journey.platform, journey.broker
    journey.enrol(SITE)
    journey.enrol(OTHER)
    folder = journey.identity(SITE)
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700
    first_key = folder.key().private_numbers().private_value

    # Only what the edge asked for has left the site: the key is nowhere at the platform.
    journey.edge("uplink", SITE)
    wait_until(journey.measures, 240.0, "the first interval in the book")

    # Another site's certificate under this site's client id: Mosquitto renames it; on NATS it would have to be guessed.
    own = folder.address(BrokerAddress.parse(f"mqtts://localhost:{broker.port}"))
    thief = journey.identity(OTHER).address(BrokerAddress.parse(f"mqtts://localhost:{broker.port}"))
    downs = journey.log("uplink").count("link.down")
    guess = own.client_id if broker.kind == "mosquitto" else SITE
    forged = Message(node_topic("NDATA", SITE), b"forged")
    ups, _ = asyncio.run(session(replace(thief, client_id=guess), for_s=2.0, say=forged))
    assert ups >= 1
    assert journey.log("uplink").count("link.down") == downs

    # Renewed, with a new key: the running uplink changes over, and every interval before and after is in the book.
    held(platform, "UPDATE identity_sitecertificate SET issued_at = datetime(issued_at, '-40 days')", writes=True)
    assert journey.edge("renew", SITE).wait(60.0) == 0, journey.log("renew")
    wait_until(lambda: "certificate.renewed" in journey.log("uplink"), 120.0, "the renewal")
    assert folder.key().private_numbers().private_value != first_key
    assert len(held(platform, "SELECT 1 FROM identity_sitecertificate")) >= 3
    last = max(intervals(platform))
    wait_until(lambda: max(journey.measures()) > last + 3, 120.0, "intervals on the new certificate")
    numbers = intervals(platform)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert held(platform, "SELECT * FROM metering_refusalcount") == []

    # A copy of the key in two places: the alarm says so.
    copy = BrokerAddress(own.host, own.port, tls=TlsFiles(own.tls.ca, own.tls.cert), client_id=own.client_id)  # type: ignore[union-attr]
    asyncio.run(session(copy, for_s=8.0, say=a_birth(7)))
    wait_until(lambda: alarms(platform), 90.0, "the clone alarm")
    assert f"ALARM {SITE}: clone suspected" in platform.manage("enrolments")

    # Revoked: cut off within seconds, and not let in again with the renewed certificate either.
    wait_until(lambda: is_up(journey.log("uplink")), 30.0, "the site's own session")
    began_s = time.monotonic()
    platform.manage("revoke_site", SITE, "--reason", "stolen")
    wait_until(lambda: not is_up(journey.log("uplink")), 30.0, "the cut")
    assert time.monotonic() - began_s < 20.0
    ups, reason = asyncio.run(session(copy, for_s=3.0))
    assert (ups, reason != "") == (0, True)
    audit = [action for (action,) in held(platform, "SELECT action FROM identity_identityevent")]
    for step in (
        "token_issued", "certificate_requested", "request_approved", "certificate_issued", "renewal_requested",
        "clone_alarm", "certificate_revoked",
    ):  # fmt: skip
        assert step in audit


def is_up(log: str) -> bool:
    """Tell by an uplink's log whether its link is up."""
    return (re.findall(r"link\.(up|down)", log) or ["down"])[-1] == "up"


def a_birth(bd_seq: int) -> Message:
    """Return a node's birth as a second device with the same key would send it."""
    metrics = [Metric("bdSeq", type=MetricType.UINT64, value=bd_seq)]
    return Message(node_topic("NBIRTH", SITE), encode_payload(Payload(time.time_ns() // 1_000_000, 0, metrics)))
