"""Required and delivered power, worst 10 s, response time, K, from synthetic 100 Hz records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.delivery import (
    Delivery,
    FleetSum,
    SiteRecord,
    energy_uwh,
    response_time_s,
    site_delivery,
    timed_envelope,
    worst_window,
)
from markets.core.scores.neso import k_factor, worst_error_ratio
from sites.core.curves import curve_named
from sites.core.units import UWH_PER_KWH

LOW, HIGH = curve_named("neso-dc-low"), curve_named("neso-dc-high")
RATE_HZ = 100.0


def a_record(frequency_hz, battery_kw, *, closed=1.0, armed_kw=100.0) -> SiteRecord:
    frequency = np.asarray(frequency_hz, dtype=np.float64)
    full = np.ones_like(frequency)
    return SiteRecord(frequency, np.asarray(battery_kw, dtype=np.float64) * full, closed * full, armed_kw * full)


def delivered(record: SiteRecord, *, curve=LOW, contracted_kw=100.0, baseline_kw=0.0) -> Delivery:
    return site_delivery(
        record, curve=curve, nominal_hz=50.0, rate_hz=RATE_HZ, contracted_kw=contracted_kw, baseline_kw=baseline_kw
    )


def a_step(*, lag_s=0.3, full_kw=100.0, seconds=20.0) -> Delivery:
    """Frequency falls to full response after 2 s; the battery follows after a lag."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return delivered(a_record(np.where(t < 2.0, 50.0, 49.4), np.where(t < 2.0 + lag_s - 1e-9, 0.0, full_kw)))


class TestSite:
    @pytest.mark.parametrize(("frequency_hz", "due_kw"), [(50.0, 0.0), (49.985, 0.0), (49.8, 5.0), (49.5, 100.0)])
    def test_what_is_due_follows_the_curve(self, frequency_hz, due_kw):
        delivery = delivered(a_record([frequency_hz] * 10, 0.0))
        assert delivery.required_kw == pytest.approx(np.full(10, due_kw))

    def test_only_what_is_above_the_declared_baseline_is_service(self):
        delivery = delivered(a_record([49.5] * 10, 80.0), baseline_kw=-20.0)
        assert delivery.delivered_kw == pytest.approx(np.full(10, 100.0))

    def test_an_islanded_site_delivers_nothing_and_is_not_available(self):
        delivery = delivered(a_record([50.0] * 10, 80.0, closed=0.0))
        assert not delivery.delivered_kw.any()
        assert delivery.available_ratio == 0.0

    def test_what_was_not_recorded_is_not_delivered(self):
        record = a_record([49.5] * 10, 100.0)
        record.battery_kw[4:] = np.nan
        delivery = delivered(record)
        assert delivery.available_ratio == pytest.approx(0.4)
        assert delivery.delivered_kw.sum() == pytest.approx(400.0)

    def test_an_unarmed_site_is_not_available(self):
        assert delivered(a_record([49.5] * 10, 100.0, armed_kw=0.0)).available_ratio == 0.0

    @given(st.lists(st.floats(49.0, 51.0), min_size=20, max_size=60), st.floats(-50.0, 50.0), st.floats(1.0, 1000.0))
    def test_high_is_the_mirror_of_low(self, frequency_hz, battery_kw, contracted_kw):
        mirrored = [100.0 - f for f in frequency_hz]
        low = delivered(a_record(frequency_hz, battery_kw), contracted_kw=contracted_kw)
        high = delivered(a_record(mirrored, -battery_kw), curve=HIGH, contracted_kw=contracted_kw)
        assert high.required_kw == pytest.approx(low.required_kw, abs=1e-6 * contracted_kw)
        assert high.delivered_kw == pytest.approx(low.delivered_kw)

    def test_no_event_no_energy(self):
        delivery = delivered(a_record([50.0] * 1000, -12.5), baseline_kw=-12.5)
        assert energy_uwh(delivery.required_kw, RATE_HZ) == 0
        assert energy_uwh(delivery.delivered_kw, RATE_HZ) == 0
        assert worst_window(delivery, within_s=1.0, window_s=5.0) is None
        assert response_time_s(delivery, within_s=1.0) is None


class TestFleet:
    def fleet(self, parts: list[tuple[SiteRecord, Delivery]], contracted_kw: float) -> Delivery:
        total = FleetSum(parts[0][1].delivered_kw.size)
        for record, delivery in parts:
            total.add(record, delivery)
        return total.delivery(curve=LOW, nominal_hz=50.0, rate_hz=RATE_HZ, contracted_kw=contracted_kw)

    def test_an_island_s_own_frequency_does_not_tell_the_grid_s(self):
        on_grid = a_record([49.5] * 10, 100.0)
        island = a_record([50.0] * 10, 55.0, closed=0.0)
        fleet = self.fleet([(on_grid, delivered(on_grid)), (island, delivered(island))], 200.0)
        assert fleet.required_kw == pytest.approx(np.full(10, 200.0))
        assert fleet.delivered_kw == pytest.approx(np.full(10, 100.0))

    def test_without_any_record_nothing_is_available(self):
        record = a_record([np.nan] * 10, np.nan)
        fleet = self.fleet([(record, delivered(record))], 100.0)
        assert fleet.available_ratio == 0.0
        assert np.isnan(worst_error_ratio(fleet, within_s=1.0))

    def test_sites_without_a_record_are_not_available_even_when_nothing_is_due(self):
        quiet, gone = a_record([50.0] * 10, 0.0), a_record([np.nan] * 10, np.nan)
        fleet = self.fleet([(quiet, delivered(quiet)), (gone, delivered(gone))], 200.0)
        assert fleet.available_ratio == pytest.approx(0.5)

    def test_more_sites_than_contracted_make_no_more_than_the_whole(self):
        record = a_record([50.0] * 10, 0.0)
        assert self.fleet([(record, delivered(record))] * 3, 200.0).available_ratio == 1.0

    @given(st.permutations(range(6)))
    def test_the_order_of_the_sites_does_not_matter(self, order):
        rng = np.random.default_rng(1)
        records = [a_record(49.6 + 0.01 * rng.standard_normal(200), 10.0 * n) for n in range(6)]
        parts = [(record, delivered(record)) for record in records]
        one, other = self.fleet(parts, 300.0), self.fleet([parts[n] for n in order], 300.0)
        assert other.required_kw == pytest.approx(one.required_kw, rel=1e-9)
        assert other.delivered_kw == pytest.approx(one.delivered_kw, rel=1e-9)


class TestWorstWindow:
    def test_the_allowed_time_is_not_held_against_the_response(self):
        worst = worst_window(a_step(lag_s=0.9), within_s=1.0)
        assert worst is not None
        assert worst.ratio == pytest.approx(1.0, abs=0.011)

    def test_a_dip_of_a_fifth_for_10_s_is_found(self):
        delivery = a_step(seconds=60.0)
        delivery.delivered_kw[3000:4000] *= 0.8
        worst = worst_window(delivery, within_s=1.0)
        assert worst is not None
        assert (worst.starts_s, worst.ratio) == (pytest.approx(30.0), pytest.approx(0.8))

    def test_too_much_at_one_time_does_not_make_up_for_too_little_at_another(self):
        delivery = a_step(seconds=60.0)
        delivery.delivered_kw[2000:] = np.where((np.arange(4000) // 500) % 2, 200.0, 0.0)
        worst = worst_window(delivery, within_s=1.0)
        assert worst is not None
        assert worst.ratio == pytest.approx(0.5)

    def test_a_record_shorter_than_the_window_has_none(self):
        assert worst_window(a_step(seconds=9.0), within_s=1.0) is None


class TestResponseTime:
    @given(st.integers(0, 200))
    def test_it_is_the_lag_to_90_percent_and_never_less_than_one_sample(self, samples):
        lag_s = samples / RATE_HZ
        assert response_time_s(a_step(lag_s=lag_s), within_s=1.0) == pytest.approx(lag_s + 1 / RATE_HZ)

    def test_a_requirement_gone_before_the_allowed_time_need_not_be_met(self):
        delivery = a_step(lag_s=0.05)
        delivery.required_kw[10:109] = delivery.contracted_kw
        assert response_time_s(delivery, within_s=1.0) == pytest.approx(0.06)
        delivery.required_kw[10:110] = delivery.contracted_kw
        assert response_time_s(delivery, within_s=1.0) > 1.0

    def test_full_power_that_was_due_and_never_came_is_no_small_lag(self):
        assert response_time_s(a_step(full_kw=89.0), within_s=1.0) == float("inf")

    def test_none_when_full_power_was_never_due(self):
        assert response_time_s(delivered(a_record([49.6] * 1000, 60.0)), within_s=1.0) is None


class TestPerformance:
    @pytest.mark.parametrize(
        ("error", "k"),
        [(0.0, 1.0), (0.03, 1.0), (0.05, 0.5), (0.06, 0.25), (0.07, 0.0), (1.0, 0.0), (float("nan"), 0.0)],
    )
    def test_k_falls_from_3_to_7_percent(self, error, k):
        assert k_factor(error) == pytest.approx(k)

    def test_a_response_within_the_time_has_no_error(self):
        assert worst_error_ratio(a_step(lag_s=0.9), within_s=1.0) == 0.0

    def test_a_late_response_is_an_error_for_as_long_as_it_is_late(self):
        assert worst_error_ratio(a_step(lag_s=1.5), within_s=1.0) == pytest.approx(0.49, abs=0.02)

    @pytest.mark.parametrize("full_kw", [95.0, 105.0])
    def test_too_much_is_as_wrong_as_too_little(self, full_kw):
        assert worst_error_ratio(a_step(full_kw=full_kw), within_s=1.0) == pytest.approx(0.05)

    def test_the_time_off_the_grid_is_unavailable_not_wrong(self):
        delivery = a_step()
        delivery.available[1000:] = False
        off = replace(delivery, delivered_kw=np.where(delivery.available, delivery.delivered_kw, 0.0))
        assert worst_error_ratio(off, within_s=1.0) == 0.0


class TestEnvelope:
    @given(
        st.lists(st.one_of(st.floats(0.0, 100.0), st.just(float("nan"))), max_size=80),
        st.integers(0, 30),
    )
    def test_it_is_the_smallest_and_largest_of_the_time_before(self, required, back):
        values = np.asarray(required, dtype=np.float64)
        low, high = timed_envelope(values, back / RATE_HZ, RATE_HZ)
        for index, value in enumerate(values):
            if np.isnan(value):
                assert np.isnan(low[index])
                assert np.isnan(high[index])
            else:
                before = values[max(0, index - back) : index + 1]
                assert low[index] == np.nanmin(before)
                assert high[index] == np.nanmax(before)


@given(st.floats(-1e4, 1e4), st.integers(1, 5000))
def test_energy_is_power_times_time(power_kw, samples):
    expected = power_kw * samples / RATE_HZ / 3600.0 * UWH_PER_KWH
    assert energy_uwh(np.full(samples, power_kw), RATE_HZ) == pytest.approx(expected, rel=1e-9, abs=1)


class TestBothWays:
    """Products that answer both ways: Continental Europe's FCR, the Nordics' FCR-N, China's primary response."""

    FCR = curve_named("entsoe-fcr")

    def swing(self, gave_kw, *, within_s=1.0, curve=FCR) -> Delivery:
        """20 s of full response downwards, 20 s of none, 20 s of full response upwards; ``gave_kw`` in each."""
        n = round(20.0 * RATE_HZ)
        record = a_record(np.repeat([49.8, 50.0, 50.2], n), np.repeat(np.asarray(gave_kw, dtype=float), n))
        return delivered(record, curve=curve)

    def test_a_power_into_the_bus_counts_positive_and_what_is_due_has_its_sign(self):
        delivery = self.swing([100.0, 0.0, -100.0])
        assert delivery.required_kw[[0, 3000, 5999]] == pytest.approx([100.0, 0.0, -100.0])
        assert delivery.delivered_kw[[0, 3000, 5999]] == pytest.approx([100.0, 0.0, -100.0])
        assert energy_uwh(delivery.delivered_kw, RATE_HZ) == 0

    def test_who_follows_both_ways_is_paid_in_full(self):
        delivery = self.swing([100.0, 0.0, -100.0])
        worst = worst_window(delivery, within_s=1.0)
        assert worst is not None
        assert worst.ratio == pytest.approx(1.0)
        assert k_factor(worst_error_ratio(delivery, within_s=1.0)) == 1.0
        assert response_time_s(delivery, within_s=1.0) == pytest.approx(0.01)

    @pytest.mark.parametrize(("gave_kw", "ratio"), [([100.0, 0.0, -60.0], 0.6), ([70.0, 0.0, -100.0], 0.7)])
    def test_each_way_is_judged_by_itself(self, gave_kw, ratio):
        worst = worst_window(self.swing(gave_kw), within_s=1.0)
        assert worst is not None
        assert worst.ratio == pytest.approx(ratio)

    def test_discharging_where_charging_was_due_is_no_delivery(self):
        delivery = self.swing([100.0, 0.0, 100.0])
        worst = worst_window(delivery, within_s=1.0)
        assert worst is not None
        assert worst.ratio <= -1.0
        assert worst_error_ratio(delivery, within_s=1.0) == pytest.approx(2.0)

    def test_the_allowed_time_bridges_the_turn_from_one_way_to_the_other(self):
        t = np.arange(round(60.0 * RATE_HZ)) / RATE_HZ
        frequency_hz = 50.0 - 0.2 * np.sign(np.sin(2.0 * np.pi * t / 30.0 + 1e-6))
        late = 50.0 - 0.2 * np.sign(np.sin(2.0 * np.pi * np.maximum(t - 0.8, 0.0) / 30.0 + 1e-6))
        delivery = delivered(a_record(frequency_hz, (50.0 - late) / 0.2 * 100.0), curve=self.FCR)
        worst = worst_window(delivery, within_s=1.0)
        assert worst is not None
        assert worst.ratio == pytest.approx(1.0, abs=1e-6)
        assert worst_error_ratio(delivery, within_s=1.0) == pytest.approx(0.0, abs=1e-9)

    @given(
        st.sampled_from(["entsoe-fcr", "fcr-n", "cn-primary"]), st.lists(st.floats(-0.3, 0.3), min_size=30, max_size=60)
    )
    def test_the_mirror_of_a_record_is_judged_alike(self, name, deviations):
        curve = curve_named(name)
        deviation = np.repeat(deviations, 50)
        gave = 80.0 * np.roll(deviation, 20) / 0.3
        one = delivered(a_record(50.0 - deviation, gave), curve=curve)
        other = delivered(a_record(50.0 + deviation, -gave), curve=curve)
        assert other.required_kw == pytest.approx(-one.required_kw, abs=1e-6)
        first, second = worst_window(one, within_s=2.0), worst_window(other, within_s=2.0)
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert second.ratio == pytest.approx(first.ratio, abs=1e-6)
        assert worst_error_ratio(other, within_s=2.0) == pytest.approx(worst_error_ratio(one, within_s=2.0), abs=1e-6)
