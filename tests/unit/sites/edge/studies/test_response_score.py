"""The score of a response on hand-made courses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.edge.studies.response_score import excursion_lags, score

ROW_S = 0.01


def a_step(at_s: float, kw: float, length_s: float = 60.0) -> np.ndarray:
    return np.where(np.arange(round(length_s / ROW_S)) * ROW_S >= at_s, kw, 0.0)


def scored(required: np.ndarray, delivered: np.ndarray, within_s: float = 1.0, contract_kw: float = 100.0):
    return score(required, delivered, row_s=ROW_S, contract_kw=contract_kw, within_s=within_s)


class TestLag:
    def test_is_the_time_between_the_two_crossings_of_90_percent(self) -> None:
        result = scored(a_step(20.0, 100.0), a_step(20.15, 95.0))
        assert result.lags_ms == pytest.approx((150.0,))
        assert result.missed == 0

    def test_of_a_second_deeper_step_counts_from_the_first_ones_level(self) -> None:
        required = a_step(10.0, 50.0) + a_step(30.0, 50.0)
        # No fall between: one excursion, whose 90 % is 90 kW.
        assert scored(required, np.roll(required, 8)).lags_ms == pytest.approx((80.0,))

    def test_of_each_excursion_and_each_side(self) -> None:
        required = a_step(5.0, 80.0) - a_step(15.0, 80.0) - a_step(25.0, 60.0) + a_step(35.0, 60.0) + a_step(45.0, 40.0)
        delivered = (
            a_step(5.1, 80.0) - a_step(15.1, 80.0) - a_step(25.2, 60.0) + a_step(35.0, 60.0) + a_step(45.3, 40.0)
        )
        assert scored(required, delivered).lags_ms == pytest.approx((100.0, 200.0, 300.0))

    def test_of_a_response_that_never_comes_is_the_length_of_the_excursion(self) -> None:
        required = a_step(5.0, 80.0) - a_step(15.0, 80.0)
        result = scored(required, 0.5 * required)
        assert (result.lags_ms, result.missed) == (pytest.approx((10_000.0,)), 1)

    def test_small_movements_are_no_excursion(self) -> None:
        assert scored(5.0 + 4.0 * np.sin(np.arange(3000) / 100.0), np.zeros(3000)).lags_ms == ()

    def test_of_a_power_that_is_there_first_is_nothing(self) -> None:
        assert excursion_lags(a_step(5.0, 1.0), a_step(4.0, 1.0), 0.1) == [(500, 0, True)]


class TestInsideTheAllowedLag:
    def test_a_late_response_within_it_is_complete_and_not_too_much(self) -> None:
        required = a_step(10.0, 100.0) - a_step(40.0, 100.0)
        result = scored(required, np.roll(required, 90))
        assert result.delivered_ratio_worst == pytest.approx(1.0)
        assert result.over_delivery_max == 0.0
        assert result.outside_s == 0.0

    def test_what_lacks_beyond_it_lowers_the_worst_ten_seconds(self) -> None:
        # 3 s late where 1 s is allowed: 2 of the first 10 s lack.
        result = scored(a_step(10.0, 100.0), a_step(13.0, 100.0))
        assert result.delivered_ratio_worst == pytest.approx(0.0, abs=0.01)
        # From 11 s on something is due: in a mean that ends at 14 s, 2 of 3 s lack. The worst ends at 13 s.
        assert result.outside_worst == pytest.approx(1.0)
        assert result.outside_s == pytest.approx(2.0, abs=0.03)

    def test_too_much_does_not_make_up_for_too_little(self) -> None:
        required = a_step(0.0, 50.0)
        delivered = np.where(np.arange(6000) % 1000 < 500, 0.0, 100.0)
        result = scored(required, delivered)
        # Of the surplus of 50 kW, 3 % of the contract count.
        assert result.delivered_ratio_worst == pytest.approx(0.53)
        assert result.over_delivery_max == pytest.approx(0.25)

    def test_a_small_swing_about_the_required_power_is_complete(self) -> None:
        result = scored(np.full(6000, 50.0), 50.0 + 2.0 * np.sin(np.arange(6000) / 3.0))
        assert result.delivered_ratio_worst == pytest.approx(1.0, abs=1e-3)

    def test_power_on_the_wrong_side_delivers_nothing_and_is_too_much_there(self) -> None:
        result = scored(a_step(0.0, 50.0), np.full(6000, -20.0))
        assert result.delivered_ratio_worst == 0.0
        assert result.over_delivery_max == pytest.approx(0.2)

    def test_where_nothing_is_due_there_is_no_ratio(self) -> None:
        result = scored(np.zeros(2000), np.full(2000, 3.0))
        assert result.delivered_ratio_worst is None
        assert result.over_delivery_max == pytest.approx(0.03)

    def test_a_recording_shorter_than_ten_seconds_is_one_mean(self) -> None:
        assert scored(np.full(300, 50.0), np.full(300, 45.0)).delivered_ratio_worst == pytest.approx(0.9)

    @given(
        steps=st.lists(st.floats(-100.0, 100.0), min_size=1, max_size=8),
        late_rows=st.integers(0, 100),
        within_s=st.sampled_from([1.0, 1.3, 30.0]),
    )
    def test_any_course_followed_within_the_lag_scores_full(
        self, steps: list[float], late_rows: int, within_s: float
    ) -> None:
        required = np.repeat(np.array([0.0, *steps]), 400)
        delivered = np.concatenate([np.zeros(late_rows), required])[: len(required)]
        result = scored(required, delivered, within_s=within_s)
        assert result.delivered_ratio_worst is None or result.delivered_ratio_worst == pytest.approx(1.0)
        assert result.over_delivery_max == pytest.approx(0.0, abs=1e-9)
        assert all(lag <= 10.0 * late_rows + 1e-6 for lag in result.lags_ms)
