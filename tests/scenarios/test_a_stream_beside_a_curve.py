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
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform
from support.edge import Simulator
from support.lossy_relay import LossyRelay, lossy_relay
from support.openadr import ROOT
from support.regulation import regulation_signal

from sites.core.streams import signal_from_bytes, stream_product
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.manifest import manifest_of
from sites.wire.records import unpack_samples
from sites.wire.signature import SIGNAL_MAGIC, open_envelope

SITES = 4
INTERVAL_S = 2
CURVE_KW = 30.0
STREAM_KW = 15.0
LOST_SHARE = 0.25
STARTS_WITHIN_S = 120.0
"""A process compiles its kernels or loads Django on a machine that others share."""
FALL = (2.0, 10.0)
"""Part of the trace of 9 August 2019 that is played [s]: from 49.9 Hz to the lowest 49.3 Hz."""


class Stage:
    """Everything that runs, and the readings of its database."""

    def __init__(self, platform: DispatchPlatform, simulator: Simulator, relay: LossyRelay) -> None:
        self.platform, self.simulator, self.relay = platform, simulator, relay

    def acknowledged(self) -> bool:
        rows = self.platform.assignments("a.superseded = 0")
        return {row["kind"] for row in rows} == {"curve", "stream"} and all(row["acknowledged_at"] for row in rows)

    def records(self, site: str) -> tuple[float, dict[str, np.ndarray]]:
        """Return (first instant, columns) of a site's 100 Hz record; it has no hole."""
        rows = self.platform.rows(
            "SELECT r.* FROM metering_highraterecord r JOIN registry_site s ON s.id = r.site_id "
            "WHERE s.site_id = ? ORDER BY r.number", site,
        )  # fmt: skip
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        names = json.loads(rows[0]["columns"])
        samples = np.concatenate([unpack_samples(row["samples"], len(names)) for row in rows]).astype(float)
        return _seconds(rows[0]["starts_at"]), dict(zip(names, samples.T, strict=True))

    def heard(self, site: str, max_age_s: float) -> list[tuple[float, float, float]]:
        """Return (when, value, held until) of the signals that got through to a site."""
        envelopes = [
            message
            for client, passed in self.relay.passed.items()
            if client.rpartition("-")[0] == site
            for message in passed
        ]
        found = []
        for at_s, envelope in envelopes:
            body = open_envelope(envelope, [self.platform.platform_key], magic=SIGNAL_MAGIC)
            signal = signal_from_bytes(body)
            # One that was long on its way is held for less.
            found.append((at_s, signal.value, min(at_s + max_age_s, signal.valid_until.timestamp())))
        return found

    def intervals(self, site: str) -> list[dict[str, Any]]:
        """Return a battery's numbered intervals; none is missing."""
        rows = self.platform.rows(
            "SELECT i.* FROM metering_meterinterval i JOIN registry_asset a ON a.id = i.asset_id "
            "JOIN registry_site s ON s.id = a.site_id "
            "WHERE s.site_id = ? AND a.name = 'battery' AND i.revision = 0 ORDER BY i.number", site,
        )  # fmt: skip
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        return rows


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with nats_broker() as broker, lossy_relay(broker, topic="vpp/setpoint/", share=LOST_SHARE, seed=5) as relay:
        platform = DispatchPlatform(tmp_path, broker, VPP_FRESH_WITHIN_S="10", VPP_REARM_EVERY_S="600")
        manifest = tmp_path / "manifest.json"
        manifest.write_text(json.dumps([manifest_of(site) for site in synthetic_fleet(SITES, 7)]))
        for program in ("neso-dc-low", "pjm-regd", "cn-agc"):
            platform.manage("enrol_sites", str(manifest), "--program", program)
        folder = tmp_path / "edge"
        folder.mkdir()
        simulator = Simulator(relay, SITES, bytes.fromhex(platform.env["VPP_SIGNING_KEY"]), folder, INTERVAL_S)  # type: ignore[arg-type]
        try:
            for command in ("run_ingest", "run_host", "run_dispatch"):
                platform.start(command)
            simulator.wait_for("ready", within_s=STARTS_WITHIN_S)
            platform.wait_until(
                lambda: len(platform.rows("SELECT * FROM metering_livestate WHERE discharge_kw > 0")) == SITES,
                STARTS_WITHIN_S,
            )
            yield Stage(platform, simulator, relay)
        finally:
            simulator.kill()
            platform.stop_dispatchers()


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
        lambda: all(_seconds(stage.intervals(site)[-1]["ends_at"]) > ends_s + INTERVAL_S for site in sites),
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
    whole = [row for row in rows if _seconds(row["starts_at"]) >= at_s[0] and _seconds(row["ends_at"]) <= at_s[-1]]
    inside = (at_s >= _seconds(whole[0]["starts_at"]) - 1e-6) & (at_s < _seconds(whole[-1]["ends_at"]) - 1e-6)
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
