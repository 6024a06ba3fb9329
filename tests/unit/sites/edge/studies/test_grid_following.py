"""The converter to compare with: it follows the grid, and forms a voltage only once the loss is detected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.core.curves import curve_named
from sites.edge.control.settings import ControlSettings
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.suite_cases import ONE_PHASE, THREE_PHASES, converter_cases
from sites.edge.studies.suite_report import converter_figures
from sites.edge.studies.suite_run import run_group

FOLLOWING = [dataclasses.replace(site, converter="grid_following") for site in (THREE_PHASES, ONE_PHASE)]


def test_it_feeds_the_power_that_is_asked_into_the_grid() -> None:
    loop = ClosedLoop(FOLLOWING, seed=1)
    for index, site in enumerate(FOLLOWING):
        loop.arm(index, curve_named("neso-dc-low"), 0.6 * site.pcs_kva, 0.0, 0, 10**9)
    loop.advance(np.full(5_000, 50.0))
    assert np.abs(loop.measured()["battery_kw"] / [site.pcs_kva for site in FOLLOWING]).max() < 0.02
    loop.advance(np.linspace(50.0, 49.4, 8_000))
    loop.advance(np.full(6_000, 49.4))
    measured = loop.measured()
    assert measured["mode"].tolist() == [0, 0]
    assert measured["battery_kw"] == pytest.approx([0.6 * site.pcs_kva for site in FOLLOWING], rel=0.02)


def test_after_the_loss_it_carries_the_load_alone() -> None:
    loop = ClosedLoop(FOLLOWING, seed=1)
    loop.advance(np.full(5_000, 50.0))
    for index in range(2):
        loop.open_feeder(index, 5_000)
    loop.advance(np.full(10_000, 50.0))
    measured = loop.measured()
    assert measured["switch_closed"].tolist() == [0.0, 0.0]
    assert measured["voltage_pu"] == pytest.approx([1.0, 1.0], abs=0.03)


def test_the_load_loses_more_of_its_voltage_than_behind_a_converter_that_forms_it() -> None:
    cases = [case for case in converter_cases(quick=True) if case.class_name.endswith("sic") and not case.delivers]
    outcomes = run_group(cases)
    found = {
        way: converter_figures([o.run for o in outcomes if o.class_name == f"{way}, sic"])
        for way in ("grid_forming", "grid_following")
    }
    assert found["grid_following"]["lost_volt_seconds"] > 2.0 * found["grid_forming"]["lost_volt_seconds"]


def test_other_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="converter is 'square', accepted: grid_forming, grid_following"):
        ControlSettings(converter="square")
