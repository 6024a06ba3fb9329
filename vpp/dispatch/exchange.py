"""Desired against reported state: what to send now, site by site, until both agree; no I/O, no clock."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vpp.dispatch.reports import CURVE, SiteReport

REORDER_S: Final = 0.05
"""Once a site that was sent so much later has answered, an earlier one is taken for gone [s]."""
FIRST_WINDOW: Final = 64
"""First sendings that may wait for their answer at the start [count], and at the least."""
MAX_BACKOFF: Final = 8
"""A repetition waits twice as long as the one before, up to so many times the first wait."""


@dataclass(frozen=True, slots=True)
class DesiredRow:
    """What one site shall hold of one kind, as the gateway needs it."""

    assignment_pk: int
    site_id: str
    sequence: int
    body: bytes
    content_hash: str
    ends_at: datetime
    acknowledged: bool
    refused: bool
    kind: str = CURVE


class Outcome(StrEnum):
    """What a report says about the site's desired assignment."""

    AGREED = "agreed"
    REFUSED = "refused"
    DIFFERS = "differs"
    """It holds another one, or none: the desired one is to be sent (again)."""
    UNKNOWN = "unknown"
    """Nothing is desired of this site now."""


Key = tuple[str, str]
"""Site and kind: of each kind a site holds one assignment."""


@dataclass(slots=True)
class _Desire:
    row: DesiredRow
    settled: Outcome | None
    """Agreed or refused: nothing to send. None: to be sent until it is answered."""
    sends: int = 0
    sent_at: datetime | None = None
    due_at: datetime | None = None


class Exchange:
    """Keeps the newest desired assignment of each site and decides when it is sent.

    First sendings are paced by a number in flight: the next one goes when an answer comes, so that
    a large fleet is armed as fast as broker and sites take it, and no queue builds up that would be
    sent again. The number grows by one with each answer that comes within a quarter of the time after
    which a sending is repeated, up to ``in_flight``, and shrinks when answers take more than half of it.
    Sites that are gone do not hold a place once later ones have answered. Each is
    repeated, ever more slowly, until the reported hash agrees, the site refuses it by name, or it
    lapses.
    """

    def __init__(self, *, resend_after_s: float, in_flight: int) -> None:
        self._resend_after = timedelta(seconds=resend_after_s)
        self._most = in_flight
        self._window = float(min(FIRST_WINDOW, in_flight))
        self._desires: dict[Key, _Desire] = {}
        # Waiting for its first sending, in order; on its way, in order of sending; to be repeated, by time.
        self._fresh: OrderedDict[Key, None] = OrderedDict()
        self._flying: OrderedDict[Key, datetime] = OrderedDict()
        self._repeats: list[tuple[datetime, Key]] = []
        self._answered_through: datetime | None = None
        self._last_at: datetime | None = None

    def desire(self, rows: Iterable[DesiredRow]) -> None:
        """Take newly decided assignments; a lower sequence than the known one is left alone."""
        for row in rows:
            key = (row.site_id, row.kind)
            known = self._desires.get(key)
            if known is not None and known.row.sequence >= row.sequence:
                continue
            settled = Outcome.AGREED if row.acknowledged else Outcome.REFUSED if row.refused else None
            self._desires[key] = _Desire(row, settled)
            self._flying.pop(key, None)
            self._fresh.pop(key, None)
            if settled is None:
                self._fresh[key] = None

    def due(self, *, at: datetime) -> Iterator[DesiredRow]:
        """Yield what is to be sent at an instant, as far as there is room in flight; count it as sent."""
        self._check_clock(at)
        while self._repeats and self._repeats[0][0] <= at:
            due_at, key = heapq.heappop(self._repeats)
            desire = self._desires.get(key)
            # A newer assignment, an answer or an earlier repetition has overtaken this entry.
            if desire is not None and desire.settled is None and desire.due_at == due_at and self._send(desire, at):
                yield desire.row
        room = int(self._window) - self._waiting(at)
        while room > 0 and self._fresh:
            key, _ = self._fresh.popitem(last=False)
            desire = self._desires[key]
            if self._send(desire, at):
                self._flying[key] = at
                room -= 1
                yield desire.row

    def receive(self, report: SiteReport, *, is_birth: bool) -> Outcome:
        """Compare a report with what is desired; a newborn site that holds another one is due at once."""
        key = (report.site_id, report.kind)
        desire = self._desires.get(key)
        if desire is None or report.received_at >= desire.row.ends_at:
            return Outcome.UNKNOWN
        if report.held_hash == desire.row.content_hash:
            self._settle(desire, Outcome.AGREED, report.received_at)
            return Outcome.AGREED
        # Refused by its own hash: asking again would be refused again.
        if report.refused_hash == desire.row.content_hash:
            self._settle(desire, Outcome.REFUSED, report.received_at)
            return Outcome.REFUSED
        # A birth that crossed with the sending: the site has it by now.
        is_crossing = desire.sent_at is not None and report.received_at - desire.sent_at < self._resend_after / 2
        # Agreed before and lost since, or newborn: at once. Else the repetition comes by itself.
        if desire.settled is Outcome.AGREED or (is_birth and not (is_crossing and desire.settled is None)):
            desire.settled, desire.sends, desire.due_at = None, 0, None
            self._fresh[key] = None
            self._fresh.move_to_end(key, last=False)
        return Outcome.DIFFERS

    def drop(self, site_id: str, kind: str = CURVE) -> None:
        """Forget what is desired of a site: a command that was answered is never sent again, whatever comes."""
        key = (site_id, kind)
        if key in self._desires:
            self._settle(self._desires[key], Outcome.AGREED, None)
            del self._desires[key]

    def repeat(self, site_id: str, kind: str = CURVE) -> None:
        """Send what is desired of a site once more, whatever it said of it: it may be taken under another key."""
        desire = self._desires.get((site_id, kind))
        if desire is not None and desire.settled is not None:
            desire.settled, desire.sends, desire.due_at = None, 0, None
            self._fresh[site_id, kind] = None

    def asks(self, site_id: str, kind: str = CURVE) -> bool:
        """Tell whether anything is desired of a site."""
        return (site_id, kind) in self._desires

    def next_due(self, *, at: datetime) -> float:
        """Return the time after which something may be due without an answer coming [s]."""
        if self._fresh:
            return REORDER_S
        due_at = self._repeats[0][0] if self._repeats else at + self._resend_after
        return max(0.0, (due_at - at).total_seconds())

    @property
    def is_storming(self) -> bool:
        """Tell whether many sites wait for their first sending or have not answered it: answers come thick and fast."""
        return len(self._fresh) + len(self._flying) > FIRST_WINDOW

    @property
    def open_count(self) -> int:
        """Number of sites whose report does not agree yet, refused and lapsed ones left out."""
        return sum(desire.settled is None for desire in self._desires.values())

    def _check_clock(self, at: datetime) -> None:
        """After the clock was set back, repeat what is unanswered now: else it would wait until the clock is there."""
        stepped = self._last_at is not None and at < self._last_at - self._resend_after
        self._last_at = at
        if not stepped:
            return
        self._flying.clear()
        self._repeats.clear()
        self._answered_through = None
        for key, desire in self._desires.items():
            if desire.settled is None and desire.sends:
                desire.due_at = at
                heapq.heappush(self._repeats, (at, key))

    def _waiting(self, at: datetime) -> int:
        """Return how many first sendings are on their way, letting go of those taken for gone."""
        gone_before = at - self._resend_after
        if self._answered_through is not None:
            gone_before = max(gone_before, self._answered_through - timedelta(seconds=REORDER_S))
        while self._flying and next(iter(self._flying.values())) <= gone_before:
            self._flying.popitem(last=False)
        return len(self._flying)

    def _send(self, desire: _Desire, at: datetime) -> bool:
        """Count a sending and set its repetition; false when the assignment has lapsed."""
        if desire.row.ends_at <= at:
            return False
        desire.sent_at = at
        desire.due_at = at + self._resend_after * min(2**desire.sends, MAX_BACKOFF)
        desire.sends += 1
        heapq.heappush(self._repeats, (desire.due_at, (desire.row.site_id, desire.row.kind)))
        return True

    def _settle(self, desire: _Desire, outcome: Outcome, at: datetime | None) -> None:
        desire.settled = outcome
        key = (desire.row.site_id, desire.row.kind)
        self._fresh.pop(key, None)
        sent_at = self._flying.pop(key, None)
        if sent_at is not None:
            took = self._resend_after / 3 if at is None else at - sent_at
            if took < self._resend_after / 4:
                self._window = min(self._window + 1.0, self._most)
            elif took > self._resend_after / 2:
                # Each late answer takes a hundredth: a window full of them halves it.
                self._window = max(self._window * 0.99, min(FIRST_WINDOW, self._most))
            self._answered_through = max(sent_at, self._answered_through or sent_at)
