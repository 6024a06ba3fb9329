"""What a site with a good certificate, or somebody with a bad one, tries on the brokers as shipped; all in vain.

Topics of others, foreign client ids, strangers and revocation: test_identity_on_brokers.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from support.broker_peers import WITHIN_S, Fleet, Peer, a_fleet, now, until

from sites.core.certificates import key_pem, new_key, read_certificate, read_key
from sites.identity.authority import Authority
from sites.identity.models import SiteIdentity
from sites.mqtt.address import BrokerAddress
from sites.wire.messages import Message, state_message
from sites.wire.topics import device_topic, group_of, node_topic, signal_topic, state_topic

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = [pytest.param("mosquitto", marks=pytest.mark.mosquitto), "nats"]
OWN, OTHER = "site-0002", "site-0001"
"""The attacker's id, and the victim's."""
TOO_WIDE = (
    "#", "spBv1.0/#", "+/+/+/+", "spBv1.0/+/NDATA/+", "spBv1.0/+/DCMD/+/+", f"spBv1.0/{group_of(OTHER)}/NCMD/+",
    node_topic("NCMD", OTHER), "vpp/#", "vpp/live/+", "$SYS/#", "$MQTT/#", "$JS/#", "$share/x/spBv1.0/+/NDATA/+",
)  # fmt: skip
NOT_ITS = (
    "vpp/live/ingest-0", "vpp/proof/x", signal_topic("regd"), "$SYS/broker/uptime", "$JS/API/STREAM/PURGE/$MQTT_rmsgs",
    "$JS/API/STREAM/DELETE/$MQTT_rmsgs", state_topic("vpp"), device_topic("DCMD", OTHER, "control"), "elsewhere",
)  # fmt: skip
BIG = 17_000_000
"""More than the 16 MB that both shipped configurations take."""


@pytest.fixture(params=KINDS)
def fleet(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Fleet]:
    with a_fleet(request.param) as fleet:
        yield fleet


@dataclass
class Scene:
    """The platform and the victim at work, and with what the attacker may connect."""

    fleet: Fleet
    ingest: Peer
    host: Peer
    web: Peer
    dispatch: Peer
    victim: Peer
    url: str
    client_id: str

    @property
    def attacker_hears(self) -> str:
        """What the attacker may hear."""
        return node_topic("NCMD", OWN)

    async def proven(self, at_least: int) -> None:
        """Return when everything said before has arrived: a word of the platform to the victim, and its answer."""
        self.ingest.say(node_topic("NCMD", OTHER), b"proof")
        await until(lambda: sum(1 for _, payload in self.victim.heard if payload == b"proof") >= at_least, "the proof")

    def undisturbed(self) -> None:
        """Assert that the victim and the services kept their one session."""
        for peer in (self.ingest, self.host, self.web, self.dispatch, self.victim):
            assert (peer.ups, peer.downs, peer.link.is_up) == (1, 0, True)


@pytest_asyncio.fixture
async def scene(fleet: Fleet) -> AsyncIterator[Scene]:
    victim_url, victim_id = await asyncio.to_thread(fleet.enrol, OTHER)
    url, client_id = await asyncio.to_thread(fleet.enrol, OWN)
    await asyncio.to_thread(lambda: fleet.keeper.round(at=now()))
    await asyncio.to_thread(fleet.broker.start)
    upward = tuple(f"spBv1.0/+/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH"))
    own = (node_topic("NCMD", OTHER), device_topic("DCMD", OTHER, "control"), "spBv1.0/STATE/+", "vpp/setpoint/+")
    scene = Scene(
        fleet,
        ingest=Peer(fleet.service("vpp.ingest"), upward),
        host=Peer(fleet.service("vpp.host"), (state_topic("vpp"),)),
        web=Peer(fleet.service("vpp.web"), ("vpp/live/#",)),
        dispatch=Peer(fleet.service("vpp.dispatch"), ("spBv1.0/+/DDATA/+/control",)),
        victim=Peer(victim_url, own, victim_id),
        url=url,
        client_id=client_id,
    )
    peers = [scene.ingest, scene.host, scene.web, scene.dispatch, scene.victim]
    for peer in peers:
        peer.start()
    await until(lambda: all(peer.link.is_up for peer in peers), f"all up: {[p.link.down_reason for p in peers]}")
    genuine = state_message("vpp", True, 7)
    assert scene.host.link.publish(genuine)
    await until(lambda: (genuine.topic, genuine.payload) in scene.victim.heard, "the host's state")
    yield scene
    for peer in peers:
        await peer.stop()


async def test_a_filter_that_is_too_wide_brings_nothing_of_others(scene: Scene) -> None:
    for number, wide in enumerate(TOO_WIDE, 1):
        attacker = Peer(scene.url, (scene.attacker_hears, wide), scene.client_id).start()
        await until(lambda attacker=attacker: attacker.link.is_up or attacker.link.refused_by_broker, wide)  # type: ignore[misc]
        scene.victim.say(node_topic("NDATA", OTHER), b"private")
        scene.dispatch.say(device_topic("DCMD", OTHER, "control"), b"order")
        await scene.proven(number)
        if scene.fleet.broker.kind == "nats":
            assert attacker.ups == 0, wide
            assert "refused the subscription" in attacker.link.down_reason
        else:
            # Mosquitto grants and keeps silent; what is the attacker's own still comes, after all that was not.
            scene.ingest.say(node_topic("NCMD", OWN), b"own")
            await until(lambda attacker=attacker: (scene.attacker_hears, b"own") in attacker.heard, wide)  # type: ignore[misc]
            assert {topic for topic, _ in attacker.heard} <= {scene.attacker_hears, state_topic("vpp")}, wide
        await attacker.stop()
    scene.undisturbed()


async def test_what_is_the_platforms_or_the_brokers_own_is_not_a_sites_to_say(scene: Scene) -> None:
    heard = len(scene.victim.heard)
    for retain in (False, True):
        for topic in NOT_ITS:
            # A connection each: a broker may answer one of these by ending it.
            attacker = Peer(scene.url, (), scene.client_id).start()
            await until(lambda attacker=attacker: attacker.link.is_up, topic)  # type: ignore[misc]
            attacker.link.publish(Message(topic, b"forged", 1, retain=retain))
            attacker.say(node_topic("NDATA", OWN), f"after {topic} {retain}".encode())
            await asyncio.sleep(0.05)
            await attacker.stop()
    await scene.proven(1)
    assert [payload for _, payload in scene.victim.heard[heard:]] == [b"proof"]
    assert [peer.heard for peer in (scene.web, scene.dispatch)] == [[], []]
    # The one true retained STATE is there, for those who come later too.
    late = Peer(scene.fleet.service("vpp.host"), (state_topic("vpp"),), "late").start()
    await until(lambda: bool(late.heard), "the retained state")
    genuine = state_message("vpp", True, 7)
    assert {(topic, payload) for topic, payload in late.heard + scene.host.heard} == {(genuine.topic, genuine.payload)}
    await late.stop()
    scene.undisturbed()


async def test_a_will_says_nothing_that_the_site_may_not_say(scene: Scene) -> None:
    heard = len(scene.victim.heard)
    wills = (state_message("vpp", False, 9), Message(node_topic("NDEATH", OTHER), b"forged", 1), Message("x", b"x", 1))
    for will in wills:
        attacker = Peer(scene.url, (), scene.client_id, will=will).start()
        await until(lambda attacker=attacker: attacker.link.is_up or attacker.link.down_reason != "not connected yet")  # type: ignore[misc]
        # Dropped without a goodbye: now a broker speaks the will.
        await attacker.stop()
    genuine = Message(node_topic("NDEATH", OWN), b"own", 1)
    last = Peer(scene.url, (), scene.client_id, will=genuine).start()
    await until(lambda: last.link.is_up)
    await last.stop()
    await until(lambda: (genuine.topic, b"own") in scene.ingest.heard, "the site's own will")
    await scene.proven(1)
    assert [payload for _, payload in scene.ingest.heard] == [b"own"]
    assert [payload for _, payload in scene.victim.heard[heard:]] == [b"proof"]
    scene.undisturbed()


async def test_a_name_told_beside_the_certificate_counts_for_nothing(scene: Scene) -> None:
    heard = len(scene.victim.heard)
    for user in ("vpp.dispatch", "vpp.dispatch.services.vpp.invalid", OTHER):
        attacker = Peer(scene.url, (), scene.client_id, user=user).start()
        await until(lambda attacker=attacker: attacker.link.is_up or attacker.link.refused_by_broker, user)  # type: ignore[misc]
        for topic in (device_topic("DCMD", OTHER, "control"), node_topic("NDATA", OTHER)):
            attacker.link.publish(Message(topic, b"forged"))
        await asyncio.sleep(0.1)
        await attacker.stop()
    await scene.proven(1)
    assert [payload for _, payload in scene.victim.heard[heard:]] == [b"proof"]
    assert scene.ingest.heard == []
    scene.undisturbed()


async def test_nats_own_protocol_lets_nobody_in(fleet: Fleet) -> None:
    if fleet.broker.kind != "nats":
        pytest.skip("Mosquitto has no second protocol")
    await asyncio.to_thread(fleet.enrol, OWN)
    await asyncio.to_thread(lambda: fleet.keeper.round(at=now()))
    await asyncio.to_thread(fleet.broker.start)
    found = re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", fleet.broker.log_text)
    assert found is not None
    identity = await asyncio.to_thread(lambda: SiteIdentity.objects.get().identity)
    users: list[dict[str, str]] = [{}, {"user": f"{identity}.sites.vpp.invalid", "pass": ""}]
    users += [{"user": "vpp.dispatch.services.vpp.invalid"}, {"user": "vpp.dispatch.services.vpp.invalid", "pass": "x"}]
    for user in users:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found.group(1)))
        writer.write(f"CONNECT {json.dumps({'verbose': False, **user})}\r\nPING\r\n".encode())
        async with asyncio.timeout(WITHIN_S):
            told = await reader.read()
        assert b"Authorization Violation" in told, user
        assert b"PONG" not in told
        writer.close()


async def test_a_packet_that_is_too_big_ends_its_senders_session_alone(scene: Scene) -> None:
    attacker = Peer(scene.url, (), scene.client_id).start()
    await until(lambda: attacker.link.is_up)
    attacker.link.publish(Message(node_topic("NDATA", OWN), bytes(BIG)))
    await until(lambda: attacker.downs >= 1, "its session ended")
    await until(lambda: attacker.link.is_up, "a new session")
    attacker.say(node_topic("NDATA", OWN), b"small")
    await until(lambda: bool(scene.ingest.heard), "the small one")
    assert scene.ingest.heard == [(node_topic("NDATA", OWN), b"small")]
    await attacker.stop()
    scene.undisturbed()


async def test_a_packet_that_only_says_to_be_huge_is_not_waited_for(scene: Scene) -> None:
    claimed = b"\xff\xff\xff\x7f"  # 268,435,455 bytes, MQTT's largest
    for first in (b"\x10" + claimed + b"\x00\x04MQTT\x04", b"\x30" + claimed + b"\x00\x01x"):
        connection = await asyncio.to_thread(_tls, scene.url)
        if first[0] == 0x30:
            name = scene.client_id.encode()
            body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
            connection.sendall(bytes([0x10, len(body)]) + body)
            assert await asyncio.to_thread(connection.recv, 4) == b"\x20\x02\x00\x00"
        await asyncio.to_thread(_send_until_closed, connection, first)
    await scene.proven(1)
    scene.undisturbed()


async def test_bad_certificates_of_a_listed_site_are_refused(scene: Scene, tmp_path: Path) -> None:
    authority = scene.fleet.broker.site_authority
    identity = await asyncio.to_thread(lambda: SiteIdentity.objects.get(site__site_id=OTHER).identity)
    key = new_key()
    expired = authority.site_certificate(
        key.public_key(), site_id=OTHER, identity=identity, at=now() - timedelta(days=2), valid_for=timedelta(days=1)
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "expired.pem").write_bytes(key_pem(key) + expired.public_bytes(pem))
    # A site that plays authority: its own good certificate signs one of another's name.
    tls = BrokerAddress.parse(scene.url).tls
    assert tls is not None
    assert tls.cert is not None
    held = tls.cert.read_bytes()
    own = read_certificate(held)
    signed = Authority(own, read_key(held)).site_certificate(
        key.public_key(), site_id=OTHER, identity=identity, at=now(), valid_for=timedelta(days=1)
    )
    (tmp_path / "signed.pem").write_bytes(key_pem(key) + signed.public_bytes(pem) + own.public_bytes(pem))
    # A broker's certificate says what a server may: it lets nobody in as a client.
    (tmp_path / "server.pem").write_bytes(
        (scene.fleet.broker.folder / "broker.key").read_bytes()
        + (scene.fleet.broker.folder / "broker.pem").read_bytes()
    )
    for name in ("expired", "signed", "server"):
        attacker = Peer(scene.fleet.broker.url(tmp_path / f"{name}.pem")).start()
        await until(lambda attacker=attacker: attacker.link.down_reason != "not connected yet", name)  # type: ignore[misc]
        await asyncio.sleep(0.3)
        assert attacker.ups == 0, name
        await attacker.stop()
    scene.undisturbed()


def _tls(url: str) -> ssl.SSLSocket:
    address = BrokerAddress.parse(url)
    assert address.tls is not None
    assert address.tls.cert is not None
    context = ssl.create_default_context(cafile=address.tls.ca)
    context.load_cert_chain(address.tls.cert, address.tls.key)
    plain = socket.create_connection((address.host, address.port), timeout=WITHIN_S)
    return context.wrap_socket(plain, server_hostname=address.host)


def _send_until_closed(connection: ssl.SSLSocket, first: bytes) -> None:
    """Send the beginning and then bytes without end; fail when the broker takes more than 16 MB and some buffers."""
    with connection:
        sent = len(first)
        try:
            connection.sendall(first)
            while sent < 40_000_000:
                connection.sendall(bytes(65_536))
                sent += 65_536
        except OSError:
            return
        raise AssertionError(f"the broker took {sent} bytes of one packet")
