"""An event that our own recorder kept goes through ``vpp-edge replay`` and comes to the same decision."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sites.edge.control.exchange import CapturedWaveform
from sites.edge.link.event_folder import EventFolder
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.manifest import recorded_site_of
from sites.edge.studies.replay import Replay, ReplaySettings, replay_file

FLEET = synthetic_fleet(200, 1)
THREE = next(site for site in FLEET if site.phases == 3)
ONE = next(site for site in FLEET if site.phases == 1)
SETTLED = 10_000


def recorded_event(site: SiteParameters, folder: Path, after: int) -> tuple[Path, float, str]:
    """Open a site's feeder; return the event's .cfg, the decision on its time axis [s], and its cause."""
    loop = ClosedLoop([site], seed=1)
    loop.advance(np.full(SETTLED, site.nominal_hz))
    loop.open_feeder(0, SETTLED + after)
    loop.advance(np.full(8_000, site.nominal_hz))
    (waveform,) = loop.drain_waveforms()
    captured = CapturedWaveform(
        0, 0, round((waveform.trigger_sample - waveform.start_sample) * 1e6 / waveform.rate_hz), waveform.rate_hz,
        waveform.cause, waveform.columns, waveform.samples,
    )  # fmt: skip
    path = EventFolder(folder, [recorded_site_of(site)]).keep(captured)
    assert path is not None
    return path, captured.trigger_at_us * 1e-6, waveform.cause


def replayed(path: Path, site: SiteParameters) -> Replay:
    recorded = recorded_site_of(site)
    return replay_file(path, ReplaySettings(recorded.phase_v, recorded.nominal_hz))


@pytest.mark.parametrize("after", [0, 33, 77, 140])
@pytest.mark.parametrize("site", [THREE, ONE], ids=["three phases", "one phase"])
def test_the_file_leads_to_the_same_decision_within_two_milliseconds(
    site: SiteParameters, after: int, tmp_path: Path
) -> None:
    site = dataclasses.replace(site, switch_kind="sic")
    path, decided_s, cause = recorded_event(site, tmp_path, after)
    found = replayed(path, site)
    assert found.first_transfer_s is not None
    # The site's own detector knows its converter's current, too: without it a lost grid that the converter holds up
    # shows a little later, in the falling voltage.
    assert found.first_transfer_s == pytest.approx(decided_s, abs=0.002)
    first = next(decision for decision in found.decisions if decision.action == "open_switch")
    assert first.cause in {cause, "pole_open", "collapse"}
    assert not any("not used" in note for note in found.notes if "current" in note)
