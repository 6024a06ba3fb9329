"""Our OpenADR 3 VEN at one operator's VTN: lists its events again and again, and at once when it is told of one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from markets.core.events import EventInvalid
from markets.openadr.operators import Ven3Config
from markets.openadr.ven3.client import RequestRefused, Ven3Client
from markets.openadr.ven3.mapping import canonical, event_id_of, is_for_us
from markets.openadr.ven_session import FIRST_BACKOFF_S, LAST_BACKOFF_S, MessageRefused, VtnUnreachable, kept_running
from sites.core import observe
from sites.observability import metrics

log = logging.getLogger(__name__)

PROGRAMS_EVERY: Final = 30
"""Polls between two readings of the programs; an event of an unknown one asks at once."""
LEAST_PAUSE_S: Final = 0.2
"""Between two lists, however often we are told of changes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An event that is new or has changed since it was decided last."""

    raw: dict[str, Any]
    """Normalized."""
    content: bytes
    """Its own JSON in one form."""
    program: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The report that tells what was decided on one version of an event."""

    event_pk: int
    report: dict[str, Any]


@dataclass
class Ven3Callbacks:
    """What the shell around the loop does; each is awaited."""

    decide: Callable[[list[Listed]], Awaitable[list[Answer]]]
    """Store and decide events; returns the answers that the VTN has not had."""
    answered: Callable[[Answer], Awaitable[None]]
    """Keep that an answer was taken."""
    owed: Callable[[], Awaitable[list[str]]]
    """Return the ids of this operator's events for which something is owed."""
    withdraw: Callable[[list[str]], Awaitable[None]]
    """Take back what is owed for events that the VTN no longer has."""
    refuse: Callable[[MessageRefused], Awaitable[None]]
    """Keep a message that could not be read."""


class Ven3Service(Protocol):
    """What is spoken with the VTN beside events: reports, notices of changes."""

    async def run(self, client: Ven3Client, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, whenever ``client.registered`` is; started again when it fails."""


class Ven3Loop:
    """List, decide, answer, wait for the next poll or a notice; away means retry with backoff."""

    def __init__(self, config: Ven3Config, callbacks: Ven3Callbacks) -> None:
        self.config = config
        self.callbacks = callbacks
        self.services: Sequence[Ven3Service] = ()
        self.fault = "not asked yet"
        """Why the last exchange with the VTN failed; empty when it went well."""
        self._decided: dict[str, str] = {}
        """Hash of each listed event's content as it was decided."""
        self._answers: list[Answer] = []
        """What waits to be sent."""
        self._polls = 0
        self._told = asyncio.Event()

    def notice(self) -> None:
        """Look at once: the VTN said that something changed. What changed, the list tells."""
        self._told.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set; a failure of the VTN or of our database never ends it."""
        client = Ven3Client(self.config)
        beside = [
            asyncio.create_task(kept_running(self.config.operator, service, client, stop)) for service in self.services
        ]
        try:
            await self._poll_until(stop, client)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await client.close()

    async def _poll_until(self, stop: asyncio.Event, client: Ven3Client) -> None:
        backoff_s, is_up = FIRST_BACKOFF_S, False
        where = f"operator={self.config.operator} vtn={self.config.url}"
        while not stop.is_set():
            self._told.clear()
            try:
                await self.step(client)
            except (MessageRefused, VtnUnreachable, RequestRefused) as error:
                outcome, self.fault = "unreachable", "the VTN does not answer"
                if isinstance(error, MessageRefused):
                    await self._kept(error)
                    outcome, self.fault = "refused", f"its message was refused: {error.name}"
                elif isinstance(error, RequestRefused):
                    outcome, self.fault = "refused", f"it refuses us: {error}"
                log.warning("%s %s retry_s=%.1f error=%s", observe.LINK_DOWN, where, backoff_s, error)
                is_up = False
            # A decision that was not stored must not be answered: list and try again.
            except Exception:
                log.exception("openadr.step_failed %s retry_s=%.1f", where, backoff_s)
                outcome, self.fault = "failed", "its answer could not be worked off; see the log"
            else:
                if not is_up:
                    log.info("%s %s", observe.LINK_UP, where)
                outcome, self.fault, is_up, backoff_s = "good", "", True, FIRST_BACKOFF_S
            metrics.OPENADR_EXCHANGES.labels(self.config.operator, outcome).inc()
            metrics.OPENADR_REGISTERED.labels(self.config.operator).set(outcome == "good")
            if outcome == "good":
                await self._wait(stop, self.config.poll_s, LEAST_PAUSE_S)
            else:
                # Spread, so that a thousand VENs do not come back in the same second. A notice does not
                # shorten it: it says nothing of whether the VTN answers.
                spread_s = backoff_s * random.uniform(0.75, 1.25)  # noqa: S311
                await self._wait(stop, spread_s, spread_s)
                backoff_s = min(backoff_s * 2.0, LAST_BACKOFF_S)

    async def step(self, client: Ven3Client) -> None:
        """Read the whole list once and do what follows from it."""
        if self._polls % PROGRAMS_EVERY == 0:
            await self._read_programs(client)
        self._polls += 1
        rows = await client.listed("events")
        if any(str(row.get("programID")) not in client.programs for row in rows):
            await self._read_programs(client)
        ids = await self._decide(client, rows)
        await self._withdraw(client, ids)
        client.registered.set()
        await self._send_answers(client)

    async def _read_programs(self, client: Ven3Client) -> None:
        client.programs = {str(row.get("id")): row for row in await client.listed("programs")}

    async def _decide(self, client: Ven3Client, rows: list[dict[str, Any]]) -> set[str]:
        ids: set[str] = set()
        changed: list[Listed] = []
        hashes: dict[str, str] = {}
        for row in rows:
            content = canonical(row)
            try:
                event_id = event_id_of(row)
            except EventInvalid as error:
                await self._kept(MessageRefused("event_invalid", str(error), content))
                continue
            ids.add(event_id)
            program = client.programs.get(str(row.get("programID")))
            # A VTN of 3.1 shows a VEN its own events alone.
            if self.config.version == "3.0.1" and not is_for_us(
                row, program, ven_name=self.config.ven_name, targets=self.config.targets
            ):
                ids.discard(event_id)
                continue
            # The program's name and units are part of what is asked.
            hashes[event_id] = hashlib.sha256(content + canonical(program or {})).hexdigest()
            if self._decided.get(event_id) != hashes[event_id]:
                changed.append(Listed(row, content, program))
        if changed:
            self._answers += await self.callbacks.decide(changed)
        # Only now: what was not stored is decided with the next list.
        self._decided = hashes
        client.events = {str(row["id"]): row for row in rows if str(row.get("id")) in ids}
        return ids

    async def _withdraw(self, client: Ven3Client, ids: set[str]) -> None:
        """Take back what is gone: missing from the list, and not there when it is asked for by its id.

        A list that is read in pages while others change it may miss one that is still there.
        """
        missing = [event_id for event_id in await self.callbacks.owed() if event_id not in ids]
        gone = []
        for event_id in missing:
            held = await client.one("events", event_id)
            if held is None or not self._is_ours(client, held):
                gone.append(event_id)
        if gone:
            await self.callbacks.withdraw(gone)

    def _is_ours(self, client: Ven3Client, row: dict[str, Any]) -> bool:
        program = client.programs.get(str(row.get("programID")))
        return self.config.version != "3.0.1" or is_for_us(
            row, program, ven_name=self.config.ven_name, targets=self.config.targets
        )

    async def _send_answers(self, client: Ven3Client) -> None:
        """Send what waits, in order; what the VTN refuses is told and dropped, what it did not hear waits."""
        while self._answers:
            try:
                await client.create("reports", self._answers[0].report)
            except RequestRefused as refused:
                log.warning("openadr.answer_refused operator=%s error=%s", self.config.operator, refused)
            await self.callbacks.answered(self._answers.pop(0))

    async def _kept(self, refused: MessageRefused) -> None:
        try:
            await self.callbacks.refuse(refused)
        except Exception:
            log.exception("openadr.refusal_not_kept operator=%s error=%s", self.config.operator, refused)

    async def _wait(self, stop: asyncio.Event, most_s: float, least_s: float) -> None:
        """Wait so long, less when a notice comes after the least time, and not beyond ``stop``."""
        ended = asyncio.create_task(stop.wait())
        told = asyncio.create_task(self._told.wait())
        try:
            await asyncio.wait({ended}, timeout=least_s)
            await asyncio.wait({ended, told}, timeout=max(most_s - least_s, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, told):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
