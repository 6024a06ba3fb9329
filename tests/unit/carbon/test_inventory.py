"""Pools: carbon is conserved, nothing goes below zero, 10 MWh do not overflow."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon.core.inventory import (
    METHOD_EFFICIENCY,
    Efficiency,
    Pool,
    PoolOverdrawn,
    charge_pool,
    discharge_pool,
    rounded_quotient,
    stored_for,
    transfer_stock,
    true_up,
)

KWH = 1_000_000_000
TEN_MWH = 10_000 * KWH


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    energy = draw(st.integers(0, TEN_MWH))
    return Pool(energy, draw(st.integers(0, TEN_MWH)), draw(st.integers(0, energy)))


class TestRoundedQuotient:
    @given(st.integers(-(10**40), 10**40), st.integers(1, 10**30))
    def test_is_the_fraction_rounded_half_to_even(self, numerator: int, denominator: int) -> None:
        assert rounded_quotient(numerator, denominator) == round(Fraction(numerator, denominator))

    @given(st.integers(-100, 100))
    def test_halves_go_to_the_even_side(self, whole: int) -> None:
        assert rounded_quotient(2 * whole + 1, 2) == round(Fraction(2 * whole + 1, 2))


class TestDischargePool:
    def test_carries_the_average_with_the_loss_in_it(self) -> None:
        done = discharge_pool(Pool(100 * KWH, 40 * KWH, 50 * KWH), 19 * KWH, METHOD_EFFICIENCY)
        # 19 kWh at the terminals take 20 kWh: a fifth of everything.
        assert done.pool == Pool(80 * KWH, 32 * KWH, 40 * KWH)
        assert done.carbon_ug == 8 * KWH
        assert done.green_uwh == round(9.5 * KWH)

    def test_an_emptied_pool_gives_up_all_its_carbon(self) -> None:
        done = discharge_pool(Pool(20 * KWH, 7, 3), 19 * KWH, METHOD_EFFICIENCY)
        assert done.pool == Pool(0, 0, 0)
        assert done.carbon_ug == 7

    def test_more_than_the_stock_is_refused_with_both_figures(self) -> None:
        with pytest.raises(PoolOverdrawn, match="takes 20000000000 uWh, the pool holds 19999999999 uWh"):
            discharge_pool(Pool(20 * KWH - 1, 5), 19 * KWH, METHOD_EFFICIENCY)

    @given(pools(), st.fractions(0, 1))
    def test_conserves_carbon_up_to_ten_megawatt_hours(self, pool: Pool, part: Fraction) -> None:
        ac_uwh = int(pool.energy_uwh * METHOD_EFFICIENCY.discharge * part)
        done = discharge_pool(pool, ac_uwh, METHOD_EFFICIENCY)
        assert done.pool.carbon_ug + done.carbon_ug == pool.carbon_ug
        assert done.pool.energy_uwh == pool.energy_uwh - stored_for(ac_uwh, METHOD_EFFICIENCY)
        if pool.energy_uwh:
            exact = Fraction(pool.carbon_ug * stored_for(ac_uwh, METHOD_EFFICIENCY), pool.energy_uwh)
            assert abs(done.carbon_ug - exact) <= Fraction(1, 2)


class TestTransferStock:
    @given(pools(), pools(), st.fractions(0, 1))
    def test_conserves_all_three_balances(self, source: Pool, target: Pool, part: Fraction) -> None:
        left, right, moved = transfer_stock(source, target, int(source.energy_uwh * part))
        for name in ("energy_uwh", "carbon_ug", "green_uwh"):
            assert getattr(left, name) + getattr(right, name) == getattr(source, name) + getattr(target, name)
        assert moved == right.carbon_ug - target.carbon_ug

    def test_refuses_more_than_there_is(self) -> None:
        with pytest.raises(PoolOverdrawn):
            transfer_stock(Pool(5, 1), Pool(), 6)


class TestChargeAndTrueUp:
    def test_a_charge_brings_its_carbon_and_loses_energy_only(self) -> None:
        assert charge_pool(Pool(), 100, 7, 50, METHOD_EFFICIENCY) == Pool(96, 7, 48)

    def test_a_true_up_neither_makes_nor_destroys_carbon(self) -> None:
        assert true_up(Pool(10, 9, 8), 5) == Pool(5, 9, 5)

    @pytest.mark.parametrize("value", [Fraction(0), Fraction(-1), Fraction(101, 100)])
    def test_an_impossible_efficiency_is_refused(self, value: Fraction) -> None:
        with pytest.raises(ValueError, match="charge efficiency is"):
            Efficiency(value, Fraction(1))

    def test_a_negative_balance_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nothing negative"):
            Pool(1, -1)
