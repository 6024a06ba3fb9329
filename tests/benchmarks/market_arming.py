"""An operator's event at our VEN until a fleet of 1,000 is armed and has acknowledged: rows of the market benchmark.

All real: openleadr's VTN as the operator, our VEN's service, the dispatcher, a NATS broker and the sites' answers, each
a process of its own on one database. The clock runs from the instant at which the VEN has the event's bytes to the last
site's acknowledgement in the database; the wait for the next poll is told beside it.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from benchmarks.bench_arming import SITE_KW, fleet_process
from benchmarks.fleet_rows import Benchmark, Options, Row
from support.brokers import nats_broker
from support.dispatch import DispatchPlatform
from support.openadr import GridOperatorProcess

SITES = 1_000
EVENTS = 20
FEWEST = 5
EVENT_KW = 30.0 * SITES
STARTS_IN_S = 600.0
MOST_S = 1.0
WITHIN_S = 60.0

ARMED = """
SELECT COUNT(*) AS n, SUM(a.acknowledged_at IS NOT NULL) AS answered, MAX(a.acknowledged_at) AS last,
       MIN(a.created_at) AS shared, MIN(a.first_sent_at) AS sent
FROM dispatch_siteassignment a JOIN dispatch_dispatch d ON d.id = a.dispatch_id
WHERE d.dispatch_id = ? AND a.power_kw > 0
"""
HELD = """
SELECT COUNT(*) AS n FROM dispatch_siteassignment a JOIN dispatch_dispatch d ON d.id = a.dispatch_id
WHERE d.dispatch_id = ? AND a.superseded = 0 AND (a.power_kw > 0 OR a.acknowledged_at IS NULL)
"""


def measure(folder: Path, events: int) -> list[dict[str, float]]:
    """Return each event's times [s]: poll wait, decision, first sending, last acknowledgement since its receipt."""
    found = []
    with nats_broker() as broker:
        platform = DispatchPlatform(folder, broker, VPP_OBSERVE="off")
        platform.add_sites(SITES, discharge_kw=SITE_KW)
        operator = GridOperatorProcess(None)
        try:
            with fleet_process("answering_fleet", broker.edge_url, SITES, platform.platform_key.hex()):
                process = platform.start_dispatcher()
                platform.start_ven(operator.url)
                operator.said.wait_for("registered", 60.0)
                platform.wait_until(lambda: platform.leader_pid() == process.pid, 60.0)
                found.extend(_one(platform, operator, f"event-{number}") for number in range(events))
        finally:
            platform.stop_ven()
            platform.stop_dispatchers()
            operator.stop()
    return found


def _one(platform: DispatchPlatform, operator: GridOperatorProcess, event_id: str) -> dict[str, float]:
    dispatch_id = f"DC-{event_id}"
    issued_s = time.time()
    operator.event(event_id, power_kw=-EVENT_KW, starts_in_s=STARTS_IN_S)
    _wait(lambda: _is_armed(platform, dispatch_id), f"{dispatch_id} armed")
    (event,) = platform.rows("SELECT * FROM markets_marketevent WHERE event_id = ?", event_id)
    (row,) = platform.rows(ARMED, dispatch_id)
    received_s = _seconds(event["received_at"])
    # The next event finds the fleet free: one site holds one share.
    operator.command(cmd="cancel", event_id=event_id)
    _wait(lambda: _is_armed(platform, dispatch_id, is_free=True), f"{dispatch_id} let go")
    return {
        "polled": received_s - issued_s,
        "decided": _seconds(event["decided_at"]) - received_s,
        "shared": _seconds(row["shared"]) - received_s,
        "sent": _seconds(row["sent"]) - received_s,
        "armed": _seconds(row["last"]) - received_s,
    }


def _is_armed(platform: DispatchPlatform, dispatch_id: str, *, is_free: bool = False) -> bool:
    with closing(sqlite3.connect(f"file:{platform.database}?mode=ro", uri=True, timeout=20)) as connection:
        if is_free:
            return bool(connection.execute(HELD, (dispatch_id,)).fetchone()[0] == 0)
        count, answered, *_ = connection.execute(ARMED, (dispatch_id,)).fetchone()
        return bool(count >= SITES and answered == count)


def _wait(condition, what: str) -> None:
    """Ask seldom: the question reads the whole table."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"{what} did not come within {WITHIN_S:g} s")
        time.sleep(0.25)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def run_event_arming(options: Options) -> list[Row]:
    """Issue event after event; five of them in the quick mode, twenty else."""
    events = EVENTS if options.minutes >= 1.0 else FEWEST
    with tempfile.TemporaryDirectory(prefix="vpp-event-") as folder:
        found = measure(Path(folder), events)

    def at(name: str, percent: float) -> float:
        return float(np.percentile([each[name] for each in found], percent))

    return [
        Row("event_to_armed_p95_s", f"event at our VEN to {SITES:,} sites armed and acknowledged: p95 [s]",
            at("armed", 95), MOST_S, is_most=True),
        Row("event_to_armed_p50_s", "the same, p50 [s]", at("armed", 50)),
        Row("event_to_decided_p95_s", "of it until the event is decided: p95 [s]", at("decided", 95)),
        Row("event_to_shared_p95_s", "of it until the shares are written: p95 [s]", at("shared", 95)),
        Row("event_to_sent_p95_s", "of it until the first command goes out: p95 [s]", at("sent", 95)),
        Row("event_poll_wait_p50_s", "before it, wait for the VEN's poll (every 1 s): p50 [s]", at("polled", 50)),
        Row("event_count", "events", float(len(found))),
    ]  # fmt: skip


BENCHMARKS = (Benchmark("event_arming", "an operator's event until a fleet is armed", run_event_arming),)
