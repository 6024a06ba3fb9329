"""The islanding suite's figures on runs made by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.studies.suite_figures import (
    COLUMNS,
    RunFigures,
    class_figures,
    lost_volt_seconds,
    percentiles,
    run_figures,
)
from sites.edge.studies.suite_report import as_json, as_markdown, as_text, baseline_figures, class_result
from sites.edge.studies.suite_targets import TARGETS, broken_promises, target_of

RATE_HZ = 10_000.0
EVENT = 500


def a_run(
    *, dark_ms: float = 0.0, decides_ms: float | None = None, opens_ms: float | None = None, feeder: bool = True
) -> npt.NDArray[np.float64]:
    """0.3 s of a load that is dark for a while from sample 500 on; the feeder's first pole opens there."""
    n = np.arange(3_000)
    samples = np.zeros((len(n), len(COLUMNS)))
    dark = (n >= EVENT) & (n < EVENT + round(10 * dark_ms))
    for k in range(3):
        samples[:, k] = np.where(dark, 0.0, np.cos(2 * np.pi * 50.0 * n / RATE_HZ - k * 2 * np.pi / 3))
    samples[:, 3] = (n >= EVENT) & feeder
    if decides_ms is not None:
        samples[:, 4] = n >= EVENT + round(10 * decides_ms)
    if opens_ms is not None:
        samples[:, 5] = n >= EVENT + round(10 * opens_ms)
    return samples


def figures(samples: npt.NDArray[np.float64], *, feeder_opens: bool = True) -> RunFigures:
    return run_figures(samples, RATE_HZ, 50.0, event=EVENT, feeder_opens=feeder_opens)


def test_a_transfer_counts_from_the_first_open_pole_to_the_load_on_storage() -> None:
    found = figures(a_run(dark_ms=2.0, decides_ms=1.0, opens_ms=1.5))
    assert (found.decided, found.early) == (True, False)
    assert found.decision_ms == pytest.approx(1.0)
    # The switch is open at 1.5 ms, the load alive again at 2.0.
    assert found.transfer_ms == pytest.approx(2.0)
    assert found.lost_pu_s == pytest.approx(0.002)
    assert not found.load_outside_itic
    assert not found.ends_dark


def test_a_load_dark_for_longer_than_20_ms_is_outside_the_curve() -> None:
    found = figures(a_run(dark_ms=25.0, decides_ms=1.0, opens_ms=24.0))
    assert found.load_outside_itic
    assert found.lost_pu_s == pytest.approx(0.025)
    assert found.min_pu_after_2ms == pytest.approx(0.0)


def test_a_decision_before_the_event_is_early() -> None:
    assert figures(a_run(decides_ms=-3.0)).early


def test_an_event_without_an_open_feeder_counts_from_its_own_instant() -> None:
    found = figures(a_run(decides_ms=4.0, opens_ms=5.0, feeder=False), feeder_opens=False)
    assert found.decision_ms == pytest.approx(4.0)
    assert found.transfer_ms == pytest.approx(5.0)


def test_a_load_that_stays_dark_is_told() -> None:
    found = figures(a_run(dark_ms=1000.0))
    assert found.ends_dark
    assert not found.decided
    assert math.isnan(found.decision_ms)


def test_what_lacks_below_0_9_pu_is_lost_and_a_little_less_than_nominal_is_not() -> None:
    level = np.array([1.0, 0.95, 0.8, 0.5, 0.0, 1.0])
    assert lost_volt_seconds(level, 10.0) == pytest.approx((0.2 + 0.5 + 1.0) / 10.0)


def test_percentiles_pass_over_what_never_came() -> None:
    assert percentiles([1.0, math.nan, 3.0]) == {"p50": 2.0, "p99": 2.98, "max": 3.0}
    assert percentiles([math.nan]) == {"p50": None, "p99": None, "max": None}


def runs() -> list[RunFigures]:
    return [figures(a_run(dark_ms=1.0, decides_ms=ms, opens_ms=ms + 0.1)) for ms in (0.8, 0.9, 1.4)]


class TestClasses:
    def test_a_class_has_the_keys_that_the_json_promises(self) -> None:
        found = class_figures(runs(), transfer_is_false=False, guaranteed=True)
        assert list(found) == [
            "n", "decision_ms", "transfer_ms", "load_outside_itic", "false_transfers", "lost_volt_seconds",
            "guaranteed",
        ]  # fmt: skip
        assert found["decision_ms"] == {"p50": 0.9, "p99": 1.39, "max": 1.4}
        assert found["lost_volt_seconds"] == pytest.approx(0.001)

    def test_where_nothing_is_lost_every_transfer_is_false(self) -> None:
        assert class_figures(runs(), transfer_is_false=True, guaranteed=True)["false_transfers"] == 3

    def test_a_guaranteed_class_that_is_late_fails_and_says_by_how_much(self) -> None:
        result = class_result("loss 3 of 3 phases, sic", runs())
        assert result.fails
        assert result.verdict == "decision 1.4 ms > 1; transfer 1.5 ms > 1.2"

    def test_what_is_not_promised_never_fails(self) -> None:
        result = class_result("loss 3 of 3 phases, contactor", [figures(a_run(dark_ms=30.0, decides_ms=9.0))])
        assert not result.fails
        assert result.verdict.startswith("not promised: a contactor parts after")

    def test_a_transfer_in_the_nuisance_set_fails(self) -> None:
        assert class_result("nuisance set", runs()).verdict == "3 false transfers"

    def test_a_loss_without_a_decision_fails(self) -> None:
        broken = class_result("loss 1 of 3 phases, sic", [figures(a_run())]).broken
        assert broken == ("decision none ms > 2", "1 undecided")

    def test_every_class_of_the_matrix_has_a_target_with_its_source(self) -> None:
        from sites.edge.studies.suite_cases import all_cases

        for name in {case.class_name for case in all_cases(quick=True)}:
            assert target_of(name).source
        with pytest.raises(KeyError, match="has no target"):
            target_of("thunder")

    def test_kept_targets_say_nothing(self) -> None:
        found = class_figures(runs()[:2], transfer_is_false=False, guaranteed=True)
        assert broken_promises(TARGETS[0], found, undecided=0, least_pu=0.9) == []
        assert broken_promises(TARGETS[0], found, undecided=0, least_pu=0.6) == ["load 0.60 pu < 0.7 after 2 ms"]


def test_the_documents_hold_classes_baselines_and_verdicts() -> None:
    baselines = baseline_figures({"half_cycle_rms": {"nuisance set": [math.nan, 5.0], "loss": [3.0, -1.0, math.nan]}})
    assert baselines["half_cycle_rms"]["nuisance set"]["false_transfers"] == 1
    assert baselines["half_cycle_rms"]["loss"]["false_transfers"] == 1
    assert baselines["half_cycle_rms"]["loss"]["undecided"] == 1
    results = [class_result("loss 3 of 3 phases, sic", runs()), class_result("nuisance set", [figures(a_run())])]
    document = as_json(results, baselines)
    assert set(document) == {"classes", "baselines", "verdicts"}
    assert document["verdicts"]["nuisance set"]["verdict"] == "kept"
    assert "half_cycle_rms" in as_text(results, baselines)
    markdown = as_markdown(results, baselines, ["heading"])
    assert "| loss 3 of 3 phases, sic | 3 | 0.90 / 1.39 / 1.40 |" in markdown
    assert "SiC switch, 50 us" in markdown
