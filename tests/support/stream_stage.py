"""A few simulated sites at a real broker with loss, platform and dispatcher, for what is told over setpoint streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform
from support.edge import Simulator
from support.lossy_relay import LossyRelay, lossy_relay

from sites.core.streams import signal_from_bytes
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.manifest import manifest_of
from sites.wire.records import unpack_samples
from sites.wire.signature import SIGNAL_MAGIC, open_envelope

SITES = 4
INTERVAL_S = 2
LOST_SHARE = 0.25
STARTS_WITHIN_S = 240.0
"""A process compiles its kernels or loads Django on a machine that others share."""


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
        return seconds_of(rows[0]["starts_at"]), dict(zip(names, samples.T, strict=True))

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


def seconds_of(text: str) -> float:
    """Return a stored instant in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@contextmanager
def stream_stage(folder: Path, programs: Sequence[str]) -> Iterator[Stage]:
    """Run everything; sites are enrolled for the programs and measured once."""
    with nats_broker() as broker, lossy_relay(broker, topic="vpp/setpoint/", share=LOST_SHARE, seed=5) as relay:
        platform = DispatchPlatform(folder, broker, VPP_FRESH_WITHIN_S="10", VPP_REARM_EVERY_S="600")
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps([manifest_of(site) for site in synthetic_fleet(SITES, 7)]))
        for program in programs:
            platform.manage("enrol_sites", str(manifest), "--program", program)
        edge = folder / "edge"
        edge.mkdir()
        simulator = Simulator(relay, SITES, bytes.fromhex(platform.env["VPP_SIGNING_KEY"]), edge, INTERVAL_S)  # type: ignore[arg-type]
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
