"""Events of OpenADR 3 as our events: windows, payloads, units, signs, and what their programs decide of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.events import EventInvalid
from markets.core.obligations import ProgramTerms, Reason, decide
from markets.openadr.ven3.mapping import answer_of, canonical, event_of, is_for_us
from markets.openadr.ven3.reading import FOREVER, normalized

CREATED = "2026-03-01T15:00:00Z"
FOUR = datetime(2026, 3, 1, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROGRAM = {"id": "p1", "programName": "frequency response"}
AT = FOUR - HOUR


def an_event(kind: str = "DISPATCH_SETPOINT", *values: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "e1",
        "programID": "p1",
        "createdDateTime": CREATED,
        "intervalPeriod": {"start": "2026-03-01T16:00:00Z", "duration": "PT1H"},
        "intervals": [{"id": 0, "payloads": [{"type": kind, "values": list(values or (-250.0,))}]}],
        **more,
    }


def read(raw: dict[str, Any], program: dict[str, Any] | None = PROGRAM) -> Any:
    return event_of(normalized(raw), operator="north", program=program)


def terms(signal_name: str, signal_type: str, sign: int) -> ProgramTerms:
    return ProgramTerms(
        name="p", market_context="frequency response", product="neso-dc-low", dispatch_prefix="DC",
        signal_name=signal_name, signal_type=signal_type, signal_sign=sign, unit_kw=1.0,
        allows_part=False, min_power_kw=1.0, min_notice_s=2.0,
    )  # fmt: skip


def test_a_whole_event():
    event = read(an_event())
    assert (event.operator, event.event_id, event.market_context) == ("north", "e1", "frequency response")
    assert (event.starts_at, event.duration) == (FOUR, HOUR)
    (signal,) = event.signals
    assert (signal.name, signal.type, signal.unit, signal.intervals[0].value) == (
        "DISPATCH_SETPOINT",
        "setpoint",
        None,
        -250.0,
    )


def test_a_program_that_is_not_shown_is_named_by_its_id():
    assert read(an_event(), None).market_context == "p1"


@pytest.mark.parametrize(
    ("kind", "signal_type"), [("DISPATCH_SETPOINT", "setpoint"), ("DISPATCH_SETPOINT_RELATIVE", "delta")]
)
@pytest.mark.parametrize(("sign", "value"), [(-1, -250.0), (1, 250.0)])
def test_the_program_s_sign_decides_what_a_setpoint_means(kind, signal_type, sign, value):
    """The enumerations give setpoints a minimum of 0, VTNs send both signs: the program says which is the service."""
    accepted = decide(read(an_event(kind, value)), terms(kind, signal_type, sign), 500.0, AT)
    assert (accepted.reason, accepted.power_kw) == (Reason.ACCEPTED, 250.0)
    refused = decide(read(an_event(kind, -value)), terms(kind, signal_type, sign), 500.0, AT)
    assert (refused.reason, refused.power_kw) == (Reason.VALUE_WRONG_SIGN, 0.0)


@pytest.mark.parametrize(
    ("kind", "value", "type_word"),
    [
        ("DISPATCH_INSTRUCTION", "ARM neso-dc-low", "instruction"),
        ("CURVE", {"x": 49.8, "y": 1.0}, "curve"),
        ("IMPORT_CAPACITY_LIMIT", 40, "limit"),
        ("EXPORT_CAPACITY_LIMIT", 40, "limit"),
        ("SIMPLE", 1, "level"),
        ("PRICE", 0.17, "price"),
        ("ALERT_GRID_EMERGENCY", "stay calm", "alert"),
        ("X-VENDOR", 1, ""),
    ],
)
def test_what_a_program_does_not_act_on_is_refused_by_its_name(kind, value, type_word):
    event = read(an_event(kind, value))
    assert [(signal.name, signal.type) for signal in event.signals] == [(kind, type_word)]
    decision = decide(event, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT)
    assert decision.reason is Reason.SIGNAL_UNKNOWN
    assert kind in decision.text


@pytest.mark.parametrize(
    ("units", "expected_kw", "reason"),
    [
        ("KW", 250.0, "accepted"),
        ("kW", 250.0, "accepted"),
        ("MW", 250_000.0, "not_available"),
        ("KWH", None, "unit_unknown"),
    ],
)
def test_units_stand_in_the_event_s_descriptor_or_the_program_s(units, expected_kw, reason):
    descriptors = {"payloadDescriptors": [{"payloadType": "DISPATCH_SETPOINT", "units": units}]}
    for event in (read(an_event(**descriptors)), read(an_event(), {**PROGRAM, **descriptors})):
        decision = decide(event, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT)
        assert (decision.requested_kw, decision.reason.value) == (expected_kw, reason)


def test_intervals_follow_one_another_by_the_shared_duration():
    step = {"payloads": [{"type": "DISPATCH_SETPOINT", "values": [-5]}]}
    event = read(an_event(intervals=[{"id": n, **step} for n in range(3)]))
    assert (event.starts_at, event.duration) == (FOUR, 3 * HOUR)
    assert decide(event, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT).ends_at == FOUR + 3 * HOUR


def test_intervals_with_periods_of_their_own():
    steps = [
        {
            "id": n,
            "intervalPeriod": {"start": f"2026-03-01 {16 + n}:00:00", "duration": "PT1H"},
            "payloads": [{"type": "DISPATCH_SETPOINT", "values": ["-5"]}],
        }
        for n in range(2)
    ]
    event = read(an_event(intervalPeriod=None, intervals=steps))
    assert (event.starts_at, event.duration) == (FOUR, 2 * HOUR)
    assert decide(event, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT).power_kw == 5.0


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", None])
def test_a_start_in_year_one_or_none_means_now_and_reads_the_same_each_time(start):
    period = {"duration": "PT1H"} | ({"start": start} if start else {})
    event = read(an_event(intervalPeriod=period))
    assert event.starts_at == datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert event.content_key == read(an_event(intervalPeriod=period)).content_key


def test_an_endless_event_and_one_s_own_duration():
    assert read(an_event(intervalPeriod={"start": CREATED, "duration": "P9999Y"})).duration == FOREVER
    assert read(an_event(duration="PT20M")).duration == timedelta(minutes=20)
    endless = read(an_event(intervalPeriod={"start": "2026-03-01T16:00:00Z", "duration": "P9999Y"}))
    assert decide(endless, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT).reason is Reason.DURATION_OUT_OF_RANGE


@pytest.mark.parametrize(("priority", "expected"), [(None, 0), (0, 1), ("4", 5), (-1, 0), ("high", 0)])
def test_the_highest_priority_is_0_there_and_1_here(priority, expected):
    assert read(an_event(priority=priority)).priority == expected


@pytest.mark.parametrize("values", [[], [1, 2], ["x"], [None], [{"x": 1, "y": 2}], "7 kW"])
def test_what_is_no_single_number_is_no_value(values):
    raw = an_event()
    raw["intervals"][0]["payloads"][0]["values"] = values
    assert read(raw).signals[0].intervals[0].value is None


@pytest.mark.parametrize("event_id", [None, "", " ", "x" * 129, "a\nb", True, ["e"]])
def test_an_event_without_a_usable_id_is_refused(event_id):
    with pytest.raises(EventInvalid, match="id is"):
        read(an_event(id=event_id))


@pytest.mark.parametrize(
    ("targets", "of_program", "expected"),
    [
        (None, None, True),
        ([], [], True),
        ([{"type": "VEN_NAME", "values": ["us"]}], None, True),
        ([{"type": "VEN_NAME", "values": ["them"]}], None, False),
        ([{"type": "GROUP", "values": ["feeder-7"]}], None, True),
        (["feeder-7"], None, True),
        (None, [{"type": "VEN_NAME", "values": ["them"]}], False),
        (["us"], [{"type": "VEN_NAME", "values": ["them"]}], True),
    ],
)
def test_whom_an_event_means(targets, of_program, expected):
    program = {**PROGRAM, "targets": of_program}
    assert is_for_us(an_event(targets=targets), program, ven_name="us", targets=["feeder-7"]) is expected


def test_the_answer_is_a_report_in_the_words_of_each_version():
    decision = decide(read(an_event()), terms("DISPATCH_SETPOINT", "setpoint", -1), 0.0, AT)
    newer = answer_of(an_event(), decision, ven_name="us", version="3.1.0")
    assert newer["resources"][0]["intervals"][0]["payloads"] == [
        {"type": "OPT", "values": ["optOut", "not_available", 0.0]}
    ]
    assert "programID" not in newer
    assert answer_of(an_event(), decision, ven_name="us", version="3.0.1") == {**newer, "programID": "p1"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([CREATED, "PT1H", "P9999Y", "-5", "KW"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["start", "duration", "payloads", "type", "values", "intervalPeriod", "units", "payloadType"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything, anything, anything, anything)
def test_any_shape_gives_an_event_that_can_be_decided(period, intervals, descriptors, priority):
    raw = {"id": "e", "intervalPeriod": period, "intervals": intervals, "payloadDescriptors": descriptors}
    event = event_of({**raw, "priority": priority, "duration": period}, operator="north", program=None)
    decide(event, terms("DISPATCH_SETPOINT", "setpoint", -1), 500.0, AT)
    assert canonical(raw) == canonical(dict(reversed(raw.items())))


@pytest.mark.parametrize(
    ("targets", "read"),
    [
        ([{"type": "RESOURCE_NAME", "values": ["site-1"]}], (("resource_name", "site-1"),)),
        (["site-1", "zone:4"], (("", "site-1"), ("", "zone:4"))),
        (None, ()),
    ],
)
def test_targets_keep_their_kind_where_they_have_one(targets, read):
    raw = {"id": "1", "targets": targets}
    assert event_of(raw, operator="op", program=None).targets == read
