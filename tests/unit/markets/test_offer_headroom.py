"""What may be sold: never above any cap, the same in any order, never less with more energy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.headroom import (
    Commitment,
    Demand,
    HeadroomError,
    Room,
    behind_connection,
    sellable,
    stand,
    sustainable_kw,
)
from markets.core.products import product_named
from sites.core.feeders import Feeders, no_feeders

LOW, HIGH, BOTH = (product_named(name) for name in ("neso-dc-low", "neso-dc-high", "entsoe-fcr"))
STREAM = product_named("pjm-reg")
amounts = st.floats(0.0, 1e4)


@st.composite
def rooms(draw: st.DrawFn, most: int = 25) -> Room:
    """Sites in a tree of up to four feeder groups."""
    count = draw(st.integers(1, most))
    column = st.lists(amounts, min_size=count, max_size=count).map(np.array)
    groups = draw(st.integers(0, 4))
    of_site = draw(st.lists(st.integers(-1, groups - 1), min_size=count, max_size=count))
    parent = [draw(st.integers(-1, group - 1)) for group in range(groups)]
    limits = st.lists(st.floats(0.0, 2e4), min_size=groups, max_size=groups).map(np.array)
    feeders = Feeders(
        np.array(of_site, dtype=np.intp), np.array(parent, dtype=np.intp), draw(limits).reshape(-1),
        draw(limits).reshape(-1),
    )  # fmt: skip
    return Room(draw(column), draw(column), draw(column), draw(column), feeders)


products = st.sampled_from([LOW, HIGH, BOTH, STREAM])


def a_demand(room: Room, product, members=None) -> Demand:
    everybody = np.ones(room.up_kw.size, np.bool_)
    return Demand(product, product.sustain_s, everybody if members is None else members)


def group_sums(room: Room, power_kw: np.ndarray) -> list[float]:
    """Each group's power with that of the groups inside it, summed one by one."""
    feeders = room.feeders
    sums = [0.0] * feeders.parent.size
    for site, kw in enumerate(power_kw):
        group = int(feeders.of_site[site])
        while group >= 0:
            sums[group] += float(kw)
            group = int(feeders.parent[group])
    return sums


@given(rooms(), products, st.floats(0.0, 0.5))
def test_nothing_is_sold_above_any_cap(room, product, margin):
    found = sellable(room, a_demand(room, product), margin=margin)
    hours = product.sustain_s / 3600.0
    up, down = product is not HIGH, product is not LOW
    assert (found.power_kw >= 0.0).all()
    if up:
        assert (found.power_kw <= room.up_kw).all()
        assert (found.power_kw * hours <= room.up_kwh * (1 + 1e-12) + 1e-9).all()
    if down:
        assert (found.power_kw <= room.down_kw).all()
        assert (found.power_kw * hours <= room.down_kwh * (1 + 1e-12) + 1e-9).all()
    limits = room.feeders.limits_kw({LOW: 1, HIGH: -1}.get(product, 0))
    for total_kw, limit_kw in zip(group_sums(room, found.power_kw), limits, strict=True):
        assert total_kw <= limit_kw * (1 + 1e-9) + 1e-9
    assert found.net_kw == pytest.approx(found.gross_kw * (1.0 - margin))
    assert found.net_kw <= found.gross_kw


@given(rooms(), products, st.randoms(use_true_random=False))
def test_the_order_of_the_sites_changes_nothing(room, product, random):
    order = np.array(random.sample(range(room.up_kw.size), room.up_kw.size))
    turned = Room(
        room.up_kw[order], room.down_kw[order], room.up_kwh[order], room.down_kwh[order],
        replace(room.feeders, of_site=room.feeders.of_site[order]),
    )  # fmt: skip
    first = sellable(room, a_demand(room, product), margin=0.02)
    again = sellable(turned, a_demand(turned, product), margin=0.02)
    assert again.power_kw == pytest.approx(first.power_kw[order], rel=1e-9, abs=1e-9)


@given(rooms(), products, st.integers(0, 24), st.floats(0.0, 1e4))
def test_more_energy_never_sells_less(room, product, site, more_kwh):
    raised = np.zeros(room.up_kw.size)
    raised[site % raised.size] = more_kwh
    richer = replace(room, up_kwh=room.up_kwh + raised, down_kwh=room.down_kwh + raised)
    before, after = (sellable(r, a_demand(r, product), margin=0.02).gross_kw for r in (room, richer))
    assert after >= before * (1 - 1e-9) - 1e-9


@given(rooms(), products)
def test_as_much_is_sold_as_the_limits_allow(room, product):
    """No site could give more without one of its own caps or a feeder that is full."""
    found = sellable(room, a_demand(room, product), margin=0.0)
    each_kw = sustainable_kw(room, a_demand(room, product))
    limits = room.feeders.limits_kw({LOW: 1, HIGH: -1}.get(product, 0))
    sums = group_sums(room, found.power_kw)
    for site, kw in enumerate(found.power_kw):
        if kw >= each_kw[site] * (1 - 1e-9) - 1e-9:
            continue
        group, above = int(room.feeders.of_site[site]), []
        while group >= 0:
            above.append(sums[group] >= limits[group] * (1 - 1e-9) - 1e-6)
            group = int(room.feeders.parent[group])
        assert any(above)


@given(rooms(), products)
def test_sites_of_one_feeder_give_the_same_part(room, product):
    """In a group whose limit binds, of those that stand in it themselves."""
    found = sellable(room, a_demand(room, product), margin=0.0).power_kw
    each_kw = sustainable_kw(room, a_demand(room, product))
    for group in range(room.feeders.parent.size):
        inside = (room.feeders.of_site == group) & (each_kw > 1e-3)
        if inside.any():
            parts = found[inside] / each_kw[inside]
            assert parts == pytest.approx(np.full(parts.size, parts[0]), rel=1e-6, abs=1e-9)


@given(rooms(), st.lists(st.tuples(products, st.floats(0.0, 5e4)), max_size=4), products)
def test_what_is_promised_is_never_sold_again(room, promised, product):
    """All that stands and all that is sold besides fits every site at once, in power and in energy."""
    commitments = [Commitment(kw, a_demand(room, row)) for row, kw in promised]
    stood = stand(room, commitments, margin=0.02)
    rest = sellable(room, a_demand(room, product), margin=0.02, beside=stood)
    for kept, (_, kw) in zip(stood, promised, strict=True):
        assert 0.0 <= kept.kept_kw <= kw
    together = [*((row.demand.product, row.power_kw) for row in stood), (product, rest.power_kw)]
    up_kw = sum((kw for row, kw in together if row is not HIGH), np.zeros(room.up_kw.size))
    down_kw = sum((kw for row, kw in together if row is not LOW), np.zeros(room.up_kw.size))
    up_kwh = sum((kw * row.sustain_s / 3600 for row, kw in together if row is not HIGH), np.zeros(room.up_kw.size))
    assert (up_kw <= room.up_kw * (1 + 1e-9) + 1e-9).all()
    assert (down_kw <= room.down_kw * (1 + 1e-9) + 1e-9).all()
    assert (up_kwh <= room.up_kwh * (1 + 1e-9) + 1e-6).all()
    for total_kw, limit_kw in zip(group_sums(room, up_kw), room.feeders.up_kw, strict=True):
        assert total_kw <= limit_kw * (1 + 1e-9) + 1e-6


@given(st.lists(st.tuples(amounts, amounts, st.floats(-1e4, 1e4), amounts, amounts), min_size=1, max_size=20))
def test_service_and_load_fit_through_the_connection(sites):
    discharge, charge, net, import_limit, export_limit = (np.array(column) for column in zip(*sites, strict=True))
    up, down = behind_connection(
        discharge, charge, net_import_kw=net, import_limit_kw=import_limit, export_limit_kw=export_limit
    )
    assert (up <= discharge).all()
    assert (down <= charge).all()
    # Export with the service is -(net - up), import with it net + down.
    assert ((up - net <= export_limit + 1e-9) | (up == 0.0)).all()
    assert ((net + down <= import_limit + 1e-9) | (down == 0.0)).all()


def test_a_connection_that_tells_nothing_sells_nothing():
    one = np.array([50.0])
    up, down = behind_connection(one, one, net_import_kw=np.array([np.nan]), import_limit_kw=one, export_limit_kw=one)
    assert (up[0], down[0]) == (0.0, 0.0)


def test_who_is_not_in_the_unit_gives_nothing():
    room = Room(*(np.array([10.0, 10.0]) for _ in range(4)), no_feeders(2))
    found = sellable(room, a_demand(room, LOW, np.array([True, False])), margin=0.0)
    assert found.power_kw.tolist() == [10.0, 0.0]


def test_a_site_holds_one_curve_and_a_stream_beside_it():
    room = Room(*(np.array([10.0, 10.0]) for _ in range(4)), no_feeders(2))
    (stood,) = stand(room, [Commitment(9.8, a_demand(room, LOW, np.array([True, False])))], margin=0.02)
    assert stood.kept_kw == 9.8
    assert sellable(room, a_demand(room, HIGH), margin=0.0, beside=[stood]).power_kw.tolist() == [0.0, 10.0]
    # Both ways at once: nothing is left upwards at the first site.
    assert sellable(room, a_demand(room, STREAM), margin=0.0, beside=[stood]).power_kw.tolist() == [0.0, 10.0]
    (half,) = stand(room, [Commitment(4.9, a_demand(room, LOW, np.array([True, False])))], margin=0.02)
    assert sellable(room, a_demand(room, STREAM), margin=0.0, beside=[half]).power_kw == pytest.approx([5.0, 10.0])


@pytest.mark.parametrize("margin", [-0.01, 1.0, float("nan")])
def test_a_margin_out_of_range_is_refused(margin):
    room = Room(*(np.array([10.0]) for _ in range(4)), no_feeders(1))
    with pytest.raises(HeadroomError, match="accepted: 0 up to less than 1"):
        sellable(room, a_demand(room, LOW), margin=margin)
