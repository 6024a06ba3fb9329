"""What VTNs of OpenADR 3 in the field send, each leniency by itself; nonsense is refused or stays as it came."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.openadr.ven3.reading import (
    FOREVER,
    Unreadable,
    document,
    duration,
    instant,
    normalized,
    number,
    objects,
    target_names,
    whole,
)

FOUR = datetime(2026, 3, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T16:00:00Z",
        "2026-03-01T16:00:00.000Z",
        "2026-03-01t16:00:00z",
        "2026-03-01 16:00:00Z",
        "2026-03-01 16:00:00",
        "2026-03-01T16:00:00",
        "2026-03-01T16:00:00+00:00",
        "2026-03-01T17:00:00+0100",
        "20260301T160000Z",
        "2026-03-01T16:00:00.000000000Z",
    ],
)
def test_an_instant_with_or_without_t_and_z(text):
    assert instant(text) == FOUR


@pytest.mark.parametrize("value", ["", "now", "2026-13-01T00:00:00Z", 1772380800, None, "2" * 60, "16:00:00"])
def test_what_is_no_instant_stays_none(value):
    assert instant(value) is None


def test_year_one_with_an_offset_before_it_is_still_year_one():
    assert instant("0001-01-01T00:00:00+01:00") == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT30M", timedelta(minutes=30)),
        ("pt1h", timedelta(hours=1)),
        ("P1DT0.5S", timedelta(days=1, seconds=0.5)),
        ("PT0S", timedelta(0)),
        ("P9999Y", FOREVER),
        ("-PT1H", None),
        ("1h", None),
        ("P", None),
        (3600, None),
        (None, None),
    ],
)
def test_a_duration(text, expected):
    assert duration(text) == expected


def test_snake_case_becomes_the_specification_s_names_at_every_level():
    held = {"program_id": "p", "interval_period": {"start": "s"}, "intervals": [{"interval_period": {"duration": "d"}}]}
    assert normalized(held) == {
        "programID": "p",
        "intervalPeriod": {"start": "s"},
        "intervals": [{"intervalPeriod": {"duration": "d"}}],
    }


def test_the_specification_s_own_spelling_wins_whatever_the_order():
    assert normalized({"programID": "right", "program_id": "wrong"})["programID"] == "right"
    assert normalized({"program_id": "wrong", "programID": "right"})["programID"] == "right"


def test_names_that_are_not_the_specification_s_stay():
    assert normalized({"x_private": 1, "Vendor": {"some_key": 2}}) == {"x_private": 1, "Vendor": {"some_key": 2}}


@pytest.mark.parametrize("wrappings", [0, 1, 2])
def test_json_inside_a_json_text(wrappings):
    content = json.dumps([{"id": "e"}])
    for _ in range(wrappings):
        content = json.dumps(content)
    assert document(content.encode()) == [{"id": "e"}]


def test_json_inside_a_member_s_text():
    event = {
        "id": "e",
        "intervals": json.dumps([{"id": 0, "payloads": json.dumps([{"type": "SIMPLE", "values": [1]}])}]),
    }
    assert document(json.dumps(event).encode())["intervals"][0]["payloads"] == [{"type": "SIMPLE", "values": [1]}]
    assert objects(document(json.dumps([json.dumps(event)]).encode()))[0]["id"] == "e"


def test_a_text_that_is_meant_as_one_stays():
    assert document(b'{"id": "[1]", "eventName": "{\\"a\\": 1}"}') == {"id": "[1]", "eventName": '{"a": 1}'}


@pytest.mark.parametrize(
    "held",
    [[{"id": "e"}], {"items": [{"id": "e"}]}, {"events": [{"id": "e"}], "total": 1}, {"id": "e"}],
    ids=["list", "items", "named", "alone"],
)
def test_a_list_in_an_envelope_or_one_object_alone(held):
    assert objects(held) == [{"id": "e"}]


@pytest.mark.parametrize("held", [None, 7, "text", {}, {"error": "no"}])
def test_what_holds_no_objects_is_refused(held):
    with pytest.raises(Unreadable):
        objects(held)


@pytest.mark.parametrize(("value", "expected"), [("12.5", 12.5), (" -3 ", -3.0), (7, 7.0), ("x", None), (True, None)])
def test_numbers_as_texts(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), (3.0, 3), (3.5, None), ("inf", None), ("nan", None), (None, None)]
)
def test_whole_numbers(value, expected):
    assert whole(value) == expected


def test_targets_of_both_versions():
    assert target_names(["north", "VEN_NAME:us"]) == ["north", "VEN_NAME:us"]
    assert target_names([{"type": "VEN_NAME", "values": ["us", "them"]}, {"type": "GROUP", "values": ["north"]}]) == [
        "VEN_NAME:us",
        "VEN_NAME:them",
        "north",
    ]
    assert target_names(None) == target_names("north") == target_names([{"values": "x"}, 7]) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"[" * 40 + b"]" * 40, b"1" * 5_000, b"<html></html>"],
    ids=["empty", "bytes", "open", "deep", "levels", "digits", "html"],
)
def test_what_is_no_json_of_ours_is_refused(content):
    with pytest.raises(Unreadable):
        objects(document(content))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "intervals", "payloads", "interval_period", "targets", "x"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(anything)
def test_any_json_is_read_or_refused_and_reading_it_again_changes_nothing(value):
    try:
        read = document(json.dumps(value).encode())
    except Unreadable:
        return
    assert repr(normalized(read)) == repr(read) or isinstance(read, str)
