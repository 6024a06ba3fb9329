"""The faults that VENs of the field have (a whole list opted out, broken XML, odd codes), and that ours has not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from openleadr.messaging import XML_SCHEMA, create_message

from markets import operations
from markets.models import MarketEvent, Obligation, Program, RefusedMessage
from markets.openadr import receiving
from markets.openadr.certificates import make_openadr_certificates
from markets.openadr.grid_operator import event_dict
from markets.openadr.operators import VenConfig
from markets.openadr.receiving import receive_list
from markets.openadr.ven20b import EventList, VenClient, read_message
from markets.openadr.vtn20b.xmldsig import verified

NORTH = VenConfig("http://127.0.0.1:1/north", "us", "north")
SOUTH = VenConfig("http://127.0.0.1:1/south", "us", "south")


@pytest.fixture
def market(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of the operator ``north``, our registration there, and a fleet that has 500 kW."""
    operations.ensure_programs()
    Program.objects.update(operator="north")
    monkeypatch.setattr(receiving.queries, "available_kw", lambda **_: 500.0)
    operations.keep_registration(
        vtn_url=NORTH.url, ven_name="us", ven_id="v", registration_id="r", poll_s=1.0,
        at=datetime.now(UTC) - timedelta(minutes=1),
    )  # fmt: skip


def a_list(*events: dict[str, Any], vtn_id: str = "VTN", spoiled: tuple[str, str] = ("", "")) -> EventList:
    """Return a list as it comes over the wire and is read there; ``spoiled`` replaces a part of its XML."""
    raw = create_message(
        "oadrDistributeEvent", request_id="r&lt;&amp;&gt;1", vtn_id=vtn_id,
        response={"response_code": 200, "response_description": "OK", "request_id": "q"}, events=list(events),
    )  # fmt: skip
    raw = raw.replace(*spoiled) if spoiled[0] else raw
    kind, payload = read_message(raw.encode())
    assert kind == "oadrDistributeEvent"
    return EventList(str(payload["vtn_id"]), str(payload["request_id"]), payload.get("events") or [], raw.encode())


def an_event(event_id: str, **facts: Any) -> dict[str, Any]:
    command = {
        "event_id": event_id,
        "power_kw": -40,
        "duration_s": 1800,
        "starts_at": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
        "market_context": Program.objects.get(name="neso-dc-low").market_context,
    }
    return event_dict({**command, **facts}, "v")


def answers(responses: list[dict[str, Any]]) -> dict[str, tuple[int, str, str]]:
    return {
        str(one["event_id"]): (one["response_code"], one["opt_type"], one["response_description"]) for one in responses
    }


@pytest.mark.usefixtures("market")
class TestOneEventOfMany:
    def test_one_that_is_refused_opts_out_alone(self):
        responses = receive_list(a_list(an_event("good"), an_event("bad", power_kw=40)), NORTH)
        assert answers(responses) == {
            "good": (200, "optIn", "accepted"),
            "bad": (200, "optOut", "value_wrong_sign"),
        }

    def test_one_that_cannot_be_read_is_kept_and_the_others_are_answered(self):
        listed = a_list(
            an_event("good"),
            an_event("bad", modification_number=77),
            spoiled=("<ei:modificationNumber>77<", "<ei:modificationNumber>many<"),
        )
        assert answers(receive_list(listed, NORTH)) == {"good": (200, "optIn", "accepted")}
        refused = RefusedMessage.objects.get()
        assert (refused.error, b"many" in bytes(refused.raw)) == ("event_invalid", True)

    def test_its_own_element_is_kept_and_not_the_list(self):
        receive_list(a_list(an_event("first"), an_event("second")), NORTH)
        first, second = MarketEvent.objects.order_by("event_id")
        assert b"first" in bytes(first.raw)
        assert b"second" not in bytes(first.raw)
        assert first.message_hash == second.message_hash
        element = etree.fromstring(bytes(second.raw))
        assert etree.QName(element).localname == "oadrEvent"
        assert etree.tostring(element, method="c14n", exclusive=True) == bytes(second.raw)


@pytest.mark.usefixtures("market")
class TestImpliedCancellation:
    def test_what_the_list_no_longer_holds_is_owed_no_longer(self):
        receive_list(a_list(an_event("kept"), an_event("gone")), NORTH)
        receive_list(a_list(an_event("kept")), NORTH)
        assert {o.event.event_id: o.status for o in Obligation.objects.all()} == {"kept": "open", "gone": "cancelled"}

    def test_an_empty_list_takes_back_all(self):
        receive_list(a_list(an_event("gone")), NORTH)
        receive_list(a_list(), NORTH)
        assert Obligation.objects.get().status == "cancelled"

    def test_nothing_is_taken_back_while_an_event_s_id_cannot_be_read(self):
        receive_list(a_list(an_event("held")), NORTH)
        receive_list(a_list(an_event("held"), spoiled=("<ei:eventID>held<", "<ei:eventID><")), NORTH)
        assert Obligation.objects.get().status == "open"

    def test_another_operator_s_list_takes_nothing_back(self):
        receive_list(a_list(an_event("held")), NORTH)
        operations.keep_registration(
            vtn_url=SOUTH.url, ven_name="us", ven_id="v", registration_id="r", poll_s=1.0,
            at=datetime.now(UTC) - timedelta(minutes=1),
        )  # fmt: skip
        receive_list(a_list(), SOUTH)
        assert Obligation.objects.get().status == "open"


@pytest.mark.usefixtures("market")
class TestWhoseAnEventIs:
    def test_a_program_of_another_operator_is_none_of_ours(self):
        responses = receive_list(a_list(an_event("stolen")), SOUTH)
        assert answers(responses) == {"stolen": (200, "optOut", "market_context_unknown")}

    def test_an_operator_that_gives_itself_another_s_name_changes_nothing_of_its_events(self):
        receive_list(a_list(an_event("e1")), NORTH)
        receive_list(a_list(an_event("e1", modification_number=9, power_kw=-1)), SOUTH)
        assert Obligation.objects.get().power_kw == 40.0
        assert sorted(MarketEvent.objects.values_list("operator", "event_id")) == [("north", "e1"), ("south", "e1")]


@pytest.mark.usefixtures("market")
class TestCodes:
    def test_a_vtn_with_a_lower_case_id_is_answered_like_any_other(self):
        assert answers(receive_list(a_list(an_event("e"), vtn_id="all-lower"), NORTH)) == {
            "e": (200, "optIn", "accepted")
        }

    def test_an_x_signal_that_was_agreed_is_taken_with_200(self):
        Program.objects.filter(name="neso-dc-low").update(signal_name="x-FFR_ARM", signal_type="setpoint")
        event = an_event("e", signal_name="x-FFR_ARM", signal_type="setpoint")
        assert answers(receive_list(a_list(event), NORTH)) == {"e": (200, "optIn", "accepted")}

    def test_one_that_was_not_is_refused_with_460_and_opt_out(self):
        event = an_event("e", signal_name="x-FFR_ARM")
        assert answers(receive_list(a_list(event), NORTH)) == {"e": (460, "optOut", "signal_unknown")}


class TestWhatIsSent:
    def test_a_name_with_marks_is_one_name_and_the_message_fits_the_schema(self):
        client = VenClient(VenConfig("http://127.0.0.1:1/x", 'A&B <x> "q"', "north"))
        message = client._written("oadrCreatePartyRegistration", request_id="r", ven_name=client.ven_name,
            http_pull_model=True, xml_signature=False, report_only=False, profile_name="2.0b",
            transport_name="simpleHttp", transport_address=None, ven_id=None, registration_id=None)  # fmt: skip
        root = etree.fromstring(message)
        assert XML_SCHEMA.validate(root)
        assert root.findtext(".//{*}oadrVenName") == 'A&B <x> "q"'

    @pytest.mark.usefixtures("market")
    def test_what_an_operator_calls_its_event_cannot_break_the_answer(self):
        listed = a_list(an_event("e&lt;x&gt;&amp;"))
        client = VenClient(NORTH)
        message = client._written(
            "oadrCreatedEvent",
            response={"response_code": 200, "response_description": "OK", "request_id": listed.request_id},
            event_responses=receive_list(listed, NORTH),
            ven_id="v",
        )
        root = etree.fromstring(message)
        assert XML_SCHEMA.validate(root)
        assert root.findtext(".//{*}eventID") == "e<x>&"

    def test_two_operators_in_one_process_have_a_key_each(self, tmp_path: Path):
        made = {}
        for name in ("north", "south"):
            pair = make_openadr_certificates(tmp_path / name, at=datetime.now(UTC))
            files = {"cert": str(pair.ven.cert), "key": str(pair.ven.key), "ca": str(pair.ca)}
            made[name] = VenClient(
                VenConfig("https://127.0.0.1:1/x", "us", name, **files, vtn_fingerprint=pair.vtn.fingerprint)
            )
        signed = {
            name: verified(etree.fromstring(client._written("oadrPoll", ven_id=name))) for name, client in made.items()
        }
        assert signed["north"].certificate != signed["south"].certificate
        assert made["north"].vtn_fingerprint != made["south"].vtn_fingerprint
