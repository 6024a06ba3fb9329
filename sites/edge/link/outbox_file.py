"""The SQLite file of a process's outbox: transactions that a full disk takes back whole, counters, kept values.

A disk that is full ends the transaction with ``OutboxUnwritable``; nothing of it is kept. The reserve file beside the
outbox is then given up, and whoever keeps rows in the file makes room in it (``_free_rows``). What was not written is
still in the caller's memory, and tried again. WAL with synchronous NORMAL survives the death of the process; a power
cut may cost the last transactions, never the file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sites.core import observe

log = logging.getLogger(__name__)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
  site_id TEXT NOT NULL, stream TEXT NOT NULL, number INTEGER NOT NULL,
  payload BLOB NOT NULL, created_at_ms INTEGER NOT NULL, sent_at_ms INTEGER, emptied INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (site_id, stream, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored (
  site_id TEXT NOT NULL, stream TEXT NOT NULL, number INTEGER NOT NULL,
  payload BLOB NOT NULL, created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (site_id, stream, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_created ON stored (created_at_ms);
CREATE TABLE IF NOT EXISTS counter (
  site_id TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY (site_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
  site_id TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (site_id, name)
) WITHOUT ROWID;
"""


class OutboxUnwritable(Exception):
    """The disk takes nothing more; the transaction was taken back."""

    name = "outbox_unwritable"


class OutboxFile:
    """The one SQLite file of a process; used from one thread."""

    def __init__(self, path: Path, *, reserve_bytes: int = 0) -> None:
        """Open or create the file; ``reserve_bytes`` are set aside on the disk for the day on which it is full."""
        self._reserve, self._reserve_bytes = path.with_name(f"{path.name}.reserve"), reserve_bytes
        self.unwritable_count = 0
        """Transactions that the disk did not take since the start."""
        self.is_unwritable = False
        """The disk did not take the last one."""
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)
        self._droppable_bytes = 0
        """Payload bytes that may be given up; goes back with a transaction that fails."""
        self._undo = _Undo(0)
        self._depth = 0
        self._counters: dict[tuple[str, str], int] = {
            (site_id, name): value
            for site_id, name, value in self._database.execute("SELECT site_id, name, value FROM counter")
        }
        self._unsaved: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep everything inside together or not at all; nests into the outermost one."""
        if self._depth:
            yield
            return
        self._database.execute("BEGIN IMMEDIATE")
        self._depth = 1
        undo = self._undo = _Undo(self._droppable_bytes)
        try:
            yield
            self._save_counters()
            self._database.execute("COMMIT")
            self.is_unwritable = False
        except BaseException as error:
            if self._database.in_transaction:
                # SQLite takes back by itself what a full disk stopped.
                self._database.execute("ROLLBACK")
            undo.restore(self._counters)
            self._droppable_bytes = undo.droppable_bytes
            if not _is_disk_full(error):
                raise
            self._depth = 0
            self._unsaved.clear()
            self._give_up_room()
            raise OutboxUnwritable(f"{error}, accepted: room on the disk of the outbox") from error
        finally:
            self._depth = 0
            self._unsaved.clear()

    def take_reserve(self) -> bool:
        """Set room aside on the disk for the day on which it is full; tell whether it is there."""
        try:
            if not self._reserve_bytes or (
                self._reserve.exists() and self._reserve.stat().st_size == self._reserve_bytes
            ):
                return True
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._reserve_bytes)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            log.warning("%s reserve_bytes=%d reason=%s", observe.OUTBOX_FULL, self._reserve_bytes, error)
            return False
        return True

    def _give_up_room(self) -> None:
        """Give up the reserve and rows: what is freed inside the file serves those that may not be lost."""
        self.unwritable_count += 1
        self.is_unwritable = True
        self._reserve.unlink(missing_ok=True)
        try:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            dropped = self._free_rows()
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.error("%s reason=%s", observe.OUTBOX_FULL, error)
            return
        log.error("%s dropped=%d: its reserve is given up", observe.OUTBOX_FULL, dropped)

    def _free_rows(self) -> int:
        """Free room inside the file; return how many rows were given up for it."""
        return 0

    def counter(self, site_id: str, name: str) -> int:
        """Return a persistent counter, 0 when it was never set."""
        return self._counters.get((site_id, name), 0)

    def set_counter(self, site_id: str, name: str, value: int) -> None:
        """Keep a counter (a register, the birth number, a sequence) across restarts."""
        with self.transaction():
            key = (site_id, name)
            self._undo.note(key, self._counters.get(key))
            self._counters[key] = value
            self._unsaved.add(key)

    def kept(self, site_id: str, name: str) -> bytes | None:
        """Return what was kept under a name (the held envelope, the meter's state), or None."""
        found = self._database.execute("SELECT value FROM kept WHERE site_id = ? AND name = ?", (site_id, name))
        row = found.fetchone()
        return bytes(row[0]) if row else None

    def keep(self, site_id: str, name: str, value: bytes) -> None:
        """Keep a value across restarts, in the surrounding transaction."""
        with self.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO kept (site_id, name, value) VALUES (?, ?, ?)", (site_id, name, value)
            )

    def _count_up(self, site_id: str, name: str) -> None:
        """Add one to a counter, also while room is made outside of any transaction."""
        key = (site_id, name)
        self._undo.note(key, self._counters.get(key))
        self._counters[key] = self.counter(site_id, name) + 1
        self._unsaved.add(key)
        if not self._depth:
            self._save_counters()
            self._unsaved.clear()

    def _save_counters(self) -> None:
        self._database.executemany(
            "INSERT INTO counter (site_id, name, value) VALUES (?, ?, ?) "
            "ON CONFLICT (site_id, name) DO UPDATE SET value = excluded.value",
            [(*key, self._counters[key]) for key in self._unsaved],
        )


def _is_disk_full(error: BaseException) -> bool:
    """Tell whether SQLite could not write: no room, or a file that may not grow."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, sqlite3.OperationalError) and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class _Undo:
    """What a transaction changed in memory, to be put back when it fails."""

    def __init__(self, droppable_bytes: int) -> None:
        self.droppable_bytes = droppable_bytes
        self._before: dict[tuple[str, str], int | None] = {}

    def note(self, key: tuple[str, str], value: int | None) -> None:
        self._before.setdefault(key, value)

    def restore(self, counters: dict[tuple[str, str], int]) -> None:
        for key, value in self._before.items():
            if value is None:
                counters.pop(key, None)
            else:
                counters[key] = value
