"""A part of the islanding suite in closed loop, and what its cases mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sites.edge.__main__ import main
from sites.edge.studies.suite_cases import POINTS, Case, Happening, all_cases
from sites.edge.studies.suite_run import BEFORE, fill_gaps, grid_frequency, grouped, recorded, run_group
from sites.edge.studies.suite_transitions import (
    UNPLANNED,
    StoryOutcome,
    black_start,
    planned_and_back,
    soak,
    stories,
    story_classes,
    unplanned_and_back,
)


def some_cases(class_name: str, *, delivers: bool = False) -> list[Case]:
    return [c for c in all_cases(quick=True) if c.class_name == class_name and c.delivers == delivers]


def test_the_matrix_has_24_points_both_frequencies_and_all_switches() -> None:
    cases = all_cases()
    assert len({case.point for case in cases}) == POINTS
    assert {case.site.nominal_hz for case in cases} == {50.0, 60.0}
    assert {case.site.phases for case in cases} == {1, 3}
    assert {case.site.switch_kind for case in cases} == {"sic", "forced", "natural", "contactor"}


def test_a_group_shares_its_grid() -> None:
    cases = all_cases(quick=True)
    groups = grouped(cases)
    assert sum(map(len, groups)) == len(cases)
    for group in groups:
        assert len({(c.site.nominal_hz, c.delivers, c.watch_s, c.ramp_hz_per_s) for c in group}) == 1


def test_a_loss_is_recorded_from_before_its_event_and_decided_after_it() -> None:
    cases = some_cases("loss 3 of 3 phases, sic")[:6]
    kept, events = recorded(cases)
    assert kept.shape[0] == len(cases)
    assert not np.isnan(kept).any()
    for samples, event in zip(kept, events, strict=True):
        opened = int(np.argmax(samples[:, 3] > 0.5))
        # A pole opens at its current zero, at most half a cycle after the order.
        assert BEFORE <= event <= opened <= event + 100
        assert not samples[:event, 4].any()
    for outcome in run_group(cases):
        assert outcome.run.decided
        assert not outcome.run.early
        assert 0.0 < outcome.run.decision_ms < 5.0
        assert outcome.run.transfer_ms < 6.0
        assert not outcome.run.load_outside_itic


def test_a_held_switch_stays_closed_whatever_is_decided() -> None:
    kept, _ = recorded(some_cases("loss 3 of 3 phases, sic")[:2], stuck=True)
    assert kept[:, :, 4].any()
    assert not kept[:, :, 5].any()


def test_a_quiet_run_keeps_every_sample_and_decides_nothing() -> None:
    quiet = Case("nuisance set", all_cases(quick=True)[0].site, (), watch_s=0.3)
    kept, (event,) = recorded([quiet])
    assert event == BEFORE
    assert np.abs(np.diff(kept[0, :, 0])).max() < 0.06
    assert not kept[0, :, 3:].any()


def test_the_grid_falls_and_comes_back_within_the_ramp() -> None:
    case = Case("must ride: 3 Hz/s", all_cases(quick=True)[0].site, (Happening("sag", 0.0),), ramp_hz_per_s=-3.0)
    hertz = grid_frequency(case, 6_000, 16_000)
    assert hertz[5_999] == 50.0
    assert hertz[10_000] == pytest.approx(48.8)
    assert hertz[14_000] == pytest.approx(50.0)
    assert np.abs(np.diff(hertz)).max() * 10_000 == pytest.approx(3.0)


def test_a_gap_is_filled_with_the_cycle_before_it() -> None:
    wave = np.cos(2 * np.pi * 50.0 * np.arange(1_000) / 10_000)[:, None].astype(np.float32)
    kept = wave.copy()
    kept[450:900] = np.nan
    fill_gaps(kept, 200)
    assert np.abs(kept - wave).max() < 1e-5


@pytest.mark.parametrize("story", [planned_and_back, unplanned_and_back, black_start])
def test_a_story_ends_as_it_should_or_says_what_is_wrong(story: Callable[[float], list[StoryOutcome]]) -> None:
    outcomes = story(50.0)
    assert {outcome.class_name for outcome in outcomes} <= set(story_classes(stories(quick=True)))
    for outcome in outcomes:
        assert outcome.failure == ""
        if outcome.class_name == UNPLANNED:
            assert outcome.run.decided
            assert not outcome.run.ends_dark


def test_a_quiet_fleet_stays_on_its_grid() -> None:
    assert not any(outcome.run.decided for outcome in soak(5, 3.0, 3))


def test_an_unknown_class_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["islanding-suite", "--class", "thunder"]) == 2
    assert "accepted: loss 3 of 3 phases, sic" in capsys.readouterr().err


def test_the_command_writes_its_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "loss 3 of 3 phases, forced"
    wanted = ["--quick", "--workers", "1", "--class", name]
    written = ["--json", str(tmp_path / "out.json"), "--report", str(tmp_path / "out.md")]
    status = main(["islanding-suite", *wanted, *written])
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["classes"][name]["n"] == 24
    assert set(document["classes"][name]["decision_ms"]) == {"p50", "p99", "max"}
    assert status == int(document["verdicts"][name]["verdict"] != "kept")
    assert name in capsys.readouterr().out
    assert (tmp_path / "out.md").read_text().startswith("# Islanding suite")


@pytest.mark.long
def test_the_whole_matrix_runs_and_its_status_follows_its_verdicts(tmp_path: Path) -> None:
    status = main(["islanding-suite", "--json", str(tmp_path / "out.json")])
    document = json.loads((tmp_path / "out.json").read_text())
    told = story_classes(stories(quick=False))
    assert set(document["classes"]) == {case.class_name for case in all_cases()} | set(told)
    kept = [found["verdict"].startswith(("kept", "not promised")) for found in document["verdicts"].values()]
    assert status == int(not all(kept))
    assert set(document["baselines"]) >= {"half_cycle_rms", "dsogi_positive_sequence", "frozen_frame_deviation"}
