"""Requests that no page of ours makes: guessed passwords, made-up cursors, odd addresses."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from support.console_event import a_fleet, a_person

from sites.registry.operations import enrol_sites
from vpp.console import throttle
from vpp.console.models import Attempts

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fleet() -> None:
    """Two sites, a dispatcher with a password, and no failures counted."""
    enrol_sites(manifest=a_fleet(2), program="neso-dc-low", at=datetime.now(UTC))
    person = a_person("dispatcher", owns=[])
    person.username = "dispatcher"
    person.set_password(PASSWORD)
    person.save()


def sign_in(password: str, *, name: str = "dispatcher", address: str = "192.0.2.1") -> int:
    """Return the status: 302 is in, 200 is refused, 429 is told to wait."""
    client = Client(REMOTE_ADDR=address)
    return client.post("/login/", {"username": name, "password": password}).status_code


class TestSignIn:
    def test_after_five_failures_even_the_right_password_waits(self) -> None:
        assert [sign_in(f"guess {number}") for number in range(throttle.MAX_OF_PAIR)] == [200] * 5
        assert sign_in(PASSWORD) == 429
        assert sign_in(PASSWORD, name=" Dispatcher") == 429

    def test_somebody_elsewhere_still_gets_in(self) -> None:
        for number in range(throttle.MAX_OF_PAIR):
            sign_in(f"guess {number}")
        assert sign_in(PASSWORD, address="192.0.2.2") == 302

    def test_a_success_forgets_the_failures(self) -> None:
        for _ in range(3):
            assert [sign_in("wrong") for _ in range(throttle.MAX_OF_PAIR - 1)] == [200] * 4
            assert sign_in(PASSWORD) == 302

    def test_one_address_cannot_try_all_names_nor_all_addresses_one_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttle, "MAX_OF_ONE", 10)
        assert [sign_in("guess", name=f"person-{number}") for number in range(11)] == [200] * 10 + [429]
        Attempts.objects.all().delete()
        assert [sign_in("guess", address=f"192.0.2.{number}") for number in range(11)] == [200] * 10 + [429]

    def test_the_addresses_of_one_customers_network_are_one(self) -> None:
        for number in range(throttle.MAX_OF_PAIR):
            sign_in("guess", address=f"2001:db8::{number:x}")
        assert sign_in(PASSWORD, address="2001:db8::ffff") == 429
        assert sign_in(PASSWORD, address="2001:db8:0:1::1") == 302

    def test_an_attempt_counts_before_its_password_is_looked_at(self) -> None:
        now = datetime.now(UTC)
        who = {"name": "dispatcher", "address": "192.0.2.1"}
        # As many requests at once as there are: none has been answered yet.
        assert [throttle.may_try(**who, at=now) for _ in range(8)] == [True] * 5 + [False] * 3
        assert sign_in(PASSWORD) == 429

    def test_failures_are_forgotten_after_the_window_which_trying_does_not_prolong(self) -> None:
        began = datetime.now(UTC) - timedelta(seconds=throttle.WINDOW_S)
        who = {"name": "dispatcher", "address": "192.0.2.1"}
        for second in range(throttle.MAX_OF_PAIR):
            assert throttle.may_try(**who, at=began + timedelta(seconds=second))
        assert not throttle.may_try(**who, at=began + timedelta(seconds=throttle.WINDOW_S - 1))
        assert sign_in("guess") == 200
        # What is over is not kept.
        assert set(Attempts.objects.values_list("count", flat=True)) == {1}

    def test_beyond_its_limit_a_question_is_not_even_written(self, django_assert_num_queries: Any) -> None:
        asked: dict[str, Any] = {"what": "enrolment", "who": "192.0.2.1", "limit": 2, "at": datetime.now(UTC)}
        assert [throttle.may_ask(**asked) for _ in range(3)] == [True, True, False]
        with django_assert_num_queries(1):
            assert not throttle.may_ask(**asked)

    def test_the_page_says_how_long_to_wait_and_shows_nothing_typed(self) -> None:
        for number in range(throttle.MAX_OF_PAIR):
            sign_in(f"guess {number}")
        answer = Client(REMOTE_ADDR="192.0.2.1").post("/login/", {"username": "dispatcher", "password": "x<b>"})
        assert b"Try again in 15 minutes" in answer.content
        assert b"x<b>" not in answer.content

    def test_a_session_that_was_there_before_is_not_taken_over(self) -> None:
        client = Client()
        client.session.save()
        before = client.cookies["sessionid"].value
        assert client.post("/login/", {"username": "dispatcher", "password": PASSWORD}).status_code == 302
        assert client.cookies["sessionid"].value != before


def cursor(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def dispatcher() -> Client:
    client = Client()
    assert client.login(username="dispatcher", password=PASSWORD)
    return client


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/sites/?page=-1", 200),
        ("/sites/?page=1000000000", 200),
        ("/sites/?page=" + "9" * 5000, 200),
        ("/sites/?q=" + "a" * 100_000, 200),
        ("/sites/?q=%00", 400),
        ("/sites/?q=%FF%FE", 200),
        ("/books/?book=../../x&page=-1", 200),
        ("/sites/site-0001/waveforms/" + "9" * 30 + ".json", 404),
        ("/sites/site-0001/waveforms/" + "9" * 5000 + ".json", 404),
        ("/api/v1/sites/?cursor=xyz", 404),
        ("/api/v1/sites/?cursor=" + cursor("o=-5&r=2&p=x"), 404),
        ("/api/v1/sites/site-0001/intervals/?cursor=" + cursor("p=2020-13-45"), 404),
        ("/api/v1/dispatches/?cursor=" + cursor("p=zz"), 404),
        ("/api/v1/dispatches/%00/", 400),
        ("/api/v1/dispatches/" + "x" * 5000 + "/", 404),
        ("/admin/", 404),
        ("/static/../vpp/settings.py", 404),
    ],
)  # fmt: skip
def test_odd_addresses_are_answered_and_are_no_fault(dispatcher: Client, address: str, status: int) -> None:
    assert dispatcher.get(address).status_code == status


def test_a_persons_pages_are_kept_in_no_cache(dispatcher: Client) -> None:
    for address in ("/", "/sites/", "/api/v1/sites/"):
        assert dispatcher.get(address)["Cache-Control"] == "private, no-store"


def test_every_answer_carries_the_content_policy(dispatcher: Client) -> None:
    for address in ("/", "/login/", "/nowhere/", "/sites/?q=%00", "/healthz", "/api/v1/sites/"):
        answer = dispatcher.get(address)
        assert "default-src 'self'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert answer["X-Frame-Options"] == "DENY"


def test_another_host_name_and_a_form_without_token_are_refused() -> None:
    assert Client().get("/login/", HTTP_HOST="evil.example").status_code == 400
    forged = Client(enforce_csrf_checks=True).post("/login/", {"username": "dispatcher", "password": PASSWORD})
    assert forged.status_code == 403
