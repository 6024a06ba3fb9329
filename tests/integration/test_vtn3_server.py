"""Our OpenADR 3 VTN as a real server: a third party's client, webhooks that survive kills, its OpenAPI examined."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openadr3.api
import pytest
from support.platform_processes import wait_until
from support.vtn3 import a_program, a_receiver, a_report, a_subscription, an_event
from support.vtn3_server import Vtn, a_vtn

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def vtn(tmp_path_factory):
    with a_vtn(tmp_path_factory.mktemp("vtn3"), VPP_VTN_WEBHOOK_NETWORKS="127.0.0.1/32") as held:
        held.make_client("north", "--ven", "north", "--target", "north")
        held.sender = held.platform.start("send_openadr")
        yield held


def client(vtn: Vtn, name: str, version: str = "3.1.0") -> openadr3.api.OpenADRClient:
    """Return a third party's client that has fetched its own token."""
    make = openadr3.api.create_bl_client if name == "desk" else openadr3.api.create_ven_client
    held = make(vtn.url(version), token="")
    held.fetch_token(vtn.clients[name]["client_id"], vtn.clients[name]["client_secret"])
    return held


@pytest.mark.parametrize("version", ["3.0.1", "3.1.0"])
def test_a_third_partys_client_plays_a_ven(vtn, version):
    desk, ven = client(vtn, "desk", version), client(vtn, "north", version)
    program = desk.create_program(a_program(f"interop {version}")).json()
    desk.create_event(an_event(program["id"], eventName="ffr"))
    found = ven.find_program_by_name(f"interop {version}") if version == "3.0.1" else ven.program(program["id"])
    assert found.id == program["id"]
    (event,) = ven.events(programID=program["id"])
    assert event.intervals[0].payloads[0].values == [-250.0]
    more = {"programID": program["id"]} if version == "3.0.1" else {}
    report = ven.create_report(a_report(event.id, **more))
    assert report.status_code == 201, report.text
    assert [row.id for row in desk.reports(eventID=event.id)] == [report.json()["id"]]
    with a_receiver() as receiver:
        body = a_subscription(receiver.url, programID=program["id"])
        if version == "3.0.1":
            body["objectOperations"][0]["operations"] = ["POST", "PUT", "DELETE"]
        subscription = ven.create_subscription(body)
        assert subscription.status_code == 201, subscription.text
        desk.create_event(an_event(program["id"], eventName="told"))
        (told,) = wait_until(lambda: receiver.received, WITHIN_S, "the notification")
        assert (told["objectType"], told["object"]["eventName"]) == ("EVENT", "told")
        assert told["operation"] == ("POST" if version == "3.0.1" else "CREATE")
        assert receiver.echoed == (0 if version == "3.0.1" else 1)
        ven.delete_subscription(subscription.json()["id"])


def test_kills_forget_neither_objects_nor_what_is_owed(vtn):
    desk, ven = client(vtn, "desk"), client(vtn, "north")
    with a_receiver() as receiver:
        receiver.refuses = 1
        body = a_subscription(receiver.url)
        body["objectOperations"][0]["bearerToken"] = "of-the-ven"
        ven.create_subscription(body)
        program = desk.create_program(a_program("killed", targets=["north"])).json()
        vtn.platform.kill(vtn.sender)
        names = [f"e{number}" for number in range(5)]
        made = [desk.create_event(an_event(program["id"], eventName=name)).json() for name in names]
        vtn.kill()
        vtn.start()
        vtn.sender = vtn.platform.start("send_openadr")
        wait_until(lambda: len(receiver.received) >= 5, WITHIN_S, "what was owed")
        assert [told["object"]["eventName"] for told in receiver.received] == names
        assert set(receiver.bearers) == {"Bearer of-the-ven"}
        assert ven.get_events(programID=program["id"]).json() == made


def examine(vtn: Vtn, version: str, *words: str) -> None:
    """Run a third party's checks of the served OpenAPI against the server; fail with what they found."""
    done = subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "run", f"{vtn.url(version)}/openapi.json", "--no-color",
         "-H", f"Authorization: Bearer {vtn.token('desk')}", "--seed", "1", "--no-shrink", "--continue-on-failure",
         # A NUL is refused everywhere, as no text column of the database takes one; a schema cannot say so.
         "--generation-allow-x00", "false", "--generation-database", "none", *words],
        capture_output=True, text=True, check=False, cwd=vtn.platform.folder, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_served_openapi_holds(vtn):
    examine(vtn, "3.1.0", "--phases", "fuzzing", "--max-examples", "2", "--include-path-regex", "/(events|programs)")


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.0.1", "3.1.0"])
def test_the_whole_served_openapi_holds(vtn, version):
    examine(vtn, version, "--phases", "coverage,fuzzing", "--max-examples", "30")
