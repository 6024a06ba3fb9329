"""Certificates on real brokers as shipped: each site its own topics, its own session, and no more once revoked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from prometheus_client import generate_latest
from support.broker_peers import WITHIN_S, Fleet, Peer, a_fleet, now, until

from sites.core.certificates import key_pem, new_key
from sites.identity import operations, queries
from sites.identity.authority import Authority
from sites.identity.brokers.keeper import keep
from sites.identity.models import CloneAlarm
from sites.observability import metrics
from sites.observability.health import Health
from sites.registry.models import Site
from sites.wire.topics import device_topic, node_topic, state_topic

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = [pytest.param("mosquitto", marks=pytest.mark.mosquitto), "nats"]


@pytest.fixture(params=KINDS)
def fleet(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Fleet]:
    with a_fleet(request.param) as fleet:
        yield fleet


def another_name() -> str:
    """Return a name of this machine's loopback address that the broker's certificate does not hold."""
    for name in ("localhost.localdomain", "ip6-localhost", "127.1"):
        try:
            if "127.0.0.1" in {row[4][0] for row in socket.getaddrinfo(name, None, socket.AF_INET)}:
                return name
        except OSError:
            continue
    pytest.skip("this machine's loopback address has one name only")


async def in_thread(call: Callable[[], object]) -> object:
    return await asyncio.to_thread(call)


async def test_each_site_its_own_and_no_more(fleet: Fleet) -> None:
    one, one_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    two, two_id = await asyncio.to_thread(fleet.enrol, "site-0002")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    every = tuple(f"spBv1.0/+/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH"))
    ingest = Peer(fleet.service("vpp.ingest"), (*every, "spBv1.0/+/DDATA/+/+")).start()
    dispatch = Peer(fleet.service("vpp.dispatch"), ("spBv1.0/+/DDATA/+/control",)).start()
    own = (node_topic("NCMD", "site-0001"), f"{device_topic('DCMD', 'site-0001', 'x')[:-2]}/+", "spBv1.0/STATE/+")
    first = Peer(one, own, one_id).start()
    second = Peer(two, (), two_id).start()
    peers = [ingest, dispatch, first, second]
    await until(lambda: all(peer.link.is_up for peer in peers), f"all up: {[p.link.down_reason for p in peers]}")

    for topic in (
        node_topic("NDATA", "site-0001"), node_topic("NDEATH", "site-0001"), device_topic("DDATA", "site-0001", "pv"),
        node_topic("NCMD", "site-0002"), device_topic("DCMD", "site-0001", "control"), state_topic("vpp"),
    ):  # fmt: skip
        second.say(topic, b"forged")
    second.say(node_topic("NDATA", "site-0002"), b"own")
    ingest.say(device_topic("DCMD", "site-0001", "control"), b"forged")
    ingest.say(node_topic("NCMD", "site-0001"), b"rebirth")
    dispatch.say(device_topic("DCMD", "site-0001", "control"), b"order")
    await until(lambda: len(ingest.heard) >= 1 and len(first.heard) >= 2, "own messages")
    # What was forged went before on the same connections.
    assert ingest.heard == [(node_topic("NDATA", "site-0002"), b"own")]
    assert sorted(payload for _, payload in first.heard) == [b"order", b"rebirth"]
    for peer in peers:
        await peer.stop()


async def test_the_first_end_of_a_certificate_is_told_to_watchers(fleet: Fleet) -> None:
    one, one_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    site, service = Peer(one, (), one_id).start(), Peer(fleet.service("vpp.ingest"))
    await until(lambda: site.link.is_up)
    # The site's, of one day, ends before the broker's, of 397.
    assert metrics.MQTT.certificate_ends_s == pytest.approx((now() + timedelta(days=1)).timestamp(), abs=120.0)
    assert b"vpp_mqtt_certificate_ends_timestamp_seconds" in generate_latest(metrics.REGISTRY)
    service.start()
    await until(lambda: service.link.is_up)
    assert metrics.MQTT.certificate_ends_s == pytest.approx((now() + timedelta(days=397)).timestamp(), abs=120.0)
    for peer in (site, service):
        await peer.stop()


async def test_nobody_takes_over_anothers_session(fleet: Fleet) -> None:
    one, one_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    two, _ = await asyncio.to_thread(fleet.enrol, "site-0002")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    first = Peer(one, (), one_id).start()
    await until(lambda: first.link.is_up)
    # On Mosquitto even with the right client id; on NATS, which binds nothing, with what a thief can know.
    guesses = [one_id, "site-0001"] if fleet.broker.kind == "mosquitto" else ["site-0001", "site-0001-", one_id[:-1]]
    for guess in guesses:
        thief = Peer(two, (), guess).start()
        await until(lambda thief=thief: thief.link.is_up)  # type: ignore[misc]
        first.say(node_topic("NDATA", "site-0001"), b"still here", 1)
        await asyncio.sleep(0.3)
        assert (first.ups, first.downs, first.link.is_up) == (1, 0, True), guess
        await thief.stop()
    if fleet.broker.kind == "mosquitto":
        # A site's certificate is refused where services choose their client ids.
        url = one.replace(f":{fleet.broker.port}", f":{fleet.broker.service_port}")
        intruder = Peer(url, (), "vpp-dispatch").start()
        await asyncio.sleep(1.0)
        assert intruder.ups == 0
        await intruder.stop()
    await first.stop()


async def test_a_revoked_site_is_cut_off_at_once_and_for_good(fleet: Fleet) -> None:
    one, one_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    two, two_id = await asyncio.to_thread(fleet.enrol, "site-0002")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    first, second = Peer(one, (), one_id).start(), Peer(two, (), two_id).start()
    await until(lambda: first.link.is_up and second.link.is_up)

    site = await asyncio.to_thread(Site.objects.get, site_id="site-0001")
    await in_thread(lambda: operations.revoke_site(site=site, by="test", reason="stolen", at=now()))
    began_s = time.monotonic()
    written = await in_thread(lambda: fleet.keeper.round(at=now()))
    assert written
    fleet.keeper.note_revoked(["site-0001"])
    await until(lambda: fleet.broker.kind == "nats" or "eload" in fleet.broker.log_text, "reload")
    for _ in range(3):
        await fleet.keeper.end_sessions()
        await asyncio.sleep(0.3)
    await until(lambda: first.downs >= 1, "cut off")
    assert time.monotonic() - began_s < WITHIN_S
    ups = first.ups
    await asyncio.sleep(1.5)
    assert (first.ups, first.link.is_up) == (ups, False)
    assert (second.ups, second.downs) == (1, 0)

    # A new enrolment lets the site in again, the old certificate stays out.
    again, again_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    back = Peer(again, (), again_id).start()
    await until(lambda: back.link.is_up, "the new certificate")
    await asyncio.sleep(1.0)
    assert first.ups == ups
    for peer in (first, second, back):
        await peer.stop()


@contextlib.asynccontextmanager
async def a_way_from(address: str, port: int) -> AsyncIterator[int]:
    """Yield a port of a relay that connects on from another address of this machine."""
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        for source, sink in ((reader, there[1]), (there[0], writer)):
            tasks.add(asyncio.create_task(copy(source, sink)))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_alarm_tells_from_where_the_clones_came(fleet: Fleet) -> None:
    one, one_id = await asyncio.to_thread(fleet.enrol, "site-0001")
    two, two_id = await asyncio.to_thread(fleet.enrol, "site-0002")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    async with (
        fleet.keeper.listening(now=now) as listener,
        a_way_from("127.0.0.2", fleet.broker.port) as from_two,
        a_way_from("127.0.0.3", fleet.broker.port) as from_three,
    ):
        await until(lambda: listener is None or listener.is_up)
        curious = Peer(two.replace(f":{fleet.broker.port}", f":{from_three}"), ("$SYS/broker/log/N",), two_id).start()
        site = Peer(one, (), one_id).start()
        await until(lambda: site.link.is_up)
        clone = Peer(one.replace(f":{fleet.broker.port}", f":{from_two}"), (), one_id).start()
        await until(lambda: clone.ups > 0 and site.downs > 0, "the sessions to throw each other out")
        for peer in (site, clone):
            await peer.stop()
        await in_thread(lambda: operations.raise_clone_alarm(site_id="site-0001", at=now(), evidence="in turn"))
        await in_thread(lambda: fleet.keeper.locate_alarms(at=now()))
        alarm = await asyncio.to_thread(CloneAlarm.objects.get)
        assert {address for address, _ in alarm.addresses} == {"127.0.0.1", "127.0.0.2"}
        # Asked again only after another sign.
        assert await in_thread(queries.unlocated_alarms) == []
        # No site hears who comes.
        assert curious.heard == []
        await curious.stop()


async def test_an_alarm_without_a_broker_that_tells_stands_without_addresses(fleet: Fleet) -> None:
    await asyncio.to_thread(fleet.enrol, "site-0001")
    await in_thread(lambda: operations.raise_clone_alarm(site_id="site-0001", at=now(), evidence="in turn"))
    # The broker was never started: no monitor answers, no line of a log came.
    await in_thread(lambda: fleet.keeper.locate_alarms(at=now()))
    alarm = await asyncio.to_thread(CloneAlarm.objects.get)
    assert (alarm.addresses, alarm.looked_at is not None) == ([], True)


async def test_a_keeper_says_how_it_is(fleet: Fleet) -> None:
    await asyncio.to_thread(fleet.enrol, "site-0001")
    health, stop = Health("keep_broker"), asyncio.Event()
    running = asyncio.create_task(keep(fleet.keeper, every_s=0.1, now=now, stop=stop, health=health))
    lists = {"mosquitto": "vpp.acl", "nats": "vpp-users.conf"}[fleet.broker.kind]
    await until((fleet.broker.folder / lists).exists, "the lists")
    if fleet.broker.kind == "mosquitto":
        # It waits for a broker that is not there yet.
        await until(lambda: "broker" in health.faults())
    await in_thread(fleet.broker.start)
    await until(lambda: health.faults() == {}, "all well")
    stop.set()
    await running


async def test_strangers_and_strange_brokers_are_refused(fleet: Fleet, tmp_path: Path) -> None:
    one, _ = await asyncio.to_thread(fleet.enrol, "site-0001")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    await in_thread(fleet.broker.start)
    broker = fleet.broker
    unlisted = broker.url(broker.pair("site-0009", site_identity="f" * 32))
    ca_only = f"mqtts://localhost:{broker.port}?ca={broker.folder / 'service-ca.pem'}"
    stranger = Authority.create("stranger", at=now())
    (tmp_path / "stranger.pem").write_bytes(stranger.pem)
    key = new_key()
    forged = stranger.site_certificate(
        key.public_key(), site_id="site-0001", identity="a" * 32, at=now(), valid_for=timedelta(days=1)
    )
    (tmp_path / "forged.pem").write_bytes(key_pem(key) + forged.public_bytes(serialization.Encoding.PEM))
    cases = {
        "no certificate": ca_only,
        "a certificate of a stranger": broker.url(tmp_path / "forged.pem"),
        "a broker signed by a stranger": one.replace(
            str(broker.folder / "service-ca.pem"), str(tmp_path / "stranger.pem")
        ),
        "a broker of another name": one.replace("localhost", another_name()),
        "a missing file": one.replace("site-0001-", "absent-"),
    }
    if broker.kind == "nats":
        cases["a certificate that the lists do not name"] = unlisted
    for what, url in cases.items():
        peer = Peer(url).start()
        await until(lambda peer=peer: peer.link.down_reason != "not connected yet", what)  # type: ignore[misc]
        await asyncio.sleep(0.3)
        assert peer.ups == 0, what
        if "broker" in what:
            assert "certificate verify failed" in peer.link.down_reason
        if what == "a missing file":
            assert "absent-" in peer.link.down_reason
        await peer.stop()


async def test_nats_finds_its_lists_good(fleet: Fleet) -> None:
    if fleet.broker.kind != "nats":
        pytest.skip("Mosquitto has no check of its own; the other tests start it")
    await asyncio.to_thread(fleet.enrol, "site-0001")
    await in_thread(lambda: fleet.keeper.round(at=now()))
    checked = fleet.broker.check_config()
    assert (checked.returncode, "is valid" in checked.stderr) == (0, True), checked.stderr


async def test_nothing_is_written_while_nothing_changes(fleet: Fleet) -> None:
    await asyncio.to_thread(fleet.enrol, "site-0001")
    assert await in_thread(lambda: fleet.keeper.round(at=now()))
    assert await in_thread(lambda: fleet.keeper.round(at=now())) == []
    # Half its life later a revocation list is made anew, before a broker finds it too old.
    later = await in_thread(lambda: fleet.keeper.round(at=now() + timedelta(days=16)))
    assert ("sites.crl" in later) is (fleet.broker.kind == "mosquitto")  # type: ignore[operator]
