"""Our reports to a VTN of OpenADR 3: our VEN and our VTN as real processes on loopback, both versions at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import openadr3.api
import pytest
from support.metered_minutes import meter
from support.openadr import PlatformProcesses
from support.vtn3 import a_program
from support.vtn3_server import a_vtn

pytestmark = pytest.mark.long

VERSIONS = {"south": "3.1.0", "west": "3.0.1"}
TABLE = """
[[operator]]
name = "{name}"
version = "{version}"
url = "http://127.0.0.1:{port}/openadr3/{version}"
ven_name = "{name}"
client_id = "{client_id}"
secret_env = "{name}_secret"
poll_s = 1

[[operator.program]]
name = "{name}-dc-low"
product = "neso-dc-low"
market_context = "{name} response"
signal_name = "DISPATCH_SETPOINT"
signal_type = "setpoint"
signal_sign = -1
sign_note = "stated by the operator"
"""
EACH = {"startInterval": 1, "numIntervals": 1, "frequency": 1, "repeat": -1}


class Field:
    """A VTN with a market desk, and our platform as a VEN of two operators there."""

    def __init__(self, vtn: Any, ven: PlatformProcesses) -> None:
        self.vtn, self.ven = vtn, ven
        held = vtn.clients["desk"]
        self.desk = openadr3.api.create_bl_client(vtn.url("3.1.0"), token="")
        self.desk.fetch_token(held["client_id"], held["client_secret"])
        self.programs = {
            name: self.desk.create_program(a_program(f"{name} response", targets=[name])).json()["id"]
            for name in VERSIONS
        }

    def issued(self, name: str, start: datetime, length: str, count: int, *descriptors: dict[str, Any]) -> str:
        event = {
            "programID": self.programs[name], "targets": [name],
            "intervalPeriod": {"start": start.isoformat().replace("+00:00", "Z"), "duration": length},
            "intervals": [
                {"id": number, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [-10.0]}]}
                for number in range(count)
            ],
            "reportDescriptors": list(descriptors),
        }  # fmt: skip
        return str(self.desk.create_event(event).json()["id"])

    def reports(self, event_id: str, name: str) -> list[dict[str, Any]]:
        """Return the reports on an event that bear a name, in order of their first interval."""
        rows = [row for row in self.desk.get_reports(limit=50).json() if row["eventID"] == event_id]
        found = [row for row in rows if row["reportName"] == name]
        return sorted(found, key=lambda row: row["resources"][0]["intervals"][0]["id"])

    def awaited(self, event_id: str, name: str, count: int) -> list[dict[str, Any]]:
        return self.ven.wait_until(lambda: len(rows := self.reports(event_id, name)) >= count and rows)

    def live(self, **values: Any) -> None:
        """Set values of all sites' newest reading."""
        with closing(sqlite3.connect(self.ven.database, timeout=20)) as connection, connection:
            words = ", ".join(f"{name} = ?" for name in values)
            connection.execute(f"UPDATE metering_livestate SET {words}", tuple(values.values()))  # noqa: S608


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    ven = PlatformProcesses(tmp_path_factory.mktemp("ven"))
    with a_vtn(tmp_path_factory.mktemp("vtn")) as vtn:
        table = ""
        for name, version in VERSIONS.items():
            held = vtn.make_client(name, "--ven", name, "--target", name)
            ven.env[f"{name}_secret"] = held["client_secret"]
            table += TABLE.format(name=name, version=version, port=vtn.port, client_id=held["client_id"])
        ven.declare(table)
        ven.add_sites(3)
        made = Field(vtn, ven)
        made.live(pcc_kw=-20.0, service_kw=25.0, soc_ratio=0.5)
        ven.start_ven()
        try:
            yield made
        finally:
            ven.stop_ven()


def payloads(report: dict[str, Any]) -> list[dict[str, Any]]:
    (resource,) = report["resources"]
    return [{one["type"]: one["values"][0] for one in interval["payloads"]} for interval in resource["intervals"]]


@pytest.mark.parametrize("name", VERSIONS)
def test_live_values_come_interval_by_interval_as_asked(field, name):
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=6)
    event_id = field.issued(
        name, start, "PT1S", 3,
        {"payloadType": "READING", **EACH}, {"payloadType": "UP_REGULATION_AVAILABLE", "aggregate": True},
        {"payloadType": "STEAM"},
    )  # fmt: skip
    readings = field.awaited(event_id, "READING", 3)
    # Three sites give 20 kW each to the grid: less than no consumption.
    assert [payloads(one) for one in readings] == [[{"READING": -60.0, "DATA_QUALITY": "OK"}]] * 3
    assert [one["resources"][0]["intervals"][0]["id"] for one in readings] == [0, 1, 2]
    assert readings[0]["resources"][0]["resourceName"] == f"{name}-dc-low"
    (up,) = field.awaited(event_id, "UP_REGULATION_AVAILABLE", 1)
    assert up["resources"][0]["resourceName"] == "AGGREGATED_REPORT"
    # 50 kW each, less 2 % for sites that drop out; as events are decided.
    assert [one["UP_REGULATION_AVAILABLE"] for one in payloads(up)] == [147.0] * 3
    (refused,) = field.awaited(event_id, "REPORT_REFUSED", 1)
    values = refused["resources"][0]["intervals"][0]["payloads"][0]["values"]
    assert values[:2] == ["STEAM", "payload_type_unknown"]


def test_energy_comes_from_the_meter_book_and_a_gap_is_no_zero(field):
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    for number in (1, 2, 3):
        meter(field.ven, f"site-{number:04d}", begin, minutes=15, out_uwh=10**9)
    event_id = field.issued("south", begin, "PT15M", 2, {"payloadType": "USAGE", "units": "WH"})
    (report,) = field.awaited(event_id, "USAGE", 1)
    assert payloads(report) == [{"USAGE": -45000.0, "DATA_QUALITY": "OK"}, {"DATA_QUALITY": "MISSING"}]


def test_what_a_killed_ven_did_not_see_is_missing_and_nothing_is_told_twice(field):
    told = len(field.desk.get_reports(limit=50).json())
    field.ven.kill_ven()
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=10)
    event_id = field.issued("south", start, "PT1S", 2, {"payloadType": "READING"})
    field.ven.start_ven()
    (report,) = field.awaited(event_id, "READING", 1)
    assert payloads(report) == [{"DATA_QUALITY": "MISSING"}] * 2
    others = [row for row in field.desk.get_reports(limit=50).json() if row["eventID"] != event_id]
    assert len(others) == told
