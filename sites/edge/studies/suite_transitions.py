"""The suite's longer stories: planned and unplanned island, reconnection, black start, and a soak of a quiet fleet."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.edge.control.islanding import MODE_NAMES
from sites.edge.plant.fleet import NOMINAL_HZ, synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.suite_cases import ONE_PHASE, RATE_HZ, THREE_PHASES, at_frequency
from sites.edge.studies.suite_figures import RunFigures, run_figures
from sites.edge.studies.suite_run import collect

PLANNED: Final = "T1 planned island"
UNPLANNED: Final = "T2 unplanned island"
RECONNECTION: Final = "T3 reconnection"
BLACK_START: Final = "T4 black start"
SOAK: Final = "soak, quiet noisy fleet"
STEADY_S: Final = 1.5
RECONNECT_S: Final = 14.0
START_S: Final = 6.0
NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class StoryOutcome:
    """One site's run of one story."""

    class_name: str
    run: RunFigures
    failure: str = ""
    """What it should have come to and did not; empty when it did."""


def variants(nominal_hz: float) -> list[SiteParameters]:
    """Sites that differ in what they import or export, in size and phases; they return after one healthy second."""
    three, one = at_frequency(THREE_PHASES, nominal_hz), at_frequency(ONE_PHASE, nominal_hz)
    three, one = (dataclasses.replace(s, switch_kind="sic", enter_service_delay_s=1.0) for s in (three, one))
    return [
        three,
        dataclasses.replace(three, load_kw=90.0, pv_now_ratio=0.0),
        dataclasses.replace(three, load_kw=20.0, pv_kw=80.0, pv_now_ratio=0.9),
        dataclasses.replace(three, pcs_kva=800.0, battery_kwh=800.0, load_kw=300.0, import_limit_kw=1000.0),
        one,
        dataclasses.replace(one, load_kw=6.0, pv_now_ratio=0.0),
    ]


def planned_and_back(nominal_hz: float) -> list[StoryOutcome]:
    """Planned island on request, steady island, return on request."""
    return _island_and_back(PLANNED, nominal_hz, "request_island", "request_reconnect", at_sample=False)


def unplanned_and_back(nominal_hz: float) -> list[StoryOutcome]:
    """The feeder opens; steady island; the feeder comes back and the sites follow by themselves."""
    return _island_and_back(UNPLANNED, nominal_hz, "open_feeder", "close_feeder", at_sample=True)


def _island_and_back(name: str, nominal_hz: float, leave: str, come: str, *, at_sample: bool) -> list[StoryOutcome]:
    sites = variants(nominal_hz)
    loop = ClosedLoop(sites, seed=1)
    loop.advance(np.full(RATE_HZ, nominal_hz))
    outcomes = []
    for class_name, method, seconds, wanted in (
        (name, leave, STEADY_S, "islanded"),
        (RECONNECTION, come, RECONNECT_S, "grid_tied"),
    ):
        for index in range(len(sites)):
            order = getattr(loop, method)
            order(index, loop.sample) if at_sample else order(index)
        # A planned island first brings the exchange to about zero.
        seconds += 8.0 if class_name == PLANNED else 0.0
        outcomes += _watched(loop, class_name, nominal_hz, seconds, wanted)
    return outcomes


def black_start(nominal_hz: float) -> list[StoryOutcome]:
    """A dead bus behind an open feeder: the converter raises the voltage and carries the load."""
    sites = [dataclasses.replace(site, starts_dead=True) for site in variants(nominal_hz)]
    loop = ClosedLoop(sites, seed=1)
    return _watched(loop, BLACK_START, nominal_hz, START_S, "islanded")


def _watched(loop: ClosedLoop, class_name: str, nominal_hz: float, seconds: float, wanted: str) -> list[StoryOutcome]:
    kept = collect(loop, np.full(round(seconds * RATE_HZ), nominal_hz))
    measured = loop.measured()
    outcomes = []
    for index, samples in enumerate(kept):
        opens = class_name == UNPLANNED
        run = run_figures(samples, RATE_HZ, nominal_hz, event=0, feeder_opens=opens)
        if not opens:
            # Nothing was lost at an instant: the times mean nothing here. A dead bus was dark before, too.
            run = dataclasses.replace(run, decided=False, decision_ms=NAN, transfer_ms=NAN)
        if class_name == BLACK_START:
            run = dataclasses.replace(run, load_outside_itic=False, min_pu_after_2ms=NAN, lost_pu_s=0.0)
        mode = MODE_NAMES[int(measured["mode"][index])]
        level = float(measured["voltage_pu"][index])
        failure = ""
        if mode != wanted:
            failure = f"{loop.sites[index].site_id} ends {mode}, accepted: {wanted}"
        elif not 0.9 <= level <= 1.1:
            failure = f"{loop.sites[index].site_id} ends at {level:.2f} pu, accepted: 0.9 to 1.1"
        outcomes.append(StoryOutcome(class_name, run, failure))
    return outcomes


def soak(sites: int, seconds: float, seed: int) -> list[StoryOutcome]:
    """A fleet on a living grid: wandering frequency, small jumps, switched capacitors, flicker, shallow dips."""
    fleet = synthetic_fleet(sites, seed)
    random = np.random.default_rng(seed)
    loop = ClosedLoop(fleet, seed=seed)
    ends = round(seconds * RATE_HZ)
    for index in range(sites):
        loop.harmonics(index, 0, h5=random.uniform(0.0, 0.05), h7=random.uniform(0.0, 0.03))
        begin, until = sorted(int(at) for at in random.integers(RATE_HZ, ends, 2))
        loop.flicker(index, begin, depth_pu=random.uniform(0.0, 0.05), until_sample=until + 1)
        for at in random.integers(RATE_HZ, ends, max(1, round(seconds / 5.0))):
            what = random.integers(4)
            if what == 0:
                loop.jump_phase(index, math.radians(random.uniform(-5.0, 5.0)), int(at))
            elif what == 1:
                loop.switch_capacitor(index, int(at), ring_hz=random.uniform(300.0, 900.0), height_pu=0.3)
            elif what == 2:
                level = random.uniform(0.9, 1.06)
                loop.sag(index, int(at), residual_pu=(level,) * 3, until_sample=int(at) + 2000)
            else:
                loop.impulse(index, int(at), height_pu=random.uniform(-0.8, 0.8))
    decided: set[int] = set()
    hertz = NOMINAL_HZ
    for _ in range(round(seconds)):
        # A random walk that is drawn back: what a quiet grid does from second to second.
        target = hertz + random.normal(0.0, 0.02) + 0.05 * (NOMINAL_HZ - hertz)
        loop.advance(np.linspace(hertz, target, RATE_HZ))
        hertz = target
        decided |= {waveform.index for waveform in loop.drain_waveforms()}
        loop.drain_records()
    quiet = RunFigures(False, False, NAN, NAN, False, NAN, 0.0, False)
    return [StoryOutcome(SOAK, dataclasses.replace(quiet, decided=index in decided)) for index in range(sites)]


Story = tuple[str, Callable[..., list[StoryOutcome]], tuple[float, ...]]


def stories(*, quick: bool) -> list[Story]:
    """Return (classes told, function, arguments) of each story."""
    hertz = (50.0,) if quick else (50.0, 60.0)
    told: list[Story] = []
    for nominal_hz in hertz:
        told.append((f"{PLANNED}; {RECONNECTION}", planned_and_back, (nominal_hz,)))
        told.append((f"{UNPLANNED}; {RECONNECTION}", unplanned_and_back, (nominal_hz,)))
        told.append((BLACK_START, black_start, (nominal_hz,)))
    size = (20, 10.0) if quick else (50, 60.0)
    told += [(SOAK, soak, (*size, seed)) for seed in ((1,) if quick else (1, 2))]
    return told


def story_classes(told: Sequence[Story]) -> list[str]:
    """Return the names of the classes that stories tell, in order."""
    return list(dict.fromkeys(name for names, _, _ in told for name in names.split("; ")))


def tell(story: Story) -> list[StoryOutcome]:
    """Run one story."""
    _, function, arguments = story
    return function(*arguments)


def by_class(outcomes: Sequence[StoryOutcome]) -> Mapping[str, tuple[list[RunFigures], list[str]]]:
    """Return {class: (runs, failures)}."""
    found: dict[str, tuple[list[RunFigures], list[str]]] = {}
    for outcome in outcomes:
        runs, failures = found.setdefault(outcome.class_name, ([], []))
        runs.append(outcome.run)
        if outcome.failure:
            failures.append(outcome.failure)
    return found
