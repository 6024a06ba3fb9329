"""Our OpenADR 3 VEN process against our VTN 3 over a socket, both versions at once, and the end of either side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import openadr3.api
import pytest
from support.brokers import nats_broker
from support.openadr import PlatformProcesses
from support.platform_processes import wait_until
from support.vtn3 import a_program
from support.vtn3_server import Vtn, a_vtn

TABLE = """
[[operator]]
name = "{name}"
version = "{version}"
url = "http://127.0.0.1:{port}/openadr3/{version}"
ven_name = "{name}"
client_id = "{client_id}"
secret_env = "{name}_secret"
poll_s = {poll_s}
{more}
[[operator.program]]
name = "{name}-dc-low"
product = "neso-dc-low"
market_context = "{name} response"
signal_name = "DISPATCH_SETPOINT"
signal_type = "setpoint"
signal_sign = {sign}
sign_note = "stated by the operator"
"""
VERSIONS = {"south": "3.1.0", "west": "3.0.1", "east": "3.1.0"}
SIGNS = {"south": -1, "west": 1, "east": -1}
POLLS_S = {"south": 1, "west": 1, "east": 3600}
"""``east`` hears of its events by MQTT alone."""
OBLIGATION = (
    "SELECT o.*, e.operator, e.event_id FROM markets_obligation o JOIN markets_marketevent e ON e.id = o.event_id "
    "WHERE e.event_id = ?"
)
EVENTS = "SELECT * FROM markets_marketevent WHERE event_id = ? ORDER BY modification_number"


class Field:
    """A VTN with a market desk, and our platform as a VEN of two operators there."""

    def __init__(self, vtn: Vtn, ven: PlatformProcesses) -> None:
        self.vtn, self.ven = vtn, ven
        self.desk = self.signed_in()
        self.programs = {
            name: self.desk.create_program(a_program(f"{name} response", targets=[name])).json()["id"]
            for name in VERSIONS
        }

    def signed_in(self) -> Any:
        desk = openadr3.api.create_bl_client(self.vtn.url("3.1.0"), token="")
        held = self.vtn.clients["desk"]
        desk.fetch_token(held["client_id"], held["client_secret"])
        return desk

    def event(self, name: str, value: Any, *, kind: str = "DISPATCH_SETPOINT", **more: Any) -> dict[str, Any]:
        start = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        return {
            "programID": self.programs[name],
            "targets": [name],
            "intervalPeriod": {"start": start, "duration": "PT30M"},
            "intervals": [{"id": 0, "payloads": [{"type": kind, "values": [value]}]}],
            **more,
        }

    def issued(self, name: str, value: Any, **more: Any) -> str:
        return str(self.desk.create_event(self.event(name, value, **more)).json()["id"])

    def decided(self, event_id: str, versions: int = 1) -> dict[str, Any]:
        rows = self.ven.wait_until(lambda: len(rows := self.ven.rows(EVENTS, event_id)) >= versions and rows)
        return rows[-1]

    def answers(self, event_id: str) -> list[list[str]]:
        reports = [report for report in self.desk.get_reports().json() if report["eventID"] == event_id]
        return [report["resources"][0]["intervals"][0]["payloads"][0]["values"] for report in reports]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    ven = PlatformProcesses(tmp_path_factory.mktemp("ven"))
    with nats_broker() as broker, contextlib.ExitStack() as stack:
        public = f"mqtt://127.0.0.1:{broker.port}"
        vtn = stack.enter_context(
            a_vtn(tmp_path_factory.mktemp("vtn"), VPP_BROKER_URL=broker.url, VPP_VTN_MQTT_URIS=public)
        )
        vtn.sender = vtn.platform.start("send_openadr")
        ven.env["broker_secret"] = broker.password
        listens = f'mqtt = "mqtt://{broker.user}@127.0.0.1:{broker.port}"\nmqtt_secret_env = "broker_secret"\n'
        table = ""
        for name, version in VERSIONS.items():
            held = vtn.make_client(name, "--ven", name, "--target", name)
            ven.env[f"{name}_secret"] = held["client_secret"]
            table += TABLE.format(
                name=name, version=version, port=vtn.port, client_id=held["client_id"], sign=SIGNS[name],
                poll_s=POLLS_S[name], more=listens if name == "east" else "",
            )  # fmt: skip
        ven.declare(table)
        ven.add_sites(3)
        made = Field(vtn, ven)
        ven.start_ven()
        try:
            yield made
        finally:
            ven.stop_ven()


@pytest.mark.parametrize(("name", "value"), [("south", -40.0), ("west", 40.0)])
def test_an_event_is_owed_answered_changed_and_taken_back(field, name, value):
    """Each version, each with its program's own sign; the answer is a report, a deletion the cancellation."""
    event_id = field.issued(name, value)
    decided = field.decided(event_id)
    assert (decided["operator"], decided["opt_type"], decided["reason"]) == (name, "optIn", "accepted")
    assert (decided["requested_kw"], decided["available_kw"]) == (40.0, 147.0)
    (obligation,) = field.ven.rows(OBLIGATION, event_id)
    assert (obligation["power_kw"], obligation["status"]) == (40.0, "open")
    wait_until(lambda: field.answers(event_id) == [["optIn", "accepted", 40.0]], what="the answer")
    changed = field.event(name, value / 2, intervalPeriod=field.desk.get_event_by_id(event_id).json()["intervalPeriod"])
    field.desk.update_event(event_id, changed)
    assert field.decided(event_id, versions=2)["requested_kw"] == 20.0
    (obligation,) = field.ven.rows(OBLIGATION, event_id)
    assert (obligation["power_kw"], obligation["revision"]) == (20.0, 2)
    wait_until(lambda: len(field.answers(event_id)) == 2, what="the second answer")


@pytest.mark.parametrize(
    ("name", "value", "facts", "reason"),
    [
        ("south", 40.0, {}, "value_wrong_sign"),
        ("west", -40.0, {}, "value_wrong_sign"),
        ("south", -148.0, {}, "not_available"),
        ("south", -40.0, {"payloadDescriptors": [
            {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KWH"}]},
         "unit_unknown"),
        ("south", "ARM neso-dc-low", {"kind": "DISPATCH_INSTRUCTION"}, "signal_unknown"),
        ("west", {"x": 49.8, "y": 1.0}, {"kind": "CURVE"}, "signal_unknown"),
        ("south", 0.17, {"kind": "PRICE"}, "signal_unknown"),
    ],
)  # fmt: skip
def test_what_is_not_acted_on_is_stored_and_answered_by_name(field, name, value, facts, reason):
    event_id = field.issued(name, value, **facts)
    decided = field.decided(event_id)
    assert (decided["opt_type"], decided["reason"]) == ("optOut", reason)
    assert event_id.encode() in decided["raw"]
    assert field.ven.rows(OBLIGATION, event_id) == []
    wait_until(lambda: field.answers(event_id) == [["optOut", reason, 0.0]], what="the answer")


def test_a_notice_over_mqtt_does_not_wait_for_the_next_poll(field):
    """It polls once an hour: what it decides of within seconds it was told."""
    field.ven.wait_until(lambda: "link.up client=ven3-east" in field.ven.log_path.read_text())
    assert field.decided(field.issued("east", -4.0))["reason"] == "accepted"


def test_an_event_that_has_to_make_room_is_answered_anew(field):
    """0 is the highest priority there: 100 kW of 147 go to the later event, and the first one's desk hears it."""
    start = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    period = {"intervalPeriod": {"start": start, "duration": "PT30M"}}
    first = field.issued("south", -100.0, **period)
    field.decided(first)
    wait_until(lambda: field.answers(first) == [["optIn", "accepted", 100.0]], what="the answer")
    urgent = field.issued("south", -100.0, priority=0, **period)
    assert field.decided(urgent)["reason"] == "accepted"
    wait_until(lambda: len(field.answers(first)) == 2, what="the changed answer")
    assert [answer[0] for answer in sorted(field.answers(first))] == ["optIn", "optOut"]
    assert min(answer[2] for answer in field.answers(first)) == 0.0
    field.ven.wait_until(
        lambda: field.ven.rows("SELECT count(*) AS n FROM markets_obligationchange WHERE told_at IS NULL")[0]["n"] == 0
    )


def test_an_event_that_is_ours_no_longer_is_owed_no_longer(field):
    """The list and its own address (404) no longer have it for us, as after a deletion."""
    event_id = field.issued("south", -5.0)
    field.decided(event_id)
    # Our VTN does not delete an event that was answered: reports are evidence.
    kept = field.desk.update_event(event_id, field.event("south", -5.0, targets=["nobody"])).json()
    assert kept["targets"] == ["nobody"]
    field.ven.wait_until(lambda: field.ven.rows(OBLIGATION, event_id)[0]["status"] == "cancelled")
    assert field.decided(event_id)["status"] == "withdrawn"


def test_the_vtn_is_killed_and_comes_back(field):
    before = field.issued("south", -6.0)
    field.decided(before)
    field.vtn.kill()
    field.ven.wait_until(lambda: "link.down operator=south" in field.ven.log_path.read_text())
    assert field.ven.rows(OBLIGATION, before)[0]["status"] == "open"
    field.vtn.start()
    after = field.issued("south", -7.0)
    assert field.decided(after)["reason"] == "accepted"
    assert field.ven.rows(OBLIGATION, before)[0]["status"] == "open"


def test_the_ven_is_killed_and_comes_back(field):
    held = field.issued("west", 8.0)
    field.decided(held)
    wait_until(lambda: field.answers(held) == [["optIn", "accepted", 8.0]], what="the answer")
    field.ven.kill_ven()
    missed = field.issued("west", 9.0)
    changed = field.event("west", 3.0, intervalPeriod=field.desk.get_event_by_id(held).json()["intervalPeriod"])
    field.desk.update_event(held, changed)
    field.ven.start_ven()
    assert field.decided(missed)["reason"] == "accepted"
    assert field.decided(held, versions=2)["requested_kw"] == 3.0
    (obligation,) = field.ven.rows(OBLIGATION, held)
    assert (obligation["power_kw"], obligation["revision"]) == (3.0, 2)
    wait_until(lambda: len(field.answers(held)) == 2 and len(field.answers(missed)) == 1, what="one answer each")
