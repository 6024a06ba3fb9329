"""Store-and-forward: numbered rows of every site of a process, kept until the platform has stored them.

Numbers are given in the transaction that keeps the row, so a crash leaves neither a hole nor a
repeat. A row is deleted only on the platform's ``stored_through``, never on a broker's
acknowledgement.

A file that is new may stand for one that was lost with its disk, so a stream's rows are numbered for
good, and may be sent, only when the platform has told its mark (``adopt``): they go on behind it.

Policy when full: the oldest high-rate records lose their samples first, then the oldest
waveforms. Their numbers stay, with no samples, so that the platform's mark moves on instead of
waiting for a row that is gone. Metered intervals are never touched: when nothing else is left,
``OutboxFull`` refuses the new record or waveform and the intervals go on (a year of minutes of one
asset is 525,600 rows, about 150 MB).

On a disk that is full before the bound is reached (``OutboxUnwritable``) a quarter of the samples goes the same way,
so that the intervals find room inside the file.

Intervals that the platform has stored stay for a while (``keep_stored_s``), for a platform whose database was put
back to an older state asks for them again (``ask_again``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sites.core import observe
from sites.edge.link.outbox_file import OutboxFile

log = logging.getLogger(__name__)

RECORD_STREAM: Final = "record"
WAVEFORM_STREAM: Final = "waveform"
DROP_ORDER: Final = (RECORD_STREAM, WAVEFORM_STREAM)
"""Streams that may lose rows when the outbox is full, first one first."""

MAX_WAVEFORMS_DUE: Final = 50
"""Waveforms given out in one go, some 8 MB."""
MAX_ASKED: Final = 10_000
"""Rows brought back by one request."""
MAX_DROPPED_AT_ONCE: Final = 500
WAITING_MS: Final = 60_000
"""A row that has waited for less is on its way."""
AHEAD_MS: Final = 2_000
"""Rows of instants this far ahead of the site's own clock may be refused by the platform's."""
MAX_ADOPTED: Final = 1_000_000_000
"""Highest mark taken up by a new outbox: a row a second for 31 years."""


class OutboxFull(Exception):
    """A record or waveform that does not fit and nothing droppable is left."""

    name = "outbox_full"


class NoLongerKept(Exception):
    """Rows that were stored by the platform long ago and have been deleted here since."""

    name = "no_longer_kept"


class OutboxError(Exception):
    """A mark that does not fit what this site ever numbered, or ever could have."""

    name = "stored_through_ahead"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of one site waits for longer than a healthy link lets it."""

    rows: int = 0
    oldest_at_ms: int | None = None
    """When the oldest of them was made; None without any."""


@dataclass(frozen=True, slots=True)
class Row:
    """One numbered row that waits for the platform."""

    site_id: str
    stream: str
    """Asset name for intervals, ``record`` or ``waveform``."""
    number: int
    """Counts from 1 in its stream without a hole."""
    payload: bytes
    """Encoded payload with the row's metrics; its number and its sequence are given when it is sent."""


class Outbox(OutboxFile):
    """The rows of a process in its one SQLite file; used from one thread."""

    def __init__(
        self,
        path: Path,
        *,
        empty: Callable[[bytes], bytes],
        max_bytes: int = 512_000_000,
        keep_stored_s: float = 0.0,
        reserve_bytes: int = 0,
    ) -> None:
        """Open or create the file.

        ``max_bytes`` bounds the payload bytes of records and waveforms; ``empty`` returns such a
        payload without its samples. ``keep_stored_s`` keeps intervals after the platform has stored them;
        ``reserve_bytes`` are set aside on the disk for the transactions that make room when it is full.
        """
        super().__init__(path, reserve_bytes=reserve_bytes)
        self._empty = empty
        self._keep_stored_ms = round(keep_stored_s * 1000)
        self._pruned_at_ms = 0
        self._max_bytes = max_bytes
        self.dropped_count = 0
        """Records and waveforms whose samples were lost to the bound since the start."""
        (self._droppable_bytes,) = self._database.execute(
            "SELECT coalesce(sum(length(payload)), 0) FROM outbox WHERE stream IN (?, ?) AND NOT emptied", DROP_ORDER
        ).fetchone()
        self.take_reserve()

    def _free_rows(self) -> int:
        """Give up a quarter of the samples."""
        dropped = 0
        goal_bytes = self._droppable_bytes * 3 // 4
        while self._droppable_bytes > goal_bytes and dropped < MAX_DROPPED_AT_ONCE and self._drop_oldest():
            dropped += 1
        return dropped

    def next_number(self, site_id: str, stream: str) -> int:
        """Return the number that the next row of a stream will carry."""
        return self.counter(site_id, f"number/{stream}") + 1

    def is_adopted(self, site_id: str, stream: str) -> bool:
        """Tell whether a stream's numbers are final: the platform's mark was taken up in this file."""
        return self.counter(site_id, f"adopted/{stream}") == 1

    def adopt(self, *, site_id: str, stream: str, stored_through: int) -> int:
        """Number a stream's rows behind the mark that the platform holds of it; return how many there are.

        For a new file only, whose rows were never sent: the mark then speaks of rows of an earlier file of
        this site, so it confirms none of those here. Raises OutboxError when no site can have numbered that
        far, and ValueError when the stream's numbers are final.
        """
        if self.is_adopted(site_id, stream):
            raise ValueError(f"numbers of {site_id}/{stream} are final, accepted: a stream never adopted")
        if not 0 <= stored_through <= MAX_ADOPTED:
            raise OutboxError(f"stored_through/{stream} is {stored_through}, accepted: 0 to {MAX_ADOPTED}")
        last = self.counter(site_id, f"number/{stream}")
        with self.transaction():
            if stored_through and last:
                # By way of negative numbers: a key must not meet that of a row not yet moved.
                rows = "WHERE site_id = ? AND stream = ?"
                key = (site_id, stream)
                self._database.execute(f"UPDATE outbox SET number = -number - ? {rows}", (stored_through, *key))  # noqa: S608
                self._database.execute(f"UPDATE outbox SET number = -number {rows}", key)  # noqa: S608
            self.set_counter(site_id, f"number/{stream}", stored_through + last)
            self.set_counter(site_id, f"adopted/{stream}", 1)
        return last

    def put(self, *, site_id: str, stream: str, number: int, payload: bytes, at_ms: int) -> None:
        """Keep the next row of a stream; ``at_ms`` is when it was made, or when its instant comes if that is later.

        Raises ValueError when the number is not the stream's next one and OutboxFull when a
        droppable stream does not fit; then its number is not used up.
        """
        expected = self.next_number(site_id, stream)
        if number != expected:
            raise ValueError(f"row of {site_id}/{stream} has number {number}, accepted: {expected}")
        with self.transaction():
            if stream in DROP_ORDER:
                self._make_room(len(payload))
                self._droppable_bytes += len(payload)
            self._database.execute(
                "INSERT INTO outbox (site_id, stream, number, payload, created_at_ms) VALUES (?, ?, ?, ?, ?)",
                (site_id, stream, number, payload, at_ms),
            )
            self.set_counter(site_id, f"number/{stream}", number)

    def mark_sent(self, rows: Sequence[tuple[str, str, int]], *, at_ms: int) -> None:
        """Note when rows (site, stream, number) were handed to the broker; they stay until stored."""
        with self.transaction():
            self._database.executemany(
                "UPDATE outbox SET sent_at_ms = ? WHERE site_id = ? AND stream = ? AND number = ?",
                [(at_ms, *row) for row in rows],
            )

    def confirm(self, *, site_id: str, stream: str, stored_through: int) -> int:
        """Delete the rows that the platform has stored and return how many went.

        Raises OutboxError when the mark is beyond what this site ever numbered: taking it would
        throw away rows that nobody has.
        """
        last = self.counter(site_id, f"number/{stream}")
        if not 0 <= stored_through <= last:
            raise OutboxError(f"stored_through/{stream} is {stored_through}, accepted: 0 to {last}")
        where = "WHERE site_id = ? AND stream = ? AND number <= ?"
        key = (site_id, stream, stored_through)
        with self.transaction():
            if stream in DROP_ORDER:
                (freed,) = self._database.execute(
                    f"SELECT coalesce(sum(length(payload)), 0) FROM outbox {where} AND NOT emptied",  # noqa: S608
                    key,
                ).fetchone()
                self._droppable_bytes -= freed
            elif self._keep_stored_ms:
                self._database.execute(
                    "INSERT OR REPLACE INTO stored SELECT site_id, stream, number, payload, created_at_ms "  # noqa: S608
                    f"FROM outbox {where}",
                    key,
                )
            return self._database.execute(f"DELETE FROM outbox {where}", key).rowcount  # noqa: S608

    def ask_again(self, *, site_id: str, stream: str, first: int, last: int) -> int:
        """Bring rows back that the platform asks for, to be sent again; return how many of them are here.

        Rows that wait already go out at once. Raises OutboxError for numbers that were never given, and
        NoLongerKept when none of those asked for is here any more.
        """
        newest = self.counter(site_id, f"number/{stream}")
        if not 1 <= first <= last <= newest:
            raise OutboxError(f"resend/{stream} is {first} to {last}, accepted: within 1 to {newest}")
        last = min(last, first + MAX_ASKED - 1)
        key = (site_id, stream, first, last)
        where = "WHERE site_id = ? AND stream = ? AND number BETWEEN ? AND ?"
        with self.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO outbox (site_id, stream, number, payload, created_at_ms) "  # noqa: S608
                f"SELECT site_id, stream, number, payload, created_at_ms FROM stored {where}",
                key,
            )
            found = self._database.execute(f"UPDATE outbox SET sent_at_ms = NULL {where}", key).rowcount  # noqa: S608
        if not found:
            raise NoLongerKept(f"rows {first} to {last} of {stream} are no longer kept here")
        return found

    def prune_stored(self, *, at_ms: int) -> int:
        """Delete stored rows that were kept long enough, once a minute; return how many went."""
        if not self._keep_stored_ms or 0 <= at_ms - self._pruned_at_ms < 60_000:
            return 0
        self._pruned_at_ms = at_ms
        with self.transaction():
            old = (at_ms - self._keep_stored_ms,)
            return self._database.execute("DELETE FROM stored WHERE created_at_ms < ?", old).rowcount

    def due(
        self,
        *,
        sent_before_ms: int,
        limit: int,
        site_ids: Sequence[str] | None = None,
        at_ms: int,
        is_clock_right: bool = False,
    ) -> list[Row]:
        """Return rows with final numbers that were never sent or not since an instant, lowest numbers first.

        Waveforms come last and few at a time: a hundred times the size of any other row, and never urgent.
        ``site_ids`` limits the answer to sites whose link is up. Rows of instants that have not come yet by the
        clock's ``at_ms`` wait for them where the clock is right; else they go out once, for it may be the clock that
        is wrong, and not again and again: a flood of rows of the future would cut the site off.
        """
        clause, values = "", []
        if site_ids is not None:
            if not site_ids:
                return []
            clause = f"AND site_id IN ({','.join('?' * len(site_ids))})"
            values = list(site_ids)
        rows: list[Row] = []
        for is_waveform, most in ((0, limit), (1, MAX_WAVEFORMS_DUE)):
            key = (WAVEFORM_STREAM, is_waveform, sent_before_ms)
            found = self._database.execute(
                "SELECT site_id, stream, number, payload FROM outbox "  # noqa: S608
                f"WHERE (stream = ?) = ? AND (sent_at_ms IS NULL OR sent_at_ms < ?) {clause} AND EXISTS (SELECT 1 "
                "FROM counter WHERE counter.site_id = outbox.site_id AND counter.name = 'adopted/' || outbox.stream) "
                "AND (created_at_ms <= ? OR (sent_at_ms IS NULL AND NOT ?)) "
                "ORDER BY number, site_id, stream LIMIT ?",
                (*key, *values, at_ms + AHEAD_MS, is_clock_right, min(most, limit - len(rows))),
            )
            rows += [Row(*row) for row in found]
        return rows

    def forget_sent(self, site_id: str) -> None:
        """Treat a site's rows as never sent: the link was lost, and with it what was on the way."""
        with self.transaction():
            self._database.execute(
                "UPDATE outbox SET sent_at_ms = NULL WHERE site_id = ? AND sent_at_ms IS NOT NULL", (site_id,)
            )

    def depth(self, site_id: str | None = None) -> int:
        """Return how many rows wait, of one site or of all."""
        where, key = ("WHERE site_id = ?", (site_id,)) if site_id is not None else ("", ())
        (count,) = self._database.execute(f"SELECT count(*) FROM outbox {where}", key).fetchone()  # noqa: S608
        return int(count)

    def backlogs(self, *, at_ms: int) -> dict[str, Backlog]:
        """Return what waits for more than a minute, by site; those without are left out. Reads the whole table."""
        rows = self._database.execute(
            "SELECT site_id, count(*), min(created_at_ms) FROM outbox WHERE created_at_ms NOT BETWEEN ? AND ? "
            "GROUP BY site_id",
            (at_ms - WAITING_MS, at_ms + AHEAD_MS),
        )
        return {site_id: Backlog(count, oldest_at_ms) for site_id, count, oldest_at_ms in rows}

    @property
    def used_ratio(self) -> float:
        """How much of the bound records and waveforms take, 0 to 1."""
        return min(1.0, self._droppable_bytes / self._max_bytes)

    def dropped(self, site_id: str, stream: str) -> int:
        """Return how many rows of a stream lost their samples at this site, over all processes."""
        return self.counter(site_id, f"dropped/{stream}")

    def note_dropped(self, site_id: str, stream: str) -> None:
        """Count a row whose samples found no place."""
        self.dropped_count += 1
        self._count_up(site_id, f"dropped/{stream}")

    def _make_room(self, needed_bytes: int) -> None:
        while self._droppable_bytes + needed_bytes > self._max_bytes:
            if not self._drop_oldest():
                raise OutboxFull(f"{needed_bytes} bytes do not fit, accepted: up to {self._max_bytes} in all")

    def _drop_oldest(self) -> bool:
        """Take the samples of the oldest record, or waveform when there is none; False when nothing is left."""
        for stream in DROP_ORDER:
            oldest = self._database.execute(
                "SELECT site_id, number, payload FROM outbox WHERE stream = ? AND NOT emptied "
                "ORDER BY created_at_ms, number LIMIT 1",
                (stream,),
            ).fetchone()
            if oldest is not None:
                break
        else:
            return False
        site_id, number, payload = oldest
        self._database.execute(
            "UPDATE outbox SET payload = ?, emptied = 1 WHERE site_id = ? AND stream = ? AND number = ?",
            (self._empty(payload), site_id, stream, number),
        )
        self._droppable_bytes -= len(payload)
        self.note_dropped(site_id, stream)
        log.warning("%s site_id=%s stream=%s number=%d", observe.SAMPLES_DROPPED, site_id, stream, number)
        return True
