"""Scores of products that follow the frequency, worked by hand.

Sources: the rows of markets/core/catalogue (from ../shared/domain/frequency_products.md); the Nordic figures are those
of ENTSO-E's Technical Requirements for FCR Provision (26 May 2023), sections 3.1.1 and 3.1.2.
Contract 100 kW throughout; power into the grid positive.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from support.responses import a_recording

from markets.core.products import product_named
from markets.core.scores.registry import score_recording

KW = 100.0


def judged(name: str, t_s, frequency_hz, power_kw, rate_hz: float, at=None):
    product = product_named(name, at)
    return score_recording(
        product, a_recording(product, frequency_hz, power_kw * np.ones(t_s.size), rate_hz=rate_hz), contract_kw=KW
    ).score


class TestNesoK:
    """K = 1 up to an error of 3 %, 0 from 7 %, straight between; error: 1 s mean outside the timed envelope."""

    T = np.arange(0.0, 3600.0, 0.05)

    @pytest.mark.parametrize(
        ("short_kw", "k"),
        [(3.0, 1.0), (4.0, 0.75), (5.0, 0.5), (6.5, 0.125), (7.0, 0.0), (50.0, 0.0)],
    )
    def test_a_steady_shortfall(self, short_kw, k):
        """49.5 Hz asks for everything: so many kW less are so many per cent of the contract."""
        assert judged("neso-dc-low", self.T, np.full(self.T.size, 49.5), KW - short_kw, 20.0).value == pytest.approx(k)

    def test_a_shortfall_in_one_half_hour_of_two(self):
        """K = 0.5 for the first 30 min, 1 for the second: 0.75."""
        power = np.where(self.T < 600.0, 95.0, 100.0)
        score = judged("neso-dc-low", self.T, np.full(self.T.size, 49.5), power, 20.0)
        assert score.value == pytest.approx(0.75)
        assert score.components["k_least"] == pytest.approx(0.5)
        assert score.components["worst_error_ratio"] == pytest.approx(0.05)

    def test_half_a_second_too_late(self):
        """Step to 49.5 Hz at 60 s, full at 61.5 s: due from 61 s on. 9 or 10 of the worst 20 samples lack it all."""
        hz = np.where(self.T < 60.0 - 1e-9, 50.0, 49.5)
        score = judged("neso-dc-low", self.T, hz, np.where(self.T < 61.5 - 1e-9, 0.0, KW), 20.0)
        assert score.components["worst_error_ratio"] == pytest.approx(0.45, abs=0.051)
        assert score.value == pytest.approx(0.5)

    def test_a_missing_second_costs_its_half_hour(self):
        power = np.full(self.T.size, KW)
        power[2000:2020] = np.nan
        assert judged("neso-dc-low", self.T, np.full(self.T.size, 49.5), power, 20.0).value == pytest.approx(0.5)


class TestContinentalFcr:
    """Half within 15 s, all within 30 s; 5 % of contract (10 mHz of 200) of tolerance."""

    T = np.arange(0.0, 100.0)
    # 49.8 Hz from 10 s on: all of it is due.
    HZ = np.where(T < 10.0, 50.0, 49.8)

    def test_the_slowest_that_is_allowed(self):
        """0 until 25 s, half until 40 s, then all."""
        power = np.select([self.T < 25.0, self.T < 40.0], [0.0, 50.0], 100.0)
        assert judged("entsoe-fcr", self.T, self.HZ, power, 1.0).value == 1.0

    def test_all_of_it_only_after_35_s(self):
        """At 40, 41, 42, 43 and 44 s half is there and all is due: 5 s of 100 are outside."""
        power = np.select([self.T < 25.0, self.T < 45.0], [0.0, 50.0], 100.0)
        score = judged("entsoe-fcr", self.T, self.HZ, power, 1.0)
        assert score.value == pytest.approx(0.95)
        assert score.components["under_share"] == pytest.approx(0.05)

    @pytest.mark.parametrize(("power_kw", "value"), [(95.0, 1.0), (94.9, 0.40), (125.0, 1.0), (125.1, 0.40)])
    def test_accuracy_once_settled(self, power_kw, value):
        """95 to 125 kW (100 + 20 % + 5) once 30 s have passed: 60 of 100 s. Before it 0 to 100 was right."""
        power = np.select([self.T < 10.0, self.T < 40.0], [0.0, 100.0], power_kw)
        assert judged("entsoe-fcr", self.T, self.HZ, power, 1.0).value == pytest.approx(value)

    def test_charging_in_a_rise(self):
        power = np.select([self.T < 25.0, self.T < 40.0], [0.0, -50.0], -100.0)
        assert judged("entsoe-fcr", self.T, 100.0 - self.HZ, power, 1.0).value == 1.0


class TestNordicFcrD:
    """Requirement 2: 86 % at 7.5 s. Requirement 3: 3.2 s x contract by then. Settled: 95 to 120 %."""

    T = np.arange(0.0, 200.0, 0.1)
    # Ramp 5 of the document's table 4: 0.24 Hz/s from 49.9 to 49.0 Hz; full activation (49.5) after 1.67 s.
    HZ = np.clip(49.9 - 0.24 * (T - 30.0), 49.0, 49.9)

    def test_the_requirements_of_the_ramp_worked_by_hand(self):
        """Straight from 0 at 30 s to 86 kW at 37.5 s: 86 % and 86 x 7.5 / 2 = 322.5 kW s = 3.225 s; 95 kW from 60 s."""
        rising = np.clip(86.0 / 7.5 * (self.T - 30.0), 0.0, 86.0)
        power = np.where(self.T < 60.0, rising, 95.0)
        score = judged("fcr-d-up", self.T, self.HZ, power, 10.0)
        assert (score.components["ramps"], score.components["ramps_passed"]) == (1, 1)
        assert score.components["power_at_7_5_s_least"] == pytest.approx(0.86, abs=0.001)
        assert score.components["energy_at_7_5_s_least_s"] == pytest.approx(3.225, abs=0.06)
        assert score.value == 1.0
        assert score.components["settled_least"] == pytest.approx(0.95)

    def test_too_little_energy_by_7_5_s(self):
        """Nothing for 5 s, then 86 kW at once: 86 % at 7.5 s, but 86 x 2.5 = 215 kW s = 2.15 s."""
        power = np.where(self.T < 35.0 - 1e-9, 0.0, np.where(self.T < 60.0, 86.0, 100.0))
        score = judged("fcr-d-up", self.T, self.HZ, power, 10.0)
        assert score.components["energy_at_7_5_s_least_s"] == pytest.approx(2.15, abs=0.1)
        assert score.components["ramps_passed"] == 0

    @pytest.mark.parametrize(("power_kw", "inside"), [(95.0, True), (94.0, False), (120.0, True), (121.0, False)])
    def test_requirement_1(self, power_kw, inside):
        """5 % below and 20 % above are borne; settled means that the full power was due for 60 s."""
        power = np.where(self.T < 32.0, 0.0, np.where(self.T < 60.0, 100.0, power_kw))
        assert (judged("fcr-d-up", self.T, self.HZ, power, 10.0).value == 1.0) is inside

    def test_the_rule_before_2023(self):
        """50 % in 5 s and 100 % in 30 s was enough then, and is not now."""
        t_s = np.arange(0.0, 200.0)
        hz = np.where(t_s < 30.0, 49.9, 49.5)
        power = np.select([t_s < 30.0, t_s < 60.0], [0.0, 50.0], 100.0)
        assert judged("fcr-d-up", t_s, hz, power, 1.0, at=date(2023, 8, 31)).value == 1.0
        # 86 % is due from 37.5 s to 60 s: 38 ... 59, 22 of 200 s.
        assert judged("fcr-d-up", t_s, hz, power, 1.0).value == pytest.approx(1.0 - 22 / 200)


class TestNordicFcrN:
    def test_the_step_test(self):
        """49.9 Hz asks for all; from 3 min on 95 to 120 kW are right: 94 kW is outside for 420 of 600 s."""
        t_s = np.arange(0.0, 660.0)
        hz = np.where(t_s < 60.0, 50.0, 49.9)
        power = np.where(t_s < 60.0, 0.0, 94.0)
        assert judged("fcr-n", t_s, hz, np.where(t_s < 60.0, 0.0, 95.0), 1.0).value == 1.0
        score = judged("fcr-n", t_s, hz, power, 1.0)
        assert score.value == pytest.approx(1.0 - 420 / 660)
        assert score.components["settled_least"] == pytest.approx(0.94)


class TestNordicFfr:
    """Below 49.7 Hz: full in 1.3 s, at most 135 %; 5 s released by 20 %/s, or 30 s."""

    T = np.arange(0.0, 60.0, 0.1)
    HZ = np.where(T < 10.0 - 1e-9, 50.0, 49.6)

    def released(self, at_s: float, per_s: float, lag_s: float = 1.3, full_kw: float = KW) -> np.ndarray:
        given = np.clip(full_kw - per_s * (self.T - at_s), 0.0, full_kw)
        return np.where(10.0 + lag_s - 1e-9 > self.T, 0.0, given)

    def test_the_short_support(self):
        """Full from 11.3 s to 16.3 s, then 20 kW/s."""
        score = judged("nordic-ffr", self.T, self.HZ, self.released(16.3, 20.0), 10.0)
        assert score.value == 1.0
        assert score.components["release_kept"] == 1

    def test_the_long_support_may_end_at_once(self):
        assert judged("nordic-ffr", self.T, self.HZ, self.released(41.3, 1000.0), 10.0).value == 1.0

    def test_a_sudden_end_after_15_s_is_half_of_the_long_support(self):
        """Released at once at 26.3 s: that is no short support, and of the 30 s 15 were given."""
        score = judged("nordic-ffr", self.T, self.HZ, self.released(26.3, 1e6), 10.0)
        assert score.value == pytest.approx(0.5, abs=0.005)
        assert score.components["release_kept"] == 0

    def test_over_delivery(self):
        assert judged("nordic-ffr", self.T, self.HZ, self.released(41.3, 1e6, full_kw=135.0), 10.0).value == 1.0
        assert judged("nordic-ffr", self.T, self.HZ, self.released(41.3, 1e6, full_kw=136.0), 10.0).value == 0.0

    def test_half_a_second_late(self):
        """11.3 to 11.7 s are missing (5 samples); of the short support 10 s less the last instant are judged."""
        score = judged("nordic-ffr", self.T, self.HZ, self.released(16.8, 20.0, lag_s=1.8), 10.0)
        assert score.value == pytest.approx(1.0 - 5 / 100, abs=0.001)


class TestErcot:
    T = np.arange(0.0, 950.0, 0.05)
    HZ = np.where(T < 10.0 - 1e-9, 60.0, 59.8)

    @pytest.mark.parametrize(("lag_s", "value"), [(0.2, 1.0), (0.25, 1.0), (0.3, 0.0)])
    def test_full_within_15_cycles(self, lag_s, value):
        power = np.where(10.0 + lag_s - 1e-9 > self.T, 0.0, KW)
        assert judged("ercot-ffr", self.T, self.HZ, power, 20.0).value == value

    @pytest.mark.parametrize(("power_kw", "value"), [(95.0, 1.0), (94.9, 0.0), (150.0, 1.0)])
    def test_its_limits(self, power_kw, value):
        power = np.where(self.T < 10.2 - 1e-9, 0.0, power_kw)
        assert judged("ercot-ffr", self.T, self.HZ, power, 20.0).value == pytest.approx(value)

    def test_gives_up_after_a_third_of_the_quarter_of_an_hour(self):
        """300 of 900 s."""
        power = np.where((self.T < 10.0 - 1e-9) | (self.T >= 310.0 - 1e-9), 0.0, KW)
        assert judged("ercot-ffr", self.T, self.HZ, power, 20.0).value == pytest.approx(300 / 900, abs=0.001)

    def test_primary_response(self):
        """59.9 Hz over 5 % droop and a dead band of 17 mHz: 83 of 2983 mHz = 2.782 % of 100 kW. Given 2 kW: 0.7188."""
        t_s = np.arange(0.0, 200.0)
        hz, power = np.where(t_s < 60.0, 60.0, 59.9), np.where(t_s < 60.0, 0.0, 2.0)
        assert judged("ercot-pfr", t_s, hz, power, 1.0).value == pytest.approx(2.0 / (100.0 * 83.0 / 2983.0))


class TestAemo:
    """Lesser of two ratios of energies over the standard trajectory: up to its time, and until the next service's."""

    T = np.arange(0.0, 120.0, 0.2)
    # All is due from 10 s on (0.5 Hz).
    HZ = np.where(T < 10.0 - 1e-9, 50.0, 49.5)

    def given(self, power) -> float:
        return judged("aemo-r6", self.T, self.HZ, power, 5.0).value

    def test_the_standard_trajectory_itself(self):
        """Straight up in 6 s, straight down to 60 s."""
        since = self.T - 10.0
        power = np.where(since < 0.0, 0.0, np.where(since < 6.0, KW * since / 6.0, KW * (60.0 - since) / 54.0))
        assert self.given(np.clip(power, 0.0, KW)) == pytest.approx(1.0)

    def test_half_of_it(self):
        since = self.T - 10.0
        power = np.where(since < 0.0, 0.0, np.where(since < 6.0, 50.0 * since / 6.0, 50.0 * (60.0 - since) / 54.0))
        assert self.given(np.clip(power, 0.0, KW)) == pytest.approx(0.5)

    def test_a_step_after_3_s_makes_the_first_window_s_energy(self):
        """Trajectory 6 x 100 / 2 = 300 kW s; 100 kW from 13 s on give 3 x 100 = 300 kW s: all of it."""
        assert self.given(np.where(self.T < 13.0 - 1e-9, 0.0, KW)) == 1.0

    def test_a_step_after_5_s_makes_a_third(self):
        """1 x 100 of 300 kW s; what is more later makes up for nothing. Sums of 5 samples a second: 500 of 1,450."""
        assert self.given(np.where(self.T < 15.0 - 1e-9, 0.0, 1.5 * KW)) == pytest.approx(5 * 150 / 1450, abs=1e-6)

    def test_gives_up_at_33_s(self):
        """Of the falling part, 27 s of 54 at 100 kW: 2,700 kW s of 54 x 100 / 2 = 2,700: enough. At 19.5 s: a half."""
        full = (self.T >= 10.0 - 1e-9) & (self.T < 43.0 - 1e-9)
        assert self.given(np.where(full, KW, 0.0)) == pytest.approx(1.0, abs=0.004)
        short = (self.T >= 10.0 - 1e-9) & (self.T < 29.5 - 1e-9)
        assert self.given(np.where(short, KW, 0.0)) == pytest.approx(0.5, abs=0.005)

    def test_lower_charges(self):
        score = judged("aemo-l6", self.T, 100.0 - self.HZ, np.where(self.T < 13.0 - 1e-9, 0.0, -KW), 5.0)
        assert score.value == 1.0


class TestChinaPrimary:
    """0.1 Hz is 67 mHz outside the dead band, of 500 mHz at 1 % droop: 13.4 % of contract. Passed from 0.7 on."""

    T = np.arange(0.0, 600.0)
    # 60 s 0.1 Hz low, later 60 s 0.1 Hz high.
    HZ = np.select([(T >= 60.0) & (T < 120.0), (T >= 300.0) & (T < 360.0)], [49.9, 50.1], 50.0)

    def test_energy_over_theoretical_energy(self):
        """Low: 13.4 of 13.4 kW; high: 6.7 of 13.4 kW. Mean 0.75; one of two passes."""
        power = np.select([self.HZ < 50.0, self.HZ > 50.0], [13.4, -6.7], 0.0)
        score = judged("cn-primary", self.T, self.HZ, power, 1.0)
        assert score.value == pytest.approx(0.75)
        assert score.components["pass_rate"] == pytest.approx(0.5)
        assert score.components["events"] == 2

    def test_three_seconds_outside_are_no_excursion(self):
        hz = np.where((self.T >= 60.0) & (self.T < 63.0), 49.9, 50.0)
        assert judged("cn-primary", self.T, hz, 0.0, 1.0).value is None


class TestStaticFcrD:
    """ENTSO-E's document, section 3.1.3: after 60 s and 15 min it is off and ready again; 110 % settled."""

    T = np.arange(0.0, 3000.0)
    # Full activation from 100 to 400 s, and again from 700 to 800 s (inside the grace until 1360 s) and from 2000 s on.
    HZ = np.where(((T >= 100) & (T < 400)) | ((T >= 700) & (T < 800)) | ((T >= 2000) & (T < 2100)), 49.5, 49.9)

    def test_stays_on_until_the_grace_is_over_and_need_not_come_twice(self):
        """On from 105 s, off at 1200 s, on again from 2005 s: all right for a static response."""
        power = np.where(((self.T >= 105) & (self.T < 1200)) | ((self.T >= 2005) & (self.T < 2100)), KW, 0.0)
        assert judged("fcr-d-up-static", self.T, self.HZ, power, 1.0).value == 1.0
        assert judged("fcr-d-up", self.T, self.HZ, power, 1.0).value < 0.8

    def test_need_not_come_twice_but_has_to_come_once(self):
        """Off from 460 s on: the second fall (700 s) may be missed, not the third: 2008 to 2099 s, 92 of 3000."""
        power = np.where((self.T >= 105) & (self.T < 460), KW, 0.0)
        score = judged("fcr-d-up-static", self.T, self.HZ, power, 1.0)
        assert score.value == pytest.approx(1.0 - 92 / 3000)

    def test_on_for_longer_than_the_grace(self):
        """Due until 799 s, so 60 s + 15 min end at 1759 s; on until 1800 s: 40 s too long."""
        power = np.where(((self.T >= 105) & (self.T < 1800)) | ((self.T >= 2005) & (self.T < 2100)), KW, 0.0)
        assert judged("fcr-d-up-static", self.T, self.HZ, power, 1.0).value == pytest.approx(1.0 - 40 / 3000)

    @pytest.mark.parametrize(("power_kw", "inside"), [(95.0, True), (110.0, True), (112.0, False), (94.0, False)])
    def test_settled(self, power_kw, inside):
        power = np.where((self.T >= 105) & (self.T < 1200), power_kw, 0.0)
        power = np.where((self.T >= 2005) & (self.T < 2100), KW, power)
        assert (judged("fcr-d-up-static", self.T, self.HZ, power, 1.0).value == 1.0) is inside

    def test_what_fell_at_once_is_told(self):
        """Requirement 7: at most 20 % in a second and 25 % in 10 s."""
        power = np.clip(KW - 2.5 * (self.T - 460.0), 0.0, KW) * (self.T >= 105.0)
        components = judged("fcr-d-up-static", self.T, self.HZ, power, 1.0).components
        assert components["drop_in_10_s_most"] == pytest.approx(0.25)
        assert components["drop_in_1_s_most"] == pytest.approx(0.025)
