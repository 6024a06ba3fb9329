"""manage.py products: table, one product, JSON, a day, and what it refuses."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from markets.core.products import PRODUCTS, ROWS


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("products", *arguments, stdout=out)
    return out.getvalue()


def test_the_table_has_every_row_and_says_what_the_letters_mean():
    text = printed()
    for row in ROWS:
        assert f"{row.name:<22} {row.kind.value}" in text
    assert "nothing M or U is settled live" in text


def test_one_product_is_told_with_certainty_and_source_in_words():
    text = printed("neso-dc-low")
    assert "5% at 0.2 Hz" in text
    assert "[U: unsure]" in text
    assert "live settlement refused" in text


def test_one_product_shows_the_rule_before_as_well():
    assert printed("fcr-d-up").count("fcr-d-up:") == 2
    assert "until 2023-09-01" in printed("fcr-d-up", "--at", "2020-01-01")
    assert "until" not in printed("fcr-d-up", "--at", "2026-01-01")


def test_as_json_every_row_has_its_groups():
    rows = json.loads(printed("--json"))
    assert {row["name"] for row in rows} == set(PRODUCTS)
    assert all(set(row["groups"]["score"]) == {"text", "certainty", "source"} for row in rows)
    assert not any(row["settled_live"] for row in rows)
    (row,) = json.loads(printed("--json", "neso-dc-low", "--at", "2026-11-22"))
    assert row["curve"] == [[0.015, 0.0], [0.2, 0.05], [0.5, 1.0]]


def test_a_day_leaves_out_what_has_ended():
    assert "pjm-regd" not in printed("--at", "2026-01-01")
    assert "pjm-regd" in printed("--at", "2020-01-01")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("neso-dc",), "product 'neso-dc' is not in the catalogue, accepted: .*neso-dc-high"),
        (("neso-dc-low", "--at", "yesterday"), "--at is 'yesterday', accepted: a day such as"),
        (("pjm-regd", "--at", "2026-01-01"), "no row in force on 2026-01-01, accepted: 2012-10-01 to 2025-10-01"),
    ],
)
def test_what_is_wrong_is_told(arguments, says):
    with pytest.raises(CommandError, match=says):
        printed(*arguments)
