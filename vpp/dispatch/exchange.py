"""Desired against reported state: what to send now, site by site, until both agree; no I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vpp.dispatch.reports import SiteReport

SLOT_S: Final = 0.25
"""A site that does not answer keeps its place among those in flight for so long [s]."""


@dataclass(frozen=True, slots=True)
class DesiredRow:
    """What one site shall hold, as the gateway needs it."""

    assignment_pk: int
    site_id: str
    sequence: int
    body: bytes
    content_hash: str
    ends_at: datetime
    acknowledged: bool
    refused: bool


class Outcome(StrEnum):
    """What a report says about the site's desired assignment."""

    AGREED = "agreed"
    REFUSED = "refused"
    DIFFERS = "differs"
    """It holds another one, or none: the desired one is to be sent (again)."""
    UNKNOWN = "unknown"
    """Nothing is desired of this site now."""


@dataclass(slots=True)
class _Desire:
    row: DesiredRow
    settled: Outcome | None
    """Agreed or refused: nothing to send. None: to be sent until it is answered."""


class Exchange:
    """Keeps the newest desired assignment of each site and decides when it is sent.

    First sendings are paced by a number in flight, so that a large fleet neither floods the broker
    nor waits on sites that are gone; each is repeated after ``resend_after_s`` until the reported
    hash agrees, the site refuses it by name, or it lapses.
    """

    def __init__(self, *, resend_after_s: float, in_flight: int) -> None:
        self._resend_after = timedelta(seconds=resend_after_s)
        self._in_flight = in_flight
        self._desires: dict[str, _Desire] = {}
        # Never sent, in the order decided; and sent but unanswered, in the order of the last sending.
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._unanswered: OrderedDict[str, datetime] = OrderedDict()

    def desire(self, rows: Iterable[DesiredRow]) -> None:
        """Take newly decided assignments; a lower sequence than the known one is left alone."""
        for row in rows:
            known = self._desires.get(row.site_id)
            if known is not None and known.row.sequence >= row.sequence:
                continue
            settled = Outcome.AGREED if row.acknowledged else Outcome.REFUSED if row.refused else None
            self._desires[row.site_id] = _Desire(row, settled)
            self._unanswered.pop(row.site_id, None)
            self._fresh.pop(row.site_id, None)
            if settled is None:
                self._fresh[row.site_id] = None

    def due(self, *, at: datetime) -> Iterator[DesiredRow]:
        """Yield what is to be sent at an instant, as far as there is room in flight; count it as sent."""
        for site_id in [s for s, sent_at in self._unanswered.items() if at - sent_at >= self._resend_after]:
            del self._unanswered[site_id]
            row = self._send(site_id, at)
            if row is not None:
                yield row
        room = self._in_flight - self._waiting(at)
        while room > 0 and self._fresh:
            site_id, _ = self._fresh.popitem(last=False)
            row = self._send(site_id, at)
            if row is not None:
                room -= 1
                yield row

    def receive(self, report: SiteReport, *, is_birth: bool) -> Outcome:
        """Compare a report with what is desired; a newborn site that holds another one is due at once."""
        desire = self._desires.get(report.site_id)
        if desire is None or report.received_at >= desire.row.ends_at:
            return Outcome.UNKNOWN
        if report.held_hash == desire.row.content_hash:
            self._settle(desire, Outcome.AGREED)
            return Outcome.AGREED
        # Refused by its own hash: asking again would be refused again.
        if report.refused_hash == desire.row.content_hash:
            self._settle(desire, Outcome.REFUSED)
            return Outcome.REFUSED
        sent_at = self._unanswered.get(report.site_id)
        is_in_flight = sent_at is not None and report.received_at - sent_at < timedelta(seconds=SLOT_S)
        # Agreed before and lost since, or newborn: at once. Else the repetition comes by itself.
        if (is_birth and not is_in_flight) or desire.settled is Outcome.AGREED:
            desire.settled = None
            self._unanswered.pop(report.site_id, None)
            self._fresh[report.site_id] = None
            self._fresh.move_to_end(report.site_id, last=False)
        return Outcome.DIFFERS

    def next_due(self, *, at: datetime) -> float:
        """Return the time to the next repetition [s]; the repetition time itself when none waits."""
        if self._fresh:
            return SLOT_S / 4.0
        oldest = next(iter(self._unanswered.values()), at)
        return max(0.0, (oldest + self._resend_after - at).total_seconds())

    @property
    def open_count(self) -> int:
        """Number of sites whose report does not agree yet."""
        return len(self._fresh) + len(self._unanswered)

    def _waiting(self, at: datetime) -> int:
        slot = timedelta(seconds=SLOT_S)
        count = 0
        for sent_at in reversed(self._unanswered.values()):
            if at - sent_at >= slot:
                break
            count += 1
        return count

    def _send(self, site_id: str, at: datetime) -> DesiredRow | None:
        desire = self._desires[site_id]
        if desire.row.ends_at <= at:
            return None
        self._unanswered[site_id] = at
        return desire.row

    def _settle(self, desire: _Desire, outcome: Outcome) -> None:
        desire.settled = outcome
        self._fresh.pop(desire.row.site_id, None)
        self._unanswered.pop(desire.row.site_id, None)
