"""Every unit of an entry adds up to zero, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.ledger.postings import EntryUnbalanced, PostingInvalid, imbalance, posting, require_balanced

amounts = st.integers(-(10**30), 10**30) | st.decimals(
    allow_nan=False, allow_infinity=False, places=9, min_value=-(10**12), max_value=10**12
).map(lambda value: f"{value:f}")


class TestRequireBalanced:
    def test_says_what_each_unit_is_off_by(self) -> None:
        body = {
            "postings": [
                posting("revenue", "GBP", "-100.00"),
                posting("receivable", "GBP", "100.01"),
                posting("a", "MWh", 1),
                posting("b", "MWh", -1),
            ],
            "facts": {},
        }
        with pytest.raises(EntryUnbalanced) as caught:
            require_balanced(body, "settlement DC-1 site-0001/battery")
        assert str(caught.value) == (
            "Entry 'settlement DC-1 site-0001/battery' is off by {'GBP': '0.01'}; every unit must add up to zero"
        )

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"postings": []}, r"has the keys \['postings'\]"),
            ({"postings": [], "facts": []}, "facts of type list"),
            ({"postings": {}, "facts": {}}, "postings of type dict"),
            ({"postings": [{"account": "a", "unit": "GBP"}], "facts": {}}, "posting 0 is"),
            ({"postings": [posting("", "GBP", 0)], "facts": {}}, "account ''"),
            ({"postings": [posting("a", "GBP", True)], "facts": {}}, "amount True"),
            ({"postings": [posting("a", "GBP", "1e3")], "facts": {}}, "amount '1e3'"),
            ({"postings": [posting("a", "GBP", "NaN")], "facts": {}}, "amount 'NaN'"),
            ({"postings": [posting("a", "GBP", "1.0\n")], "facts": {}}, "amount"),
            ({"postings": [{"account": "a", "unit": "GBP", "amount": 1.5}], "facts": {}}, "amount 1.5"),
        ],
    )
    def test_refuses_another_form_by_name(self, body: dict[str, object], said: str) -> None:
        with pytest.raises(PostingInvalid, match=said):
            require_balanced(body, "x")


class TestImbalance:
    def test_adds_beyond_any_decimal_context(self) -> None:
        rows = [posting("a", "ug", 10**40), posting("b", "ug", -(10**40)), posting("c", "ug", "0.000000000001")]
        assert imbalance(rows) == {"ug": "0.000000000001"}

    @given(st.lists(amounts, max_size=12))
    def test_a_last_posting_of_the_negative_sum_balances(self, drawn: list[int | str]) -> None:
        rows = [posting(f"a{index}", "x", amount) for index, amount in enumerate(drawn)]
        off = imbalance(rows).get("x", "0")
        assert Fraction(off) == sum(Fraction(amount) for amount in drawn)
        closing = off[1:] if off.startswith("-") else f"-{off}"
        assert imbalance([*rows, posting("rest", "x", closing)]) == {}
