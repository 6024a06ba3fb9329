"""A regulation stream and an armed curve at the same sites at once: broker, database, dispatcher, plants, all real.

The signal's messages are lost by lot on their way; the frequency falls meanwhile; the signal ends without a word. Then
the database's registers of both dispatches are held against the batteries' own meters.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dispatch import DispatchPlatform
from support.openadr import ROOT
from support.regulation import regulation_signal
from support.stream_stage import INTERVAL_S, SITES, STARTS_WITHIN_S, Stage, seconds_of, stream_stage

from sites.core.streams import stream_product
from sites.edge.plant.fleet import synthetic_fleet

CURVE_KW = 30.0
STREAM_KW = 15.0
FALL = (2.0, 10.0)
"""Part of the trace of 9 August 2019 that is played [s]: from 49.9 Hz to the lowest 49.3 Hz."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stream_stage(tmp_path, ("neso-dc-low", "pjm-regd", "cn-agc")) as running:
        yield running


@pytest.mark.long
@pytest.mark.parametrize(
    ("product", "every_s", "memory", "count"), [("pjm-regd", 2.0, 0.6, 12), ("cn-agc", 5.0, 0.8, 7)]
)
def test_both_are_delivered_and_metered_apart(
    stage: Stage, product: str, every_s: float, memory: float, count: int
) -> None:
    platform, terms = stage.platform, stream_product(product)
    dispatch_id = platform.owe(power_kw=CURVE_KW, starts_in_s=5.0, lasts_s=900.0)
    platform.manage(
        "open_stream", "REG-1", "--product", product, "--power-kw", str(STREAM_KW), "--in-minutes", "0",
        "--minutes", "15",
    )  # fmt: skip
    sender = subprocess.Popen(
        [sys.executable, "manage.py", "run_stream", "REG-1"], cwd=ROOT, env=platform.env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sender.stdin is not None
    platform.wait_until(stage.acknowledged, STARTS_WITHIN_S)
    platform.wait_until(
        lambda: platform.rows("SELECT * FROM dispatch_lease WHERE name LIKE 'stream:%' AND holder <> ''"),
        STARTS_WITHIN_S,
    )
    # The curve's record holds the whole stream.
    time.sleep(3.0)
    sent: list[tuple[float, float]] = []
    stage.simulator.say(f"play gb-20190809 from {FALL[0]} to {FALL[1]} at {time.time() + 3.0 * every_s}")
    for value in regulation_signal(count, seed=3, memory=memory):
        sent.append((time.time(), value))
        sender.stdin.write(f"{value}\n")
        sender.stdin.flush()
        time.sleep(every_s)
    said, faults = sender.communicate(timeout=30.0)
    assert f"{count} values, 0 of them did not go out" in said, said + faults
    assert stage.relay.dropped > 0, "no message was lost: the test shows less than it should"

    sites = [row["site"] for row in platform.assignments("a.kind = 'stream' AND a.superseded = 0")]
    assert len(sites) == SITES
    over_s = sent[-1][0] + terms.max_age_s + 1.0 / terms.ramp_per_s + 3.0
    ends_s = max(over_s, time.time()) + 1.0
    # The operator lets go of the rest, and what was held until then is settled.
    platform.cut_short(dispatch_id, ends_at=datetime.fromtimestamp(ends_s, UTC))
    platform.wait_until(
        lambda: all(seconds_of(stage.intervals(site)[-1]["ends_at"]) > ends_s + INTERVAL_S for site in sites),
        STARTS_WITHIN_S,
    )
    platform.wait_until(lambda: all(_ends_s(stage, site) >= ends_s for site in sites), STARTS_WITHIN_S)
    for site in sites:
        shares = {
            row["kind"]: row["power_kw"] for row in platform.assignments(f"s.site_id = '{site}' AND a.power_kw > 0")
        }
        starts_s, columns = stage.records(site)
        at_s = starts_s + np.arange(len(columns["stream_kw"])) / 100.0
        heard = stage.heard(site, terms.max_age_s)
        assert 0.4 * count <= len(heard) < count + 1
        judge_following(at_s, columns["stream_kw"] / shares["stream"], heard, terms.ramp_per_s)
        judge_metering(stage.intervals(site), at_s, columns)
    out = platform.folder / "settled.json"
    platform.manage("settle", "--obligation", dispatch_id, "--basis", "demonstration", "--json", str(out))
    assert [result["outcome"] for result in json.loads(out.read_text())["results"]] == ["booked"]
    judge_settlement(platform)


def _ends_s(stage: Stage, site: str) -> float:
    starts_s, columns = stage.records(site)
    return starts_s + len(columns["stream_kw"]) / 100.0


def judge_following(
    at_s: np.ndarray, share: np.ndarray, heard: list[tuple[float, float, float]], ramp_per_s: float
) -> None:
    """What was delivered is the last value that got through, held for its time, on the product's ramp; then nothing."""
    # 10 ms of ramp, and what single precision leaves.
    assert np.abs(np.diff(share)).max() <= ramp_per_s * 0.01 + 1e-4
    due, now = np.zeros_like(share), 0.0
    for row, row_s in enumerate(at_s):
        value = next((v if row_s < until_s else 0.0 for s, v, until_s in reversed(heard) if s <= row_s), 0.0)
        now += min(max(value - now, -0.01 * ramp_per_s), 0.01 * ramp_per_s)
        due[row] = now
    off = np.abs(share - due)
    # From the relay to the controller: half a second of ramp at the most on a busy machine, and far less as a rule.
    assert off.max() <= 0.5 * ramp_per_s, (float(off.max()), float(at_s[off.argmax()] - heard[0][0]))
    assert off[(at_s > heard[0][0]) & (at_s < heard[-1][2])].mean() <= 0.03
    over = share[at_s > heard[-1][2] + 1.0 / ramp_per_s + 0.5]
    assert len(over) > 100
    assert np.abs(over).max() == 0.0


def judge_metering(rows: list[dict[str, Any]], at_s: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Registers by dispatch are those of the record, and with it the battery's own meter."""
    whole = [row for row in rows if seconds_of(row["starts_at"]) >= at_s[0] and seconds_of(row["ends_at"]) <= at_s[-1]]
    inside = (at_s >= seconds_of(whole[0]["starts_at"]) - 1e-6) & (at_s < seconds_of(whole[-1]["ends_at"]) - 1e-6)
    armed = columns["armed_kw"] > 0.0
    assert (columns["switch_closed"] == 1.0).all()
    served: dict[str, list[int]] = {}
    for row in whole:
        for name, into, out in json.loads(row["services"]):
            own = served.setdefault(name, [0, 0])
            own[0] += into
            own[1] += out
    assert set(served) == {"DC-event-1", "REG-1"}
    net_kwh = {name: (into - out) / 1e9 for name, (into, out) in served.items()}
    recorded = {
        "REG-1": columns["stream_kw"],
        "DC-event-1": (columns["battery_kw"] - columns["baseline_kw"] - columns["stream_kw"]) * armed,
    }
    for name, power_kw in recorded.items():
        # The record has 32 bits, the register whole blocks of 100 ms.
        assert net_kwh[name] == pytest.approx(power_kw[inside].sum() / 360_000.0, abs=2e-5), name
    # A signal that goes to and fro shows in both of its registers.
    assert min(served["REG-1"]) > 0
    # The battery's own meter is both together and, where no curve was armed, what the idle converter draws.
    battery_kwh = sum(row["into_bus_uwh"] - row["from_bus_uwh"] for row in whole) / 1e9
    own_kwh = (columns["battery_kw"] - columns["stream_kw"])[inside & ~armed].sum() / 360_000.0
    assert battery_kwh == pytest.approx(sum(net_kwh.values()) + own_kwh, abs=2e-5)
    # And that is what the battery's cumulative register moved by.
    before = rows[rows.index(whole[0]) - 1] if whole[0] is not rows[0] else None
    if before is not None:
        moved = sum(
            sign * (whole[-1][f"register_{way}_uwh"] - before[f"register_{way}_uwh"])
            for sign, way in ((1, "into"), (-1, "from"))
        )
        assert moved / 1e9 == pytest.approx(battery_kwh, abs=1e-9)


def judge_settlement(platform: DispatchPlatform) -> None:
    """The curve is settled as if there had been no stream beside it."""
    (entry,) = platform.rows("SELECT body FROM markets_gridsupportentry WHERE chain LIKE 'fleet/%'")
    facts = json.loads(entry["body"])["facts"]
    rated_kva = {site.site_id: site.pcs_kva for site in synthetic_fleet(SITES, 7)}
    for share in facts["shares"]:
        contracted_kw, stream_kw = float(share["contracted_kw"]), float(share["stream_kw"])
        # What is wrong is the site's own: the active method against islands drives up to 5 % of the rating to and fro
        # (over a second 1.3 % beside a curve alone and 1.9 % beside both, measured; all else 0.3 % either way). The
        # stream would be several times that.
        error_kw = float(share["worst_error_ratio"]) * contracted_kw
        assert error_kw < 0.05 * rated_kva[share["site_id"]] < 0.7 * stream_kw, share
        assert float(share["available_ratio"]) == 1.0
    assert float(facts["fleet"]["delivered_ratio"]) > 0.97, facts["fleet"]
    fleet_error_kw = float(facts["fleet"]["worst_error_ratio"]) * CURVE_KW
    assert fleet_error_kw < 0.025 * sum(rated_kva.values()), facts["fleet"]
