"""Published points of the response products, worked by hand.

Sources stand in each row of sites/core/curves.py. A share is of the contracted power, positive into the bus.
"""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.curves import CATALOGUE, Direction, curve_named, required_course, required_share


@pytest.mark.parametrize(
    ("product", "frequency_hz", "share"),
    [
        # NESO: nothing to 15 mHz; the knee of 5 %; the mean of knee and full in the middle of the steep part.
        ("neso-dc-low", 49.985, 0.0),
        ("neso-dc-low", 49.8, 0.05),
        ("neso-dc-low", 49.65, 0.525),
        ("neso-dc-low", 49.5, 1.0),
        ("neso-dc-high", 50.35, -0.525),
        ("neso-dm-low", 49.9, 0.05),
        ("neso-dm-low", 49.85, 0.525),
        ("neso-dm-low", 49.8, 1.0),
        ("neso-dr-low", 49.985, 0.0),
        ("neso-dr-low", 49.8925, 0.5),
        ("neso-dr-high", 50.2, -1.0),
        # Continental FCR: 200 mHz either way.
        ("entsoe-fcr", 49.9, 0.5),
        ("entsoe-fcr", 50.05, -0.25),
        ("entsoe-fcr", 50.3, -1.0),
        # Nordic: FCR-N over 100 mHz, FCR-D from there to 500 mHz.
        ("fcr-n", 49.95, 0.5),
        ("fcr-n", 50.1, -1.0),
        ("fcr-d-up", 49.9, 0.0),
        ("fcr-d-up", 49.7, 0.5),
        ("fcr-d-up", 49.5, 1.0),
        ("fcr-d-down", 50.3, -0.5),
        # ERCOT: 5 % droop of 60 Hz over a dead band of 17 mHz; 0.1 Hz gives 83 of 2983 mHz.
        ("ercot-pfr", 59.983, 0.0),
        ("ercot-pfr", 59.9, 83.0 / 2983.0),
        ("aemo-r1", 49.85, 0.0),
        ("aemo-l1", 50.5, -1.0),
        # GB/T 40595: 0.1 Hz is 67 mHz over the dead band, of 500 mHz at 1 % droop.
        ("cn-primary", 49.9, 0.134),
        ("cn-primary", 50.03, 0.0),
    ],
)
def test_droop_products_at_their_published_points(product: str, frequency_hz: float, share: float) -> None:
    curve = curve_named(product)
    assert required_share(curve, frequency_hz, curve.nominal_hz) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("product", "not_yet_hz", "passed_hz"),
    [
        ("nordic-ffr", 49.701, 49.699),
        ("nordic-ffr-49.6", 49.601, 49.599),
        ("nordic-ffr-49.5", 49.501, 49.499),
        ("ercot-ffr", 59.851, 59.85),
    ],
)
def test_triggers_fire_at_their_threshold_and_in_full(product: str, not_yet_hz: float, passed_hz: float) -> None:
    curve = curve_named(product)
    t_s = np.arange(3.0)
    above = required_course(curve, t_s, np.full(3, not_yet_hz), curve.nominal_hz)
    assert list(above) == [0.0, 0.0, 0.0]
    below = required_course(curve, t_s, np.array([curve.nominal_hz, passed_hz, curve.nominal_hz]), curve.nominal_hz)
    assert list(below) == [0.0, 1.0, 1.0]


def test_nordic_ffr_supports_for_30_s_and_releases_at_20_percent_a_second() -> None:
    t_s = np.arange(0.0, 60.0, 0.5)
    frequency_hz = np.where(t_s < 10.0, 50.0, 49.65)
    due = required_course(curve_named("nordic-ffr"), t_s, frequency_hz, 50.0)
    assert np.all(due[(t_s >= 10.0) & (t_s <= 40.0)] == 1.0)
    assert due[t_s == 42.5] == pytest.approx(0.5)
    # The frequency never came back, so it does not fire again.
    assert np.all(due[t_s >= 45.0] == 0.0)


@pytest.mark.parametrize(
    ("product", "full_within_s", "sustain_s"),
    [
        ("neso-dc-low", 1.0, 900.0),
        ("neso-dm-high", 1.0, 1800.0),
        ("neso-dr-low", 10.0, 3600.0),
        ("entsoe-fcr", 30.0, 1800.0),
        ("nordic-ffr", 1.3, 30.0),
        ("nordic-ffr-49.5", 0.7, 30.0),
        ("fcr-d-down", 7.5, 1200.0),
        ("fcr-n", 180.0, 3600.0),
        # 15 cycles of 60 Hz.
        ("ercot-ffr", 15 / 60, 900.0),
        ("aemo-r1", 1.0, 6.0),
        ("cn-primary", 3.0, 900.0),
    ],
)
def test_allowed_lags_and_durations(product: str, full_within_s: float, sustain_s: float) -> None:
    curve = curve_named(product)
    assert (curve.full_within_s, curve.sustain_s) == (full_within_s, sustain_s)


def test_only_ercot_runs_at_60_hz() -> None:
    assert {name for name, curve in CATALOGUE.items() if curve.nominal_hz == 60.0} == {"ercot-ffr", "ercot-pfr"}


def test_every_row_says_where_it_comes_from_and_how_certain_it_is() -> None:
    for name, curve in CATALOGUE.items():
        assert curve.name == name
        assert curve.certainty in ("V", "M", "U")
        assert len(curve.source) > 30
        assert curve.initiate_within_s <= curve.full_within_s
        assert curve.direction is not Direction.BOTH or curve.sign == 0
