"""Two web processes beside each other: one count of who tries, and addresses as a declared proxy tells them."""

from __future__ import annotations

# ruff: noqa: S310 - all addresses are this machine's own
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from support.brokers import nats_broker
from support.console import WebProcess
from support.manifests import a_manifest
from support.platform_processes import a_platform

from vpp.console.throttle import MAX_OF_PAIR

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[WebProcess], str]]:
    """Two processes on one database, with a person's password. The first believes a proxy on 127.0.0.1."""
    folder: Path = tmp_path_factory.mktemp("web")
    with nats_broker() as broker, a_platform(folder, broker.url) as platform:
        platform.set_up(a_manifest(1))
        people = json.loads(platform.manage("create_demo_users", "--demo", "--json"))
        processes = [WebProcess(platform), WebProcess(platform)]
        try:
            for process, trusted in zip(processes, ("127.0.0.1,10.9.0.0/24", "10.9.0.0/24"), strict=True):
                platform.settings["VPP_TRUSTED_PROXIES"] = trusted
                process.start()
            yield processes, people["dispatcher"]["password"]
        finally:
            for process in processes:
                process.kill()


def sign_in(process: WebProcess, password: str, headers: dict[str, str]) -> int:
    """Return the status of a sign-in that comes by a proxy with these headers; 200 after the redirect is in."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(urllib.request.Request(f"{process.url}/login/", headers=headers), timeout=20).read().decode()
    token = TOKEN.search(page)
    assert token is not None
    form = {"username": "dispatcher", "password": password, "csrfmiddlewaretoken": token.group(1)}
    data = urllib.parse.urlencode(form).encode()
    try:
        answer = browser.open(urllib.request.Request(f"{process.url}/login/", data, headers), timeout=20)
    except urllib.error.HTTPError as error:
        return error.code
    return 302 if "Sign out" in answer.read().decode() else 200


def by(*addresses: str) -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(addresses)}


def test_failures_at_one_process_count_at_the_other_and_only_a_declared_proxy_speaks_for_others(
    pages: tuple[list[WebProcess], str],
) -> None:
    (first, second), password = pages
    tries = [sign_in((first, second)[number % 2], f"guess {number}", {}) for number in range(MAX_OF_PAIR)]
    assert tries == [200] * MAX_OF_PAIR
    assert [sign_in(process, password, {}) for process in (first, second)] == [429, 429]
    # Behind the proxy that the first believes, somebody else is not kept waiting; the second sees 127.0.0.1 alone.
    assert [sign_in(process, password, by("192.0.2.10")) for process in (first, second)] == [302, 429]


def test_what_a_client_says_of_itself_before_the_proxy_did_is_not_believed(
    pages: tuple[list[WebProcess], str],
) -> None:
    (first, _), password = pages
    for number in range(MAX_OF_PAIR):
        # The client writes another address each time; the proxies, ours and one behind it, append what they see.
        assert sign_in(first, "guess", by(f"203.0.113.{number}", "192.0.2.20", "10.9.0.7")) == 200
    assert sign_in(first, password, by("203.0.113.99", "192.0.2.20")) == 429


def test_over_tls_at_the_proxy_a_form_is_taken_from_its_own_page_alone(pages: tuple[list[WebProcess], str]) -> None:
    (first, _), password = pages
    host = first.url.removeprefix("http://")
    told = {**by("192.0.2.40"), "X-Forwarded-Proto": "https"}
    assert sign_in(first, password, {**told, "Origin": f"https://{host}"}) == 302
    assert sign_in(first, password, {**told, "Origin": f"http://{host}"}) == 403
