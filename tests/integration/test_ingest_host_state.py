"""The host's STATE and the live aggregate, by the real processes on a real broker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from support.brokers import nats_broker
from support.manifests import a_manifest
from support.outbox_edge import OutboxEdge, connected, now_ms, until
from support.platform_processes import a_platform

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import state_message


class Listener:
    """Hears the host's state as a site does, and the live aggregates as a page does."""

    def __init__(self, url: str) -> None:
        self.states: list[tuple[bool, int]] = []
        self.live: list[dict] = []
        self.live_topics: set[str] = set()
        topics = [("spBv1.0/STATE/vpp", 0), ("vpp/live/+", 0)]
        self.connection = Connection(
            BrokerAddress.parse(url), name="listener", on_message=self.heard, subscriptions=topics
        )

    def heard(self, topic: str, payload: bytes) -> None:
        said = json.loads(payload)
        if topic.startswith("vpp/live/"):
            self.live.append(said)
            self.live_topics.add(topic)
        else:
            self.states.append((said["online"], said["timestamp"]))

    def is_online(self) -> bool:
        return bool(self.states) and self.states[-1][0]


async def test_the_host_is_online_only_while_every_partition_has_a_worker(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_LEASE_S="2") as platform:
        platform.set_up(a_manifest(2))
        listener = Listener(broker.url)
        link = asyncio.create_task(listener.connection.run())
        first_half = platform.start("run_ingest", "--partitions", "0-31")
        hosts = [platform.start("run_host")]
        await until(lambda: "host.lease_taken" in platform.log_of("run_host"), 60.0, "the first host's lease")
        hosts.append(platform.start("run_host"))
        await until(lambda: listener.connection.is_up, 60.0, "the listener's connection")
        await until(lambda: "link.up" in platform.log_of("run_ingest"), 60.0, "the first worker's connection")
        # Half of the partitions have nobody yet, for more than a lease.
        await asyncio.sleep(3.0)
        assert not listener.is_online()

        platform.start("run_ingest", "--partitions", "32-63")
        await until(listener.is_online, 60.0, "online with all partitions covered")
        assert platform.log_of("run_host").count("host.lease_taken") == 1

        # The holder dies: its will says offline, the stand-by takes the lease over and says online again.
        heard = len(listener.states)
        platform.kill(hosts[0])
        await until(lambda: False in [said for said, _ in listener.states[heard:]], 60.0, "the will")
        await until(listener.is_online, 60.0, "online by the stand-by")
        stamps = [stamp for _, stamp in listener.states]
        assert stamps == sorted(stamps)

        platform.kill(first_half)
        await until(lambda: not listener.is_online(), 60.0, "offline without the first worker")
        platform.start("run_ingest", "--partitions", "0-31")
        await until(listener.is_online, 60.0, "online with the worker back")
        assert platform.stop(hosts[1]) == 0
        await until(lambda: not listener.is_online(), 60.0, "the goodbye")
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)


async def test_a_host_whose_clock_was_set_back_is_still_heard(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        platform.set_up(a_manifest(1))
        listener = Listener(broker.url)
        link = asyncio.create_task(listener.connection.run())
        await until(lambda: listener.connection.is_up, 60.0, "the listener's connection")
        # What a host said whose clock was five minutes ahead, and its will: sites take nothing older than that.
        ahead_ms = now_ms() + 300_000
        listener.connection.publish(state_message("vpp", False, ahead_ms))
        await until(lambda: listener.states == [(False, ahead_ms)], 60.0, "the former host's state")
        platform.start("run_ingest")
        platform.start("run_host")
        await until(lambda: listener.states[-1] == (True, ahead_ms + 1), 60.0, "online by a later stamp")
        assert "host.state_behind" in platform.log_of("run_host")
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)


async def test_a_hand_over_between_workers_does_not_send_the_fleet_away(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url, VPP_LEASE_S="2") as platform:
        platform.set_up(a_manifest(1))
        listener = Listener(broker.url)
        link = asyncio.create_task(listener.connection.run())
        platform.start("run_ingest", "--partitions", "none", "--stand-by", "0-63")
        platform.start("run_host")
        await until(listener.is_online, 60.0, "online by the stand-by")
        heard = len(listener.states)
        owner = platform.start("run_ingest", "--partitions", "0-63")
        await until(lambda: platform.log_of("run_ingest").count("partitions_taken") == 2, 60.0, "the hand-over")
        # And when the owner dies its stand-by has them before anybody is told.
        platform.kill(owner)
        await until(lambda: platform.log_of("run_ingest").count("partitions_taken") == 3, 60.0, "the take-over")
        await asyncio.sleep(1.0)
        assert [said for said, _ in listener.states[heard:] if not said] == []
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)


async def test_the_live_aggregate_comes_every_second(tmp_path: Path) -> None:
    with nats_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        platform.set_up(a_manifest(3))
        listener, edges = Listener(broker.url), [OutboxEdge(f"site-000{n}", broker.edge_url) for n in (1, 2)]
        link = asyncio.create_task(listener.connection.run())
        platform.start("run_ingest")
        async with connected(edges[0]), connected(edges[1]):
            await until(lambda: bool(listener.live), 60.0, "a first aggregate")

            def both_are_heard() -> bool:
                edges[0].send_live()
                edges[1].send_live(mode="islanded", service_kw=0.0)
                return listener.live[-1]["sites_fresh"] == 2 and listener.live[-1]["islanded"] == ["site-0002"]

            await until(both_are_heard, 60.0, "an aggregate over both sites")
        said = listener.live[-1]
        assert listener.live_topics == {"vpp/live/ingest-0"}
        assert (said["sites_total"], said["by_mode"]) == (3, {"grid_tied": 1, "islanded": 1})
        assert (said["frequency_hz"], said["service_kw"], said["required_kw"]) == (49.98, 1.5, 4.0)
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)
