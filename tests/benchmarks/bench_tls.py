"""What mutual TLS costs the demo's 200 sites: connecting, and each message, in CPU at the client and the broker.

nats-server, once as the tests configure it (plain, one user) and once as shipped (a certificate and rights for each).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# ruff: noqa: E402 the benchmarks run as scripts, each in its own process, without pytest's search path
sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]

from support.brokers import nats_broker
from support.tls_brokers import a_tls_broker

from sites.identity.brokers.texts import nats_users
from sites.identity.rights import LiveSite, service_rights
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import Message
from sites.wire.topics import node_topic

SITES = 200
ROUNDS = 120
PAYLOAD_BYTES = 300
"""About what live data of one site takes."""
IDS = [f"site-{number:04d}" for number in range(1, SITES + 1)]


def broker_s(pid: int) -> float:
    """Return a process's CPU time [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(what: str, addresses: list[BrokerAddress], pid: int) -> None:
    """Connect every site, say something, and print both costs."""
    with ThreadPoolExecutor(16) as pool:
        links = [
            Connection(
                address, name=site, executor=pool, on_message=lambda *_: None,
                subscriptions=[(node_topic("NCMD", site), 0)],
            )
            for site, address in zip(IDS, addresses, strict=True)
        ]  # fmt: skip
        own_s, its_s, wall_s = time.process_time(), broker_s(pid), time.monotonic()
        tasks = [asyncio.create_task(link.run()) for link in links]
        async with asyncio.timeout(60.0):
            while not all(link.is_up for link in links):
                await asyncio.sleep(0.01)
        print(
            f"{what:<12} {SITES} connections: client {time.process_time() - own_s:.2f} s, broker "
            f"{broker_s(pid) - its_s:.2f} s of CPU, {time.monotonic() - wall_s:.2f} s on the wall"
        )
        own_s, its_s = time.process_time(), broker_s(pid)
        for _ in range(ROUNDS):
            for site, link in zip(IDS, links, strict=True):
                link.publish(Message(node_topic("NDATA", site), os.urandom(PAYLOAD_BYTES)))
            await asyncio.sleep(0.02)
        count = SITES * ROUNDS
        client_us, broker_us = (
            spent_s / count * 1e6 for spent_s in (time.process_time() - own_s, broker_s(pid) - its_s)
        )
        print(f"{what:<12} a message of {PAYLOAD_BYTES} bytes: client {client_us:.0f} us, broker {broker_us:.0f} us")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    """Measure both; there is no target."""
    logging.disable(logging.WARNING)
    with nats_broker() as plain:
        assert plain.process is not None
        asyncio.run(measure("plain", [BrokerAddress.parse(plain.edge_url)] * SITES, plain.process.pid))
    with a_tls_broker("nats") as broker:
        sites = [LiveSite(site, f"{number:032x}") for number, site in enumerate(IDS)]
        pairs = [broker.pair(site.site_id, site_identity=site.identity) for site in sites]
        (broker.folder / "vpp-users.conf").write_text(nats_users(service_rights("vpp"), sites, []))
        broker.start()
        assert broker.process is not None
        addresses = [BrokerAddress.parse(broker.url(pair)) for pair in pairs]
        asyncio.run(measure("mutual TLS", addresses, broker.process.pid))
    return 0


if __name__ == "__main__":
    sys.exit(main())
