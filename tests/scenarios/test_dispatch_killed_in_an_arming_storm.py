"""Journey: the leader is killed while it arms a fleet, beside a stand-by; and a key is replaced in files. Lost: 0."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.armed_sites import ArmedSites
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform

from sites.wire.signature import public_key_of

SITES = 300
SITE_KW = 50.0


def _site_ids(platform: DispatchPlatform) -> list[str]:
    return [row["site_id"] for row in platform.rows("SELECT site_id FROM registry_site ORDER BY site_id")]


def _desired(platform: DispatchPlatform) -> dict[str, str]:
    return {row["site"]: row["content_hash"] for row in platform.assignments("superseded = 0")}


def test_a_leader_killed_in_the_storm_costs_no_assignment(tmp_path: Path) -> None:
    with nats_broker() as broker:
        platform = DispatchPlatform(tmp_path, broker, VPP_LEASE_S="1", VPP_RESEND_AFTER_S="1", VPP_REARM_EVERY_S="0")
        platform.add_sites(SITES, discharge_kw=SITE_KW)
        sites = ArmedSites(broker.edge_url, platform.platform_key, _site_ids(platform), SITE_KW)
        try:
            leader = platform.start_dispatcher()
            platform.wait_until(lambda: platform.leader_pid() == leader.pid)
            standby = platform.start_dispatcher()
            platform.owe(power_kw=SITES * 30.0, starts_in_s=300.0, lasts_s=60.0)
            # In the middle: some have it, many do not.
            sites.wait_until(lambda: sum(site.held is not None for site in sites.sites.values()) > SITES // 20)
            leader.send_signal(signal.SIGKILL)
            leader.wait(10)
            held_then = {s.site_id: s.held.content_hash for s in sites.sites.values() if s.held}
            platform.wait_until(lambda: platform.leader_pid() == standby.pid)
            platform.wait_until(
                lambda: len(platform.assignments("acknowledged_at IS NOT NULL AND superseded = 0")) == SITES,
                within_s=60.0,
            )
            held = {s.site_id: s.held.content_hash for s in sites.sites.values() if s.held}
            assert held == _desired(platform)
            # What was taken from the killed leader stands: nobody was armed twice, or with another share.
            assert held_then.items() <= held.items()
            assert all(site.taken == [1] for site in sites.sites.values())
            assert len(held_then) < SITES, "the leader had finished before it was killed"
        finally:
            sites.stop()
            platform.stop_dispatchers()


def test_sites_that_start_without_the_old_key_get_the_same_under_the_new_one(tmp_path: Path) -> None:
    new_seed = os.urandom(32)
    with nats_broker() as broker:
        platform = DispatchPlatform(tmp_path, broker, VPP_LEASE_S="1", VPP_RESEND_AFTER_S="0.5", VPP_REARM_EVERY_S="0")
        platform.add_sites(3, discharge_kw=SITE_KW)
        site_ids, old_key = _site_ids(platform), platform.platform_key
        sites = ArmedSites(broker.edge_url, old_key, site_ids, SITE_KW)
        try:
            dispatch_id = _arm(platform)
            held = {s.site_id: s.held for s in sites.sites.values()}
            assert None not in held.values()
            platform.stop_dispatchers()
            platform.env["VPP_SIGNING_KEY"] = new_seed.hex()
            # The old key is gone, and what it had signed.
            sites.stop()
            sites = ArmedSites(broker.edge_url, public_key_of(new_seed), site_ids, SITE_KW)
            platform.start_dispatcher()
            sites.wait_until(lambda: {s.site_id: s.held for s in sites.sites.values()} == held)
            platform.cancel(dispatch_id)
            sites.wait_until(lambda: all(s.held and s.held.power_kw == 0.0 for s in sites.sites.values()))
            assert all(s.refused == ("", "", 0) for s in sites.sites.values())
        finally:
            sites.stop()
            platform.stop_dispatchers()


def _arm(platform: DispatchPlatform) -> str:
    process = platform.start_dispatcher()
    platform.wait_until(lambda: platform.leader_pid() == process.pid)
    dispatch_id = platform.owe(power_kw=98.0, starts_in_s=300.0, lasts_s=60.0)
    platform.wait_until(lambda: len(platform.assignments("acknowledged_at IS NOT NULL")) == 3)
    return dispatch_id
