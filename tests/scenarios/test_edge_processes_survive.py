"""A site's two processes: either may be killed, and neither the load's guard nor a metered interval is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.brokers import Broker
from support.edge import Host, an_assignment
from support.edge_site import SITE_ID, EdgeSite
from support.watchers import asked, gone

from sites.edge.control.exchange import Image
from sites.edge.link.shared_block import SharedBlock, UplinkSide

SEED = bytes(range(2, 34))


@pytest.fixture(scope="module")
def host(broker: Broker) -> Iterator[Host]:
    with Host(broker, SEED) as connected:
        yield connected


@pytest.fixture(scope="module")
def site(broker: Broker, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeSite]:
    running = EdgeSite(broker, SEED, tmp_path_factory.mktemp("site"), interval_s=2)
    try:
        running.start("control")
        running.start("uplink")
        host.wait(lambda: SITE_ID in host.born, within_s=90.0)
        yield running
    finally:
        running.stop()


def newest_image(site: EdgeSite) -> Image:
    block = SharedBlock(site.block_path)
    try:
        image = UplinkSide(block, site.block_path.parent / f"{SITE_ID}.spool").poll().image
        assert image is not None
        return image
    finally:
        block.close()


def assert_whole(host: Host) -> None:
    for asset in ("pcc", "battery", "pv", "load"):
        numbers = sorted(host.intervals[SITE_ID, asset])
        assert numbers == list(range(1, numbers[-1] + 1))
    assert host.repeats == []


def test_a_second_controller_of_the_same_site_is_refused(site: EdgeSite) -> None:
    second = site.spawn("control")
    assert second.wait(60.0) == 3
    assert "already_running" in site.log_text("control")
    assert site.processes["control"].poll() is None


def test_the_loop_keeps_pace_and_says_what_it_was_not_given(site: EdgeSite) -> None:
    first = newest_image(site)
    time.sleep(1.0)  # a span to measure over, not a wait
    second = newest_image(site)
    assert 0.7e6 <= second.at_us - first.at_us <= 1.5e6
    assert "control.started switch_closed=True" in site.log_text("control")
    assert "control.real_time sched_fifo=" in site.log_text("control")


def test_control_goes_on_with_the_armed_assignment_while_the_uplink_is_dead(site: EdgeSite, host: Host) -> None:
    assignment = an_assignment(SITE_ID, sequence=1, power_kw=5.0)
    host.arm(assignment)
    host.wait(lambda: host.last_number(SITE_ID, "battery") >= 2, within_s=20.0)
    site.kill("uplink")
    before = newest_image(site)
    last = host.last_number(SITE_ID, "battery")
    time.sleep(5.0)  # at least two intervals end while nobody listens
    after = newest_image(site)
    assert after.at_us - before.at_us > 4_000_000
    assert after.held == (assignment.content_hash,)
    host.forget_births()
    site.start("uplink")
    host.wait(lambda: host.last_number(SITE_ID, "battery") >= last + 4, within_s=30.0)
    assert_whole(host)
    rows = host.intervals[SITE_ID, "battery"]
    for number in range(2, max(rows)):
        # Also those that ended without an uplink have their own length: control kept their registers.
        assert rows[number]["ends_at"] - rows[number]["starts_at"] == 2000
        assert rows[number]["quality"] == "good"
    host.wait(lambda: host.devices[SITE_ID]["control"].get("reported/hash") == assignment.content_hash, within_s=10.0)


def test_a_restarted_controller_arms_again_without_being_told(site: EdgeSite, host: Host) -> None:
    assignment = an_assignment(SITE_ID, sequence=2, power_kw=4.0)
    host.arm(assignment)
    last = host.last_number(SITE_ID, "battery")
    site.kill("control")
    killed_at_us = time.time_ns() // 1000
    began_s = time.monotonic()
    site.start("control")

    def is_armed_again() -> bool:
        image = newest_image(site)
        return image.at_us > killed_at_us and image.held == (assignment.content_hash,)

    host.wait(is_armed_again, within_s=60.0)
    print(f"control killed to armed again {time.monotonic() - began_s:.2f} s")
    host.wait(lambda: host.last_number(SITE_ID, "battery") >= last + 2, within_s=30.0)
    assert_whole(host)
    assert host.devices[SITE_ID]["control"]["reported/hash"] == assignment.content_hash


def test_registers_never_fall(site: EdgeSite, host: Host) -> None:
    for asset in ("pcc", "battery", "pv", "load"):
        rows = host.intervals[SITE_ID, asset]
        for number in range(2, max(rows) + 1):
            for way in ("into", "from"):
                step = rows[number][f"register_{way}_uwh"] - rows[number - 1][f"register_{way}_uwh"]
                assert step == rows[number][f"{way}_bus_uwh"] >= 0


def test_the_uplink_tells_its_watchers_that_control_is_gone(site: EdgeSite, host: Host) -> None:
    folder = site.block_path.parent
    host.wait(lambda: gone(folder, "uplink") == set(), within_s=20.0)
    site.kill("control")
    host.wait(lambda: gone(folder, "uplink") == {"control"}, within_s=20.0)
    site.start("control")
    host.wait(lambda: gone(folder, "uplink") == set(), within_s=60.0)
    assert "vpp_edge_sites_born 1.0" in asked(folder, "uplink", "/metrics")[1]
