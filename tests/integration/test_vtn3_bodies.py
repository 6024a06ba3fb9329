"""What is sent to our OpenADR 3 VTN and is no good: each is refused as a problem, and nothing is stored."""

import json

import pytest
from django.test import Client
from support.vtn3 import a_program, a_report, a_subscription, an_event, peer

from markets.openadr.vtn3.models import Object

pytestmark = pytest.mark.django_db


@pytest.fixture
def http():
    return Client(headers={"host": "localhost"}, raise_request_exception=False)


@pytest.fixture
def desk(http):
    return peer(http, "desk", "bl")


def refused(answer, *statuses: int) -> str:
    assert answer.status_code in statuses, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (answer.status_code, "about:blank")
    return body.get("detail", "")


NAME = b'{"programName": "p", "intervalPeriod": '
HOSTILE = [
    (b'{"programName": "' + b"x" * 600_000 + b'"}', 413),
    (b'{"programName": "x", "attributes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    (b'{"programName": "x", "attributes": ' + b"[" * 40 + b"]" * 40 + b"}", 400),
    (b'{"programName": "x", "attributes": [{"type": "T", "values": [NaN]}]}', 400),
    (b'{"programName": "x", "attributes": [{"type": "T", "values": [Infinity]}]}', 400),
    (b'{"programName": "x", "attributes": [{"type": "T", "values": [1e400]}]}', 400),
    (b'{"programName": "x", "attributes": [{"type": "T", "values": [' + b"9" * 5_000 + b"]}]}", 400),
    (b'{"programName": "x", "programName": "y"}', 400),
    (b'{"programName": "x\\u0000"}', 400),
    (b'{"programName": "\\ud800"}', 400),
    (b'{"programName": "\xff"}', 400),
    (b'{"programName": 7}', 400),
    (b'{"programName": ""}', 400),
    (b'{"programName": null}', 400),
    (b"[]", 400),
    (b"null", 400),
    (b"", 400),
    (b"{", 400),
    (NAME + b'{"start": "2026-03-01T16:00:00"}}', 400),
    (NAME + b'{"start": "2026-02-30T16:00:00Z"}}', 400),
    (NAME + b'{"start": "yesterday, about noon"}}', 400),
    (NAME + b'{"start": "2026-03-01T16:00:00Z", "duration": "-PT1H"}}', 400),
    (NAME + b'{"start": "2026-03-01T16:00:00Z", "duration": "P99999999999Y"}}', 400),
    (NAME + b'{"start": "2026-03-01T16:00:00Z", "duration": "P"}}', 400),
    (NAME + b'{"start": "2026-03-01T16:00:00Z", "duration": "PT"}}', 400),
]


@pytest.mark.parametrize(("body", "status"), HOSTILE, ids=lambda value: str(value)[:40])
def test_a_hostile_body_is_refused(desk, body, status):
    refused(desk.call("POST", "programs", body), status)
    assert not Object.objects.exists()


@pytest.mark.parametrize(
    "duration", ["P9999Y", "P1Y2M3DT4H5M6.5S", "PT0S", "P9999Y9999M999999DT999999H9999999M999999999S"]
)
def test_a_long_or_odd_duration_is_taken_and_stays_on_the_calendar(desk, duration):
    program = desk.made("programs", a_program())
    for start in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"):
        period = {"start": start, "duration": duration}
        event = desk.made("events", an_event(program["id"], intervalPeriod=period))
        assert event["intervalPeriod"] == period
    assert desk.get("events?active=true").status_code == 200


def test_active_leaves_out_what_has_ended(desk):
    program = desk.made("programs", a_program())
    for name, start, duration in (
        ("over", "2020-01-01T00:00:00Z", "PT1H"),
        ("without end", "0001-01-01T00:00:00Z", "P9999Y"),
        ("to come", "2999-01-01T00:00:00Z", "PT1H"),
    ):
        period = {"start": start, "duration": duration}
        desk.made("events", an_event(program["id"], eventName=name, intervalPeriod=period))
    names = {flag: [row["eventName"] for row in desk.get(f"events?active={flag}").json()] for flag in ("true", "false")}
    assert names == {"true": ["without end", "to come"], "false": ["over"]}


@pytest.mark.parametrize("value", [-250.0, 250.0, 0, "CURTAIL", True, {"x": 49.5, "y": 1.0}])
def test_both_signs_and_every_kind_of_value_come_back_as_they_went(desk, value):
    interval = {"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [value]}]}
    made = desk.made("events", an_event(desk.made("programs", a_program())["id"], intervals=[interval]))
    assert desk.get(f"events/{made['id']}").json()["intervals"] == [interval]


@pytest.mark.parametrize(
    "query", ["skip=-1", "skip=x", "limit=51", "limit=1&limit=2", "skip=99999999999", "active=1", "programID=a/b",
              "targets=", "skip=1e1", "limit=%D9%A3"],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name(desk, query):
    assert query.partition("=")[0] in refused(desk.get(f"events?{query}"), 400)


def test_pages_do_not_overlap_and_end(desk):
    for number in range(7):
        desk.made("programs", a_program(f"p{number}"))
    pages = [desk.get(f"programs?skip={skip}&limit=3").json() for skip in (0, 3, 6, 9)]
    assert [row["programName"] for page in pages for row in page] == [f"p{number}" for number in range(7)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]


def test_every_other_error_is_a_problem_too(http, desk):
    refused(desk.call("PATCH", "programs", a_program()), 405)
    refused(desk.call("POST", "programs", a_program(), content_type="text/xml"), 415)
    refused(desk.get("programs/none-such"), 404)
    refused(desk.get("nowhere"), 404)
    refused(desk.get("notifiers/mqtt/topics/programs"), 404)
    refused(http.get("/openadr3/3.1.0/programs"), 401)
    refused(http.get("/openadr3/3.1.0/programs", headers={"host": "elsewhere.example"}), 400)
    refused(desk.get("programs?targets=%00"), 400)
    refused(http.get("/openadr3/9.9.9/programs"), 404)


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(desk, monkeypatch):
    from markets.openadr.vtn3 import queries

    def fail(*_, **__):
        raise RuntimeError("where the money is")

    monkeypatch.setattr(queries, "page_text", fail)
    assert "money" not in refused(desk.get("programs"), 500)


def test_who_has_it_already_gets_nothing_again(desk):
    desk.made("programs", a_program())
    first = desk.get("programs")
    again = desk.get("programs", **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    desk.made("programs", a_program("second"))
    assert desk.get("programs", **{"If-None-Match": first["ETag"]}).status_code == 200


def test_a_page_costs_the_same_queries_however_long_it_is(http, desk, django_assert_num_queries):
    north = peer(http, "north", "ven", ("north",))
    program = desk.made("programs", a_program(targets=["north"]))
    for _ in range(20):
        desk.made("events", an_event(program["id"], targets=["north"]))
    with django_assert_num_queries(3):
        assert len(north.get("events").json()) == 20


CALLBACKS = [
    "https://127.0.0.1/x", "https://[::1]/x", "https://169.254.169.254/latest/meta-data", "https://2130706433/",
    "https://0x7f.1/", "https://0177.0.0.1/", "https://10.1.2.3/", "https://192.168.0.1/", "https://172.16.9.9/",
    "https://[::ffff:127.0.0.1]/", "https://[fe80::1]/", "https://[64:ff9b::7f00:1]/", "https://0.0.0.0/",
    "https://100.64.0.1/", "https://localhost/x", "https://224.0.0.1/", "http://ven.example.org/x",
]  # fmt: skip


@pytest.mark.parametrize("url", CALLBACKS)
def test_a_callback_into_our_own_network_is_refused(http, url):
    north = peer(http, "north", "ven")
    refused(north.call("POST", "subscriptions", a_subscription(url)), 403)
    assert not Object.objects.filter(kind="SUBSCRIPTION").exists()


@pytest.mark.parametrize(
    "url", ["ftp://ven.example.org/", "https://user:pw@ven.example.org/", "https:///x", "javascript:x"]
)
def test_a_callback_that_is_no_web_address_is_refused(http, url):
    refused(peer(http, "north", "ven").call("POST", "subscriptions", a_subscription(url)), 400)


def test_a_report_of_3_1_has_its_program_in_3_0_1(http, desk):
    north = peer(http, "north", "ven")
    program = desk.made("programs", a_program())
    report = north.made("reports", a_report(desk.made("events", an_event(program["id"]))["id"]))
    assert desk.get(f"reports/{report['id']}", version="3.0.1").json()["programID"] == program["id"]
    assert "programID" not in json.dumps(report)
