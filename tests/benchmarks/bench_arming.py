"""How long arming a fleet takes: a real dispatcher and NATS, sites that verify signatures; 200 within 1 s at p99."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vpp.settings")

import numpy as np  # noqa: E402
from support.armed_sites import ArmedSites  # noqa: E402
from support.brokers import nats_broker  # noqa: E402
from support.dispatch import DispatchPlatform  # noqa: E402

LIMITS_MS = {200: 1000.0, 1000: 2000.0}
"""p99 of first sending to acknowledgement [ms]."""
SITE_KW = 50.0


def measure(count: int, folder: Path) -> tuple[list[float], float]:
    """Return each site's arming time and the time from the decision to the last acknowledgement [ms]."""
    with nats_broker() as broker:
        platform = DispatchPlatform(folder, broker)
        platform.add_sites(count, discharge_kw=SITE_KW)
        site_ids = [row["site_id"] for row in platform.rows("SELECT site_id FROM registry_site")]
        sites = ArmedSites(broker.edge_url, platform.platform_key, site_ids, SITE_KW)
        try:
            process = platform.start_dispatcher()
            platform.wait_until(lambda: platform.leader_pid() == process.pid)
            platform.owe(power_kw=count * 30.0, starts_in_s=300.0, lasts_s=60.0)
            platform.wait_until(lambda: len(platform.assignments("acknowledged_at IS NOT NULL")) == count)
            rows = platform.assignments()
        finally:
            sites.stop()
            platform.stop_dispatchers()
    acknowledged = [datetime.fromisoformat(row["acknowledged_at"]) for row in rows]
    sent = [datetime.fromisoformat(row["first_sent_at"]) for row in rows]
    decided = min(datetime.fromisoformat(row["created_at"]) for row in rows)
    arm_ms = [(later - earlier).total_seconds() * 1e3 for earlier, later in zip(sent, acknowledged, strict=True)]
    return arm_ms, (max(acknowledged) - decided).total_seconds() * 1e3


def main() -> int:
    """Print the figures per fleet size; 1 when a p99 is over its limit."""
    failed = False
    for count, limit_ms in LIMITS_MS.items():
        with tempfile.TemporaryDirectory(prefix="vpp-arming-") as folder:
            arm_ms, whole_ms = measure(count, Path(folder))
        p50, p99 = np.percentile(arm_ms, [50, 99])
        failed = failed or p99 > limit_ms
        print(
            f"{count:>5} sites: sent to acknowledged p50 {p50:6.1f} ms, p99 {p99:6.1f} ms (limit {limit_ms:.0f} ms); "
            f"decision to last acknowledgement {whole_ms:.0f} ms"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
