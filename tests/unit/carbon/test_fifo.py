"""Layers of a store: oldest first, carbon conserved, by hand and at random."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon.core.fifo import Layers
from carbon.core.inventory import METHOD_EFFICIENCY, Efficiency, Pool, PoolOverdrawn

KWH = KG = 10**9
LOSSLESS = Efficiency(Fraction(1), Fraction(1))


def test_the_oldest_charge_leaves_first() -> None:
    layers = Layers(LOSSLESS)
    layers.charge(10 * KWH, 1 * KG)
    layers.charge(10 * KWH, 5 * KG)
    # The first layer whole, and half of the second: 1 + 2.5 kg; the weighted average would give 4.5.
    assert layers.discharge(15 * KWH) == 3_500_000_000
    assert (layers.energy_uwh, layers.carbon_ug) == (5 * KWH, 2_500_000_000)


def test_an_opening_stock_is_the_oldest() -> None:
    layers = Layers.opened_with(Pool(10 * KWH, 2 * KG), LOSSLESS)
    layers.charge(10 * KWH, 0)
    assert layers.discharge(10 * KWH) == 2 * KG


def test_carbon_without_energy_has_no_place_in_an_empty_store() -> None:
    with pytest.raises(ValueError, match="brings 5 ug into an empty store, accepted: 0"):
        Layers(LOSSLESS).charge(0, 5)


def test_more_than_is_in_store_changes_nothing() -> None:
    layers = Layers.opened_with(Pool(10 * KWH, 2 * KG), METHOD_EFFICIENCY)
    with pytest.raises(PoolOverdrawn, match="the layers hold 10000000000 uWh"):
        layers.discharge(10 * KWH)
    assert (layers.energy_uwh, layers.carbon_ug) == (10 * KWH, 2 * KG)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**16), st.integers(0, 10**16)), max_size=40))
def test_carbon_and_energy_are_conserved(steps: list[tuple[bool, int, int]]) -> None:
    layers = Layers.opened_with(Pool(10**10, 10**9), METHOD_EFFICIENCY)
    carbon_ug = 10**9
    for charges, energy, carbon in steps:
        if charges:
            if energy == 0:
                carbon = 0  # a charge of no energy brings none
            layers.charge(energy, carbon)
            carbon_ug += carbon
        elif layers.energy_uwh:
            most = layers.energy_uwh * 95 // 100
            carbon_ug -= layers.discharge(min(energy, most))
        assert layers.carbon_ug == carbon_ug
        assert layers.energy_uwh >= 0
