"""The dispatcher's door to MQTT: desired assignments down, reported state up, on one asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from urllib.parse import SplitResult

from sites.core import observe
from sites.core.key_ring import KeyRefusal
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import Message
from vpp.dispatch.control_session import (
    SUBSCRIPTIONS,
    BirthNeeded,
    ControlSession,
    Refused,
    command_message,
    desired_message,
    keys_message,
    rebirth_message,
)
from vpp.dispatch.exchange import DesiredRow, Exchange, Outcome
from vpp.dispatch.models import SiteCommand
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import CURVE, KEYS, STREAM, SiteReport
from vpp.dispatch.signing import Signers

logger = logging.getLogger(__name__)

KEEPALIVE_S: Final = 30
RECONNECT_S: Final = (0.2, 5.0)
"""Shortest and longest wait before the next try to connect [s]."""
IN_FLIGHT: Final = 2_048
"""First sendings that may wait for their answer at once, at the most."""
BIRTHS_WITHIN_S: Final = 2.0
"""Time after connecting in which births come unasked, because the ingest asked or the site is new [s]."""
REBIRTHS_PER_S: Final = 200.0
BURST: Final = 64
"""Assignments that are signed and sent before answers are read again: sites and broker work meanwhile."""


class Gateway:
    """Sends what is desired until the sites report it; keeps what it sent and heard for the database."""

    def __init__(
        self,
        *,
        broker: SplitResult,
        signing_keys: Sequence[bytes],
        resend_after_s: float,
        max_bytes: int,
        max_clock_ahead_s: float,
    ) -> None:
        self._signers = Signers(signing_keys)
        self._sealed_by: dict[tuple[str, str], bytes] = {}
        """While a key is replaced: the key under which a site got its last assignment of a kind."""
        self._session = ControlSession(max_bytes=max_bytes, max_clock_ahead_s=max_clock_ahead_s)
        self._exchange = Exchange(resend_after_s=resend_after_s, in_flight=IN_FLIGHT)
        self._expected: frozenset[str] = frozenset()
        self._commands = Exchange(resend_after_s=resend_after_s, in_flight=IN_FLIGHT)
        self._announcements = Exchange(resend_after_s=resend_after_s, in_flight=IN_FLIGHT)
        self._key_reports: list[SiteReport] = []
        self._sendings: list[Sending] = []
        self._command_sendings: list[Sending] = []
        self._answers: list[SiteReport] = []
        self._answered: dict[str, str] = {}
        """Site's id -> hash of the last command whose answer was handed over."""
        self._reports: list[SiteReport] = []
        self._inbox: deque[tuple[str, bytes, datetime]] = deque()
        self._storm_began_s: float | None = None
        self._wake = asyncio.Event()
        self._came_up = asyncio.Event()
        self._connection = Connection(
            BrokerAddress.of(broker),
            name="vpp-dispatch",
            on_message=self._arrived,
            subscriptions=[(topic, 0) for topic in SUBSCRIPTIONS],
            on_up=self._note_up,
            proves=True,
            keepalive_s=KEEPALIVE_S,
            backoff_s=RECONNECT_S,
        )
        self.refused: Counter[str] = Counter()
        """Messages that said nothing usable, by the error's name."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connection.is_up

    @property
    def down_reason(self) -> str:
        """Why the broker is away; empty while it is there."""
        return self._connection.down_reason

    @property
    def storms_for_s(self) -> float | None:
        """For how long many sites have been armed at once [s], None while they are not: what can wait then should."""
        if not self._exchange.is_storming:
            self._storm_began_s = None
            return None
        now_s = time.monotonic()
        if self._storm_began_s is None:
            self._storm_began_s = now_s
        return now_s - self._storm_began_s

    def desire(self, rows: Iterable[DesiredRow]) -> None:
        """Take newly decided assignments; they go out at once when the broker is there."""
        self._exchange.desire(rows)
        self._wake.set()

    def command(self, rows: Iterable[DesiredRow]) -> None:
        """Take newly issued commands; each is sent until the site answers it or it expires, and then never again."""
        new = list(rows)
        if new:
            self._commands.desire(new)
            self._wake.set()

    def announce(self, rows: Iterable[DesiredRow]) -> None:
        """Take announcements of keys, sealed already; each is sent until the site reports it."""
        self._announcements.desire(rows)
        self._wake.set()

    def know_keys(self, key_ids: Mapping[str, str]) -> None:
        """Take from the database which keys the sites said they take, until they say it themselves."""
        for site_id, ids in key_ids.items():
            self._signers.note(site_id, ids)

    def take_key_reports(self) -> list[SiteReport]:
        """Hand over what sites said of their keys since the last call."""
        taken, self._key_reports = self._key_reports, []
        return taken

    def expect(self, site_ids: Collection[str]) -> None:
        """Name the sites whose control devices shall be known before anything is asked of them."""
        self._expected = frozenset(site_ids)
        self._session.expect(site_ids)

    def take_sendings(self) -> list[Sending]:
        """Hand over what was sent since the last call."""
        taken, self._sendings = self._sendings, []
        return taken

    def take_reports(self) -> list[SiteReport]:
        """Hand over what sites reported since the last call, the latest of each assignment state."""
        taken, self._reports = self._reports, []
        return taken

    def take_command_sendings(self) -> list[Sending]:
        """Hand over what was sent of commands since the last call."""
        taken, self._command_sendings = self._command_sendings, []
        return taken

    def take_answers(self) -> list[SiteReport]:
        """Hand over the reports since the last call that answer a command for the first time."""
        taken, self._answers = self._answers, []
        return taken

    async def run(self) -> None:
        """Hold a connection and serve it until cancelled; a broker that is gone is tried again."""
        async with asyncio.TaskGroup() as tasks:
            for duty in (self._connection.run(), self._pump(), self._ask_births()):
                tasks.create_task(duty)

    async def _pump(self) -> None:
        """Read what came, send what is due, wait for either."""
        while True:
            self._wake.clear()
            self._read_inbox()
            wait_s = 1.0
            if self._connection.is_up:
                at = datetime.now(UTC)
                for row in self._commands.due(at=at):
                    self._send_command(row)
                for row in islice(self._announcements.due(at=at), BURST):
                    self._connection.publish(Message(*keys_message(row.site_id, row.body, at=at)))
                burst = list(islice(self._exchange.due(at=at), BURST))
                for row in burst:
                    self._send(row)
                if len(burst) == BURST:
                    self._connection.flush()
                    await asyncio.sleep(0)
                    continue
                due_s = min(e.next_due(at=at) for e in (self._exchange, self._commands, self._announcements))
                wait_s = max(0.005, min(due_s, wait_s))
            try:
                # Not wait_for: in Python 3.11 it can swallow a cancellation.
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _ask_births(self) -> None:
        """After connecting, ask the sites for the births that did not come by themselves, at a bounded rate."""
        while True:
            await self._came_up.wait()
            self._came_up.clear()
            await asyncio.sleep(BIRTHS_WITHIN_S)
            for site_id in sorted(self._expected):
                if self._connection.is_up and not self._session.knows(site_id):
                    self._ask_birth(site_id)
                    await asyncio.sleep(1.0 / REBIRTHS_PER_S)

    def _ask_birth(self, site_id: str) -> None:
        at = datetime.now(UTC)
        if self._session.may_ask(site_id, at=at):
            logger.debug("%s site=%s", observe.REBIRTH_REQUESTED, site_id)
            self._connection.publish(Message(*rebirth_message(site_id, at=at)))

    def _send(self, row: DesiredRow) -> None:
        sent_at = datetime.now(UTC)
        signer = self._signers.of(row.site_id)
        if self._signers.is_replacing:
            self._sealed_by[row.site_id, row.kind] = signer.key_id
        topic, payload = desired_message(row.site_id, signer.seal(row.body), at=sent_at, kind=row.kind)
        if self._connection.publish(Message(topic, payload)):
            self._sendings.append(Sending(row.assignment_pk, sent_at))

    def _send_command(self, row: DesiredRow) -> None:
        sent_at = datetime.now(UTC)
        topic, payload = command_message(row.site_id, self._signers.of(row.site_id).seal(row.body), at=sent_at)
        if self._connection.publish(Message(topic, payload)):
            logger.info("%s site=%s sequence=%d", observe.COMMAND_SENT, row.site_id, row.sequence)
            self._command_sendings.append(Sending(row.assignment_pk, sent_at))

    def _take_answer(self, report: SiteReport, *, is_birth: bool) -> None:
        """Compare a report's answer with the command that is open; every birth repeats the last answer."""
        is_told = self._answered.get(report.site_id, "") == report.answer_hash
        if is_told and not self._commands.asks(report.site_id):
            return
        refused = report.answer == SiteCommand.Answer.REFUSED
        said = replace(
            report,
            held_hash="" if refused else report.answer_hash,
            refused_hash=report.answer_hash if refused else "",
        )
        if self._commands.receive(said, is_birth=is_birth) in (Outcome.AGREED, Outcome.REFUSED):
            self._commands.drop(report.site_id)
        if report.answer_hash and not is_told:
            self._answered[report.site_id] = report.answer_hash
            self._answers.append(report)

    def _read_inbox(self) -> None:
        while self._inbox:
            topic, payload, received_at = self._inbox.popleft()
            event = self._session.receive(topic, payload, received_at=received_at)
            if isinstance(event, BirthNeeded):
                self._ask_birth(event.site_id)
            elif isinstance(event, Refused):
                self.refused[event.error] += 1
                logger.warning("%s %s on %s: %s", observe.MESSAGE_REFUSED, event.error, event.topic, event.detail)
            else:
                for report in event.reports:
                    self._take_report(report, is_birth=event.is_birth)

    def _take_keys(self, report: SiteReport, *, is_birth: bool) -> None:
        """Note which keys a site takes, and seal anew what it holds under a key that is about to go."""
        self._key_reports.append(report)
        # A full disk passes: the announcement is repeated.
        is_passing = report.refusal == KeyRefusal.NOT_KEPT
        self._announcements.receive(replace(report, refused_hash="") if is_passing else report, is_birth=is_birth)
        self._signers.note(report.site_id, report.key_ids)
        if self._signers.is_replacing:
            for kind in (CURVE, STREAM):
                if self._sealed_by.get((report.site_id, kind)) != self._signers.of(report.site_id).key_id:
                    self._exchange.repeat(report.site_id, kind)

    def _take_report(self, report: SiteReport, *, is_birth: bool) -> None:
        if report.kind == KEYS:
            self._take_keys(report, is_birth=is_birth)
            return
        if report.kind == CURVE:
            self._take_answer(report, is_birth=is_birth)
        outcome = self._exchange.receive(report, is_birth=is_birth)
        if outcome is Outcome.REFUSED:
            logger.warning(
                "%s site=%s kind=%s sequence=%d reason=%s",
                observe.ASSIGNMENT_REFUSED, report.site_id, report.kind, report.refused_sequence, report.refusal,
            )  # fmt: skip
        if outcome is not Outcome.UNKNOWN:
            self._reports.append(report)

    def _note_up(self) -> None:
        # Births that came while we were away are lost; what was sent then too, and is repeated.
        self._session.forget()
        self._came_up.set()
        self._wake.set()

    def _arrived(self, topic: str, payload: bytes) -> None:
        # Only enqueues: an exception here would end the reading. The clock is read at arrival.
        self._inbox.append((topic, payload, datetime.now(UTC)))
        self._wake.set()
