"""What openleadr's VTN does wrong, and what a hostile peer tries: our VTN process over mutual TLS, answer by answer."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from openleadr.messaging import create_message, parse_message, validate_xml_schema, validate_xml_signature
from openleadr.utils import generate_id
from support.vtn20b import CONTEXT, VTN_ID, Authority, OurVtnProcess, Party

from markets.openadr.vtn20b.xmldsig import Signer

NAME = "A&B <x>"


@dataclass
class Peer:
    """A VEN by hand: each of its messages is one call."""

    vtn: OurVtnProcess
    name: str
    party: Party
    signs: bool = True
    ven_id: str = ""
    registration_id: str = ""

    def message(self, kind: str, **payload: Any) -> bytes:
        files = {"cert": self.party.cert.read_bytes(), "key": self.party.key.read_bytes()} if self.signs else {}
        return create_message(kind, **files, **{"ven_id": self.ven_id, **payload}).encode()

    def raw(self, service: str, message: bytes, **more: Any) -> tuple[int, str]:
        return self.vtn.post(service, message, self.party, **more)

    def tell(self, service: str, message: bytes) -> tuple[str, dict[str, Any]]:
        """Send a message and read the answer as openleadr's client does: schema, signature, fields."""
        status, answer = self.raw(service, message)
        assert status == 200, answer
        tree = validate_xml_schema(answer)
        if self.signs and self.vtn.party is not None:
            validate_xml_signature(tree, cert_fingerprint=self.vtn.party.fingerprint)
        return parse_message(answer)

    def send(self, service: str, kind: str, **payload: Any) -> tuple[str, dict[str, Any]]:
        return self.tell(service, self.message(kind, **payload))

    def register(self, **more: Any) -> None:
        given = {
            "request_id": "r1", "ven_name": self.name.replace("&", "&amp;").replace("<", "&lt;"), "ven_id": None,
            "http_pull_model": True, "xml_signature": True, "report_only": False, "profile_name": "2.0b",
            "transport_name": "simpleHttp", "transport_address": None, "registration_id": None,
        }  # fmt: skip
        kind, answer = self.send("EiRegisterParty", "oadrCreatePartyRegistration", **{**given, **more})
        assert kind == "oadrCreatedPartyRegistration", answer
        self.ven_id, self.registration_id = answer["ven_id"], answer["registration_id"]

    def events(self) -> list[dict[str, Any]]:
        kind, answer = self.send("EiEvent", "oadrRequestEvent", request_id=generate_id())
        assert kind == "oadrDistributeEvent", answer
        return answer.get("events", [])

    def answers(self, event_id: str, number: int, opt: str = "optIn", code: int = 200) -> tuple[str, dict[str, Any]]:
        one = {"response_code": code, "request_id": "q", "event_id": event_id, "modification_number": number}
        response = {"response_code": 200, "response_description": "OK", "request_id": "q"}
        return self.send("EiEvent", "oadrCreatedEvent", response=response, event_responses=[{**one, "opt_type": opt}])


def named(answer: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    """Return code and name of a refusal."""
    kind, payload = answer
    assert kind == "oadrResponse", answer
    return payload["response"]["response_code"], payload["response"]["response_description"].partition(":")[0]


@pytest.fixture(scope="module")
def vtn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurVtnProcess]:
    folder = tmp_path_factory.mktemp("vtn20b")
    running = OurVtnProcess(folder / "vtn", Authority(folder / "certificates"))
    running.start()
    try:
        yield running
    finally:
        assert running.stop() == 0
        assert "Traceback" not in running.log_path.read_text()


def joined(vtn: OurVtnProcess, file_name: str, name: str, *options: str) -> Peer:
    assert vtn.authority is not None
    party = vtn.authority.party(file_name)
    vtn.manage("vtn_vens", "add", name, "--cert", str(party.cert), *options)
    vtn.wait_until(lambda: _is_known(vtn, party))
    peer = Peer(vtn, name, party, signs="--unsigned" not in options)
    peer.register()
    return peer


def _is_known(vtn: OurVtnProcess, party: Party) -> bool:
    return "certificate_unknown" not in vtn.post("OadrPoll", b"<x/>", party)[1]


@pytest.fixture(scope="module")
def alpha(vtn: OurVtnProcess) -> Peer:
    return joined(vtn, "alpha", "alpha")


@pytest.fixture(scope="module")
def beta(vtn: OurVtnProcess) -> Peer:
    """Its name is markup, and it does not sign."""
    return joined(vtn, "beta", NAME, "--unsigned")


class TestFaultsThatWeDoNotHave:
    def test_an_empty_list_is_an_empty_distribute_event(self, beta):
        kind, answer = beta.send("EiEvent", "oadrRequestEvent", request_id="r")
        assert (kind, answer.get("events", [])) == ("oadrDistributeEvent", [])

    def test_a_created_event_without_event_responses_is_good(self, alpha):
        response = {"response_code": 200, "response_description": "OK", "request_id": "q"}
        kind, answer = alpha.send("EiEvent", "oadrCreatedEvent", response=response, event_responses=None)
        assert (kind, answer["response"]["response_code"]) == ("oadrResponse", 200)

    def test_a_name_that_is_markup_is_escaped_and_kept(self, vtn, beta):
        """What it registered with comes back as it was, and the answer is XML."""
        (row,) = vtn.rows("SELECT * FROM markets_downstreamven WHERE ven_id = ?", beta.ven_id)
        assert row["ven_name"] == NAME
        vtn.issue("markup", NAME, comment=NAME)
        (event,) = beta.events()
        assert event["event_descriptor"]["vtn_comment"] == NAME
        vtn.manage("vtn_events", "cancel", "markup")

    def test_x_signals_and_what_a_ven_says_of_them(self, vtn, alpha):
        """460 with optIn is kept as it is, and is no acceptance."""
        vtn.issue("x-1", "alpha", signal="x-FFR_ARM")
        (event,) = alpha.events()
        assert event["event_signals"][0]["signal_name"] == "x-FFR_ARM"
        alpha.answers("x-1", 0, code=460)
        (told,) = [one for one in vtn.told("vtn_events", "list") if one["event_id"] == "x-1"]
        assert told["vens"]["alpha"]["response_code"] == 460
        assert told["vens"]["alpha"]["is_accepted"] is False
        vtn.manage("vtn_events", "cancel", "x-1")
        alpha.answers("x-1", 1)

    def test_an_active_simple_event_tells_its_current_value(self, vtn, alpha):
        vtn.issue("simple", "alpha", value=2, starts_in_s=-5.0, signal="SIMPLE", type="level")
        (event,) = alpha.events()
        assert event["event_descriptor"]["event_status"] == "active"
        assert event["event_signals"][0]["current_value"] == 2
        vtn.manage("vtn_events", "cancel", "simple")
        assert alpha.events()[0]["event_descriptor"]["event_status"] == "cancelled"
        alpha.answers("simple", 1)
        assert alpha.events() == []

    def test_an_opt_schedule_is_kept_and_cancelled(self, vtn, alpha):
        start = datetime(2030, 1, 8, 17, tzinfo=UTC)
        window = {"components": [{"dtstart": start, "duration": timedelta(hours=2)}]}
        given = {
            "request_id": "r", "opt_id": "o1", "opt_type": "optOut", "opt_reason": "x-schedule",
            "vavailability": window, "created_date_time": start, "targets": [{"ven_id": alpha.ven_id}],
        }  # fmt: skip
        kind, answer = alpha.send("EiOpt", "oadrCreateOpt", **given)
        assert (kind, answer["opt_id"]) == ("oadrCreatedOpt", "o1")
        (row,) = vtn.rows("SELECT * FROM markets_optschedule WHERE opt_id = 'o1'")
        assert json.loads(row["windows"]) == [["2030-01-08T17:00:00+00:00", "2030-01-08T19:00:00+00:00"]]
        kind, answer = alpha.send("EiOpt", "oadrCancelOpt", request_id="r", opt_id="o1")
        assert (kind, answer["response"]["response_code"]) == ("oadrCanceledOpt", 200)
        assert named(alpha.send("EiOpt", "oadrCancelOpt", request_id="r", opt_id="o1")) == (452, "opt_unknown")

    def test_a_resource_status_is_read(self, vtn, beta):
        """openleadr knows numbers only; the state of a resource is a report payload of its own."""
        description = {
            "r_id": "status", "report_type": "x-resourceStatus", "reading_type": "x-notApplicable",
            "sampling_rate": {
                "min_period": timedelta(seconds=1), "max_period": timedelta(seconds=60), "on_change": False,
            },
        }  # fmt: skip
        report = {
            "report_name": "METADATA_TELEMETRY_STATUS", "report_specifier_id": "s1", "report_request_id": "0",
            "created_date_time": datetime.now(UTC), "report_descriptions": [description],
        }  # fmt: skip
        kind, answer = beta.send("EiReport", "oadrRegisterReport", request_id="r", reports=[report])
        assert kind == "oadrRegisteredReport"
        request_id = answer["report_requests"][0]["report_request_id"]
        update = {
            "report_name": "TELEMETRY_STATUS", "report_specifier_id": "s1", "report_request_id": request_id,
            "created_date_time": datetime.now(UTC), "report_id": "x",
            "intervals": [{"dtstart": datetime.now(UTC), "report_payload": {"r_id": "status", "value": 1}}],
        }  # fmt: skip
        message = beta.message("oadrUpdateReport", request_id="r", reports=[update]).decode()
        status = (
            "<oadr:oadrPayloadResourceStatus><oadr:oadrOnline>true</oadr:oadrOnline>"
            "<oadr:oadrManualOverride>false</oadr:oadrManualOverride></oadr:oadrPayloadResourceStatus>"
        )
        message = re.sub(r"<ei:payloadFloat>.*?</ei:payloadFloat>", status, message)
        assert beta.tell("EiReport", message.encode())[0] == "oadrUpdatedReport"
        (row,) = vtn.rows("SELECT * FROM markets_reportedvalue WHERE r_id = 'status'")
        assert (row["is_online"], row["is_overridden"], row["value"]) == (1, 0, None)

    def test_left_out_of_a_modification_the_event_leaves_the_list(self, vtn, alpha, beta):
        """And the shorter list is told at the next poll: its absence there is the cancellation."""
        vtn.issue("shared", "alpha", NAME)
        assert [event["event_descriptor"]["event_id"] for event in beta.events()][-1] == "shared"
        vtn.issue("shared", "alpha")
        kind, answer = vtn.wait_until(lambda: (got := beta.send("OadrPoll", "oadrPoll"))[0] != "oadrResponse" and got)
        assert kind == "oadrDistributeEvent"
        assert "shared" not in [event["event_descriptor"]["event_id"] for event in answer.get("events", [])]
        vtn.manage("vtn_events", "cancel", "shared")
        alpha.events()
        alpha.answers("shared", 2)

    def test_a_header_of_a_proxy_proves_nothing(self, vtn, alpha):
        """There is no way in beside TLS, and what a header claims is not read."""
        assert vtn.authority is not None
        stranger = vtn.authority.party("proxy-stranger")
        message = alpha.message("oadrPoll")
        headers = {"X-Forwarded-Proto": "https", "X-Client-Fingerprint": alpha.party.fingerprint}
        status, answer = vtn.post("OadrPoll", message, stranger, **headers)
        assert status == 200
        assert "certificate_unknown" in answer


class TestHostile:
    def test_without_a_client_certificate_there_is_no_connection(self, vtn, alpha):
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            vtn.post("OadrPoll", alpha.message("oadrPoll"))

    def test_a_certificate_of_another_authority_gets_no_connection(self, vtn, alpha, tmp_path):
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            vtn.post("OadrPoll", alpha.message("oadrPoll"), Authority(tmp_path).party("alpha"))

    def test_an_unsigned_message_is_refused_by_name(self, alpha):
        """openleadr answers HTTP 500."""
        message = create_message("oadrPoll", ven_id=alpha.ven_id).encode()
        assert named(alpha.tell("OadrPoll", message)) == (463, "signature_missing")

    def test_a_message_signed_by_another(self, alpha, vtn):
        other = Peer(vtn, "alpha", vtn.authority.party("other-signer"), ven_id=alpha.ven_id)
        assert named(alpha.tell("OadrPoll", other.message("oadrPoll"))) == (463, "signature_of_another")

    def test_a_tampered_message(self, alpha):
        message = alpha.message("oadrPoll").replace(alpha.ven_id.encode(), b"VEN-0000000000000000")
        assert named(alpha.tell("OadrPoll", message)) == (463, "signature_tampered")

    def test_the_same_message_twice(self, alpha):
        message = alpha.message("oadrPoll")
        assert alpha.tell("OadrPoll", message)[1]["response"]["response_code"] == 200
        assert named(alpha.tell("OadrPoll", message)) == (463, "replay_repeated")

    @pytest.mark.parametrize("off_s", [-6.0, 7.0])
    def test_a_message_from_another_time(self, alpha, off_s):
        signer = Signer(key_pem=alpha.party.key.read_bytes(), certificate_pem=alpha.party.cert.read_bytes())
        unsigned = etree.fromstring(create_message("oadrPoll", ven_id=alpha.ven_id).encode())[0]
        content = etree.tostring(unsigned, method="c14n", exclusive=True)
        message = signer.signed_payload(content, at=datetime.now(UTC) + timedelta(seconds=off_s))
        assert named(alpha.tell("OadrPoll", message)) == (463, "replay_outside_window")

    def test_anothers_ven_id(self, alpha, beta):
        assert named(alpha.send("OadrPoll", "oadrPoll", ven_id=beta.ven_id)) == (463, "ven_id_not_yours")

    def test_anothers_name(self, alpha):
        given = {
            "request_id": "r", "ven_name": "beta", "http_pull_model": True, "xml_signature": True,
            "report_only": False, "profile_name": "2.0b", "transport_name": "simpleHttp", "transport_address": None,
        }  # fmt: skip
        answer = alpha.send("EiRegisterParty", "oadrCreatePartyRegistration", **given)
        assert named(answer) == (463, "ven_name_not_yours")

    def test_an_unknown_ven_id_is_asked_to_register_anew(self, alpha):
        assert alpha.send("OadrPoll", "oadrPoll", ven_id="VEN-of-another-time")[0] == "oadrRequestReregistration"

    def test_an_event_that_is_anothers(self, vtn, alpha, beta):
        vtn.issue("only-beta", NAME)
        assert named(alpha.answers("only-beta", 0)) == (452, "event_unknown")
        assert vtn.answers("only-beta")[NAME]["opt_type"] == ""
        assert named(beta.answers("only-beta", 1)) == (450, "modification_out_of_sequence")
        vtn.manage("vtn_events", "cancel", "only-beta")

    def test_a_report_request_that_is_anothers(self, alpha):
        update = {
            "report_name": "TELEMETRY_USAGE", "report_specifier_id": "s", "report_request_id": "RR-of-another",
            "created_date_time": datetime.now(UTC), "report_id": "x",
            "intervals": [{"dtstart": datetime.now(UTC), "report_payload": {"r_id": "p", "value": 1.0}}],
        }  # fmt: skip
        answer = alpha.send("EiReport", "oadrUpdateReport", request_id="r", reports=[update])
        assert named(answer) == (452, "report_request_unknown")

    def test_a_message_at_another_service(self, alpha):
        assert named(alpha.send("EiOpt", "oadrPoll")) == (459, "wrong_endpoint")

    @pytest.mark.parametrize(
        ("content", "status", "name"),
        [
            (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>', 400, "xml_forbidden"),
            (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', 400, "xml_forbidden"),
            ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x []><x/>'.encode("utf-16"), 400, "xml_forbidden"),
            (b"<x" * 1000, 400, "xml_malformed"),
            (b"<x>" * 5000, 400, "xml_malformed"),
            (b"\x00\xff", 400, "xml_malformed"),
            (b"", 400, "xml_malformed"),
            (b"<x/>", 400, "schema_violated"),
            (b" " * 1_000_001, 413, "message_too_large"),
        ],
    )
    def test_content_that_is_no_message(self, beta, content, status, name):
        got, answer = beta.raw("OadrPoll", content)
        assert (got, answer.partition(":")[0]) == (status, name)

    def test_another_content_type(self, beta):
        got, answer = beta.raw("OadrPoll", b"<x/>", content_type="text/plain")
        assert (got, answer.partition(":")[0]) == (415, "content_type_refused")

    def test_a_compressed_body(self, beta):
        got, answer = beta.raw("OadrPoll", b"<x/>", **{"Content-Encoding": "gzip"})
        assert (got, answer.partition(":")[0]) == (415, "content_encoding_refused")

    def test_a_service_that_there_is_not(self, beta):
        got, answer = beta.raw("EiQuote", b"<x/>")
        assert (got, answer.partition(":")[0]) == (404, "wrong_endpoint")


def test_a_replay_after_a_kill_is_refused(vtn, alpha):
    message = alpha.message("oadrPoll")
    signer = Signer(key_pem=alpha.party.key.read_bytes(), certificate_pem=alpha.party.cert.read_bytes())
    unsigned = etree.fromstring(create_message("oadrPoll", ven_id=alpha.ven_id).encode())[0]
    content = etree.tostring(unsigned, method="c14n", exclusive=True)
    vtn.kill()
    # Signed for the time when the VTN is back, so that its nonce and not its age refuses it.
    before = {row["digest"] for row in vtn.rows("SELECT digest FROM markets_usednonce")}
    vtn.start()
    message = signer.signed_payload(content, at=datetime.now(UTC) + timedelta(seconds=4))
    assert alpha.tell("OadrPoll", message)[0] == "oadrResponse"
    after = {row["digest"] for row in vtn.rows("SELECT digest FROM markets_usednonce")}
    assert len(after - before) == 1
    vtn.kill()
    vtn.start()
    code, name = named(alpha.tell("OadrPoll", message))
    assert code == 463
    assert name in ("replay_repeated", "replay_outside_window")


def test_the_vtn_id_and_the_context_are_told(vtn, alpha):
    kind, answer = alpha.send("EiRegisterParty", "oadrQueryRegistration", request_id="r")
    assert (kind, answer["vtn_id"], answer["registration_id"]) == (
        "oadrCreatedPartyRegistration", VTN_ID, alpha.registration_id,
    )  # fmt: skip
    vtn.issue("context", "alpha")
    assert alpha.events()[-1]["event_descriptor"]["market_context"] == CONTEXT
    assert Path(vtn.log_path).read_text().count("vtn20b.ready") >= 1
