"""Reading openleadr's dicts: what is missing stays None, what cannot be answered is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.events import EventInvalid
from markets.openadr.mapping import event_of

START = datetime(2026, 1, 1, tzinfo=UTC)
RAW = {
    "event_descriptor": {
        "event_id": "e1", "modification_number": 3, "event_status": "far", "market_context": "http://c",
        "test_event": False,
    },
    "active_period": {"dtstart": START, "duration": timedelta(minutes=30)},
    "event_signals": [
        {
            "signal_name": "LOAD_DISPATCH", "signal_type": "delta",
            "intervals": [{"dtstart": START, "duration": timedelta(minutes=30), "signal_payload": -5000.0}],
            "measurement": {"name": "powerReal", "unit": "W", "scale": "k"},
        }
    ],
    "response_required": "always",
}  # fmt: skip


def test_a_whole_event():
    event = event_of(RAW, "VTN")
    assert (event.event_id, event.modification_number, event.status) == ("e1", 3, "far")
    (signal,) = event.signals
    assert (signal.unit, signal.scale, signal.intervals[0].value) == ("W", "k", -5000.0)
    assert not event.is_test


@pytest.mark.parametrize("wrapped", [{"event_signals": RAW["event_signals"]}, RAW["event_signals"][0]])
def test_openleadr_s_other_shapes_of_one_signal(wrapped):
    assert event_of({**RAW, "event_signals": wrapped}, "VTN").signals == event_of(RAW, "VTN").signals


@pytest.mark.parametrize(("value", "is_test"), [("false", False), (False, False), (None, False), ("yes", True)])
def test_anything_but_false_is_a_test_event(value, is_test):
    descriptor = {**RAW["event_descriptor"], "test_event": value}
    assert event_of({**RAW, "event_descriptor": descriptor}, "VTN").is_test is is_test


@pytest.mark.parametrize("event_id", [None, "", " ", "x" * 129, "a\nb", "a\x00b"])
def test_an_event_without_a_usable_id_is_refused(event_id):
    with pytest.raises(EventInvalid, match="event_id"):
        event_of({**RAW, "event_descriptor": {**RAW["event_descriptor"], "event_id": event_id}}, "VTN")


@pytest.mark.parametrize("number", [None, "x", -1, 2**32, 1.5])
def test_an_event_without_a_usable_modification_number_is_refused(number):
    with pytest.raises(EventInvalid, match="modification_number"):
        event_of({**RAW, "event_descriptor": {**RAW["event_descriptor"], "modification_number": number}}, "VTN")


def test_the_status_is_no_change_of_content():
    far = event_of(RAW, "VTN")
    near = event_of({**RAW, "event_descriptor": {**RAW["event_descriptor"], "event_status": "near"}}, "VTN")
    assert far.content_key == near.content_key


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(START) | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["dtstart", "duration", "signal_payload", "intervals", "interval", "event_signals",
                         "signal_name", "measurement", "unit", "scale"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values, json_values, json_values, json_values)
def test_any_shape_gives_an_event_or_event_invalid(descriptor, period, signals, test_event):
    raw = {"event_descriptor": descriptor, "active_period": period, "event_signals": signals, "test_event": test_event}
    for candidate in (raw, {**raw, "event_descriptor": {"event_id": "e", "modification_number": 0}}):
        try:
            event = event_of(candidate, "VTN")
        except EventInvalid:
            continue
        assert (event.vtn_id, len(event.event_id) > 0) == ("VTN", True)


class TestWhomItMeansAndHowItEnds:
    def test_targets_are_told_by_kind_and_name_whatever_shape_openleadr_leaves(self):
        raw = RAW | {"targets": [{"ven_id": "us"}, {"resource_id": ["a", "b"]}, {"group_id": None}, "x"]}
        assert event_of(raw, "VTN").targets == (("ven_id", "us"), ("resource_id", "a"), ("resource_id", "b"))

    def test_a_target_that_is_ourselves_leaves_the_content_as_it_was(self):
        plain = event_of(RAW, "VTN")
        ours = event_of(RAW | {"targets": [{"ven_id": "us"}]}, "VTN")
        theirs = event_of(RAW | {"targets": [{"resource_id": "a"}]}, "VTN")
        assert plain.content_key == ours.content_key != theirs.content_key

    def test_a_tolerance_is_read_where_it_is_a_duration(self):
        period = RAW["active_period"]
        raw = RAW | {"active_period": period | {"tolerance": {"tolerate": {"startafter": timedelta(minutes=5)}}}}
        assert event_of(raw, "VTN").start_after == timedelta(minutes=5)
        raw = RAW | {"active_period": period | {"tolerance": "soon"}}
        assert event_of(raw, "VTN").start_after is None
