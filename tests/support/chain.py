"""The whole chain as real processes on one machine; each may be killed and is started again as its supervisor would.

A site with its control and its uplink behind a link that can be cut, a process of simulated sites, broker, PostgreSQL,
two ingest workers that stand by for each other, the host, a dispatcher and its stand-by, and a curve that all sites are
armed with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from support.brokers import Broker, nats_broker
from support.chain_truth import SiteTruth
from support.cut_link import CutLink, a_link
from support.edge import Simulator
from support.edge_site import SITE_ID, EdgeSite
from support.fleet_watch import FleetWatch
from support.platform_processes import Platform, a_platform, wait_until
from support.postgres import PostgresServer, postgres_server
from support.stepped_clock import SteppedClock

from sites.edge.config import load_config
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.manifest import manifest_of

INTERVAL_S = 2
SIMULATED = 3
HALVES = ("0-31", "32-63")
STARTED_AGAIN_S = {"control": 0.2, "uplink": 1.0, "simulate": 1.0, "ingest": 1.0, "dispatch": 1.0, "host": 1.0}
"""As RestartSec in deploy's units [s]; broker and database are on other machines and take up to SERVER_AWAY_S."""
SERVER_AWAY_S = 3.0
LINK_AWAY_S = (1.0, 10.0)
"""How long a round cuts the site's link [s]: less than anybody takes to give a silent connection up."""
VICTIMS = ("broker", "database", "ingest", "dispatch", "host", "uplink", "control", "simulate", "link")
WINDOW_S = 3 * 3600.0
PUT_BY_MS = 1_000
"""Registers are put by five times a second; a busy machine is late with it."""
OWED_SHARE = 0.4
"""Of what the sites could hold for the whole window."""


@dataclass(frozen=True)
class Round:
    """What one round killed and how long it took until everything was as before [s], from the kill on."""

    victims: tuple[str, ...]
    away_s: float
    """Until the last of them was started again."""
    fresh_s: float
    """Until the database held a value of every site that was measured after that."""
    firm_s: float
    """Until firm power covered what is owed, with every site's report agreeing."""
    settled_s: float
    """Until the intervals that ended meanwhile were stored."""


@dataclass
class Chain:
    """The processes, and what is known of them."""

    folder: Path
    broker: Broker
    database: PostgresServer
    platform: Platform
    link: CutLink
    site: EdgeSite
    simulator: Simulator
    watch: FleetWatch
    truths: dict[str, SiteTruth]
    workers: dict[str, list[Any]] = field(default_factory=dict)
    dispatch_id: str = "DC-chain"
    kills_ms: dict[str, list[int]] = field(default_factory=dict)
    """Site -> when its controller was killed."""
    _connection: psycopg.Connection[Any] | None = None

    # --- the platform's answers -------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database, over a connection that is made anew when the last one died with its server."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self.database.url, autocommit=True, connect_timeout=5)
            return self._connection.execute(query).fetchall()
        except psycopg.OperationalError:
            self.hang_up()
            return []

    def hang_up(self) -> None:
        """Drop the connection to the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def measured(self) -> dict[str, float]:
        """Return when each site's newest stored value was measured [s since 1970]."""
        return dict(
            self.rows(
                "SELECT s.site_id, extract(epoch FROM l.measured_at)::float FROM metering_livestate l "
                "JOIN registry_site s ON s.id = l.site_id"
            )
        )

    def stored(self) -> dict[tuple[str, str], int]:
        """Return how far each site's streams are stored without a hole."""
        found = self.rows(
            "SELECT s.site_id, m.stream, m.stored_through FROM metering_streammark m "
            "JOIN registry_site s ON s.id = m.site_id"
        )
        return {(site_id, stream): mark for site_id, stream, mark in found}

    def desired(self) -> dict[str, tuple[int, str, bool]]:
        """Return what each site is asked to hold: sequence, hash, and whether it says so."""
        found = self.rows(
            "SELECT s.site_id, a.sequence, a.content_hash, a.acknowledged_at IS NOT NULL "
            "AND a.reported_hash = a.content_hash FROM dispatch_siteassignment a "
            "JOIN registry_site s ON s.id = a.site_id WHERE NOT a.superseded"
        )
        assert len({row[0] for row in found}) == len(found), "a site is asked for two assignments at once"
        return {site_id: (sequence, content_hash, agrees) for site_id, sequence, content_hash, agrees in found}

    def held(self) -> dict[str, str]:
        """Return the hash of what each site holds, by its own files."""
        return {site_id: truth.held_hash() for site_id, truth in self.truths.items()}

    # --- conditions -------------------------------------------------------------------------------

    def is_fresh(self, since_s: float) -> bool:
        """Whether the database holds a value of every site that was measured after an instant."""
        measured = self.measured()
        return measured.keys() == self.truths.keys() and min(measured.values()) > since_s

    def is_firm(self, since_s: float) -> bool:
        """Whether all sites hold what they are asked to, say so, and cover what is owed."""
        desired = self.desired()
        summary = self.watch.newest
        return (
            desired.keys() == self.truths.keys()
            and all(agrees for _, _, agrees in desired.values())
            and self.held() == {site_id: content_hash for site_id, (_, content_hash, _) in desired.items()}
            and summary.get("at", 0.0) > since_s
            and summary.get("firm_kw", 0.0) >= summary.get("promised_kw", 0.0) > 0.0
        )

    def is_stored(self, numbers: Mapping[tuple[str, str], int]) -> bool:
        """Whether every stream is stored beyond some numbers."""
        stored = self.stored()
        return all(stored.get(key, -1) > number for key, number in numbers.items())

    def numbered(self) -> dict[tuple[str, str], int]:
        """Return the last number that each site gave to an interval of each asset."""
        return {key: number for truth in self.truths.values() for key, number in truth.last_numbers().items()}

    def assert_running(self) -> None:
        """Fail with the end of its log when a process ended by itself."""
        for name, processes in self.workers.items():
            for process in processes:
                assert process.poll() is None, f"{name} ended:\n{self.platform.log_of('run_' + name)[-3000:]}"
        for name, process in self.site.processes.items():
            assert process.poll() is None, f"{name} ended:\n{self.site.log_text(name)[-3000:]}"
        assert self.simulator.process.poll() is None, self.simulator.log_text[-3000:]

    # --- rounds -----------------------------------------------------------------------------------

    def play(self, victims: tuple[str, ...], chance: random.Random, *, within_s: float) -> Round:
        """Kill some processes now, start them again, and return when all is as before; fail when it is not in time."""
        before = self.desired()
        killed_s = time.time()
        for site_id in self._without_controller(victims):
            self.kills_ms.setdefault(site_id, []).append(round(killed_s * 1000))
        back = [self._kill(victim, chance) for victim in victims]
        threads = [threading.Timer(delay_s, start) for delay_s, start in back]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        back_s = time.time()
        deadline_s = killed_s + within_s
        what = f"after {', '.join(victims)}"

        def took(condition: Callable[[], bool], name: str) -> float:
            wait_until(condition, max(1.0, deadline_s - time.time()), f"{name} {what}")
            return time.time() - killed_s

        fresh_s = took(lambda: self.is_fresh(back_s), "fresh values of every site")
        numbers = self.numbered()
        firm_s = took(lambda: self.is_firm(back_s), "firm power of all that is owed")
        settled_s = took(lambda: self.is_stored(numbers), "intervals stored")
        self.assert_running()
        for site_id, (sequence, content_hash, _) in before.items():
            now = self.desired()[site_id]
            # What a site had acknowledged stands, or gave way to something newer; it is never given twice.
            assert now[:2] == (sequence, content_hash) or now[0] > sequence, (site_id, before[site_id], now)
        return Round(victims, back_s - killed_s, fresh_s, firm_s, settled_s)

    def _kill(self, victim: str, chance: random.Random) -> tuple[float, Callable[[], Any]]:
        """Kill one process; return after how long it starts again, and how."""
        if victim == "broker":
            self.broker.kill()
            return chance.uniform(0.0, SERVER_AWAY_S), self.broker.start
        if victim == "database":
            self.database.kill()
            return chance.uniform(0.0, SERVER_AWAY_S), self.database.start
        if victim == "link":
            self.link.cut()
            return chance.uniform(*LINK_AWAY_S), self.link.restore
        after_s = STARTED_AGAIN_S[victim]
        if victim in {"control", "uplink"}:
            self.site.kill(victim)
            return after_s, lambda: self.site.start(victim)
        if victim == "simulate":
            self.simulator.kill()
            return after_s, self.simulator.restart
        index = chance.randrange(len(self.workers[victim]))
        self.platform.kill(self.workers[victim][index])
        return after_s, lambda: self._start(victim, index)

    def restart_control(self) -> None:
        """Kill the site's controller and start it again, as its supervisor does."""
        self.kills_ms.setdefault(SITE_ID, []).append(round(time.time() * 1000))
        self.site.kill("control")
        time.sleep(STARTED_AGAIN_S["control"])
        self.site.start("control")

    def _without_controller(self, victims: tuple[str, ...]) -> list[str]:
        simulated = [site_id for site_id in self.truths if site_id != SITE_ID]
        return [SITE_ID] * ("control" in victims) + simulated * ("simulate" in victims)

    def _start(self, name: str, index: int) -> None:
        arguments = ["run_" + name]
        if name == "ingest":
            arguments += ["--partitions", HALVES[index], "--stand-by", HALVES[1 - index]]
        process = self.platform.start(*arguments)
        processes = self.workers.setdefault(name, [])
        processes[index : index + 1] = [process]

    # --- start ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start everything, arm the sites, and return when all of them hold and all is fresh."""
        self.platform.manage("load_programs")
        for name, count in (("ingest", 2), ("host", 1), ("dispatch", 2)):
            for index in range(count):
                self._start(name, index)
        # On a new checkout the kernels are compiled first.
        wait_until(lambda: self.is_fresh(0.0), 900.0, "live values of every site")
        self.platform.manage("shell", "-v", "0", "-c", _OWE.format(**self._terms()))
        self.watch.start()
        wait_until(lambda: self.is_firm(0.0), 60.0, "firm power of all that is owed")
        numbers = self.numbered()
        wait_until(lambda: self.is_stored(numbers), 60.0, "the first intervals")

    def _terms(self) -> dict[str, Any]:
        rows = self.rows("SELECT least(discharge_kw, usable_energy_kwh) FROM metering_livestate")
        able_kw = sum(min(kw, kw / (WINDOW_S / 3600.0)) for (kw,) in rows)
        return {"dispatch_id": self.dispatch_id, "power_kw": round(OWED_SHARE * able_kw, 3), "lasts_s": WINDOW_S}


_OWE = """
from datetime import timedelta
from django.utils import timezone
from markets.models import MarketEvent, Obligation, Program
now = timezone.now()
event = MarketEvent.objects.create(
    vtn_id="vtn", event_id="chain", modification_number=0, program=Program.objects.get(name="neso-dc-low"),
    market_context="", raw=b"", content_hash="chain", operator_status="far", received_at=now, decided_at=now,
    status="decided", opt_type="optIn", reason="accepted", requested_kw={power_kw}, available_kw={power_kw},
)
Obligation.objects.create(
    dispatch_id="{dispatch_id}", program=event.program, event=event, power_kw={power_kw},
    starts_at=now + timedelta(seconds=3), ends_at=now + timedelta(seconds=3 + {lasts_s}), created_at=now,
    changed_at=now,
)
"""


@contextlib.contextmanager
def a_chain(folder: Path, *, site_clock: SteppedClock | None = None, **settings: str) -> Iterator[Chain]:
    """Yield a running chain, all its sites armed; end what was started for it.

    ``site_clock``: by which the site with two processes runs; the simulated ones run by the machine's.
    """
    with (
        nats_broker() as broker,
        a_link(broker.port) as link,
        postgres_server(durable=True, connections=60) as database,
        a_platform(folder, broker.url, database.url, **settings) as platform,
    ):
        seed = bytes.fromhex(platform.signing_key)
        site_folder, fleet_folder = folder / "site", folder / "fleet"
        site_folder.mkdir()
        fleet_folder.mkdir()
        more = site_clock.environment if site_clock is not None else None
        through = dataclasses.replace(broker, port=link.port)
        site = EdgeSite(through, seed, site_folder, interval_s=INTERVAL_S, environment=more)
        fleet = synthetic_fleet(SIMULATED, 7)
        platform.set_up([_manifest_of(site), *map(manifest_of, fleet)])
        simulator = Simulator(broker, SIMULATED, seed, fleet_folder, INTERVAL_S, keep_stored_days=1)
        watch = FleetWatch(platform)
        lab = site.block_path.parent / f"{SITE_ID}.outbox.sqlite3"
        truths = {SITE_ID: SiteTruth(SITE_ID, lab, site.block_path, PUT_BY_MS)}
        # Their plants die with their process: what they did since the last boundary is in nobody's register.
        put_by_ms = INTERVAL_S * 1000 + PUT_BY_MS
        for one in fleet:
            truths[one.site_id] = SiteTruth(one.site_id, fleet_folder / "outbox.sqlite3", None, put_by_ms)
        chain = Chain(folder, broker, database, platform, link, site, simulator, watch, truths)
        try:
            for name in ("control", "uplink"):
                site.start(name)
            chain.begin()
            yield chain
        finally:
            chain.hang_up()
            watch.stop()
            site.stop()
            simulator.stop()


def _manifest_of(site: EdgeSite) -> dict[str, Any]:
    config = load_config(site.config, os.environ)
    return {
        "site_id": config.site_id, "name": config.name, "grid_zone": "GB", "time_zone": "Europe/London",
        "nominal_hz": config.nominal_hz, "nominal_voltage_v": round(config.nominal_voltage_v / 3**0.5, 1),
        "phases": config.phases, "loss_of_link": config.policy.choice.value,
        "assets": [
            {
                "name": asset.name, "kind": asset.kind, "rated_kw": asset.rated_kw,
                "export_limit_kw": asset.export_limit_kw, "capacity_kwh": asset.capacity_kwh,
                "reserve_kwh": asset.reserve_kwh,
            }
            for asset in config.assets
        ],
    }  # fmt: skip


def told(rounds: list[Round]) -> str:
    """Return the rounds' times by what was killed, for a report."""
    by_victim: dict[str, list[Round]] = {}
    for one in rounds:
        by_victim.setdefault(" + ".join(sorted(one.victims)) if len(one.victims) == 1 else "two at once", []).append(
            one
        )
    lines = []
    for victim, found in sorted(by_victim.items()):
        figures = {}
        for name in ("away_s", "fresh_s", "firm_s", "settled_s"):
            values = sorted(getattr(one, name) for one in found)
            figures[name] = [round(values[len(values) // 2], 1), round(values[-1], 1)]
        lines.append(json.dumps({"killed": victim, "rounds": len(found), **figures}))
    return "\n".join(lines)
