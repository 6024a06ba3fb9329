"""Targets between the versions, spans of events, and pauses of the outbox."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from markets.openadr.vtn3.sending import LONGEST_PAUSE_S, pause_s
from markets.openadr.vtn3.spans import LAST, duration_s, span_of
from markets.openadr.vtn3.targets import as_objects, from_objects

AT = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)
KINDS = st.from_regex(r"[A-Z][A-Z0-9_]{0,31}", fullmatch=True)
VALUES = st.text(min_size=1, max_size=90)


@given(st.dictionaries(KINDS, st.lists(VALUES, min_size=1, unique=True), max_size=4))
def test_objects_survive_their_way_through_texts(held):
    objects = [{"type": kind, "values": values} for kind, values in held.items()]
    assert as_objects(from_objects(objects)) == objects


def test_a_text_without_a_type_is_a_group():
    assert as_objects(["feeder-7", "SERVICE_AREA:north", "http://x"]) == [
        {"type": "GROUP", "values": ["feeder-7", "http://x"]},
        {"type": "SERVICE_AREA", "values": ["north"]},
    ]


def test_durations_in_seconds():
    assert duration_s("PT1H30M0.5S") == 5400.5
    assert duration_s("P1W1D") == 8 * 86_400
    assert duration_s("P9999Y") == float("inf")


def test_intervals_follow_each_other_from_the_shared_start():
    event = {"intervalPeriod": {"start": "2026-03-01T16:00:00Z", "duration": "PT15M"}, "intervals": [{}, {}, {}, {}]}
    assert span_of(event, created_at=AT) == (AT, AT + timedelta(hours=1))


def test_an_event_lasts_as_its_own_duration_says():
    event = {"duration": "P9999Y", "intervalPeriod": {"start": "2026-03-01T16:00:00Z", "duration": "PT15M"}}
    assert span_of(event, created_at=AT) == (AT, LAST)


def test_an_event_without_any_period_begins_now_and_lasts():
    assert span_of({"intervals": [{}]}, created_at=AT) == (AT, LAST)


def test_pauses_grow_up_to_a_bound():
    assert [pause_s(attempts) for attempts in (1, 2, 3, 60)] == [2.0, 4.0, 8.0, LONGEST_PAUSE_S]
