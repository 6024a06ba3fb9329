"""The pages' websockets: who is let in, what an owner sees, what a slow reader misses."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from support.console_event import a_fleet, a_person
from support.sockets import BrowserSocket

from sites.metering.batches import Batch, LiveRow
from sites.metering.operations import store_batch
from sites.registry.models import Membership, Site
from sites.registry.operations import enrol_sites
from vpp.asgi import application
from vpp.console.broadcast import GROUP, LIVE

pytestmark = pytest.mark.django_db(transaction=True)

OWN, OTHERS = "site-0001", "site-0002"
OPEN = 0


def prepare() -> dict[str, str]:
    """Enrol two live sites and the three people; return each one's session."""
    at = datetime.now(UTC)
    enrol_sites(manifest=a_fleet(2), program="neso-dc-low", at=at)
    rows = {site.pk: LiveRow(site.site_id, at, at, {"mode": "grid_tied"}) for site in Site.objects.all()}
    store_batch(batch=Batch(live=rows), states={}, at=at)
    names = ("dispatcher", "owner", "auditor", "desk", "nobody")
    return {name: session_of(a_person(name, owns=[OWN])) for name in names} | {"stranger": ""}


def session_of(person: User) -> str:
    client = Client()
    client.force_login(person)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@pytest.fixture
async def sessions() -> AsyncIterator[dict[str, str]]:
    """People with their sessions; no live figures are left behind."""
    yield await database_sync_to_async(prepare)()
    LIVE.store.latest.clear()
    LIVE.store.history.clear()


def socket(address: str, session: str, origin: str = "http://localhost") -> BrowserSocket:
    """Return a browser's websocket through the whole application."""
    headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
    if session:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
    return BrowserSocket(application, address, headers)


async def beat() -> None:
    """Let the heart beat once, as the server's loop does."""
    LIVE.beat += 1
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(GROUP, {"type": "beat", "number": LIVE.beat})


@pytest.mark.parametrize(
    ("address", "person", "code"),
    [
        ("/ws/fleet/", "dispatcher", OPEN),
        ("/ws/fleet/", "auditor", OPEN),
        ("/ws/fleet/", "owner", 4403),
        ("/ws/fleet/", "desk", 4403),
        ("/ws/fleet/", "nobody", 4403),
        ("/ws/fleet/", "stranger", 4401),
        ("/ws/sites/", "owner", OPEN),
        ("/ws/sites/", "nobody", 4403),
        ("/ws/sites/", "stranger", 4401),
        (f"/ws/sites/{OWN}/", "owner", OPEN),
        (f"/ws/sites/{OTHERS}/", "owner", 4404),
        (f"/ws/sites/{OTHERS}/", "desk", 4404),
        (f"/ws/sites/{OTHERS}/", "auditor", OPEN),
        ("/ws/sites/site-9999/", "dispatcher", 4404),
    ],
)
async def test_each_role_is_let_in_where_it_belongs(
    sessions: dict[str, str], address: str, person: str, code: int
) -> None:
    one = socket(address, sessions[person])
    assert await one.connect()
    first = await one.output()
    if code:
        assert (first["type"], first["code"]) == ("websocket.close", code)
    else:
        assert first["type"] == "websocket.send"
    await one.close()


async def test_a_page_of_another_host_is_not_let_in(sessions: dict[str, str]) -> None:
    one = socket("/ws/fleet/", sessions["dispatcher"], origin="http://elsewhere.example")
    assert not await one.connect()


async def test_an_owner_sees_own_rows_only_and_loses_them_with_the_membership(sessions: dict[str, str]) -> None:
    one = socket("/ws/sites/", sessions["owner"])
    await one.connect()
    assert [row["site_id"] for row in (await one.frame("sites"))["rows"]] == [OWN]
    await database_sync_to_async(Membership.objects.all().delete)()
    deadline = time.monotonic() + 5
    rows = None
    while rows != [] and time.monotonic() < deadline:
        await beat()
        if not await one.is_quiet(0.2):
            rows = (await one.frame("sites"))["rows"]
    assert rows == []
    await one.close()


async def test_a_page_closes_once_its_person_has_signed_out(
    sessions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpp.console.consumers.RIGHTS_EVERY_S", 0.0)
    one = socket("/ws/fleet/", sessions["dispatcher"])
    await one.connect()
    await one.frame("fleet")
    await database_sync_to_async(sign_out)(sessions["dispatcher"])
    await beat()
    last = await one.output()
    assert (last["type"], last["code"]) == ("websocket.close", 4401)
    await one.close()


def sign_out(session: str) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    assert client.post("/logout/").status_code == 302


async def test_a_new_password_closes_the_open_pages(sessions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpp.console.consumers.RIGHTS_EVERY_S", 0.0)
    one = socket("/ws/fleet/", sessions["dispatcher"])
    await one.connect()
    await one.frame("fleet")
    await database_sync_to_async(set_password)("dispatcher")
    await beat()
    last = await one.output()
    assert (last["type"], last["code"]) == ("websocket.close", 4401)
    await one.close()


def set_password(name: str) -> None:
    person = User.objects.get(username=name)
    person.set_password("a new and longer one")
    person.save()


async def test_a_reader_that_slept_gets_the_newest_frame_once(sessions: dict[str, str]) -> None:
    one = socket("/ws/fleet/", sessions["dispatcher"])
    await one.connect()
    await one.frame("fleet")
    await frame_after_joining(one)
    # Twenty beats before the consumer's task runs again: one frame, not twenty.
    layer = get_channel_layer()
    assert layer is not None
    (channel,) = layer.groups[GROUP]
    for _ in range(20):
        LIVE.beat += 1
        layer.channels[channel].put_nowait((time.time() + 60, {"type": "beat", "number": LIVE.beat}))
    await one.frame("fleet")
    assert await one.is_quiet(0.3)
    await one.close()
    assert LIVE.fleet_viewers == 0


async def frame_after_joining(one: BrowserSocket) -> None:
    """Return after a frame that came by a beat: the consumer is in the group then."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        await beat()
        if not await one.is_quiet(0.1):
            await one.frame("fleet")
            return
    raise AssertionError("no frame came by a beat")


async def test_a_new_page_starts_with_what_was_kept(sessions: dict[str, str]) -> None:
    now_s = time.time()
    message = {
        "at": datetime.fromtimestamp(now_s, UTC).isoformat(), "sites_total": 2, "sites_fresh": 2,
        "by_mode": {"grid_tied": 2}, "frequency_hz": 49.876, "service_kw": 3.0, "required_kw": 4.0, "islanded": [],
    }  # fmt: skip
    LIVE.store.accept("vpp/live/ingest-0", json.dumps(message).encode(), at_s=now_s)
    LIVE.store.keep_point(at_s=now_s)
    one = socket("/ws/fleet/", sessions["auditor"])
    await one.connect()
    history = await one.frame("history")
    assert history["frequency_hz"] == [49.876]
    frame = await one.frame("fleet")
    assert (frame["service_kw"], frame["sites_fresh"], frame["is_linked"]) == (3.0, 2, False)
    assert frame["figures"]["enrolled"] == 2
    await one.close()
