"""Scores of products that follow a signal or an instruction, worked by hand.

Sources: PJM: ../shared/domain/frequency_products.md (code of GMLC 1.4.2 after Manual 12, 2019; the hour's mean signal
as the manual has it); ERCOT's ERS and China's AGC: the rows of markets/core/catalogue, from memory. Contract 100 kW.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.responses import a_recording

from markets.core.products import product_named
from markets.core.scores.registry import score_recording

KW = 100.0


def judged(name: str, signal, power_kw, rate_hz: float, hz: float = 60.0):
    product = product_named(name)
    recording = a_recording(product, np.full(len(signal), hz), power_kw, rate_hz=rate_hz, signal=signal)
    return score_recording(product, recording, contract_kw=KW).score


class TestPjm:
    """Means of 10 s; 12 windows of 30 in an hour."""

    # A triangle of 200 s, -1 to 1: mean absolute value 0.5. Steps of 10 s.
    AT = np.arange(360)
    SIGNAL = 1.0 - 2.0 * np.abs((AT % 20) / 10.0 - 1.0)

    def test_following_at_once(self):
        score = judged("pjm-regd", self.SIGNAL, KW * self.SIGNAL, 0.1)
        assert score.value == pytest.approx(1.0)
        assert score.components["hours"] == 1

    def test_a_lag_of_20_s(self):
        """The signal moves by 0.2 each 10 s. Two steps late it is 0.4 off, but for the step after each of the two
        corners, where both stand at the same height: 18 of 20 steps. Mean error 0.36 over 0.5: precision 1 - 0.72.

        Delay (300 - 20) / 300 = 0.9333 in eleven windows. The twelfth cannot look beyond the record: its lag is 0, its
        delay 1, and its correlation that of the late signal itself. Over the hour 0.9389.
        """
        late = np.roll(self.SIGNAL, 2)
        score = judged("pjm-regd", self.SIGNAL, KW * late, 0.1)
        assert np.mean(np.abs(late - self.SIGNAL)) == pytest.approx(0.36)
        last = np.corrcoef(self.SIGNAL[330:], late[330:])[0, 1]
        assert score.components["correlation"] == pytest.approx((11.0 + last) / 12.0)
        assert score.components["delay"] == pytest.approx((11.0 * 280.0 / 300.0 + 1.0) / 12.0)
        assert score.components["precision"] == pytest.approx(1.0 - 0.72)
        assert score.value == pytest.approx(((11.0 + last) / 12.0 + 0.9389 + 0.28) / 3.0, abs=1e-4)

    def test_half_of_the_power(self):
        """Correlation 1, delay 1, error half of the signal: precision 0.5. (1 + 1 + 0.5) / 3."""
        score = judged("pjm-regd", self.SIGNAL, 0.5 * KW * self.SIGNAL, 0.1)
        assert score.components["precision"] == pytest.approx(0.5, abs=1e-9)
        assert score.value == pytest.approx(2.5 / 3.0)

    def test_precision_is_over_the_hour_s_mean_signal_not_the_window_s(self):
        """Half an hour of a signal of 1 (flat) and half of 0.2, each followed 0.1 too low: mean signal 0.6, error 0.1
        everywhere: precision 1 - 1/6 in both. Flat windows: the slopes agree, correlation 1, delay 1."""
        signal = np.where(self.AT < 180, 1.0, 0.2)
        score = judged("pjm-regd", signal, KW * (signal - 0.1), 0.1)
        assert score.components["precision"] == pytest.approx(1.0 - 1.0 / 6.0)
        assert score.value == pytest.approx((1.0 + 1.0 + 5.0 / 6.0) / 3.0)

    def test_standing_still_is_an_unpaid_hour(self):
        """No correlation, no delay, error = signal: precision 0."""
        score = judged("pjm-regd", self.SIGNAL, 0.0, 0.1)
        assert score.value == pytest.approx(0.0)
        assert (score.components["hours_unpaid"], score.components["paid_share"]) == (1, 0.0)

    def test_a_missing_sample_of_2_s_costs_its_five_minutes_and_the_delay_of_those_before(self):
        """2 s rows; one missing in window 5: it is 0; window 4 reaches into it with its lags: 2/3. 10 + 2/3 of 12."""
        signal = np.repeat(self.SIGNAL, 5)
        power = KW * signal
        power[5 * 150 + 7] = np.nan
        score = judged("pjm-regd", signal, power, 0.5)
        assert score.value == pytest.approx((10.0 + 2.0 / 3.0) / 12.0)
        assert score.components["windows_with_gaps"] == 1


class TestErs:
    """15 min intervals; full 10 min after the instruction."""

    # Minutes: instructed at 60, recalled at 180; due from 70 on: 110 min.
    MINUTE = np.arange(240)
    SIGNAL = ((MINUTE >= 60) & (MINUTE < 180)).astype(float)

    def test_all_of_it(self):
        score = judged("ercot-ers-10", self.SIGNAL, np.where(self.MINUTE >= 70, KW, 0.0), 1.0 / 60.0)
        assert score.value == pytest.approx(1.0)
        assert score.components["intervals_due"] == 8
        assert score.components["threshold_met"] is True

    def test_an_interval_at_half_power(self):
        """90 to 105 at 50 kW: 15 of 110 min at 0.5: 1 - 7.5 / 110 = 0.9318, below 0.95."""
        power = np.where((self.MINUTE >= 90) & (self.MINUTE < 105), 50.0, KW)
        score = judged("ercot-ers-10", self.SIGNAL, power, 1.0 / 60.0)
        assert score.components["event_performance_factor"] == pytest.approx(1.0 - 7.5 / 110.0)
        assert score.components["threshold_met"] is False

    def test_more_in_one_interval_makes_up_for_nothing_in_another(self):
        """105 to 120 at 200 kW counts 1."""
        power = np.select(
            [(self.MINUTE >= 90) & (self.MINUTE < 105), (self.MINUTE >= 105) & (self.MINUTE < 120)], [50.0, 200.0], KW
        )
        assert judged("ercot-ers-10", self.SIGNAL, power, 1.0 / 60.0).value == pytest.approx(1.0 - 7.5 / 110.0)

    def test_a_missing_interval_is_neither_available_nor_given(self):
        """90 to 105 missing: event 95 / 110, available 15 of 16 intervals."""
        power = np.where((self.MINUTE >= 90) & (self.MINUTE < 105), np.nan, KW)
        score = judged("ercot-ers-10", self.SIGNAL, power, 1.0 / 60.0)
        assert score.components["availability_factor"] == pytest.approx(15 / 16)
        assert score.value == pytest.approx(15 / 16 * 95 / 110)

    def test_ers_30_has_30_minutes(self):
        power = np.where(self.MINUTE >= 90, KW, 0.0)
        assert judged("ercot-ers-30", self.SIGNAL, power, 1.0 / 60.0).value == pytest.approx(1.0)
        # Due from 70 to 90 and nothing there: 20 of 110 min.
        assert judged("ercot-ers-10", self.SIGNAL, power, 1.0 / 60.0).value == pytest.approx(90 / 110)


class TestChinaAgc:
    """One setpoint from 0 to 60 % of contract at 100 s, rows of 1 s until 700 s."""

    T = np.arange(700)
    SIGNAL = np.where(T < 100, 0.0, 0.6)

    def given(self, error_kw: float = 0.0):
        """10 s of nothing, then 1 kW/s for 60 s (60 % of contract a minute)."""
        return np.clip(1.0 * (self.T - 109), 0.0, 60.0 - error_kw)

    def test_southern(self):
        """Begun at 110 s (1 kW), there at 168 s (59 kW, inside 1.5 %): 59 kW in 59 s = 60 %/min of a standard of 100 %:
        k1 = 0.6. Delay 10 s: k2 = 1 - 10/300. Error from 168 s on: 532 samples, the first 1 kW off: 1/532 % of contract
        over 1.5 %: k3 = 0.99875. k = 0.25 (2 x 0.6 + 0.96667 + 0.99875) = 0.79135."""
        score = judged("cn-agc-south", self.SIGNAL, self.given(), 1.0, hz=50.0)
        assert score.components["setpoints"] == 1
        assert score.components["k1_rate"] == pytest.approx(0.6)
        assert score.components["k2_delay"] == pytest.approx(1.0 - 10.0 / 300.0)
        assert score.components["k3_accuracy"] == pytest.approx(1.0 - (1.0 / 532.0) / 1.5)
        assert score.value == pytest.approx(0.79135, abs=1e-5)

    def test_northern(self):
        """Tolerance 1 %: 59 kW at 168 s all the same. K1 = 2 - 1.5/60 = 1.975, K2 = 2 - 10/60 = 1.8333,
        K3 = 2 - (1/532)/1 = 1.99812: Kp = 7.2348. Each is at most 1 in the score."""
        score = judged("cn-agc-north", self.SIGNAL, self.given(), 1.0, hz=50.0)
        assert score.components["k"] == pytest.approx(1.975 * (2 - 10 / 60) * (2 - 1 / 532), abs=1e-6)
        assert score.value == 1.0

    def test_northern_a_constant_error_of_one_and_a_half_per_cent(self):
        """58.5 kW are 1.5 % short: never there, K3 = 2 - 1.5/1 = 0.5 and so is the score."""
        score = judged("cn-agc-north", self.SIGNAL, self.given(error_kw=1.5), 1.0, hz=50.0)
        assert score.components["k3_accuracy"] == pytest.approx(0.5)
        assert score.value == pytest.approx(0.5)

    def test_no_answer(self):
        """South: k1 = 0, no delay to speak of (0), error 60 % (0): 0. North: three times 0.1."""
        assert judged("cn-agc-south", self.SIGNAL, 0.0, 1.0, hz=50.0).value == pytest.approx(0.0)
        assert judged("cn-agc-north", self.SIGNAL, 0.0, 1.0, hz=50.0).value == pytest.approx(0.001)


class TestPlansAndLimits:
    def test_a_quarter_of_an_hour_ten_per_cent_off(self):
        """Plan 80 kW for 30 min; 72 kW in the first 15: 1 - 8/80 = 0.9, then 1: 0.95."""
        minute = np.arange(30)
        power = np.where(minute < 15, 72.0, 80.0)
        assert judged("energy-dispatch", np.full(30, 0.8), power, 1.0 / 60.0).value == pytest.approx(0.95)

    def test_an_import_limit_counts_the_power_out_of_the_grid(self):
        """Limit 40 kW of 100; 50 kW imported in 3 of 30 minutes; exports are no matter of it."""
        minute = np.arange(30)
        power = np.select([minute < 3, minute < 10], [-50.0, -40.0], 90.0)
        score = judged("capacity-limit-import", np.full(30, 0.4), power, 1.0 / 60.0)
        assert score.value == pytest.approx(0.9)
        assert score.components["over_share_most"] == pytest.approx(0.1)
        # The contract is the limit where no signal says otherwise: 90 kW exported stay within it.
        assert judged("capacity-limit-export", np.ones(30), power, 1.0 / 60.0).value == 1.0
