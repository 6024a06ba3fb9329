"""What a site knows by itself, read from its own files: its intervals, its registers, and what it is armed with."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sites.edge.link.holding import ENVELOPE_HEAD_BYTES
from sites.edge.link.shared_block import SharedBlock, UplinkSide
from sites.edge.link.site_orders import HELD
from sites.wire.payload import decode_payload

FIELDS = (
    "starts_at", "ends_at", "into_bus_uwh", "from_bus_uwh", "service_into_uwh", "service_from_uwh", "fuel_ul",
    "register_into_uwh", "register_from_uwh", "quality",
)  # fmt: skip
STORED = """
SELECT s.site_id, a.name, i.number, i.revision, round(extract(epoch FROM i.starts_at) * 1000)::bigint,
  round(extract(epoch FROM i.ends_at) * 1000)::bigint, i.into_bus_uwh, i.from_bus_uwh, i.service_into_uwh,
  i.service_from_uwh, i.fuel_ul, i.register_into_uwh, i.register_from_uwh, i.quality
FROM metering_meterinterval i JOIN registry_asset a ON a.id = i.asset_id JOIN registry_site s ON s.id = a.site_id
ORDER BY s.site_id, a.name, i.number, i.revision
"""
"""The platform's rows, as (site, asset, number, revision, FIELDS...)."""

Stream = dict[int, dict[str, Any]]
LONGEST_DEAD_MS = 180_000


@dataclass(frozen=True)
class SiteTruth:
    """One site's files."""

    site_id: str
    outbox: Path
    block: Path | None
    """What control and uplink share; None where both are one process."""
    put_by_ms: int
    """How old what a killed controller had put by may be [ms]."""

    def intervals(self) -> dict[str, Stream]:
        """Return every interval that the site ever closed, by asset and number."""
        found: dict[str, Stream] = {}
        with self._database() as database:
            rows = database.execute(
                "SELECT stream, number, payload FROM outbox WHERE site_id = ?1 UNION ALL "
                "SELECT stream, number, payload FROM stored WHERE site_id = ?1",
                (self.site_id,),
            ).fetchall()
        for stream, number, payload in rows:
            if stream in {"record", "waveform"}:
                continue
            metrics = decode_payload(payload, max_bytes=100_000).metrics
            values = {metric.name.removeprefix("interval/"): metric.value for metric in metrics if metric.name}
            found.setdefault(stream, {})[number] = {name: values[name] for name in FIELDS}
        return found

    def last_numbers(self) -> dict[tuple[str, str], int]:
        """Return the last number of every asset's stream."""
        with self._database() as database:
            rows = database.execute(
                "SELECT name, value FROM counter WHERE site_id = ? AND name LIKE 'number/%'", (self.site_id,)
            ).fetchall()
        numbers = {(self.site_id, name.removeprefix("number/")): value for name, value in rows}
        return {key: value for key, value in numbers.items() if key[1] not in {"record", "waveform"}}

    def held_hash(self) -> str:
        """Return the hash of the assignment that the site holds, empty for none.

        Where controller and uplink are two processes: what the controller says that it holds.
        """
        if self.block is not None:
            block = SharedBlock(self.block)
            try:
                image = UplinkSide(block, self.block.with_suffix(".spool")).poll().image
                return image.held[0] if image is not None else ""
            finally:
                block.close()
        with self._database() as database:
            row = database.execute(
                "SELECT value FROM kept WHERE site_id = ? AND name = ?", (self.site_id, HELD)
            ).fetchone()
        return hashlib.sha256(row[0][ENVELOPE_HEAD_BYTES:]).hexdigest() if row else ""

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.outbox}?mode=ro", uri=True, timeout=20)
        try:
            yield connection
        finally:
            connection.close()


@dataclass(frozen=True, order=True)
class Unmetered:
    """Time in which a site's controller was dead, so that nobody metered."""

    site_id: str
    asset: str
    starts_ms: int
    ends_ms: int
    lost_ms: int
    """How much of it lies before the kill: metered, and not put by any more."""


@dataclass(frozen=True)
class Compared:
    """What the comparison found."""

    intervals: int
    unmetered: list[Unmetered]


def assert_nothing_lost(
    truths: dict[str, SiteTruth],
    stored_through: dict[tuple[str, str], int],
    rows: list[Any],
    kills_ms: dict[str, list[int]],
    *,
    ahead_ms: int = 0,
) -> Compared:
    """Compare the platform's rows with the sites' own.

    Each number once and in revision 0, with the site's content; none that the site did not send; none missing up to
    the mark that let the site forget it. Registers go on from each number to the next, and so does time but for
    what lies around the site's ``kills_ms``, the instants at which its controller died; ``ahead_ms`` longer where
    the clock of the next one may have been set ahead.
    """
    platform: dict[tuple[str, str], Stream] = {}
    for site_id, asset, number, revision, *values in rows:
        assert revision == 0, f"{site_id}/{asset} {number} was changed by a repeat"
        stream = platform.setdefault((site_id, asset), {})
        assert number not in stream
        stream[number] = dict(zip(FIELDS, values, strict=True))
    count = 0
    unmetered = []
    for site_id, truth in truths.items():
        for asset, own in truth.intervals().items():
            there = platform.pop((site_id, asset), {})
            last = stored_through[site_id, asset]
            assert sorted(own) == list(range(1, len(own) + 1)), f"{site_id}/{asset}: a hole at the site itself"
            assert set(range(1, last + 1)) <= there.keys() <= own.keys(), f"{site_id}/{asset}"
            for number, values in there.items():
                assert values == own[number], f"{site_id}/{asset} {number}"
            for number in range(2, len(own) + 1):
                before, after = own[number - 1], own[number]
                if after["starts_at"] != before["ends_at"]:
                    between = (before["ends_at"], after["starts_at"])
                    unmetered.append(_unmetered(truth, asset, *between, kills_ms.get(site_id, []), ahead_ms))
                for way in ("into", "from"):
                    step = after[f"register_{way}_uwh"] - before[f"register_{way}_uwh"]
                    assert step == after[f"{way}_bus_uwh"] >= 0, f"{site_id}/{asset} {number}"
            count += len(there)
    assert platform == {}
    return Compared(count, sorted(unmetered))


def _unmetered(
    truth: SiteTruth, asset: str, starts_ms: int, ends_ms: int, kills_ms: list[int], ahead_ms: int
) -> Unmetered:
    longest_ms = LONGEST_DEAD_MS + ahead_ms
    for kill_ms in kills_ms:
        if kill_ms - truth.put_by_ms <= starts_ms <= ends_ms and kill_ms < ends_ms <= kill_ms + longest_ms:
            return Unmetered(truth.site_id, asset, starts_ms, ends_ms, max(0, kill_ms - starts_ms))
    raise AssertionError(f"{truth.site_id}/{asset} was not metered from {starts_ms} to {ends_ms}, killed at {kills_ms}")
