"""Journey of docs/fleet.md, "Keys": the platform's key is replaced over the wire while sites are armed. Lost: 0.

The sites are the edge's own link, the dispatcher and the commands are processes. One site has no key authority: it is
armed with the old key as long as that stands, and nobody can forget it.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform
from support.linked_sites import LinkedSite
from support.outbox_edge import until

from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.commands import device_command
from sites.wire.messages import Message
from sites.wire.signature import key_id_of, public_key_of, seal

SITE_KW = 50.0
BY_WIRE, BY_FILE = ["site-0001", "site-0002"], "site-0003"
WITHIN_S = 30.0


class Journey:
    """The platform, its keys, and three sites, one of which takes no announcement."""

    def __init__(self, folder: Path, platform: DispatchPlatform, edge_url: str) -> None:
        self.folder, self.platform, self.edge_url = folder, platform, edge_url
        self.old_seed = bytes.fromhex(platform.env["VPP_SIGNING_KEY"])
        self.new_seed, authority = os.urandom(32), os.urandom(32)
        # As `signing_keys new` writes it.
        self.authority_file = folder / "authority.key"
        self.authority_file.touch(mode=0o600)
        self.authority_file.write_text(authority.hex())
        self.authority = public_key_of(authority)
        self.old, self.new = public_key_of(self.old_seed), public_key_of(self.new_seed)
        self.sites = {site_id: self.site(site_id) for site_id in (*BY_WIRE, BY_FILE)}

    def site(self, site_id: str, *more_keys: bytes) -> LinkedSite:
        """Start a site as its configuration stands: with the old key, and with the authority or without."""
        authority = None if site_id == BY_FILE else self.authority
        return LinkedSite(self.folder, site_id, self.edge_url, [self.old, *more_keys], authority, SITE_KW)

    async def restart(self, site_id: str, *more_keys: bytes) -> None:
        await self.sites[site_id].stop()
        self.sites[site_id] = self.site(site_id, *more_keys)

    async def sign_with(self, *seeds: bytes) -> None:
        """Write VPP_SIGNING_KEY and start the dispatcher again."""
        await asyncio.to_thread(self.platform.stop_dispatchers)
        self.platform.env["VPP_SIGNING_KEY"] = ",".join(seed.hex() for seed in seeds)
        self.platform.start_dispatcher()

    async def announce(self) -> str:
        """Run the command, and return what it said."""
        return await asyncio.to_thread(
            self.platform.manage, "signing_keys", "announce", "--authority", str(self.authority_file)
        )

    async def armed(self, event_id: str) -> None:
        """Owe something new and wait until every site holds its share of it."""
        dispatch_id = self.platform.owe(power_kw=147.0, starts_in_s=300.0, lasts_s=60.0, event_id=event_id)
        await until(lambda: all(s.held and s.held.dispatch_id == dispatch_id and s.held.power_kw > 0.0
                                for s in self.sites.values()), WITHIN_S, f"{event_id} is armed")  # fmt: skip

    async def cancelled(self, event_id: str) -> None:
        self.platform.cancel(f"DC-{event_id}")
        await until(lambda: all(s.held and s.held.power_kw == 0.0 for s in self.sites.values()), WITHIN_S, "it is gone")

    def signed_by(self, key: bytes) -> list[str]:
        return [site.site_id for site in self.sites.values() if site.signed_by == key_id_of(key)]

    async def forged(self, site_id: str, broker_url: str) -> None:
        """Send what a thief of the old key would: the held assignment with a higher sequence."""
        site = self.sites[site_id]
        assert site.held is not None
        body = site.held.to_bytes().replace(b'"sequence":%d' % site.held.sequence, b'"sequence":999')
        thief = Connection(BrokerAddress.parse(broker_url), name="thief", on_message=lambda *_: None)
        task = asyncio.create_task(thief.run())
        await until(lambda: thief.is_up, 10.0, "the thief is in")
        envelope = seal(body, self.old_seed)
        command: Message = device_command(site_id, "control", int(time.time() * 1000), {"desired": envelope})
        thief.publish(command)
        await until(lambda: site.link.orders.holding.refused_count > 0, 10.0, "it is refused")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_key_is_replaced_and_no_site_is_lost(tmp_path: Path) -> None:
    with nats_broker() as broker:
        platform = DispatchPlatform(
            tmp_path, broker, VPP_LEASE_S="1", VPP_RESEND_AFTER_S="0.5", VPP_REARM_EVERY_S="0"
        )  # fmt: skip
        platform.add_sites(3, discharge_kw=SITE_KW)
        journey = Journey(tmp_path, platform, broker.edge_url)
        try:
            platform.start_dispatcher()
            await journey.armed("one")
            assert journey.signed_by(journey.old) == [*BY_WIRE, BY_FILE]

            # 1. The new key signs where it is taken, the old one elsewhere; the new one is announced.
            await journey.sign_with(journey.new_seed, journey.old_seed)
            assert "generation 1" in await journey.announce()
            held = {site_id: site.held for site_id, site in journey.sites.items()}
            await until(lambda: journey.signed_by(journey.new) == BY_WIRE, WITHIN_S, "what is held is sealed anew")
            assert {site_id: site.held for site_id, site in journey.sites.items()} == held
            # The site with the old key alone answers as before.
            await journey.cancelled("one")
            assert journey.signed_by(journey.old) == [BY_FILE]
            await journey.armed("two")

            # 2. The old key is not withdrawn while a site would be left behind.
            platform.env["VPP_SIGNING_KEY"] = journey.new_seed.hex()
            with pytest.raises(AssertionError, match=f"may take none of our keys: {BY_FILE};"):
                await journey.announce()
            await journey.restart(BY_FILE, journey.new)
            await until(lambda: journey.signed_by(journey.new) == [*BY_WIRE, BY_FILE], WITHIN_S, "it takes both")

            # 3. Now it is; what stands is under the new key, so nobody lets go of anything.
            held = {site_id: site.held for site_id, site in journey.sites.items()}
            assert f"withdrawn: {key_id_of(journey.old).hex()}" in await journey.announce()
            rings = [journey.sites[site_id].link.orders.keys.ring for site_id in BY_WIRE]
            await until(lambda: all(list(ring) == [journey.new] for ring in rings), WITHIN_S, "the old key is gone")
            assert {site_id: site.held for site_id, site in journey.sites.items()} == held
            await journey.sign_with(journey.new_seed)

            # 4. A thief of the old key is refused by name, also after a restart, and the fleet is armed as ever.
            await journey.forged(BY_WIRE[0], broker.url)
            assert journey.sites[BY_WIRE[0]].link.orders.holding.refusal == "key_withdrawn"
            await journey.restart(BY_WIRE[0])
            assert list(journey.sites[BY_WIRE[0]].link.orders.keys.ring) == [journey.new]
            await journey.cancelled("two")
            await journey.armed("three")
            assert journey.signed_by(journey.new) == [*BY_WIRE, BY_FILE]
        finally:
            for site in journey.sites.values():
                await site.stop()
            await asyncio.to_thread(platform.stop_dispatchers)
