"""A site's clock is stepped and put right again, its controller started anew by each: nothing metered is lost.

And the platform's own: while it is wrong it takes nobody's data for fresh, and when it is right again all goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.chain import INTERVAL_S, Chain, a_chain
from support.chain_truth import STORED, Compared, assert_nothing_lost
from support.edge_site import SITE_ID
from support.platform_processes import wait_until
from support.stepped_clock import SteppedClock

WRONG_S = 20.0
"""How long the site meters by a wrong clock before it is put right."""
SLOW_S = 180.0
"""A busy machine starts a process in half a minute, and a site that was cut off is heard again after one."""

pytestmark = [pytest.mark.long, pytest.mark.postgres]


@pytest.mark.parametrize("step_s", [300, -300, -900])
def test_a_sites_clock_is_stepped(tmp_path: Path, step_s: int) -> None:
    clock = SteppedClock(tmp_path)
    with a_chain(tmp_path, site_clock=clock) as chain:
        began_s = time.time()
        clock.set(step_s)
        # The controller's clock does not step; the uplink sees that the machine's did, and flags from here on.
        wait_until(lambda: "clock.stepped" in chain.site.log_text("uplink"), 10.0, "the step is seen")
        if step_s < 0:
            before = chain.numbered()
            wait_until(lambda: chain.is_stored(before), 60.0, "the first intervals by a clock in doubt")
        # What is stamped ahead of the platform's clock waits at the site until its own is right.
        chain.restart_control()
        wait_until(lambda: chain.site.log_text("control").count("control.started") == 2, SLOW_S, "by the wrong clock")
        time.sleep(WRONG_S)  # what is metered by a wrong clock

        clock.set(0.0)
        chain.restart_control()
        wait_until(lambda: chain.site.log_text("control").count("control.started") == 3, SLOW_S, "by the right clock")
        right_s = time.time()
        # What carries instants that have not come is taken when they have.
        longest_s = max(0, step_s) + SLOW_S
        wait_until(lambda: chain.is_fresh(right_s), longest_s, "live values of every site")
        wait_until(lambda: _last_end_s(chain) > right_s, longest_s, "an interval that ends by the right clock")
        numbers = chain.numbered()
        wait_until(lambda: chain.is_stored(numbers), longest_s, "all that was metered")
        settled_s = time.time() - right_s
        chain.assert_running()

        found = _compared(chain, ahead_ms=max(0, step_s) * 1000)
        rows = chain.rows(
            "SELECT s.site_id, i.time_quality, extract(epoch FROM i.received_at)::float FROM metering_meterinterval i "
            "JOIN registry_asset a ON a.id = i.asset_id JOIN registry_site s ON s.id = a.site_id"
        )
        flagged = [site_id for site_id, quality, _ in rows if quality in {"stepped", "disputed"}]
        assert set(flagged) == {SITE_ID}
        assert len(flagged) >= 4, "one interval of each asset at least"
        # The platform's clock says when each came, whatever the site's said.
        assert all(began_s - 600.0 < received_s <= time.time() for _, _, received_s in rows)
        refused = chain.rows("SELECT error FROM metering_refusalcount")
        assert {error for (error,) in refused} <= {"timestamp_in_future", "alias_unknown", "birth_missing"}
        _close_everybody(chain, found)
        print(
            f"step {step_s} s: {len(flagged)} flagged, {found.intervals} intervals, lost 0, settled {settled_s:.0f} s"
        )


def _close_everybody(chain: Chain, found: Compared) -> None:
    """The carbon of the time in which it happened is closed for the whole fleet, this site with it."""
    ((starts_at, ends_at),) = chain.rows("SELECT min(starts_at), max(ends_at) FROM metering_meterinterval")
    said = chain.platform.manage(
        "close_carbon", "--from", starts_at.isoformat(), "--to", min(ends_at, _now(chain)).isoformat(),
        "--allow-gaps", "--allow-older-vintage",
    )  # fmt: skip
    assert f"of {len(chain.truths)} sites" in said
    assert found.intervals > 0


def _now(chain: Chain) -> object:
    ((now,),) = chain.rows("SELECT now()")
    return now


def _compared(chain: Chain, *, ahead_ms: int) -> Compared:
    stored = chain.stored()
    chain.watch.assert_consistent()
    return assert_nothing_lost(chain.truths, stored, chain.rows(STORED), chain.kills_ms, ahead_ms=ahead_ms)


def _last_end_s(chain: Chain) -> float:
    streams = chain.truths[SITE_ID].intervals()
    return min(stream[max(stream)]["ends_at"] for stream in streams.values()) / 1000.0


@pytest.mark.parametrize("step_s", [300, -300])
def test_the_platforms_clock_is_stepped(tmp_path: Path, step_s: int) -> None:
    clock = SteppedClock(tmp_path)
    with a_chain(tmp_path, **clock.environment) as chain:
        held = chain.held()
        clock.set(step_s)
        stepped_s = time.time()
        wait_until(lambda: any(row["firm_kw"] == 0.0 for row in chain.watch.seen[-20:]), SLOW_S, "nobody is counted on")
        while time.time() < stepped_s + WRONG_S:
            # No site lets go of what it holds because the platform does not know the time.
            assert chain.held() == held
            time.sleep(INTERVAL_S)
        clock.set(0.0)
        right_s = time.time()
        wait_until(lambda: chain.is_fresh(right_s), SLOW_S, "live values of every site")
        fresh_s = time.time() - right_s
        numbers = chain.numbered()
        wait_until(lambda: chain.is_stored(numbers), SLOW_S, "all that was metered")
        wait_until(lambda: chain.is_firm(right_s), SLOW_S, "firm power of all that is owed")
        firm_s = time.time() - right_s
        chain.assert_running()
        found = _compared(chain, ahead_ms=0)
        assert found.unmetered == []
        print(f"platform {step_s} s: fresh {fresh_s:.1f} s, firm {firm_s:.1f} s, lost 0 of {found.intervals}")
