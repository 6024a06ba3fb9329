"""Differences of two runs and each asset's lines: they add up, and rows are compared number by number."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from markets.core.asset_lines import asset_lines
from markets.core.lines import lines_of
from markets.core.run_differences import RowChange, row_changes, run_difference
from markets.core.settlement import amounts_of, payment

ratios = st.integers(0, 1_000_000).map(lambda ppm: Decimal(ppm) / 1_000_000)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """The facts of a fleet entry, as far as lines and shares are told by them."""
    terms = {
        "obligation_kw": str(draw(st.integers(1, 50_000))),
        "duration_s": str(draw(st.integers(1, 14_400))),
        "price_per_mw_h": str(draw(st.decimals(-20, 60, places=2))),
        "run": draw(st.integers(1, 9)),
    }
    available, k = draw(ratios), draw(ratios)
    shares = [
        {
            "site_id": f"site-{number}",
            "contracted_kw": str(draw(st.integers(1, 100))),
            "weight": draw(st.integers(0, 10**15)),
            "k_factor": str(draw(ratios)),
            "records": [[1, draw(st.integers(1, 9)), draw(st.integers(0, 2))]],
            "intervals": [],
        }
        for number in range(draw(st.integers(1, 6)))
    ]
    amount = payment(
        price_per_mw_h=Decimal(terms["price_per_mw_h"]),
        power_kw=Decimal(terms["obligation_kw"]),
        duration_s=Decimal(terms["duration_s"]),
        available_ratio=available,
        k_factor=k,
    )
    fleet = {"available_ratio": str(available), "k_factor": str(k), "delivered_uwh": draw(st.integers(0, 10**15))}
    return {"terms": terms, "fleet": fleet, "shares": shares, "amount": str(amount)}


@given(runs())
def test_an_assets_lines_add_up_to_its_amount_and_the_assets_to_each_line(facts: dict[str, Any]) -> None:
    found = asset_lines(facts)
    amounts = amounts_of(Decimal(facts["amount"]), facts["shares"])
    for site_id, own in found.items():
        assert sum(line.amount for line in own) == amounts[site_id]
    for index, line in enumerate(lines_of(facts)):
        assert sum(own[index].amount for own in found.values()) == line.amount


@given(runs(), runs())
def test_the_lines_and_the_assets_explain_all_of_a_difference(before: dict[str, Any], now: dict[str, Any]) -> None:
    found = run_difference(before, now)
    assert found.difference == Decimal(now["amount"]) - Decimal(before["amount"])
    assert sum(line.difference for line in found.lines) == found.difference
    assert sum(asset.difference for asset in found.assets) == found.difference
    back = run_difference(now, before)
    assert [line.difference for line in back.lines] == [-line.difference for line in found.lines]


@given(runs())
def test_a_run_against_itself_changes_nothing(facts: dict[str, Any]) -> None:
    again = facts | {"terms": facts["terms"] | {"run": 99}}
    found = run_difference(facts, again)
    assert not any(line.is_changed for line in found.lines)
    assert (found.terms, found.fleet, found.assets) == ((), (), ())


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Spans of numbers without overlap, each with a revision."""
    edges = sorted(draw(st.sets(st.integers(1, 30), max_size=8)))
    return [(first, end - 1, draw(st.integers(0, 2))) for first, end in pairwise(edges) if draw(st.booleans())]


@given(spans(), spans())
def test_rows_are_compared_number_by_number(
    before: list[tuple[int, int, int]], now: list[tuple[int, int, int]]
) -> None:
    def by_number(held: list[tuple[int, int, int]]) -> dict[int, int]:
        return {number: revision for first, last, revision in held for number in range(first, last + 1)}

    old, new = by_number(before), by_number(now)
    expected = {
        number: (old.get(number), new.get(number)) for number in {*old, *new} if old.get(number) != new.get(number)
    }
    changes = row_changes("intervals", before, now)
    told = {
        number: (change.revision_before, change.revision_now)
        for change in changes
        for number in range(change.first, change.last + 1)
    }
    assert told == expected
    assert sum(change.last - change.first + 1 for change in changes) == len(expected)


def test_a_revised_chunk_and_a_new_one_by_hand() -> None:
    assert row_changes("records", [(1, 6, 0)], [(1, 2, 0), (3, 4, 1), (5, 7, 0)]) == [
        RowChange("records", 3, 4, 0, 1),
        RowChange("records", 7, 7, None, 0),
    ]
