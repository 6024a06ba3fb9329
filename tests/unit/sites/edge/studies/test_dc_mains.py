"""A DC site's mains: decided as soon as an AC site's grid, and never by what a grid does without being lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.dc_sites import a_dc_site, run

from sites.core.ridethrough import islanding_figures
from sites.edge.control.kernels.dc_bus import dc_control_step
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.suite_cases import RATE_HZ, Case, Happening, nuisances

POINTS = 6
"""On the wave."""


@dataclass(frozen=True)
class StepRecords:
    """What the controller of a loop's only site works on: a test that writes its samples itself."""

    k: Any
    c: Any
    m: Any
    dk: Any
    dc: Any
    dm: Any
    table: Any

    def of(self, name: str) -> Any:
        """Return the record of samples that has a reading."""
        return self.m if name in self.m.dtype.names else self.dm

    def arguments(self) -> tuple[Any, ...]:
        """Return the records as ``dc_control_step`` takes them."""
        return (self.k, self.c, self.m, self.dk, self.dc, self.dm, self.table)


def step_records(loop: ClosedLoop) -> StepRecords:
    """Return the records of a loop of one DC site."""
    _, _, _, _, _, k, c, m, _, _, _ = loop.step_arrays()
    _, _, _, dk, dc, dm, _, table = loop.dc.step_arrays()
    return StepRecords(k[0], c[0], m[0], dk[0], dc[0], dm[0], table)


def decisions(site_phases: int, cases: Sequence[Case]) -> list[int]:
    """Run the cases' disturbances on DC sites at rest; return how often each of them went to battery."""
    loop = ClosedLoop([a_dc_site(phases=site_phases, auxiliary_kw=0.2)] * len(cases), seed=1)
    run(loop, 0.6)
    for index, case in enumerate(cases):
        at = loop.sample + round(case.point * RATE_HZ / 50.0)
        for happening in case.happenings:
            ends = {} if happening.lasts_s is None else {happening.ends_as: at + round(happening.lasts_s * RATE_HZ)}
            getattr(loop, happening.method)(index, at_sample=at, **happening.arguments, **ends)
    slope = cases[0].ramp_hz_per_s / RATE_HZ
    fall = slope * np.arange(4000)
    loop.advance(50.0 + np.concatenate([fall, fall[-1] - fall, np.zeros(1000)]))
    return [loop.counters(index)["decisions"] for index in range(len(cases))]


@pytest.mark.parametrize("phases", [1, 3])
def test_nothing_of_the_nuisance_set_sends_a_dc_site_to_its_battery(phases: int) -> None:
    cases = [case for case in nuisances(quick=True) if case.site.phases == phases and not case.delivers]
    assert len(cases) >= 12 * POINTS
    for slope in {case.ramp_hz_per_s for case in cases}:
        assert not any(decisions(phases, [case for case in cases if case.ramp_hz_per_s == slope]))


@pytest.mark.parametrize("phases", [1, 3])
def test_a_jump_of_all_phases_by_20_degrees_is_no_loss(phases: int) -> None:
    jumps = [
        Case("jump", a_dc_site(), (Happening("jump_phase", 0.0, {"angle_rad": math.radians(angle_deg)}),), step / 12)
        for angle_deg in (-20.0, 20.0)
        for step in range(12)
    ]
    assert not any(decisions(phases, jumps))


@pytest.mark.parametrize(("poles", "bus"), [((0, 1, 2), "dc400"), ((0,), "dc48"), ((1, 2), "dc48")])
def test_a_loss_of_some_phases_or_all_is_decided_within_a_millisecond(poles: tuple[int, ...], bus: str) -> None:
    loop = ClosedLoop([a_dc_site(phases=3, bus=bus)] * 20, seed=1)
    run(loop, 0.6)
    for index in range(20):
        loop.open_feeder(index, loop.sample + 10 * index, poles)
    run(loop, 1.5)
    figures = [islanding_figures(w.columns, w.samples, w.rate_hz) for w in loop.drain_waveforms()]
    assert len(figures) == 20
    assert max(figure.decision_ms for figure in figures) <= 1.0


@pytest.mark.parametrize("name", ["ua", "va", "ia", "bus_v", "battery_a", "rectifier_a", "load_a", "pv_a", "battery_v"])
@pytest.mark.parametrize("reading", [math.nan, math.inf, 1e12])
def test_a_reading_that_is_none_neither_sends_it_to_battery_nor_blinds_it(name: str, reading: float) -> None:
    loop = ClosedLoop([a_dc_site()], seed=1)
    run(loop, 0.3)
    records = step_records(loop)
    for sample in range(3000, 3600):
        lost = sample >= 3400
        for voltage in ("ua", "va"):
            records.m[voltage] = 0.0 if lost else math.cos(2.0 * math.pi * 50.0 * sample / RATE_HZ)
        good = records.of(name)[name].copy()
        if 3200 <= sample < 3220:
            records.of(name)[name] = reading
        dc_control_step(*records.arguments(), sample)
        records.of(name)[name] = good
        if sample == 3399:
            assert records.c["decisions"] == 0
    assert records.c["decisions"] == 1
    assert math.isfinite(records.dc["v_ref_v"])
    assert 49.0 < records.c["frequency_hz"] < 51.0
