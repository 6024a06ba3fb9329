"""Reports of OpenADR 3: what descriptors ask for, and bodies that say what is known and what is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from markets.core.report_orders import ReportRefused
from markets.core.reports import Figure, OperatingState, Quantity, Status, Trust
from markets.openadr.report_content3 import (
    AGGREGATED,
    REFUSED,
    EventReport,
    Refusal,
    event_intervals,
    refusal_body,
    report_body,
    reports_on,
)

START = datetime(2026, 3, 1, 16, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
PERIOD = {"start": "2026-03-01T16:00:00Z", "duration": "PT15M"}


def an_event(*descriptors, count=4, **more):
    intervals = [{"id": number, "payloads": []} for number in range(count)]
    return {
        "id": "e-1", "programID": "p-1", "intervalPeriod": PERIOD, "intervals": intervals,
        "reportDescriptors": list(descriptors), **more,
    }  # fmt: skip


def body_of(event, values, **more):
    (report,) = [one for one in reports_on(event) if isinstance(one, EventReport)]
    return report_body(report, values, event=event, ven_name="us", version="3.1.0", **more)


def payloads_of(body, number=0):
    (resource,) = body["resources"]
    return resource["intervals"][number]["payloads"]


class TestIntervals:
    def test_one_after_the_other(self):
        assert event_intervals(an_event(count=2)) == [
            (0, START, START + QUARTER), (1, START + QUARTER, START + 2 * QUARTER),
        ]  # fmt: skip

    def test_own_start_and_own_length(self):
        event = an_event(count=2)
        event["intervals"][1]["intervalPeriod"] = {"start": "2026-03-01T18:00:00Z", "duration": "PT1H"}
        assert event_intervals(event)[1] == (1, START + 8 * QUARTER, START + 12 * QUARTER)

    def test_without_a_duration_they_are_not_known(self):
        with pytest.raises(ReportRefused, match="event_interval_unknown"):
            event_intervals(an_event(intervalPeriod={"start": "2026-03-01T16:00:00Z"}))

    def test_a_start_of_now_is_the_event_creation(self):
        event = an_event(
            count=1, createdDateTime="2026-03-01T10:00:00Z",
            intervalPeriod={"start": "0000-00-00T00:00:00Z", "duration": "PT15M"},
        )  # fmt: skip
        assert event_intervals(event)[0][1].hour == 10


def test_frequency_and_repeat_are_honored():
    asked = {"payloadType": "DEMAND", "startInterval": 1, "numIntervals": 1, "frequency": 1, "repeat": 2}
    reports = reports_on(an_event(asked))
    assert [report.due_at for report in reports] == [START + QUARTER, START + 2 * QUARTER]
    assert [[one for one, _, _ in report.intervals] for report in reports] == [[0], [1]]


def test_numbers_as_text_are_read():
    (report,) = reports_on(an_event({"payloadType": "usage", "numIntervals": "2", "startInterval": "-1"}))
    assert [one for one, _, _ in report.intervals] == [2, 3]


@pytest.mark.parametrize("value", [12.5, -12.5, 0.0])
def test_both_signs_and_zero(value):
    body = body_of(
        an_event({"payloadType": "READING"}, count=1), [{"r": {Quantity.POWER: Figure(value, Trust.GOOD, 1, 1)}}]
    )
    assert payloads_of(body) == [
        {"type": "READING", "values": [value]}, {"type": "DATA_QUALITY", "values": ["OK"]},
    ]  # fmt: skip


@pytest.mark.parametrize("held", [{}, {"r": {}}, {"r": {Quantity.POWER: Figure(None, Trust.MISSING, 0, 2)}}])
def test_missing_is_told_and_has_no_number(held):
    known = {"r": {Quantity.POWER: Figure(1.0, Trust.PART, 1, 2)}}
    body = body_of(an_event({"payloadType": "READING"}, count=2), [held, known])
    assert payloads_of(body, 0) == [{"type": "DATA_QUALITY", "values": ["MISSING"]}]
    assert payloads_of(body, 1)[1]["values"] == ["ESTIMATED"]


@pytest.mark.parametrize(("units", "value"), [("KW", 2.5), ("W", 2500.0), ("MW", 0.0025), (None, 2.5)])
def test_units_as_asked(units, value):
    asked = {"payloadType": "READING"} | ({"units": units} if units else {})
    body = body_of(an_event(asked, count=1), [{"r": {Quantity.POWER: Figure(2.5, Trust.GOOD, 1, 1)}}])
    assert payloads_of(body)[0]["values"] == [value]
    assert body["payloadDescriptors"][0]["units"] == (units or "KW")


def test_an_operating_state_is_a_word():
    status = Status(True, False, OperatingState.RUNNING_CURTAILED, 1, 1)
    body = body_of(an_event({"payloadType": "OPERATING_STATE"}, count=1), [{"r": {Quantity.STATUS: status}}])
    assert payloads_of(body)[0]["values"] == ["RUNNING_CURTAILED"]
    assert "units" not in body["payloadDescriptors"][0]


@pytest.mark.parametrize(("version", "program"), [("3.0.1", "p-1"), ("3.1.0", None)])
def test_each_version_has_its_own_fields(version, program):
    event = an_event({"payloadType": "READING"}, count=1)
    body = report_body(reports_on(event)[0], [{AGGREGATED: {}}], event=event, ven_name="us", version=version)
    assert (body.get("programID"), body["eventID"], body["clientName"]) == (program, "e-1", "us")
    assert ("objectType" in body["payloadDescriptors"][0]) == (version == "3.1.0")
    json.dumps(body, allow_nan=False)


@pytest.mark.parametrize(
    ("asked", "more", "name"),
    [
        ({"payloadType": "STEAM"}, {}, "payload_type_unknown"),
        ("USAGE", {}, "descriptor_invalid"),
        ({"payloadType": "USAGE", "units": "BTU"}, {}, "units_unsupported"),
        ({"payloadType": "USAGE", "units": "KW"}, {}, "units_unsupported"),
        ({"payloadType": "USAGE", "repeat": "often"}, {}, "descriptor_invalid"),
        ({"payloadType": "USAGE", "frequency": 0}, {}, "descriptor_invalid"),
        ({"payloadType": "USAGE", "historical": False}, {}, "forecast_unsupported"),
        ({"payloadType": "USAGE"}, {"intervalPeriod": PERIOD | {"duration": "PT10S"}}, "rate_too_fast"),
        ({"payloadType": "USAGE"}, {"intervalPeriod": PERIOD | {"duration": "P9999Y"}, "count": 1}, "duration_endless"),
        ({"payloadType": "READING"}, {"intervalPeriod": PERIOD | {"duration": "P2Y"}, "count": 1}, "duration_endless"),
        ({"payloadType": "READING"}, {"intervalPeriod": {"start": PERIOD["start"]}}, "event_interval_unknown"),
    ],
)  # fmt: skip
def test_refused_by_name_and_told_so(asked, more, name):
    event = an_event(asked, **more)
    (refusal,) = reports_on(event)
    assert isinstance(refusal, Refusal)
    assert refusal.refused.name == name
    body = refusal_body(refusal, event=event, ven_name="us", version="3.0.1")
    (payload,) = payloads_of(body)
    assert (payload["type"], payload["values"][1]) == (REFUSED, name)


def test_one_bad_descriptor_does_not_hold_up_the_others():
    reports = reports_on(an_event({"payloadType": "STEAM"}, {"payloadType": "USAGE"}))
    assert [type(one) for one in reports] == [Refusal, EventReport]


def test_an_emptied_event_wants_nothing():
    assert reports_on(an_event({"payloadType": "USAGE"}, count=0)) == []


def test_a_modified_event_repeats_only_what_changed():
    asked = {"payloadType": "DEMAND", "startInterval": 1, "numIntervals": 1, "repeat": -1}
    before = reports_on(an_event(asked))
    event = an_event(asked)
    event["intervals"][3]["intervalPeriod"] = {"start": "2026-03-01T20:00:00Z", "duration": "PT15M"}
    after = reports_on(event)
    assert [one.digest == other.digest for one, other in zip(before, after, strict=True)] == [True, True, True, False]
