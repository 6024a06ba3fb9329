"""The compiled inventory of a fleet against the book's own, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon.core.fleet_inventory import (
    FACTOR_UNIT,
    FLOWS,
    FleetInventory,
    FleetRangeError,
    IntArray,
    billionths,
    fleet_inventory,
)
from carbon.core.flows import StepEnergy
from carbon.core.inventory import METHOD_EFFICIENCY, Efficiency, Pool, PoolOverdrawn
from carbon.core.totals import SiteTotals, varying_totals

ASSETS, STEPS = 4, 24


def a_fleet(seed: int, most_uwh: int, efficiency: Efficiency = METHOD_EFFICIENCY) -> dict[str, object]:
    """Random flows up to a size, with pools up to four of it; a step trades what its other flows leave."""
    chance = np.random.default_rng(seed)
    flows = np.zeros((len(FLOWS), ASSETS, STEPS), np.int64)
    for place, often in ((2, 0.7), (4, 0.1), (5, 0.9), (6, 0.4), (7, 0.4), (8, 0.4), (9, 0.4)):
        drawn = chance.integers(0, most_uwh, (ASSETS, STEPS), endpoint=True)
        flows[place] = drawn * (chance.random((ASSETS, STEPS)) < often)
    # Two sources and three sinks in balance: within the limit of a step.
    flows[2:] //= 4
    net = flows[5] + flows[6] + flows[7] - flows[2] - flows[8] - flows[9]
    flows[0], flows[1] = np.maximum(net, 0), np.maximum(-net, 0)
    energy = chance.integers(0, most_uwh, (ASSETS, 2), endpoint=True)
    carbon = chance.integers(0, most_uwh, (ASSETS, 2), endpoint=True)
    green = (energy * chance.random((ASSETS, 2))).astype(np.int64)
    return {
        "flows": flows,
        "grid": chance.integers(0, FACTOR_UNIT, (2, STEPS)),
        "green": chance.integers(0, FACTOR_UNIT, (2, STEPS), endpoint=True),
        "zone": chance.integers(0, 2, ASSETS),
        "pools": np.stack([energy, carbon, green], axis=2),
        "efficiency": efficiency,
    }


def one_by_one(fleet: dict, asset: int, *, cover_shortfall: bool) -> SiteTotals:
    zone = fleet["zone"][asset]
    rows = [
        (
            StepEnergy(**{name: int(fleet["flows"][place, asset, step]) for place, name in enumerate(FLOWS)}),
            Fraction(int(fleet["grid"][zone, step]), FACTOR_UNIT),
            Fraction(int(fleet["green"][zone, step]), FACTOR_UNIT),
        )
        for step in range(fleet["flows"].shape[2])
    ]
    own, service = (Pool(*map(int, pool)) for pool in fleet["pools"][asset])
    totals, _ = varying_totals(
        rows, own=own, service=service, efficiency=fleet["efficiency"], cover_shortfall=cover_shortfall
    )
    return totals


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), most=st.integers(0, 16), share=st.integers(1, 9))
def test_every_asset_is_bit_for_bit_as_alone_up_to_ten_megawatt_hours(seed: int, most: int, share: int) -> None:
    efficiency = Efficiency(Fraction(10 - share, 10), Fraction(97 - share, 97))
    for fleet in (a_fleet(seed, 10**most), a_fleet(seed, 10**most, efficiency)):
        found = fleet_inventory(**fleet, cover_shortfall=True)
        assert [found.site(place) for place in range(ASSETS)] == [
            one_by_one(fleet, place, cover_shortfall=True) for place in range(ASSETS)
        ]
        assert all(found.site(place).carbon_residual_ug == 0 for place in range(ASSETS))
        assert all(found.site(place).swap_residual_ug == 0 for place in range(ASSETS))


def test_the_order_of_assets_and_a_period_in_two_parts_change_nothing() -> None:
    fleet = a_fleet(7, 10**12)
    whole = fleet_inventory(**fleet, cover_shortfall=True)
    order = np.array([2, 0, 3, 1])
    turned = dict(fleet, flows=fleet["flows"][:, order], zone=fleet["zone"][order], pools=fleet["pools"][order])
    assert np.array_equal(fleet_inventory(**turned, cover_shortfall=True).sums, whole.sums[order])

    def part(first: int, last: int, pools: IntArray) -> FleetInventory:
        cut = {name: fleet[name][..., first:last] for name in ("flows", "grid", "green")}
        return fleet_inventory(**dict(fleet, **cut, pools=pools), cover_shortfall=True)

    first = part(0, 10, fleet["pools"])
    second = part(10, STEPS, first.closing)
    assert np.array_equal(first.sums + second.sums, whole.sums)
    assert np.array_equal(second.closing, whole.closing)


def test_a_discharge_beyond_the_stock_names_asset_and_step() -> None:
    fleet = a_fleet(1, 0)
    fleet["flows"][8, 2, 5] = 10
    fleet["flows"][1, 2, 5] = 10
    with pytest.raises(PoolOverdrawn, match=r"^asset 2, step 5: discharge takes more than the pool holds"):
        fleet_inventory(**fleet, cover_shortfall=False)


@pytest.mark.parametrize("amount", [-1, 10**16 + 1])
def test_an_amount_outside_the_exact_range_names_asset_and_step(amount: int) -> None:
    fleet = a_fleet(1, 10)
    fleet["flows"][5, 3, 4] = amount
    with pytest.raises(FleetRangeError, match=r"^asset 3, step 4: an amount is negative or too large"):
        fleet_inventory(**fleet, cover_shortfall=True)


def test_factors_are_taken_exactly_or_not_at_all() -> None:
    assert billionths([Fraction(0), Fraction("0.123456789"), Fraction(1)]).tolist() == [0, 123_456_789, 10**9]
    with pytest.raises(ValueError, match=r"value 1 is 0.333333, accepted: 0 to 10 with up to nine decimals"):
        billionths([Fraction(1), Fraction(1, 3)])
