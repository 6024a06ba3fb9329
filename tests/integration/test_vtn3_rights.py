"""Which client of our OpenADR 3 VTN sees and writes what, in both versions."""

import pytest
from django.test import Client
from support.vtn3 import a_program, a_report, a_subscription, an_event, peer

pytestmark = pytest.mark.django_db

NAMED = "https://ven.example.org/hook"


@pytest.fixture
def http():
    return Client(headers={"host": "localhost"})


@pytest.fixture
def desk(http):
    return peer(http, "desk", "bl")


@pytest.fixture
def north(http):
    return peer(http, "north", "ven", ("north", "both"))


@pytest.fixture
def south(http):
    return peer(http, "south", "ven", ("south", "both"))


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row.get("programName") or row.get("eventName") for row in answer.json()]


class TestTargets:
    def test_a_ven_sees_what_has_its_targets_or_none_and_business_logic_everything(self, desk, north, south):
        for name, targets in (("open", None), ("n", ["north"]), ("s", ["south"]), ("b", ["both", "secret"])):
            desk.made("programs", a_program(name, targets=targets))
        assert names(desk.get("programs")) == ["open", "n", "s", "b"]
        assert names(north.get("programs")) == ["open", "n", "b"]
        assert names(south.get("programs")) == ["open", "s", "b"]
        assert names(north.get("programs?targets=north")) == ["n"]
        assert names(north.get("programs?targets=south")) == []

    def test_a_ven_learns_no_target_that_it_was_not_granted(self, desk, north):
        made = desk.made("programs", a_program(targets=["both", "secret"]))
        assert made["targets"] == ["both", "secret"]
        assert north.get("programs").json()[0]["targets"] == ["both"]
        assert north.get(f"programs/{made['id']}", version="3.0.1").json()["targets"] == [
            {"type": "GROUP", "values": ["both"]}
        ]

    def test_an_event_without_targets_follows_its_program_also_after_that_one_changed(self, desk, north, south):
        program = desk.made("programs", a_program(targets=["north"]))
        desk.made("events", an_event(program["id"], eventName="e"))
        assert (names(north.get("events")), names(south.get("events"))) == (["e"], [])
        desk.call("PUT", f"programs/{program['id']}", a_program(targets=["south"]))
        assert (names(north.get("events")), names(south.get("events"))) == ([], ["e"])

    def test_what_a_ven_does_not_see_does_not_exist_for_it(self, desk, south):
        program = desk.made("programs", a_program(targets=["north"]))
        event = desk.made("events", an_event(program["id"]))
        for path in (f"programs/{program['id']}", f"events/{event['id']}"):
            assert south.get(path).status_code == 404
        assert south.call("POST", "reports", a_report(event["id"])).status_code == 404

    def test_a_resource_brings_its_targets_to_its_ven(self, desk, north):
        program = desk.made("programs", a_program(targets=["feeder-7"]))
        assert names(north.get("programs")) == []
        ven = north.get("vens").json()[0]
        body = {
            "objectType": "BL_RESOURCE_REQUEST",
            "clientID": north.client_id,
            "resourceName": "battery",
            "venID": ven["id"],
            "targets": ["feeder-7"],
        }
        desk.made("resources", body)
        assert north.get(f"programs/{program['id']}").status_code == 200

    def test_targets_of_either_version_are_read_in_the_other(self, desk, north):
        objects = [{"type": "SERVICE_AREA", "values": ["west", "east"]}, {"type": "GROUP", "values": ["north"]}]
        made = desk.made("programs", a_program(targets=objects), version="3.0.1")
        assert desk.get(f"programs/{made['id']}").json()["targets"] == [
            "SERVICE_AREA:west", "SERVICE_AREA:east", "north",
        ]  # fmt: skip
        assert desk.get(f"programs/{made['id']}", version="3.0.1").json()["targets"] == objects
        found = desk.get("programs?targetType=SERVICE_AREA&targetValues=west", version="3.0.1")
        assert names(found) == ["frequency response"]


class TestObjectsOfAVen:
    def test_reports_subscriptions_vens_and_resources_of_another_do_not_exist(self, desk, north, south):
        program = desk.made("programs", a_program())
        event = desk.made("events", an_event(program["id"]))
        ven = north.get("vens").json()[0]
        resource = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "battery", "venID": ven["id"]}
        made = {
            "reports": north.made("reports", a_report(event["id"])),
            "subscriptions": north.made("subscriptions", a_subscription(NAMED)),
            "vens": ven,
            "resources": north.made("resources", resource),
        }
        bodies = {
            "reports": a_report(event["id"]),
            "subscriptions": a_subscription(NAMED),
            "vens": {"objectType": "VEN_VEN_REQUEST", "venName": "mine now"},
            "resources": resource,
        }
        for plural, row in made.items():
            path = f"{plural}/{row['id']}"
            assert north.get(path).status_code == 200
            assert desk.get(path).status_code == 200
            assert [one["id"] for one in south.get(plural).json() if one["id"] == row["id"]] == []
            answers = [south.get(path), south.call("PUT", path, bodies[plural]), south.call("DELETE", path)]
            assert [answer.status_code for answer in answers] == [404, 404, 404], plural
        assert south.get(f"vens/{ven['id']}/resources", version="3.0.1").status_code == 404

    def test_business_logic_reads_a_report_and_changes_none(self, desk, north):
        event = desk.made("events", an_event(desk.made("programs", a_program())["id"]))
        report = north.made("reports", a_report(event["id"]))
        assert desk.get("reports").json() == [report]
        assert desk.call("DELETE", f"reports/{report['id']}").status_code == 403

    def test_who_subscribed_alone_reads_the_bearer_token(self, desk, north):
        body = a_subscription(NAMED)
        body["objectOperations"][0]["bearerToken"] = "for-the-callback"
        made = north.made("subscriptions", body)
        assert made["objectOperations"][0]["bearerToken"] == "for-the-callback"
        assert desk.get("subscriptions").json()[0]["objectOperations"][0]["bearerToken"] is None

    def test_a_ven_writes_neither_programs_nor_its_own_targets(self, desk, north):
        assert north.call("POST", "programs", a_program()).status_code == 403
        ven = north.get("vens").json()[0]
        path = f"vens/{ven['id']}"
        grab = {"objectType": "BL_VEN_REQUEST", "venName": "north", "clientID": north.client_id, "targets": ["south"]}
        assert north.call("PUT", path, grab).status_code == 403
        objects = [{"type": "GROUP", "values": ["south"]}]
        answer = north.call("PUT", path, {"venName": "north", "targets": objects}, version="3.0.1")
        assert answer.status_code == 403
        renamed = north.call("PUT", path, {"objectType": "VEN_VEN_REQUEST", "venName": "renamed"})
        assert (renamed.json()["venName"], renamed.json()["targets"]) == ("renamed", ["north", "both"])

    def test_names_are_unique_and_a_client_has_one_ven(self, desk, north):
        desk.made("programs", a_program())
        assert desk.call("POST", "programs", a_program()).status_code == 409
        second = {"objectType": "VEN_VEN_REQUEST", "venName": "another"}
        assert north.call("POST", "vens", second).status_code == 409

    def test_what_reports_stand_on_is_not_deleted(self, desk, north):
        program = desk.made("programs", a_program())
        event = desk.made("events", an_event(program["id"]))
        report = north.made("reports", a_report(event["id"]))
        assert desk.call("DELETE", f"programs/{program['id']}").status_code == 409
        assert desk.call("DELETE", f"events/{event['id']}").status_code == 409
        assert north.call("DELETE", f"reports/{report['id']}").json() == report
        assert desk.call("DELETE", f"events/{event['id']}").status_code == 200


class TestTokens:
    def test_a_token_of_another_scope_opens_nothing_else(self, http, desk):
        program = desk.made("programs", a_program())
        narrow = peer(http, "narrow", "ven", scope="read_targets")
        assert narrow.get("programs").status_code == 200
        assert narrow.get("vens").status_code == 403
        assert narrow.get("programs", version="3.0.1").status_code == 403
        event = desk.made("events", an_event(program["id"]))
        refused = narrow.call("POST", "reports", a_report(event["id"]))
        assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
        assert "write_reports" in refused.json()["detail"]

    def test_a_ven_cannot_ask_for_a_scope_of_business_logic(self, http, north):
        with pytest.raises(AssertionError, match="invalid_scope"):
            peer(http, "greedy", "ven", scope="write_programs")

    def test_no_token_an_unknown_one_and_an_expired_one_are_refused(self, http, north):
        from django.utils import timezone
        from oauth2_provider.models import AccessToken

        for headers in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic eDp5"}):
            answer = http.get("/openadr3/3.1.0/programs", headers=headers)
            assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="openadr3"')
        assert north.get("programs").status_code == 200
        AccessToken.objects.update(expires=timezone.now())
        assert north.get("programs").status_code == 401

    def test_neither_secret_nor_token_is_kept_in_the_clear(self, north):
        from oauth2_provider.models import AccessToken, Application

        assert north.token not in AccessToken.objects.get().token
        assert Application.objects.get().client_secret.startswith("pbkdf2_sha256_machine$")

    def test_a_revoked_client_has_no_token_any_more(self, north):
        from markets.openadr.vtn3 import operations

        operations.revoke_client(name="north")
        assert north.get("programs").status_code == 401

    def test_plain_http_over_the_network_is_refused(self, http, north):
        answer = http.get(
            "/openadr3/3.1.0/programs", headers={"Authorization": f"Bearer {north.token}"}, REMOTE_ADDR="192.0.2.7"
        )
        assert (answer.status_code, answer.json()["detail"]) == (403, "HTTPS is required")
        form = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
        assert http.post("/openadr3/3.1.0/auth/token", form, REMOTE_ADDR="192.0.2.7").status_code == 403
        secure = http.get(
            "/openadr3/3.1.0/programs",
            headers={"Authorization": f"Bearer {north.token}"},
            REMOTE_ADDR="192.0.2.7",
            secure=True,
        )
        assert secure.status_code == 200

    def test_a_wrong_secret_gets_no_token(self, http, north):
        form = f"grant_type=client_credentials&client_id={north.client_id}&client_secret=guess"
        answer = http.post("/openadr3/3.1.0/auth/token", form, content_type="application/x-www-form-urlencoded")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
