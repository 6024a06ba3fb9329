"""The whole API in one OpenAPI: made without a warning, every address in it, and examined on a live server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from support.console import WebProcess
from support.platform_processes import a_platform

from vpp.openapi import PREFIX, description


def addresses(resolver: URLResolver, before: str = "") -> Iterator[str]:
    """Yield the form of every address: its text with each parameter as {}."""
    for entry in resolver.url_patterns:
        text = before + re.sub(r"^\^|\$$", "", str(entry.pattern))
        if isinstance(entry, URLPattern):
            yield "/" + re.sub(r"<[^>]*>|\(\?P<\w+>[^)]*\)", "{}", text).replace("(?P{}", "{}")
        else:
            yield from addresses(entry, text)


@pytest.mark.django_db
def test_every_address_of_the_api_is_described_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    user = User.objects.create_user("desk")
    user.groups.add(Group.objects.get_or_create(name="desk")[0])
    client = Client()
    client.force_login(user)
    answer = client.get("/api/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json")
    assert answer.status_code == 200
    assert not GENERATOR_STATS
    described = {re.sub(r"\{[^}]*\}", "{}", address) for address in json.loads(answer.content)["paths"]}
    served = {address for address in addresses(get_resolver()) if address.startswith(PREFIX)}
    assert described == {re.sub(r"\{\}\)?", "{}", address) for address in served}
    assert Client().get("/api/schema/").status_code == 403


@pytest.mark.django_db
def test_the_page_lists_every_operation_and_fetches_nothing_from_outside() -> None:
    user = User.objects.create_user("owner")
    user.groups.add(Group.objects.get_or_create(name="owner")[0])
    client = Client()
    client.force_login(user)
    page = client.get("/api/").content.decode()
    operations = [row["operationId"] for path in description()["paths"].values() for row in path.values()]
    assert len(operations) == len(set(operations)) > 30
    assert page.count('<details class="operation"') == len(operations)
    for name in operations:
        assert f'id="{name}"' in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


SEED = """
import sys
sys.path.insert(0, "tests")
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from support import settled
from vpp.console.operations import create_demo_users
settled.settle(settled.an_obligation(), settled.a_fleet([60.0, 40.0]))
create_demo_users(owned_site_ids=["site-2"])
user, session = User.objects.get(username="dispatcher"), SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""
CSRF = "0" * 32
SETTINGS = """
[checks.positive_data_acceptance]
# What a schema cannot say: names that are known, instants in order, a cursor that was given out.
expected-statuses = ["2xx", "400", "403", "404", "409", "413", "429"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebProcess, str]]:
    """The API as deployed, over a settled dispatch; no broker is asked for anything here."""
    with a_platform(tmp_path_factory.mktemp("api"), "mqtt://127.0.0.1:1", VPP_OBSERVE="off") as platform:
        platform.make_tables()
        session = platform.manage("shell", "-v", "0", "-c", SEED).strip()
        web = WebProcess(platform)
        try:
            web.start_listening()
            yield web, session
        finally:
            web.kill()


def examine(web: WebProcess, session: str, folder: Path, *words: str) -> str:
    """Run a third party's checks of the description against the server; fail with what they found."""
    (folder / "schemathesis.toml").write_text(SETTINGS)
    document = json.loads(json.dumps(description()))
    # The session comes with every request, so that there is none without one to be refused.
    del document["components"]["securitySchemes"]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    (folder / "openapi.json").write_text(json.dumps(document))
    done = subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "run", "openapi.json", "--url", web.url, "--no-color",
         "-H", f"Cookie: sessionid={session}; csrftoken={CSRF}", "-H", f"X-CSRFToken: {CSRF}",
         "--seed", "1", "--no-shrink", "--continue-on-failure",
         # A NUL is refused everywhere, as no text column of the database takes one; a schema cannot say so.
         "--generation-allow-x00", "false", "--generation-database", "none", *words],
        capture_output=True, text=True, check=False, cwd=folder, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_the_served_api_is_as_described(server: tuple[WebProcess, str], tmp_path: Path) -> None:
    said = examine(*server, tmp_path, "--phases", "fuzzing", "--max-examples", "1")
    operations = sum(len(path) for path in description()["paths"].values())
    assert f"{operations} passed" in said


@pytest.mark.long
def test_the_served_api_is_as_described_in_every_corner(server: tuple[WebProcess, str], tmp_path: Path) -> None:
    examine(*server, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "40")


@pytest.mark.django_db
def test_an_address_that_leads_nowhere_is_told_as_json_in_the_api_and_as_a_page_elsewhere() -> None:
    answer = Client().get("/api/v1/nothing/")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    assert b"<!doctype html>" in Client().get("/nothing/").content
