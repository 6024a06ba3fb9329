"""A site's link is cut without a word for longer than anybody waits: what it metered comes late, and all of it."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest
from support.brokers import Broker
from support.chain import INTERVAL_S, Chain, a_chain
from support.chain_truth import STORED, SiteTruth, assert_nothing_lost
from support.cut_link import CutLink, a_link
from support.edge import Host, an_assignment
from support.edge_site import SITE_ID, EdgeSite
from support.platform_processes import wait_until

CUT_S = 600.0
NOTICED_S = 45.0
"""Keep-alive 15 s, and as much again for the answer that does not come; the rest is a busy machine's."""
GRACE_S = 2.0


def go_on(chain: Chain, until_s: float, held: str) -> list[dict[str, float]]:
    """Let the fleet run on; the cut site keeps its assignment all the time. Return what the platform said of it."""
    first = len(chain.watch.seen)
    while time.monotonic() < until_s:
        assert chain.held()[SITE_ID] == held
        chain.assert_running()
        time.sleep(1.0)  # how often the site is looked at
    return chain.watch.seen[first:]


@pytest.mark.long
@pytest.mark.postgres
def test_ten_minutes_without_a_link(tmp_path: Path) -> None:
    cut_s = float(os.environ.get("VPP_TEST_CUT_S", CUT_S))
    with a_chain(tmp_path) as chain:
        sequence, held, _ = chain.desired()[SITE_ID]
        marks, share_kw = chain.stored(), _share_kw(chain)
        cut_at_s, began_s = time.time(), time.monotonic()
        chain.link.cut()
        said = go_on(chain, began_s + cut_s, held)

        # The platform counted on the others only, and on no more than may be over-delivered.
        silent = [row for row in said if row["at"] > cut_at_s + NOTICED_S]
        assert silent
        for row in silent:
            assert row["firm_kw"] <= row["upper_kw"] - share_kw + 1e-6
        chain.watch.assert_consistent()
        assert [s for s, at_s in chain.measured().items() if at_s < time.time() - 15.0] == [SITE_ID]
        # Nothing of the cut site came, and all of it waits.
        waiting = chain.truths[SITE_ID].last_numbers()
        for key, last in waiting.items():
            assert last - chain.stored()[key] >= (cut_s - NOTICED_S) / INTERVAL_S
            assert chain.stored()[key] <= marks[key] + 5

        back_s, back_at_s = time.monotonic(), time.time()
        chain.link.restore()
        wait_until(lambda: chain.is_fresh(back_at_s), 90.0, "live values of the site")
        fresh_s = time.monotonic() - back_s
        wait_until(lambda: chain.is_stored(waiting), 180.0, "what waited")
        flushed_s = time.monotonic() - back_s
        wait_until(lambda: chain.is_firm(back_at_s), 90.0, "firm power of all that is owed")
        now = chain.desired()[SITE_ID]
        assert now[:2] == (sequence, held) or now[0] > sequence
        found = assert_nothing_lost(chain.truths, chain.stored(), chain.rows(STORED), {})
        assert found.unmetered == []
        # What came late said so: nobody took the site's clock for wrong.
        assert chain.rows("SELECT count(*) FROM metering_meterinterval WHERE time_quality = 'disputed'") == [(0,)]
        rows = sum(last - marks[key] for key, last in waiting.items())
        print(
            f"cut {cut_s:.0f} s: fresh after {fresh_s:.1f} s, {rows} intervals stored after {flushed_s:.1f} s, lost 0"
        )


def _share_kw(chain: Chain) -> float:
    shares = chain.rows(
        "SELECT s.site_id, a.power_kw FROM dispatch_siteassignment a JOIN registry_site s ON s.id = a.site_id "
        "WHERE NOT a.superseded"
    )
    return float(dict(shares)[SITE_ID])


@pytest.mark.long
@pytest.mark.parametrize("choice", ["hold", "release"])
def test_the_owners_choice_decides_about_what_is_armed(broker: Broker, tmp_path: Path, choice: str) -> None:
    seed = bytes(range(3, 35))
    with Host(broker, seed) as host, a_link(broker.port) as link:
        site = _a_site(broker, link, seed, tmp_path, choice)
        try:
            host.wait(lambda: SITE_ID in host.born, within_s=90.0)
            assignment = an_assignment(SITE_ID, sequence=1, power_kw=5.0)
            host.arm(assignment)
            assert _held(site) == assignment.content_hash
            link.cut()
            began_s = time.monotonic()
            if choice == "release":
                wait_until(lambda: _held(site) == "", NOTICED_S + GRACE_S, "the release")
                print(f"released {time.monotonic() - began_s:.1f} s after the cut, grace {GRACE_S} s")
            while time.monotonic() < began_s + NOTICED_S + GRACE_S:
                assert _held(site) == ("" if choice == "release" else assignment.content_hash)
                time.sleep(0.5)  # how often the site is looked at
            link.restore()
            host.wait(lambda: host.last_number(SITE_ID, "battery") * INTERVAL_S >= NOTICED_S, within_s=60.0)
            for asset in ("pcc", "battery", "pv", "load"):
                numbers = sorted(host.intervals[SITE_ID, asset])
                assert numbers == list(range(1, numbers[-1] + 1))
            assert host.repeats == []
            # The platform learns what the site did: released stays released until it is asked again.
            reported = assignment.content_hash if choice == "hold" else ""
            host.wait(lambda: host.devices[SITE_ID]["control"].get("reported/hash") == reported, within_s=30.0)
            if choice == "release":
                host.arm(assignment)
                assert _held(site) == assignment.content_hash
        finally:
            site.stop()


def _a_site(broker: Broker, link: CutLink, seed: bytes, folder: Path, choice: str) -> EdgeSite:
    through = dataclasses.replace(broker, port=link.port)
    site = EdgeSite(through, seed, folder, interval_s=INTERVAL_S, loss_of_link=choice, loss_grace_s=GRACE_S)
    for name in ("control", "uplink"):
        site.start(name)
    return site


def _held(site: EdgeSite) -> str:
    return SiteTruth(SITE_ID, site.config, site.block_path, 0).held_hash()
