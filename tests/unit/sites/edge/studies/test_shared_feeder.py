"""Sites that share a feeder probe together, and leave an island together."""

from __future__ import annotations

import pytest

from sites.edge.studies.shared_feeder import run_feeder
from sites.edge.studies.zone import LIMIT_S, THREE_PHASE


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("skew_ms", [0.0, 20.0])
@pytest.mark.parametrize("q_mismatch", [-0.05, 0.0, 0.05])
def test_sites_of_one_feeder_leave_a_balanced_island_within_two_seconds(
    count: int, skew_ms: float, q_mismatch: float
) -> None:
    run = run_feeder(THREE_PHASE, count, q_mismatch=q_mismatch, skew_ms=skew_ms)
    assert 0.2 < run.first_s <= run.ceased_s <= LIMIT_S


def test_signs_of_their_own_hide_an_island_for_some() -> None:
    """Why the name of the feeder is a setting: with signs that differ two converters answer each other's probe."""
    runs = [run_feeder(THREE_PHASE, 2, p_mismatch=p, same_code=False, seed=4) for p in (-0.05, 0.0, 0.05)]
    together = [run_feeder(THREE_PHASE, 2, p_mismatch=p, seed=4) for p in (-0.05, 0.0, 0.05)]
    assert max(run.ceased_s for run in together) < max(run.ceased_s for run in runs)
