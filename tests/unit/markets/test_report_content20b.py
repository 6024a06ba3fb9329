"""Reports in OpenADR 2.0b's XML: in the schema, with sign and quality, and read as they were meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree
from openleadr.messaging import parse_message
from openleadr.objects import ReportRequest, ReportSpecifier, SpecifierPayload

from markets.core.report_orders import MAX_VALUES, ReportRefused
from markets.core.reports import Figure, OperatingState, Quantity, Status, Trust
from markets.openadr.report_content20b import (
    HISTORY,
    STATUS,
    USAGE,
    Told,
    asked_of,
    offers,
    parts_of,
    point_id,
    specifiers,
    update_object,
)
from markets.openadr.vtn20b.reading import MAX_MESSAGE_BYTES, read
from markets.openadr.vtn20b.service import _offer, _value
from markets.openadr.vtn20b.writing import canonical_object, signed_object
from markets.openadr.vtn20b.xmldsig import unsigned_payload
from markets.reporting import MAX_RESOURCES

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
POWER = point_id("dc-low", Quantity.POWER)


def the_report(told, specifier=USAGE):
    element = update_object(
        request_id="q", report_id="r", order_id="RR-1", specifier=specifier, told=told, created_at=AT, ven_id="ven-1"
    )
    return unsigned_payload(canonical_object(element, "oadrUpdateReport"))


def values_of(message):
    """Return what our own VTN reads of a report."""
    body = read(message).body
    return [
        _value(payload, AT, None) for payload in body.iter("{http://openadr.org/oadr-2.0b/2012/07}oadrReportPayload")
    ]


@pytest.mark.parametrize("kw", [12.5, -12.5, 0.0])
def test_both_signs_and_zero_arrive(kw):
    (value,) = values_of(the_report([Told(POWER, AT, Figure(kw, Trust.GOOD, 3, 3))]))
    assert (value.r_id, value.value, value.quality) == (POWER, kw, "Quality Good - Non Specific")


@pytest.mark.parametrize("value", [None, Figure(None, Trust.MISSING, 0, 3), Status(None, False, None, 0, 3)])
def test_a_missing_value_is_told_as_missing_and_is_no_zero(value):
    (read_back,) = values_of(the_report([Told(POWER, AT, value)]))
    assert (read_back.value, read_back.quality) == (None, "No Quality - No Value")


def test_a_figure_of_part_of_the_sites_says_so():
    message = the_report([Told(POWER, AT, Figure(5.0, Trust.PART, 1, 3))])
    (value,) = values_of(message)
    assert (value.value, value.quality) == (5.0, "Quality Uncertain - Non Specific")
    assert b"confidence>33<" in message


@pytest.mark.parametrize("online", [True, False])
def test_a_status_is_a_status_and_no_number(online):
    told = [Told(point_id("dc-low", Quantity.STATUS), AT, Status(online, True, OperatingState.NORMAL, 1, 1))]
    (value,) = values_of(the_report(told, STATUS))
    assert (value.is_online, value.is_overridden, value.value) == (online, True, None)


def test_openleadr_reads_the_report_too():
    told = [Told(POWER, AT + timedelta(seconds=number), Figure(-1.0 * number, Trust.GOOD, 1, 1)) for number in (1, 2)]
    kind, payload = parse_message(the_report(told))
    assert kind == "oadrUpdateReport"
    (report,) = payload["reports"]
    assert [interval["report_payload"]["value"] for interval in report["intervals"]] == [-1.0, -2.0]
    assert report["report_name"] == "TELEMETRY_USAGE"


def test_what_we_offer_is_in_the_schema_and_is_what_may_be_asked_for():
    resources = [("dc-low", "http://grid.example/a?b=1&c=2"), ("dc-low:site-1", "")]
    message = unsigned_payload(
        signed_object("oadrRegisterReport", request_id="q", reports=offers(resources, hertz=50, at=AT), ven_id="v")
    )
    body = read(message).body
    offered = [_offer(report) for report in body.iter("{http://openadr.org/oadr-2.0b/2012/07}oadrReport")]
    named = {offer.report_specifier_id: {one["r_id"] for one in offer.descriptions} for offer in offered}
    assert named == {name: set(one.points) for name, one in specifiers(name for name, _ in resources).items()}
    assert {offer.report_name for offer in offered} == {"TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE"}
    up = next(one for one in offered[0].descriptions if one["report_type"] == "upRegulationCapacityAvailable")
    assert (up["unit"], up["scale"], up["min_period_s"]) == ("W", "k", 1)
    kind, payload = parse_message(message)
    assert (kind, len(payload["reports"])) == ("oadrRegisterReport", 3)


def test_point_ids_read_back():
    assert parts_of(point_id("a/b:c", Quantity.UP_AVAILABLE)) == ("a/b:c", Quantity.UP_AVAILABLE)


def a_request(**more):
    """Return a report request as openleadr's client hands it on, over the wire."""
    asked = {
        "granularity": timedelta(seconds=10), "report_back_duration": timedelta(seconds=60), "report_interval": None,
        **more,
    }  # fmt: skip
    specifier = ReportSpecifier(
        report_specifier_id=USAGE, specifier_payloads=[SpecifierPayload(POWER, "Direct Read")], **asked
    )
    message = signed_object(
        "oadrCreateReport", request_id="q", report_requests=[ReportRequest("RR-1", specifier)], ven_id="v"
    )
    return parse_message(etree.tostring(etree.fromstring(unsigned_payload(message))))[1]["report_requests"][0]


def test_a_request_over_the_wire():
    asked = asked_of(a_request())
    assert (asked.order_id, asked.specifier, asked.points) == ("RR-1", USAGE, (POWER,))
    assert (asked.granularity_s, asked.back_s, asked.duration_s) == (10.0, 60.0, None)


def test_a_stretch_of_history_over_the_wire():
    period = {"dtstart": AT, "duration": timedelta(hours=1)}
    asked = asked_of(a_request(report_back_duration=timedelta(0), report_interval=period))
    assert (asked.starts_at, asked.duration_s, asked.back_s) == (AT, 3600.0, 0.0)


@pytest.mark.parametrize("raw", [{}, {"report_specifier": "x"}, {"report_specifier": {"granularity": "P-1"}}])
def test_an_unreadable_request_is_refused_by_name(raw):
    with pytest.raises(ReportRefused, match="report_request_unreadable"):
        asked_of(raw)


def test_history_is_offered_by_the_minute():
    offered = specifiers(["r"])
    assert (offered[HISTORY].fastest_s, offered[USAGE].fastest_s) == (60, 1)


def test_the_largest_report_fits_in_a_message():
    r_id = point_id("p" * 64 + ":" + "s" * 64, Quantity.DOWN_AVAILABLE)
    value = Figure(-123456.123456789, Trust.PART, 1, 3)
    told = [Told(r_id, AT + timedelta(minutes=number), value, 900) for number in range(MAX_VALUES)]
    assert len(the_report(told, HISTORY)) < MAX_MESSAGE_BYTES


def test_the_longest_list_of_offers_fits_in_a_message():
    resource = ("p" * 64 + ":" + "s" * 64, "http://grid-operator.example/programs/" + "p" * 64)
    reports = offers([resource] * MAX_RESOURCES, hertz=50, at=AT)
    message = unsigned_payload(signed_object("oadrRegisterReport", request_id="q", reports=reports, ven_id="v"))
    assert len(message) < MAX_MESSAGE_BYTES
