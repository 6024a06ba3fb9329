"""An obligation shared among sites: nothing lost, nobody overloaded, no site favored by its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.allocation import AllocationError, allocate

WATT_KW = 1e-3
powers = st.one_of(st.just(0.0), st.floats(1e-6, 1e4))
fleets = st.lists(powers, max_size=60)
targets = st.floats(-2e5, 2e5)


class TestAllocate:
    def test_shares_by_what_each_site_sustains(self) -> None:
        # 60 kW of 120 kW: every site gives half of what it could keep up.
        allocation = allocate(60.0, [20.0, 40.0, 60.0])
        assert allocation.power_kw == pytest.approx([10.0, 20.0, 30.0])
        assert allocation.unserved_kw == 0.0

    def test_reports_what_nobody_could_do(self) -> None:
        allocation = allocate(100.0, [20.0, 40.0])
        assert allocation.power_kw == pytest.approx([20.0, 40.0])
        assert allocation.unserved_kw == pytest.approx(40.0)

    def test_what_a_full_site_cannot_take_goes_to_the_others(self) -> None:
        # Level: 5 + x*10 + x*10 = 21 -> x = 0.8.
        allocation = allocate(21.0, [10.0, 10.0, 10.0], ceiling_kw=[5.0, 10.0, 9.0])
        assert allocation.power_kw == pytest.approx([5.0, 8.0, 8.0])

    def test_a_ceiling_above_the_weight_may_be_used(self) -> None:
        allocation = allocate(30.0, [1.0, 2.0], ceiling_kw=[50.0, 50.0])
        assert allocation.power_kw == pytest.approx([10.0, 20.0])

    def test_a_site_that_sustains_nothing_gets_nothing(self) -> None:
        allocation = allocate(5.0, [0.0, 4.0], ceiling_kw=[9.0, 9.0])
        assert allocation.power_kw == pytest.approx([0.0, 5.0])

    def test_an_empty_fleet_leaves_all_unserved(self) -> None:
        assert allocate(-7.0, []).unserved_kw == -7.0

    def test_no_target_asks_nobody(self) -> None:
        allocation = allocate(0.0, [3.0, 4.0])
        assert allocation.power_kw.tolist() == [0.0, 0.0]
        assert allocation.unserved_kw == 0.0

    def test_small_shares_go_to_those_who_can_give_the_minimum(self) -> None:
        # By proportion 10, 4, 1 of 15: with 2 kW at least, the two larger ones share 7.5.
        allocation = allocate(7.5, [10.0, 4.0, 1.0], minimum_kw=2.0)
        assert allocation.power_kw == pytest.approx([7.5 * 10 / 14, 7.5 * 4 / 14, 0.0])

    def test_a_target_under_the_minimum_stays_unserved(self) -> None:
        allocation = allocate(1.5, [10.0, 4.0], minimum_kw=2.0)
        assert allocation.power_kw.tolist() == [0.0, 0.0]
        assert allocation.unserved_kw == 1.5


class TestAllocateInvariants:
    @given(targets, fleets)
    def test_shares_and_rest_add_up_to_the_target(self, target_kw: float, fleet: list[float]) -> None:
        allocation = allocate(target_kw, fleet)
        assert abs(allocation.served_kw + allocation.unserved_kw - target_kw) < WATT_KW

    @given(targets, fleets, st.randoms(use_true_random=False))
    def test_with_ceilings_too(self, target_kw: float, fleet: list[float], random) -> None:  # type: ignore[no-untyped-def]
        ceilings = [random.choice([0.0, random.uniform(0.0, 2e4), 1e-5]) for _ in fleet]
        allocation = allocate(target_kw, fleet, ceiling_kw=ceilings)
        assert abs(allocation.served_kw + allocation.unserved_kw - target_kw) < WATT_KW
        assert np.all(np.abs(allocation.power_kw) <= np.asarray(ceilings))

    @given(targets, fleets)
    def test_no_site_beyond_what_it_sustains_and_none_against_the_sign(
        self, target_kw: float, fleet: list[float]
    ) -> None:
        allocation = allocate(target_kw, fleet)
        assert np.all(np.abs(allocation.power_kw) <= np.asarray(fleet))
        assert np.all(allocation.power_kw * np.sign(target_kw) >= 0.0)

    @given(targets, fleets)
    def test_something_is_unserved_only_when_all_sites_are_full(self, target_kw: float, fleet: list[float]) -> None:
        allocation = allocate(target_kw, fleet)
        if abs(allocation.unserved_kw) > WATT_KW:
            assert np.abs(allocation.power_kw) == pytest.approx(fleet)

    @given(targets, st.lists(powers, min_size=1, max_size=60), st.randoms(use_true_random=False))
    def test_the_place_of_a_site_does_not_matter(self, target_kw: float, fleet: list[float], random) -> None:  # type: ignore[no-untyped-def]
        places = list(range(len(fleet)))
        random.shuffle(places)
        straight = allocate(target_kw, fleet)
        shuffled = allocate(target_kw, [fleet[place] for place in places])
        assert np.array_equal(shuffled.power_kw, straight.power_kw[places])
        assert shuffled.unserved_kw == straight.unserved_kw

    @given(targets, fleets)
    def test_charging_mirrors_discharging(self, target_kw: float, fleet: list[float]) -> None:
        up, down = allocate(target_kw, fleet), allocate(-target_kw, fleet)
        assert np.array_equal(up.power_kw, -down.power_kw)
        assert up.unserved_kw == -down.unserved_kw

    @given(targets, fleets, st.floats(0.01, 500.0))
    def test_every_share_with_a_minimum_is_none_or_enough(
        self, target_kw: float, fleet: list[float], minimum_kw: float
    ) -> None:
        allocation = allocate(target_kw, fleet, minimum_kw=minimum_kw)
        shares = np.abs(allocation.power_kw)
        assert np.all((shares == 0.0) | (shares >= minimum_kw * (1 - 1e-6)))
        assert abs(allocation.served_kw + allocation.unserved_kw - target_kw) < WATT_KW


class TestAllocateRefuses:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1])
    def test_a_power_that_is_none(self, bad: float) -> None:
        with pytest.raises(AllocationError, match=r"sustainable_kw\[1\] is .*accepted: a finite number from 0"):
            allocate(5.0, [1.0, bad])
        with pytest.raises(AllocationError, match=r"ceiling_kw\[0\]"):
            allocate(5.0, [1.0], ceiling_kw=[bad])

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_a_target_that_is_none(self, bad: float) -> None:
        with pytest.raises(AllocationError, match="target_kw"):
            allocate(bad, [1.0])

    def test_arrays_of_other_shapes(self) -> None:
        with pytest.raises(AllocationError, match="ceiling_kw has 2 values, accepted: 1"):
            allocate(5.0, [1.0], ceiling_kw=[1.0, 2.0])
        with pytest.raises(AllocationError, match="2 dimensions"):
            allocate(5.0, [[1.0]])
        with pytest.raises(AllocationError, match="not an array of numbers"):
            allocate(5.0, ["much"])
        with pytest.raises(AllocationError, match="minimum_kw"):
            allocate(5.0, [1.0], minimum_kw=float("nan"))
