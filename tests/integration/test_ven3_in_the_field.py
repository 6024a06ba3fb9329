"""Our OpenADR 3 VEN's session and loop against VTNs that keep to less than the specification, over loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from support.field_vtn3 import Asked, FieldVtn, a_field_vtn

from markets.openadr.operators import Ven3Config
from markets.openadr.ven3 import client as client_module
from markets.openadr.ven3.client import MAX_ANSWER_BYTES, RequestRefused, Ven3Client
from markets.openadr.ven3.loop import Answer, Listed, Ven3Callbacks, Ven3Loop
from markets.openadr.ven_session import MessageRefused, VtnUnreachable

EVENTS = [{"id": f"e{number}", "programID": "p", "intervals": []} for number in range(7)]


@pytest.fixture
def vtn() -> Iterator[FieldVtn]:
    with a_field_vtn() as held:
        yield held


@pytest_asyncio.fixture
async def client(vtn: FieldVtn) -> AsyncIterator[Ven3Client]:
    held = Ven3Client(Ven3Config(vtn.url, "us", "id", "secret"), now_s=lambda: vtn.__dict__.get("now_s", 0.0))
    yield held
    await held.close()


class TestToken:
    async def test_it_is_discovered_fetched_once_and_renewed_in_time(self, vtn, client):
        vtn.token["expires_in"] = "100"
        await client.listed("events")
        await client.listed("programs")
        assert len(vtn.paths("auth/server")) == len(vtn.paths("auth/token")) == client.tokens_fetched == 1
        assert b"client_secret=secret" in vtn.paths("auth/token")[0].body
        assert {asked.bearer for asked in vtn.paths("events")} == {"t1"}
        vtn.token["access_token"], vtn.now_s = "t2", 80.0
        await client.listed("events")
        assert vtn.paths("events")[-1].bearer == "t2"

    async def test_one_that_ended_before_its_time_is_replaced_at_once(self, vtn, client):
        await client.listed("events")
        vtn.token["access_token"] = "t2"
        vtn.answers["events"] = lambda asked: EVENTS if asked.bearer == "t2" else 401
        assert len(await client.listed("events")) == 7

    async def test_a_vtn_that_refuses_each_token_is_unreachable_after_two(self, vtn, client):
        vtn.answers["events"] = 401
        with pytest.raises(VtnUnreachable, match="401"):
            await client.listed("events")
        assert client.tokens_fetched == 2

    @pytest.mark.parametrize("url", ["http://grid.example/token", "ftp://127.0.0.1/", "https://u@grid.example/"])
    async def test_the_secret_goes_nowhere_in_the_clear(self, vtn, client, url):
        vtn.answers["auth/server"] = {"token_url": url}
        with pytest.raises(MessageRefused, match="token_url_refused"):
            await client.listed("events")

    @pytest.mark.parametrize("token", [{}, {"access_token": "a b"}, {"access_token": 7}, [], "x"])
    async def test_what_is_no_token_is_refused(self, vtn, client, token):
        vtn.answers["auth/token"] = token if token != "x" else b'"x"'
        with pytest.raises(MessageRefused):
            await client.listed("events")

    async def test_a_wrong_secret_is_told_in_the_token_endpoint_s_words(self, vtn, client):
        vtn.answers["auth/token"] = (401, b'{"error": "invalid_client"}', {})
        with pytest.raises(VtnUnreachable, match="invalid_client"):
            await client.listed("events")


class TestLists:
    @pytest.mark.parametrize("page", [1, 3, 7, 50])
    async def test_pages_of_any_length(self, vtn, client, page):
        def paged(asked: Asked) -> Any:
            skip = int(asked.query["skip"])
            return EVENTS[skip : skip + page]

        vtn.answers["events"] = paged
        assert [row["id"] for row in await client.listed("events")] == [row["id"] for row in EVENTS]

    async def test_a_vtn_without_pages_answers_all_each_time(self, vtn, client):
        vtn.answers["events"] = EVENTS
        assert len(await client.listed("events")) == 7
        assert len(vtn.paths("events")) == 2

    async def test_a_vtn_that_has_ever_more_is_left(self, vtn, client, monkeypatch):
        monkeypatch.setattr(client_module, "MAX_OBJECTS", 20)
        vtn.answers["events"] = lambda asked: [{"id": f"e{asked.query['skip']}-{number}"} for number in range(9)]
        with pytest.raises(MessageRefused, match="list_too_long"):
            await client.listed("events")

    async def test_snake_case_and_json_in_json(self, vtn, client):
        event = {"id": "e", "program_id": "p", "intervals": json.dumps([{"id": 0, "interval_period": {}}])}
        vtn.answers["events"] = json.dumps(json.dumps([event])).encode()
        (row,) = await client.listed("events")
        assert row == {"id": "e", "programID": "p", "intervals": [{"id": 0, "intervalPeriod": {}}]}


class TestLimits:
    async def test_a_body_without_end_is_cut_off(self, vtn, client):
        vtn.answers["events"] = b" " * (MAX_ANSWER_BYTES + 1)
        with pytest.raises(MessageRefused, match="message_too_large"):
            await client.listed("events")

    async def test_what_is_packed_is_not_unpacked(self, vtn, client):
        vtn.answers["events"] = (200, gzip.compress(b"[]"), {"Content-Encoding": "gzip"})
        with pytest.raises(MessageRefused, match="content_encoding_refused"):
            await client.listed("events")
        assert {asked.accepts_encoding for asked in vtn.asked} == {"identity"}

    async def test_a_redirect_is_not_followed(self, vtn, client):
        vtn.answers["events"] = (307, b"", {"Location": f"{vtn.url}/elsewhere"})
        with pytest.raises(VtnUnreachable, match="307"):
            await client.listed("events")
        assert vtn.paths("elsewhere") == []

    async def test_an_id_leads_to_no_other_address(self, vtn, client):
        assert await client.one("events", "../programs?x=1") is None
        assert vtn.asked[-1].path == "events/..%2Fprograms%3Fx=1"

    @pytest.mark.parametrize(
        ("status", "raised"), [(400, RequestRefused), (429, VtnUnreachable), (503, VtnUnreachable)]
    )
    async def test_what_is_refused_for_good_and_what_for_now(self, vtn, client, status, raised):
        vtn.answers["reports"] = status
        with pytest.raises(raised, match=str(status)):
            await client.create("reports", {"eventID": "e"})

    async def test_nothing_that_is_no_json_is_sent(self, client):
        with pytest.raises(ValueError, match="JSON"):
            await client.create("reports", {"value": float("nan")})


class Desk:
    """The shell around a loop: what it was handed, and what is owed."""

    def __init__(self, vtn: FieldVtn, **config: Any) -> None:
        self.decided: list[str] = []
        self.refused: list[str] = []
        self.withdrawn: list[str] = []
        self.answered: list[int] = []
        self.owed: list[str] = []
        self.fails = False
        self.vtn = vtn
        made = Ven3Config(vtn.url, "us", "id", "secret", **config)
        self.client = Ven3Client(made)
        self.loop = Ven3Loop(made, Ven3Callbacks(self.decide, self.keep, self.are_owed, self.withdraw, self.refuse))

    async def decide(self, changed: list[Listed]) -> list[Answer]:
        if self.fails:
            raise OSError("no database")
        self.decided += [listed.raw["id"] for listed in changed]
        return [Answer(number, {"eventID": listed.raw["id"]}) for number, listed in enumerate(changed)]

    async def keep(self, answer: Answer) -> None:
        self.answered.append(answer.event_pk)

    async def are_owed(self) -> list[str]:
        return self.owed

    async def withdraw(self, gone: list[str]) -> None:
        self.withdrawn += gone

    async def refuse(self, refused: MessageRefused) -> None:
        self.refused.append(refused.name)

    async def step(self) -> None:
        try:
            await self.loop.step(self.client)
        finally:
            await self.client.close()


class TestLoop:
    async def test_only_what_is_new_or_changed_is_decided(self, vtn):
        desk = Desk(vtn)
        vtn.answers["events"] = EVENTS[:2]
        await desk.step()
        await desk.step()
        vtn.answers["events"] = [EVENTS[0], {**EVENTS[1], "priority": 1}]
        await desk.step()
        assert desk.decided == ["e0", "e1", "e1"]

    async def test_what_could_not_be_stored_is_decided_with_the_next_list(self, vtn):
        desk = Desk(vtn)
        vtn.answers["events"], desk.fails = EVENTS[:1], True
        with pytest.raises(OSError, match="database"):
            await desk.step()
        desk.fails = False
        await desk.step()
        assert desk.decided == ["e0"]

    async def test_one_bad_event_does_not_hold_up_the_others(self, vtn):
        desk = Desk(vtn)
        vtn.answers["events"] = [{"id": "a\nb"}, {"no": "id"}, EVENTS[0], "nonsense", 7]
        await desk.step()
        assert (desk.decided, set(desk.refused)) == (["e0"], {"event_invalid"})

    async def test_an_event_that_a_page_missed_is_asked_for_before_it_counts_as_gone(self, vtn):
        desk = Desk(vtn)
        desk.owed = ["e1", "e5"]
        vtn.answers |= {"events": EVENTS[:1], "events/e1": EVENTS[1], "events/e5": 404}
        await desk.step()
        assert desk.withdrawn == ["e5"]

    async def test_a_vtn_that_fails_takes_nothing_back(self, vtn):
        desk = Desk(vtn)
        desk.owed = ["e1"]
        for fault in (500, b"<html>", {"title": "soon"}):
            vtn.answers["events"] = fault
            with pytest.raises((VtnUnreachable, MessageRefused)):
                await desk.step()
        assert desk.withdrawn == []

    async def test_of_3_0_1_what_means_others_is_none_of_ours(self, vtn):
        theirs = {**EVENTS[0], "targets": [{"type": "VEN_NAME", "values": ["them"]}]}
        ours = {**EVENTS[1], "targets": [{"type": "VEN_NAME", "values": ["us"]}]}
        vtn.answers["events"] = [theirs, ours, EVENTS[2]]
        desk = Desk(vtn, version="3.0.1")
        await desk.step()
        assert desk.decided == ["e1", "e2"]

    async def test_an_answer_that_is_not_heard_waits_and_one_that_is_refused_does_not(self, vtn):
        desk = Desk(vtn)
        vtn.answers |= {"events": EVENTS[:2], "reports": 503}
        with pytest.raises(VtnUnreachable):
            await desk.step()
        assert desk.answered == []
        vtn.answers["reports"] = lambda asked: 403 if b"e0" in asked.body else {"id": "r"}
        await desk.step()
        assert desk.answered == [0, 1]
        assert json.loads(vtn.paths("reports")[-1].body) == {"eventID": "e1"}

    async def test_a_notice_is_followed_at_once_and_polls_go_on_without(self, vtn):
        desk = Desk(vtn, poll_s=30.0)
        stop = asyncio.Event()
        running = asyncio.create_task(desk.loop.run(stop))
        try:
            await _until(lambda: desk.loop.fault == "")
            vtn.answers["events"] = EVENTS[:1]
            desk.loop.notice()
            await _until(lambda: desk.decided == ["e0"])
        finally:
            stop.set()
            await running


async def _until(condition: Any, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
