"""Runs the suite's cases in closed loop: many sites of one grid frequency in one compiled loop, two processes."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from sites.core.curves import curve_named
from sites.edge.control.recorder import WAVEFORM_COLUMNS
from sites.edge.studies.baselines import BASELINES, NEVER
from sites.edge.studies.closed_loop import CHUNK, ClosedLoop, discharge_headroom_kw
from sites.edge.studies.suite_cases import LONG_BEFORE_S, RATE_HZ, Case
from sites.edge.studies.suite_figures import COLUMNS, RunFigures, run_figures

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

T = TypeVar("T")
R = TypeVar("R")

SITES_PER_LOOP: Final = 192
REST_S: Final = 0.6
"""Time before an event for a site at rest: its estimates have settled."""
DELIVERY_S: Final = 2.2
DELIVERY_HZ: Final = -0.6
PICKED: Final = tuple(WAVEFORM_COLUMNS.index(name) for name in COLUMNS)
BEFORE: Final = round(LONG_BEFORE_S * RATE_HZ)
RAMP_S: Final = 0.4
WHOLE_CYCLES: Final = {50.0: 200, 60.0: 500}
"""Samples that hold whole cycles of a grid."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case came to."""

    class_name: str
    run: RunFigures
    baseline_ms: tuple[float, ...] = ()
    """Decisions of the comparison detectors [ms], NaN for none, in the order of BASELINES."""


def run_cases(cases: Sequence[Case], *, workers: int | None = None) -> list[Outcome]:
    """Run all cases and return their outcomes, in no particular order."""
    return list(itertools.chain.from_iterable(spread(run_group, grouped(cases), workers=workers)))


def spread(work: Callable[[T], R], items: Sequence[T], *, workers: int | None = None) -> list[R]:
    """Return the work's results over items, run in as many processes as there are cores."""
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1:
        return [work(item) for item in items]
    # The compiled kernels must not be forked while a thread of the parent compiles.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(work, items))


def grouped(cases: Iterable[Case]) -> list[list[Case]]:
    """Return the cases in groups that share a grid: the same frequency over time, the same length; the longest first.

    Only the three comparisons' classes differ in what is computed afterwards, so they may share a group.
    """
    by_grid: dict[tuple[float, bool, float, float], list[Case]] = {}
    for case in cases:
        key = (case.site.nominal_hz, case.delivers, case.watch_s, case.ramp_hz_per_s)
        by_grid.setdefault(key, []).append(case)
    groups = []
    for (_, _, watch_s, _), members in by_grid.items():
        # Long runs in smaller groups: what is kept of them lies in memory.
        size = max(8, min(SITES_PER_LOOP, round(SITES_PER_LOOP / max(1.0, watch_s))))
        groups += [members[at : at + size] for at in range(0, len(members), size)]
    return sorted(groups, key=lambda group: -len(group) * (group[0].watch_s + DELIVERY_S * group[0].delivers))


def run_group(cases: Sequence[Case]) -> list[Outcome]:
    """Run cases that share a grid side by side."""
    kept, events = recorded(cases)
    return [
        Outcome(
            case.class_name,
            run_figures(samples, RATE_HZ, case.site.nominal_hz, event=event, feeder_opens=case.feeder_opens),
        )
        for case, samples, event in zip(cases, kept, events, strict=True)
    ]


def recorded(cases: Sequence[Case], *, stuck: bool = False) -> tuple[Float32Array, list[int]]:
    """Return (samples [cases, n, COLUMNS], the sample of each case's event in them).

    ``stuck``: no pole of any static switch opens, so that what other detectors see is not changed by our decision.
    """
    first = cases[0]
    loop = ClosedLoop([case.site for case in cases], seed=1, sample_rate_hz=RATE_HZ)
    nominal_hz = first.site.nominal_hz
    event = round((DELIVERY_S if first.delivers else REST_S) * RATE_HZ) // CHUNK * CHUNK
    starts = [event + round(case.point * RATE_HZ / nominal_hz) for case in cases]
    for index, (case, at) in enumerate(zip(cases, starts, strict=True)):
        if stuck:
            loop.stick_pole(index, 0, (0, 1, 2))
        if case.delivers:
            power_kw = discharge_headroom_kw(case.site)
            loop.arm(index, curve_named("neso-dc-low"), power_kw, 0.0, 0, 10**9)
        _schedule(loop, index, case, at)
    cycle = math.ceil(RATE_HZ / nominal_hz)
    ends = event + math.ceil((cycle + first.watch_s * RATE_HZ) / CHUNK) * CHUNK
    grid_hz = grid_frequency(first, event, ends)
    loop.advance(grid_hz[: event - CHUNK])
    loop.drain_waveforms()
    loop.drain_records()
    kept = collect(loop, grid_hz[event - CHUNK :])
    return kept[:, CHUNK - BEFORE :], [at - event + BEFORE for at in starts]


def grid_frequency(case: Case, event: int, ends: int) -> FloatArray:
    """Return the grid's frequency at each sample [Hz]."""
    nominal_hz = case.site.nominal_hz
    t_s = (np.arange(ends) - event) / RATE_HZ
    level = np.full(ends, nominal_hz)
    if case.delivers:
        # From 0.3 s on down within 0.8 s.
        level += DELIVERY_HZ * np.clip((np.arange(ends) / RATE_HZ - 0.3) / 0.8, 0.0, 1.0)
    return level + case.ramp_hz_per_s * np.clip(np.minimum(t_s, 2.0 * RAMP_S - t_s), 0.0, RAMP_S)


def _schedule(loop: ClosedLoop, index: int, case: Case, at: int) -> None:
    for happening in case.happenings:
        begins = 0 if math.isinf(happening.after_s) else at + round(happening.after_s * RATE_HZ)
        arguments = dict(happening.arguments)
        if happening.lasts_s is not None:
            arguments[happening.ends_as] = begins + round(happening.lasts_s * RATE_HZ)
        getattr(loop, happening.method)(index, at_sample=begins, **arguments)


def collect(loop: ClosedLoop, grid_hz: FloatArray) -> Float32Array:
    """Advance and keep the picked columns of every sample, from the rings and from the recordings fetched off them."""
    first = loop.sample
    kept = np.full((len(loop.sites), len(grid_hz), len(COLUMNS)), np.nan, np.float32)
    for at in range(0, len(grid_hz), CHUNK):
        loop.advance(grid_hz[at : at + CHUNK])
        for index in range(len(loop.sites)):
            samples = loop.newest_samples(index, CHUNK)
            ends = loop.sample - first
            kept[index, ends - len(samples) : ends] = samples[:, PICKED]
        for waveform in loop.drain_waveforms():
            begins = waveform.start_sample - first
            samples = waveform.samples[max(0, -begins) :, PICKED]
            place = kept[waveform.index, max(0, begins) :][: len(samples)]
            place[:] = samples[: len(place)]
    loop.drain_records()
    for index, site in enumerate(loop.sites):
        fill_gaps(kept[index], WHOLE_CYCLES[site.nominal_hz])
    return kept


def fill_gaps(samples: Float32Array, period: int) -> None:
    """Repeat the last whole cycles where nothing was kept: between a recording's end and its fetching, 0.1 s at most.

    ``period`` is a number of samples that holds whole cycles; gaps stand as NaN in the first column.
    """
    for at in map(int, np.flatnonzero(np.isnan(samples[:, 0]))):
        samples[at] = samples[max(0, at - period)]


def compare_baselines(cases: Sequence[Case], *, workers: int | None = None) -> dict[str, dict[str, list[float]]]:
    """Return {detector: {class: decisions in ms, NaN for none}} on runs in which no switch opens."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ("this_controller", *BASELINES)}
    parts = spread(_baseline_group, grouped(cases), workers=workers)
    for part in parts:
        for name, class_name, decision_ms in part:
            found[name].setdefault(class_name, []).append(decision_ms)
    return found


def _baseline_group(cases: Sequence[Case]) -> list[tuple[str, str, float]]:
    kept, events = recorded(cases, stuck=True)
    rows: list[tuple[str, str, float]] = []
    starts: list[int] = []
    known: list[int] = []
    for case, samples, event in zip(cases, kept, events, strict=True):
        opened = np.flatnonzero(samples[:, 3] > 0.5)
        starts.append(int(opened[0]) if case.feeder_opens and len(opened) else event)
        decided = np.flatnonzero(samples[:, 4] > 0.5)
        # A switch that does not obey locks the site out after 100 ms: what comes then is not the grid's doing.
        known.append(int(decided[0]) + round(0.09 * RATE_HZ) if len(decided) else len(samples))
        ours = (int(decided[0]) - starts[-1]) / RATE_HZ * 1000.0 if len(decided) else math.nan
        rows.append(("this_controller", case.class_name, ours))
    for phases in (1, 3):
        members = [i for i, case in enumerate(cases) if case.site.phases == phases]
        if not members:
            continue
        waves = np.transpose(kept[members, :, :phases], (0, 2, 1)).astype(np.float64)
        for name, detect in BASELINES.items():
            trips = detect(waves, float(RATE_HZ), cases[0].site.nominal_hz)
            for member, trip in zip(members, trips, strict=True):
                if trip > known[member]:
                    trip = NEVER
                decision_ms = (int(trip) - starts[member]) / RATE_HZ * 1000.0 if trip >= 0 else math.nan
                rows.append((name, cases[member].class_name, decision_ms))
    return rows
