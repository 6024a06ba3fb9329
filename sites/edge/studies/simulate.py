"""vpp-edge simulate: many sites' controllers and plants in one process, at the pace of the clock.

The uplinks live on the main thread's event loop; one worker thread runs the compiled closed loop,
which releases the interpreter's lock. Events go to standard output, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from sites.edge.control.exchange import InProcessExchange
from sites.edge.control.loop import ControlLoop, LoopSettings
from sites.edge.drivers.simulated import SimulatedSites
from sites.edge.link.event_folder import EventFolder
from sites.edge.link.identity import IdentityFolder
from sites.edge.link.process import run_uplink
from sites.edge.link.uplink import Uplink
from sites.edge.link.uplink_settings import UplinkSettings
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.grid_play import GridPlay, Play
from sites.edge.studies.manifest import profile_of, recorded_site_of
from sites.edge.studies.script import MoveFeeder, PlayTrace, ScriptError, Stop, parse_line
from sites.mqtt.address import BrokerAddress

TICK_S: Final = 0.01
BEHIND_S: Final = 0.5
"""A simulation this far behind the clock says so: its figures are no longer in real time."""
TRACE: Final = "gb-20190809"
JUMP_AT_S: Final = 3.5
"""Instant of the trace at which the phase jumps, too: as the frequency begins to fall."""
IDENTITIES_WITHIN_S: Final = 300.0
"""A fleet that is being enrolled is waited for so long."""
LARGEST_JUMP_DEG: Final = 8.0
"""On 9 August 2019 vector-shift relays set at 6 to 12 degrees tripped some 150 MW; each site draws its own jump."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Simulation:
    """What to simulate and whom to tell."""

    sites: int
    seed: int
    broker: BrokerAddress
    host_id: str
    platform_keys: tuple[bytes, ...]
    runtime_dir: Path
    interval_s: int
    identities: Path | None = None
    """A folder with each site's own identity; None: all share what the broker's address says."""
    keep_stored_s: float = 0.0
    """How long intervals stay at their sites after the platform has stored them."""


def run_simulation(simulation: Simulation) -> int:
    """Run until ``stop`` on standard input, SIGTERM or SIGINT; return the process's exit status."""
    simulation.runtime_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    fleet = synthetic_fleet(simulation.sites, simulation.seed)
    return asyncio.run(_Run(simulation, fleet).run())


class _Run:
    """One run: the worker thread, the uplink and the script beside each other."""

    def __init__(self, simulation: Simulation, fleet: Sequence[SiteParameters]) -> None:
        self._simulation = simulation
        self._index = {site.site_id: index for index, site in enumerate(fleet)}
        self._grid = GridPlay(fleet[0].nominal_hz)
        self._fleet = fleet
        self._exchange = InProcessExchange()
        self._stop_worker = threading.Event()
        self._is_ready = False
        self._is_behind = False
        self._failure: BaseException | None = None

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        # Compiled and waited for first, so that neither counts as lateness.
        built_in_s = await asyncio.to_thread(self._rehearse)
        identities = await self._identities()
        # Sample 0 lies where the building ends: what it takes is no lateness either.
        self._driver = await asyncio.to_thread(self._new_driver, after_s=built_in_s)
        self._control = ControlLoop(self._driver, self._exchange, LoopSettings(TICK_S, self._simulation.interval_s))
        uplink = Uplink(
            [profile_of(site) for site in self._fleet],
            self._exchange,
            UplinkSettings(
                broker=self._simulation.broker,
                host_id=self._simulation.host_id,
                platform_keys=self._simulation.platform_keys,
                interval_s=self._simulation.interval_s,
                outbox_path=self._simulation.runtime_dir / "outbox.sqlite3",
                keep_stored_s=self._simulation.keep_stored_s,
                backoff_s=(0.2, 5.0),
            ),
            events=EventFolder(
                self._simulation.runtime_dir / "events", [recorded_site_of(site) for site in self._fleet]
            ),
            identities=identities,
        )
        self._uplink = uplink
        worker = threading.Thread(target=self._work, name="plant", daemon=True)
        worker.start()
        threading.Thread(target=self._read_script, name="script", daemon=True).start()
        try:
            await run_uplink(uplink, self._stop, self._report)
        finally:
            self._stop_worker.set()
            worker.join(timeout=5.0)
        if self._failure is not None:
            raise self._failure
        _say("stopped", samples_late=self._control.samples_late)
        return 0

    async def _identities(self) -> list[IdentityFolder]:
        """Return each site's identity, once all of them are there.

        Raises IdentityError naming the first that did not come.
        """
        folder = self._simulation.identities
        if folder is None or not self._simulation.broker.asks_certificate:
            return []
        identities = [IdentityFolder(folder / site.site_id, site.site_id) for site in self._fleet]
        deadline_s = time.monotonic() + IDENTITIES_WITHIN_S
        # The last file of a folder to be written, and each is complete from its first moment.
        while absent := [identity for identity in identities if not identity.is_enrolled]:
            if self._stop.is_set() or time.monotonic() > deadline_s:
                absent[0].certificate()
            await asyncio.sleep(0.1)
        return identities

    def _rehearse(self) -> float:
        """Compile, or wait for what is compiled, with a fleet that is thrown away; return how long it was built [s]."""
        began_s = time.monotonic()
        rehearsal = self._new_driver()
        built_in_s = time.monotonic() - began_s
        rehearsal.advance(1)
        return built_in_s

    def _new_driver(self, *, after_s: float = 0.0) -> SimulatedSites:
        starts_at_us = time.time_ns() // 1000 + round(after_s * 1e6)
        return SimulatedSites(self._fleet, seed=self._simulation.seed, starts_at_us=starts_at_us, grid=self._grid)

    def _work(self) -> None:
        try:
            self._control.run(self._stop_worker)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._failure = error
            self._loop.call_soon_threadsafe(self._stop.set)

    def _report(self) -> None:
        if not self._is_ready and self._uplink.born_count == len(self._fleet):
            self._is_ready = True
            kinds = {site.site_id: site.switch_kind for site in self._fleet}
            _say("ready", sites=len(self._fleet), switch_kinds=kinds)
        is_behind = self._control.lag_s > BEHIND_S
        if is_behind or self._is_behind:
            _say("behind", lag_s=round(self._control.lag_s, 3), samples_late=self._control.samples_late)
        self._is_behind = is_behind

    def _read_script(self) -> None:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                command = parse_line(line, site_ids=self._index, traces=(TRACE,))
            except ScriptError as error:
                _say("refused", error=error.name, detail=str(error))
                continue
            match command:
                case PlayTrace():
                    self._play(command)
                case MoveFeeder(site_id=site_id, opens=opens, at_s=at_s):
                    self._driver.move_feeder(self._index[site_id], opens=opens, at_us=round(at_s * 1e6))
                    _say("feeder", site_id=site_id, opens=opens, at=at_s)
                case Stop():
                    self._loop.call_soon_threadsafe(self._stop.set)
                    return

    def _play(self, command: PlayTrace) -> None:
        trace = load_gb_trace()
        low_s, high_s = float(trace.t_s[0]), float(trace.t_s[-1])
        if not (low_s <= command.from_s and command.to_s <= high_s):
            _say("refused", error=ScriptError.name, detail=f"accepted: from {low_s:g} to {high_s:g} s")
            return
        if command.from_s <= JUMP_AT_S < command.to_s:
            jumps_at_us = round((command.at_s + JUMP_AT_S - command.from_s) * 1e6)
            random = np.random.default_rng([self._simulation.seed, 0])
            for index, angle_deg in enumerate(random.uniform(-LARGEST_JUMP_DEG, LARGEST_JUMP_DEG, len(self._fleet))):
                self._driver.jump_phase(index, angle_rad=math.radians(angle_deg), at_us=jumps_at_us)
        self._grid.start(Play(trace.t_s, trace.f_hz, command.from_s, command.to_s, round(command.at_s * 1e6)))
        _say("play", trace=command.trace, at=command.at_s, ends=command.at_s + command.to_s - command.from_s)


def _say(event: str, **values: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()
