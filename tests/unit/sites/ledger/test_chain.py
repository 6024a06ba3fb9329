"""Canonical text, link hash, RFC 6962 root."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.intervals import IntervalError
from sites.ledger.chain import (
    FIRST_PREVIOUS_HASH,
    BodyInvalid,
    EntryHeader,
    canonical_json,
    differing_paths,
    header_json,
    instant_text,
    link_hash,
    merkle_root,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner),
    max_leaves=12,
)


def a_header(**changes: object) -> EntryHeader:
    at = datetime(2019, 8, 9, 15, 52, 33, 500_000, tzinfo=UTC)
    fields = {
        "book": "test.book", "chain": "site-0001/battery", "position": 1, "kind": "settlement",
        "starts_at": at, "ends_at": at + timedelta(minutes=1), "dispatch_id": "DC-1", "booked_at": at,
    }  # fmt: skip
    return EntryHeader(**(fields | changes))  # type: ignore[arg-type]


class TestCanonicalJson:
    def test_sorts_keys_and_leaves_no_blanks(self) -> None:
        assert (
            canonical_json({"b": [1, "0.10"], "a": {"z": None, "y": True}})
            == '{"a":{"y":true,"z":null},"b":[1,"0.10"]}'
        )

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"facts": {"delivered_ratio": 0.95}}, "body.facts.delivered_ratio is the float 0.95"),
            ({"facts": {"price": Decimal("1.10")}}, "body.facts.price is the Decimal"),
            ({"postings": [{"amount": 1.0}]}, r"body.postings\[0\].amount is the float 1.0"),
            ({"facts": {1: "x"}}, "body.facts has the key 1"),
            ({"facts": {"text": "\ud800"}}, "body.facts.text is a text that is no UTF-8"),
            ({"facts": {"pair": (1, 2)}}, "body.facts.pair is the tuple"),
        ],
    )
    def test_refuses_by_name_what_has_no_single_text(self, body: dict[str, object], said: str) -> None:
        with pytest.raises(BodyInvalid, match=said):
            canonical_json(body)

    @given(values)
    def test_reads_back_as_the_same_value_and_text(self, value: object) -> None:
        text = canonical_json(value)
        assert json.loads(text) == value
        assert canonical_json(json.loads(text)) == text
        assert "\n" not in text


class TestLinkHash:
    def test_is_the_plain_sha256_of_three_lines(self) -> None:
        header, body = a_header(), '{"facts":{},"postings":[]}'
        by_hand = hashlib.sha256(b"\n".join([b"0" * 64, header_json(header).encode(), body.encode()])).hexdigest()
        assert link_hash(FIRST_PREVIOUS_HASH, header, body) == by_hand

    def test_header_text_is_fixed(self) -> None:
        assert header_json(a_header()) == (
            '{"book":"test.book","booked_at":"2019-08-09T15:52:33.500000Z","chain":"site-0001/battery",'
            '"dispatch_id":"DC-1","ends_at":"2019-08-09T15:53:33.500000Z","kind":"settlement","position":1,'
            '"starts_at":"2019-08-09T15:52:33.500000Z"}'
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"book": "other.book"}, {"chain": "site-0002/battery"}, {"position": 2}, {"kind": "inventory"},
            {"dispatch_id": "DC-2"}, {"booked_at": datetime(2020, 1, 1, tzinfo=UTC)},
            {"starts_at": datetime(2019, 1, 1, tzinfo=UTC)}, {"ends_at": datetime(2020, 1, 1, tzinfo=UTC)},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_covers_every_field_of_the_header(self, change: dict[str, object]) -> None:
        assert link_hash("0" * 64, a_header(**change), "{}") != link_hash("0" * 64, a_header(), "{}")

    def test_does_not_depend_on_the_zone_an_instant_is_told_in(self) -> None:
        london = datetime(2019, 8, 9, 16, 52, 33, 500_000, tzinfo=timezone(timedelta(hours=1)))
        assert link_hash("0" * 64, a_header(booked_at=london), "{}") == link_hash("0" * 64, a_header(), "{}")

    def test_refuses_an_instant_without_a_zone(self) -> None:
        with pytest.raises(IntervalError, match="without a time zone"):
            instant_text(datetime(2019, 8, 9))  # noqa: DTZ001


# Leaves and roots of the Certificate Transparency reference tests (RFC 6962, merkle_tree_test.cc).
CT_LEAVES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class TestMerkleRoot:
    @pytest.mark.parametrize("count", range(1, 9))
    def test_agrees_with_the_certificate_transparency_vectors(self, count: int) -> None:
        assert merkle_root([bytes.fromhex(leaf) for leaf in CT_LEAVES[:count]]) == CT_ROOTS[count - 1]

    def test_of_nothing_is_the_hash_of_nothing(self) -> None:
        assert merkle_root([]) == hashlib.sha256(b"").hexdigest()

    @given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
    def test_changes_with_any_leaf(self, leaves: list[bytes], data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(leaves) - 1))
        changed = [*leaves[:index], leaves[index] + b"!", *leaves[index + 1 :]]
        assert merkle_root(changed) != merkle_root(leaves)
        assert merkle_root(leaves[:index] + leaves[index + 1 :]) != merkle_root(leaves)


class TestDifferingPaths:
    def test_names_each_place(self) -> None:
        booked = {"facts": {"a": 1, "b": {"c": 2}}, "postings": [{"amount": 1}]}
        other = {"facts": {"a": 1, "b": {"c": 3}, "d": 0}, "postings": [{"amount": "1"}]}
        assert differing_paths(booked, other) == ["facts.b.c", "facts.d", "postings[0].amount"]

    def test_true_is_not_one(self) -> None:
        assert differing_paths({"a": True}, {"a": 1}) == ["a"]
