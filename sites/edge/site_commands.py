"""vpp-edge request and status: what somebody at the site may ask of its running controller, and what it tells."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sites.core.requests import SiteRequest
from sites.edge.config import EdgeConfig, load_config
from sites.edge.control.exchange import LIMIT_NAMES, MODE_NAMES, Image

REQUESTS: Final[dict[tuple[str, ...], SiteRequest]] = {
    ("island",): SiteRequest.ISLAND,
    ("reconnect",): SiteRequest.RECONNECT,
    ("black-start",): SiteRequest.BLACK_START,
    ("maintenance", "on"): SiteRequest.MAINTENANCE_ON,
    ("maintenance", "off"): SiteRequest.MAINTENANCE_OFF,
    ("genset", "on"): SiteRequest.GENSET_ON,
    ("genset", "off"): SiteRequest.GENSET_OFF,
    ("acknowledge",): SiteRequest.ACKNOWLEDGE,
    ("clear-lockout",): SiteRequest.CLEAR_LOCKOUT,
}
"""Words of ``vpp-edge request`` -> what is asked."""
REFUSED_STATUS: Final = 1
NO_SITE_STATUS: Final = 3
STALE_S: Final = 2.0
"""An image this old was left by a controller that does not run any more."""

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add both commands to ``vpp-edge``'s parser."""
    request = commands.add_parser("request", help="ask the running controller of a site for something, at the site")
    request.add_argument("--config", type=Path, required=True, metavar="FILE")
    request.add_argument("words", nargs="+", metavar="REQUEST", help=", ".join(map(" ".join, REQUESTS)))
    request.set_defaults(run=_request)
    status = commands.add_parser("status", help="print mode, alarms, counters and the last decision of a site")
    status.add_argument("--config", type=Path, required=True, metavar="FILE")
    status.set_defaults(run=_status)


def _request(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from sites.edge.link.local_requests import ask_locally
    from sites.edge.link.shared_block import SharedBlockError

    asked = " ".join(options.words)
    request = REQUESTS.get(tuple(options.words))
    if request is None:
        sys.stderr.write(f"vpp-edge request: {asked!r} is not known, accepted: {', '.join(map(' '.join, REQUESTS))}\n")
        return 2
    config = load_config(options.config, environment)
    log.info("request.local site_id=%s request=%s by=%s", config.site_id, request, getpass.getuser())
    try:
        refusal = ask_locally(config.block_path, request)
    except (SharedBlockError, OSError) as error:
        return _no_site("request", error)
    sys.stdout.write(f"{config.site_id}: {asked}: {f'refused: {refusal}' if refusal else 'accepted'}\n")
    return REFUSED_STATUS if refusal else 0


def _status(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from sites.edge.link.local_requests import newest_image
    from sites.edge.link.shared_block import SharedBlockError

    config = load_config(options.config, environment)
    try:
        image = newest_image(config.block_path)
    except (SharedBlockError, OSError) as error:
        return _no_site("status", error)
    if image is None:
        sys.stdout.write(f"{config.site_id}: the control process has shown nothing yet\n")
        return NO_SITE_STATUS
    age_s = max(0.0, time.time() - image.at_us / 1e6)
    sys.stdout.write(status_text(config, image, age_s=age_s))
    return NO_SITE_STATUS if age_s > STALE_S else 0


def _no_site(command: str, error: Exception) -> int:
    name = getattr(error, "name", "block_unreadable")
    sys.stderr.write(f"vpp-edge {command}: {name}: {error}\n")
    return NO_SITE_STATUS


def status_text(config: EdgeConfig, image: Image, *, age_s: float) -> str:
    """Return what ``vpp-edge status`` prints: one line a subject, times in UTC."""
    from sites.edge.control.names import CAUSE_NAMES, PATH_NAMES, active_inputs, alarm_text, standing_alarms

    m, counts = image.measured[0], image.counts
    alarms = [
        f"{alarm.name} since {_instant(alarm.since_us)} ({'latched' if alarm.is_latched else 'warning'})"
        for alarm in standing_alarms(m)
    ]
    decided_us = int(m["decided_at_us"])
    path = PATH_NAMES[int(m["decided_path"])]
    decision = f"{CAUSE_NAMES[int(m['decided_cause'])]} at {_instant(decided_us)}" + (f", path {path}" if path else "")
    stale = f"; THE CONTROLLER DOES NOT RUN: this is {age_s:.0f} s old" if age_s > STALE_S else ""
    lines = {
        "site": f"{config.site_id}, as of {_instant(image.at_us)}{stale}",
        "mode": MODE_NAMES[int(m["mode"])],
        "lockout cause": alarm_text(int(m["alarm"])) or "none",
        "alarms": "; ".join(alarms) or "none",
        "inputs": ", ".join(active_inputs(m)) or "none",
        "switch": "closed" if m["switch_closed"] else "open",
        "tiers": f"{int(m['tiers_closed'])} of 3 fed, {3 - int(m['tiers_closed'])} shed",
        "charge": f"{100 * m['soc_ratio']:.1f} %",
        "power": f"battery {m['battery_kw']:.1f} kW, grid {m['pcc_kw']:.1f} kW, load {m['load_kw']:.1f} kW",
        "response": (
            f"armed {m['armed_kw']:.1f} kW, gives {m['service_kw']:.1f} kW, stream {m['stream_kw']:.1f} kW, "
            f"limited by {LIMIT_NAMES[int(m['limited_by'])]}"
        ),
        "last decision": decision if decided_us else "none",
        "late ticks": f"{counts.late}, overruns {counts.overruns}, samples caught up {counts.samples_caught_up}",
        "worst": f"wake-up {counts.worst_wake_us} us late, step {counts.worst_step_us} us",
        "watchdog": f"{counts.watchdog_notices} notices" if counts.watchdog_notices else "no supervisor listens",
        "clock": f"probe set to UTC anew {counts.clock_corrections} times",
        "refused": f"{int(m['refusals'])} requests",
    }
    return "".join(f"{name + ':':<15} {text}\n" for name, text in lines.items())


def _instant(at_us: int) -> str:
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_us // 1000 % 1000:03d}Z"
