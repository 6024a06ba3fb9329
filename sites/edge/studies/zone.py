"""The non-detection zone: islands that a site's own power would keep alive, and when it ceases to feed each.

Every run opens the feeder's breaker under a site whose export meets a tuned load, and lasts until the static
switch is open. The load of quality 1 beside the breaker takes what the site gives, within the mismatch under test.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.core.curves import curve_named
from sites.edge.plant.load_values import with_island_load
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

RATE_HZ: Final = 10_000
SETTLE_S: Final = 6.0
"""A converter ramps to its baseline in up to 5 s."""
WATCH_S: Final = 2.6
STEP: Final = 10
"""Samples between two looks at the poles: 1 ms."""
POINT_CYCLES: Final = 12.0
"""Openings are spread over these cycles: a whole pair of the probe's slots, at every point of the wave."""
TUNING_ROUNDS: Final = 2
TUNING_CYCLES: Final = 10
LIMIT_S: Final = 2.0
NEVER_S: Final = float("inf")

THREE_PHASE: Final = SiteParameters(
    site_id="zone", name="Zone", kind="cabinet", nominal_hz=50.0, nominal_voltage_v=400.0, phases=3, pcs_kva=100.0,
    battery_kwh=100.0, soc_ratio=0.7, reserve_kwh=10.0, pv_kw=0.0, pv_now_ratio=1.0, load_kw=30.0, genset_kw=0.0,
    import_limit_kw=200.0, export_limit_kw=200.0, switch_kind="forced",
)  # fmt: skip
ONE_PHASE: Final = dataclasses.replace(
    THREE_PHASE, kind="telecom", phases=1, nominal_voltage_v=230.0, pcs_kva=5.0, battery_kwh=5.0, reserve_kwh=0.5,
    load_kw=1.5, import_limit_kw=10.0, export_limit_kw=10.0, switch_kind="sic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ZoneCase:
    """One island to be left."""

    class_name: str
    site: SiteParameters
    """Before the load is tuned to it."""
    battery_pu: float
    """What the converter gives besides the sun, on its rating; negative: charges."""
    p_mismatch: float
    """How much more active power the load takes than the site exports, as a share of the export."""
    q_mismatch: float
    armed_pu: float = 0.0
    """Contracted frequency response, on the rating: its droop holds an island's frequency."""
    point: float = 0.0
    """Cycles of the wave after which the breaker's order comes."""


@dataclass(frozen=True, slots=True)
class ZoneRun:
    """What a case came to."""

    case: ZoneCase
    ceased_s: float
    """From the last pole of the breaker to the last pole of the static switch; inf when that never came."""
    cause: str
    farthest_hz: float
    """Largest deviation of the frequency that the controller saw before it left."""
    farthest_pu: float
    """Largest deviation of the voltage from nominal."""


def mismatch_cases(shares: Sequence[float] = (-0.05, -0.025, 0.0, 0.025, 0.05)) -> list[ZoneCase]:
    """Return R, L, C of quality 1 over both mismatches, one and three phases, 50 and 60 Hz, sun and battery."""
    random = np.random.default_rng(1)
    return [
        ZoneCase(
            "mismatch", _site(base, hz, sun, short_circuit_ratio=float(random.uniform(3.0, 20.0))), battery, p, q,
            point=float(random.uniform(0.0, POINT_CYCLES)),
        )
        for base, hz, (sun, battery), p, q in itertools.product(
            (THREE_PHASE, ONE_PHASE), (50.0, 60.0), ((0.9, 0.0), (0.0, 0.8)), shares, shares
        )
    ]  # fmt: skip


def balance_cases() -> list[ZoneCase]:
    """Return generation over load of 80 to 110 %, in steps of 5 %."""
    random = np.random.default_rng(2)
    return [
        ZoneCase(
            "80-110 %", _site(base, hz, sun), battery, 1.0 / ratio - 1.0, 0.0,
            point=float(random.uniform(0.0, POINT_CYCLES)),
        )
        for base, hz, (sun, battery), ratio in itertools.product(
            (THREE_PHASE, ONE_PHASE), (50.0, 60.0), ((0.9, 0.0), (0.0, 0.8)), np.arange(0.80, 1.101, 0.05)
        )
    ]  # fmt: skip


def hard_cases() -> list[ZoneCase]:
    """Return what helps an island to live: an armed droop, motors, a converter that charges."""
    cases = []
    for base, p, q in itertools.product((THREE_PHASE, ONE_PHASE), (0.0, 0.05, 0.1, 0.2, 0.3), (-0.05, 0.0, 0.05)):
        cases.append(ZoneCase("armed droop", _site(base, 50.0, 0.9), 0.0, p, q, armed_pu=0.8))
    for base, share, p in itertools.product((THREE_PHASE, ONE_PHASE), (0.4, 0.8), (-0.05, 0.0, 0.05)):
        cases.append(ZoneCase("motors", _site(base, 50.0, 0.9, load_motor_share=share), 0.0, p, 0.0))
    for base, p, q in itertools.product((THREE_PHASE, ONE_PHASE), (-0.05, 0.0, 0.05), (-0.05, 0.0, 0.05)):
        cases.append(ZoneCase("charging", _site(base, 50.0, 0.9), -0.3, p, q))
    random = np.random.default_rng(3)
    return [dataclasses.replace(case, point=float(random.uniform(0.0, POINT_CYCLES))) for case in cases]


def _site(base: SiteParameters, nominal_hz: float, sun_pu: float, **changes: object) -> SiteParameters:
    changes |= {"nominal_hz": nominal_hz, "pv_kw": sun_pu * base.pcs_kva}
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def run_zone(cases: Iterable[ZoneCase], *, seed: int = 1) -> list[ZoneRun]:
    """Run all cases, those of one nominal frequency side by side."""
    by_hz: dict[float, list[ZoneCase]] = {}
    for case in cases:
        by_hz.setdefault(case.site.nominal_hz, []).append(case)
    return [run for members in by_hz.values() for run in _run_group(members, seed)]


def _run_group(cases: Sequence[ZoneCase], seed: int) -> list[ZoneRun]:
    nominal_hz = cases[0].site.nominal_hz
    loop = settled(cases, tuned_sites(cases, seed), seed)
    at = loop.sample
    for index, case in enumerate(cases):
        loop.open_feeder(index, at + round(case.point * RATE_HZ / nominal_hz))
    dead = np.full(len(cases), NEVER_S)
    ceased = np.full(len(cases), NEVER_S)
    causes = [""] * len(cases)
    farthest_hz = np.zeros(len(cases))
    farthest_pu = np.zeros(len(cases))
    for _ in range(round(WATCH_S * RATE_HZ / STEP)):
        loop.advance(np.full(STEP, nominal_hz))
        now_s = (loop.sample - at) / RATE_HZ
        measured = loop.measured()
        for index in range(len(cases)):
            if ceased[index] < NEVER_S:
                continue
            count = cases[index].site.phases
            poles = loop.phase_values(index)[:count]
            if not poles["breaker_closed"].any():
                dead[index] = min(dead[index], now_s)
            if not poles["switch_closed"].any():
                ceased[index] = now_s
                continue
            farthest_hz[index] = max(farthest_hz[index], abs(measured["frequency_hz"][index] - nominal_hz))
            farthest_pu[index] = max(farthest_pu[index], abs(measured["voltage_pu"][index] - 1.0))
    for waveform in loop.drain_waveforms():
        causes[waveform.index] = causes[waveform.index] or waveform.cause
    return [
        ZoneRun(case, float(max(0.0, ceased[i] - dead[i])) if np.isfinite(dead[i]) else float(ceased[i]), causes[i],
                float(farthest_hz[i]), float(farthest_pu[i]))
        for i, case in enumerate(cases)
    ]  # fmt: skip


def settled(cases: Sequence[ZoneCase], sites: Sequence[SiteParameters], seed: int) -> ClosedLoop:
    """Return the sites at their power, on the grid."""
    loop = ClosedLoop(sites, seed=seed)
    for index, case in enumerate(cases):
        kva = case.site.pcs_kva
        loop.arm(index, curve_named("neso-dc-low"), case.armed_pu * kva, case.battery_pu * kva, 0, 10**9)
    loop.advance(np.full(round(SETTLE_S * RATE_HZ), sites[0].nominal_hz))
    return loop


def tuned_sites(cases: Sequence[ZoneCase], seed: int) -> list[SiteParameters]:
    """Return the sites with their loads, tuned as in a laboratory until the breaker carries the mismatch alone."""
    export_kw = [_export_kw(case) for case in cases]
    sites = [
        with_island_load(case.site, battery_kw=case.battery_pu * case.site.pcs_kva)
        for case, kw in zip(cases, export_kw, strict=True)
    ]
    for _ in range(TUNING_ROUNDS):
        quiet = [dataclasses.replace(site, anti_islanding=False, noise_pu=0.0) for site in sites]
        carried = _carried(settled(cases, quiet, seed))
        sites = [
            dataclasses.replace(
                site,
                island_load_kw=site.island_load_kw - power.real * site.pcs_kva,
                island_load_kvar=site.island_load_kvar - power.imag * site.pcs_kva,
            )
            for site, power in zip(sites, carried, strict=True)
        ]
    return [
        dataclasses.replace(
            site,
            island_load_kw=site.island_load_kw + case.p_mismatch * kw,
            island_load_kvar=site.island_load_kvar + case.q_mismatch * kw,
        )
        for site, case, kw in zip(sites, cases, export_kw, strict=True)
    ]


def _export_kw(case: ZoneCase) -> float:
    site = case.site
    return site.pv_kw * site.pv_now_ratio + case.battery_pu * site.pcs_kva - site.load_kw


def _carried(loop: ClosedLoop) -> list[complex]:
    """Return the power from the grid through each breaker, fundamental [pu of the site's rating]."""
    nominal_hz = loop.sites[0].nominal_hz
    count = round(TUNING_CYCLES * RATE_HZ / nominal_hz)
    turn = np.exp(-2j * np.pi * nominal_hz / RATE_HZ * np.arange(count))
    sums = np.zeros((len(loop.sites), 2, 3), dtype=complex)
    for n in range(count):
        loop.advance(np.full(1, nominal_hz))
        for index in range(len(loop.sites)):
            seen = loop.phase_values(index)
            sums[index, 0] += seen["u"] * turn[n]
            sums[index, 1] += seen["i_grid"] * turn[n]
    scale = (2.0 / count) ** 2
    return [
        complex((sums[i, 0, : site.phases] * sums[i, 1, : site.phases].conj()).mean() * scale)
        for i, site in enumerate(loop.sites)
    ]
