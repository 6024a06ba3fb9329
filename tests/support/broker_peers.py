"""Peers on brokers with mutual TLS: one connection and what it heard, and a fleet of two enrolled sites."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from support.manifests import a_manifest
from support.tls_brokers import TlsBroker, a_tls_broker

from sites.core.certificates import key_pem, make_request, new_key
from sites.identity import operations
from sites.identity.brokers.keeper import Keeper, KeeperConfig
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.registry.models import Site
from sites.registry.operations import enrol_sites
from sites.wire.messages import Message

WITHIN_S = 10.0


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Peer:
    """One connection and what happened on it."""

    url: str
    hears: tuple[str, ...] = ()
    client_id: str = ""
    user: str = ""
    """A name that is told beside the certificate."""
    will: Message | None = None
    ups: int = 0
    downs: int = 0
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def start(self) -> Peer:
        self.link = Connection(
            replace(BrokerAddress.parse(self.url), client_id=self.client_id, user=self.user),
            name="peer",
            subscriptions=[(topic, 0) for topic in self.hears],
            on_up=self._up,
            on_down=self._down,
            on_message=lambda topic, payload: self.heard.append((topic, payload)),
            will=None if self.will is None else lambda: self.will,
            backoff_s=(0.2, 0.5),
        )
        self.task = asyncio.create_task(self.link.run())
        return self

    def _up(self) -> None:
        self.ups += 1

    def _down(self) -> None:
        self.downs += 1

    def say(self, topic: str, payload: bytes, qos: int = 0) -> None:
        assert self.link.publish(Message(topic, payload, qos))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def until(condition: Callable[[], bool], what: str = "it") -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} not within {WITHIN_S} s"
        await asyncio.sleep(0.01)


@dataclass
class Fleet:
    """Two enrolled sites, a broker with their lists, and the keeper that writes them."""

    broker: TlsBroker
    keeper: Keeper

    def enrol(self, site_id: str) -> tuple[str, str]:
        """Return the address with which a newly enrolled site connects, and its client id."""
        key, site = new_key(), Site.objects.get(site_id=site_id)
        token = operations.issue_token(site=site, by="test", at=now(), valid_for=timedelta(hours=1))
        csr = make_request(key, site_id)
        request = operations.submit_request(site_id=site_id, token=token, csr=csr, address="127.0.0.1", at=now())
        operations.approve(request=request, by="test", at=now())
        (made,) = operations.issue_approved(authority=self.broker.site_authority, at=now(), valid_for=timedelta(days=1))
        pair = self.broker.folder / f"{site_id}-{made.serial[:8]}.pem"
        pair.write_bytes(key_pem(key) + made.pem.encode())
        return self.broker.url(pair), made.identity.client_id

    def service(self, name: str) -> str:
        """Return the address with which one of the platform's services connects."""
        return self.broker.url(self.broker.pair(name), service=True)


@contextlib.contextmanager
def a_fleet(kind: str) -> Iterator[Fleet]:
    """Yield two sites of the registry and a broker that is not started; the caller gives a database."""
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=now())
    with a_tls_broker(kind) as broker:
        keeper = Keeper(
            KeeperConfig(
                kind=kind,
                folder=broker.folder,
                host_id="vpp",
                authority=broker.site_authority,
                pid_file=broker.pid_file,
                broker=BrokerAddress.parse(broker.url(broker.pair("vpp.broker"), service=True)),
                monitors=(f"http://127.0.0.1:{broker.monitor_port}",),
            )
        )
        yield Fleet(broker, keeper)
