"""Delivered over contracted in the worst 10 s while sites fail: real controllers on simulated plants, real recordings.

Sites of a synthetic fleet share a contract as arming does (``sites.core.allocation``, weight min(headroom, usable
energy / duration), asked for over 1 - dropout margin and never more than the product bears). While the recording asks
for power, 3 % of them lose their feeder and give nothing more. Nothing is shared anew meanwhile: while the frequency is
outside its band the dispatcher's shares are frozen. Judged by the settlement's own code on the sites' 100 Hz records.
"""

from __future__ import annotations

import csv
import gzip
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from benchmarks.fleet_rows import Benchmark, Options, Row

from markets.core.delivery import FleetSum, SiteRecord, site_delivery, worst_window
from sites.core.allocation import allocate
from sites.core.curves import curve_named, required_share
from sites.core.envelope import OperatingEnvelope
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import FrequencyTrace, load_gb_trace
from sites.edge.studies.closed_loop import ClosedLoop
from vpp.dispatch.standing import over_delivery_of

SITES = 100
FAILING_SHARE = 0.03
DROPOUT_MARGIN = 0.02
"""As ``VPP_DROPOUT_MARGIN``: no more than so much less than all is sold."""
SOLD_SHARE = 0.9
"""Contract over what can be sold; the fuller the fleet, the less can others make up."""
LEAST_RATIO = 0.98
RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "frequency"
RATE_HZ = 10_000
SETTLE_S = 2
LASTS_S = 24
MOST_RUNS = 40
ASKS_SHARE = 0.5
"""A site fails at an instant at which so much of what the recording asks for at most is due."""


@dataclass(frozen=True, slots=True)
class Play:
    """A part of a recording that a product answers."""

    name: str
    product: str
    trace: FrequencyTrace
    from_s: float
    lasts_s: int


def plays() -> list[Play]:
    """Return what is played: Great Britain on 9 August 2019, and Toledo on 28 April 2025 where it is at hand."""
    gb = load_gb_trace()
    found = [Play(f"GB 9 August 2019, {name}", name, gb, 0.0, LASTS_S) for name in ("neso-dc-low", "neso-dm-low")]
    path = RECORDINGS / "iberia_20250428_toledo_2s.csv.gz"
    if path.is_file():
        toledo = _toledo(path)
        deepest = _deepest_s(toledo) - float(toledo.t_s[0])
        from_s = float(toledo.t_s[0]) + max(0.0, deepest - LASTS_S / 2)
        found.append(Play("Toledo 28 April 2025, neso-dm-low", "neso-dm-low", toledo, from_s, LASTS_S))
    return found


def _deepest_s(trace: FrequencyTrace) -> float:
    """Return the middle of the 10 s with the lowest mean frequency."""
    means = np.convolve(trace.f_hz, np.ones(5) / 5.0, mode="valid")
    return float(trace.t_s[int(np.argmin(means)) + 2])


def _toledo(path: Path) -> FrequencyTrace:
    """Return the recording up to the collapse."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        read = [row["AnalyzerL1Frequency"] for row in csv.DictReader(file)]
    known = np.array([n for n, text in enumerate(read) if text])
    f_hz = np.array([float(read[n]) for n in known])
    # 49.5 Hz: below it the sites' own protection is another subject.
    ends = int(np.argmax((f_hz < 49.5) | (f_hz > 50.5))) or len(f_hz)
    return FrequencyTrace(2.0 * known[:ends], f_hz[:ends], "Toledo")


def ratio(play: Play, seed: int) -> float | None:
    """Return delivered over due in the worst 10 s of one run; None where the recording asks for nothing."""
    curve, random = curve_named(play.product), np.random.default_rng([seed, 17])
    sites = synthetic_fleet(SITES, seed)
    loop = ClosedLoop(sites, seed=seed)
    grid_hz = play.trace.at(play.from_s + np.arange(play.lasts_s * RATE_HZ) / RATE_HZ)
    loop.advance(np.full(SETTLE_S * RATE_HZ, grid_hz[0]))
    measured = loop.measured()
    envelopes = [_envelope(row, site.site_id) for row, site in zip(measured, sites, strict=True)]
    sustainable_kw = np.array([each.sustainable_kw(curve.sustain_s, curve.sign) for each in envelopes])
    contract_kw = float(sustainable_kw.sum()) * (1.0 - DROPOUT_MARGIN) * SOLD_SHARE
    borne = contract_kw * (1.0 + over_delivery_of(play.product).share)
    shares_kw = allocate(min(contract_kw / (1.0 - DROPOUT_MARGIN), borne), sustainable_kw, minimum_kw=0.001).power_kw
    for index, kw in enumerate(shares_kw):
        if kw > 0.0:
            loop.arm(index, curve, float(kw), 0.0, loop.sample, 2**62)
    due = np.abs(required_share(curve, grid_hz, curve.nominal_hz))
    asked = np.flatnonzero(due >= ASKS_SHARE * due.max())
    # In its first half: what fails at the very end is missed for less than the worst 10 s.
    asked = asked[: max(1, len(asked) // 2)]
    failing = random.choice(np.flatnonzero(shares_kw > 0.0), math.ceil(FAILING_SHARE * SITES), replace=False)
    for index in failing:
        loop.open_feeder(int(index), loop.sample + int(random.choice(asked)))
    loop.drain_records()
    chunks = []
    for first in range(0, len(grid_hz), RATE_HZ * 10):
        loop.advance(grid_hz[first : first + RATE_HZ * 10])
        chunks.append(loop.drain_records()[1].copy())
    rows = np.concatenate(chunks).astype(np.float64)
    total = FleetSum(len(rows))
    for index, kw in enumerate(shares_kw):
        # frequency, battery, switch and armed power of the 100 Hz record
        record = SiteRecord(*(rows[:, index, column] for column in (0, 1, 4, 5)))
        delivery = site_delivery(
            record, curve=curve, nominal_hz=curve.nominal_hz, rate_hz=100.0, contracted_kw=float(kw), baseline_kw=0.0
        )
        total.add(record, delivery)
    fleet = total.delivery(curve=curve, nominal_hz=curve.nominal_hz, rate_hz=100.0, contracted_kw=contract_kw)
    worst = worst_window(fleet, within_s=curve.full_within_s)
    return None if worst is None else worst.ratio


def _envelope(row: np.void, site_id: str) -> OperatingEnvelope:
    return OperatingEnvelope(
        site_id, datetime.now(UTC), float(row["discharge_kw"]), float(row["charge_kw"]),
        float(row["usable_energy_kwh"]), float(row["absorbable_energy_kwh"]),
    )  # fmt: skip


def run_delivery(options: Options) -> list[Row]:
    """Play each recording with ever other fleets and failures until the time is over; three runs at the least."""
    until_s = time.monotonic() + min(options.minutes, 10.0) * 60.0
    chosen = plays()
    ratios: dict[str, list[float]] = {play.name: [] for play in chosen}
    for seed in range(1, MOST_RUNS + 1):
        for play in chosen:
            found = ratio(play, seed)
            if found is not None:
                ratios[play.name].append(found)
        if time.monotonic() > until_s:
            break
    every = [value for values in ratios.values() for value in values]
    return [
        Row("delivery_worst_10s_p5", f"worst 10 s, {SITES} sites, 3 % failing, recordings: delivered / contracted, p5",
            float(np.percentile(every, 5)), LEAST_RATIO),
        Row("delivery_worst_10s_p50", "the same, p50", float(np.median(every))),
        Row("delivery_worst_10s_least", "the same, least", min(every)),
        Row("delivery_runs", "runs (recordings x fleets)", float(len(every))),
        *(Row(f"delivery_{number}_p5", f"{name}: p5 of {len(values)}", float(np.percentile(values, 5)))
          for number, (name, values) in enumerate(ratios.items(), 1) if values),
    ]  # fmt: skip


BENCHMARKS = (
    Benchmark("delivery", "delivered over contracted while 3 % of the sites fail, recorded frequency", run_delivery),
)
