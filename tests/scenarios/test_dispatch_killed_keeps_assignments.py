"""A dispatcher killed between sending and acknowledgement loses nothing: real broker, processes, signatures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.armed_sites import ArmedSites
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform

SITES = 30
SITE_KW = 50.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[DispatchPlatform, ArmedSites]]:
    with nats_broker() as broker:
        platform = DispatchPlatform(tmp_path, broker, VPP_LEASE_S="1", VPP_RESEND_AFTER_S="0.5")
        platform.add_sites(SITES, discharge_kw=SITE_KW)
        site_ids = [row["site_id"] for row in platform.rows("SELECT site_id FROM registry_site ORDER BY site_id")]
        sites = ArmedSites(broker.edge_url, platform.platform_key, site_ids, SITE_KW)
        try:
            yield platform, sites
        finally:
            sites.stop()
            platform.stop_dispatchers()


def test_kill_between_sending_and_acknowledgement(stage: tuple[DispatchPlatform, ArmedSites]) -> None:
    platform, sites = stage
    silent = sorted(sites.sites)[::2]
    for site_id in silent:
        sites.sites[site_id].answers = False
    first = platform.start_dispatcher()
    platform.wait_until(lambda: platform.leader_pid() == first.pid)
    platform.owe(power_kw=900.0, starts_in_s=120.0, lasts_s=60.0)

    # Every site holds its share, half of them could not say so; what the others said is stored.
    sites.wait_until(lambda: all(site.held is not None for site in sites.sites.values()))
    acknowledged = "acknowledged_at IS NOT NULL"
    platform.wait_until(lambda: len(platform.assignments(acknowledged)) == SITES - len(silent))
    known = platform.assignments(acknowledged)
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    held_before = {site_id: site.held for site_id, site in sites.sites.items()}

    # A standby would be the same: the lease of the dead one runs out, nobody has to clean up.
    sites.answer_again()
    second = platform.start_dispatcher()
    platform.wait_until(lambda: not platform.assignments("acknowledged_at IS NULL"))
    assert platform.leader_pid() == second.pid

    rows = {row["site"]: row for row in platform.assignments()}
    assert len(rows) == SITES
    for row in known:
        assert rows[row["site"]]["acknowledged_at"] == row["acknowledged_at"]
        assert rows[row["site"]]["content_hash"] == row["content_hash"]
    for site_id, site in sites.sites.items():
        assert site.held == held_before[site_id]
        assert site.held is not None
        assert site.held.content_hash == rows[site_id]["content_hash"]
        assert site.received == sorted(site.received)
        assert site.refused == ("", "", 0)
    # The shares that sites hold are the whole obligation with its margin, no more and no less.
    armed_kw = sum(site.held.power_kw for site in sites.sites.values() if site.held)
    assert armed_kw == pytest.approx(900.0 / 0.98, abs=1e-3)
    assert platform.stop_dispatchers() == [-signal.SIGKILL, 0]
    assert platform.leader_pid() is None
