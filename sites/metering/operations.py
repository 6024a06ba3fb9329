"""Writes of the meter book: one batch of an ingest worker, its heartbeat, the host's lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F, Max, Q

from sites.metering import numbered
from sites.metering.batches import LIVE_FIELDS, Batch, LiveRow, ReadingItem, Refusal
from sites.metering.models import HostLease, LiveState, Reading, RefusalCount, RefusedMessage, WorkerHeartbeat
from sites.metering.numbered import StreamKey, StreamState

KEPT_REFUSALS: Final = 10_000
"""Refused messages kept for inspection; older ones are deleted, their count stays."""
PRUNE_ROWS: Final = 20_000
"""Readings looked at in one transaction when old ones are deleted: writers wait no longer than that."""
READING_COLUMNS: Final = ("site_id", "asset", "metric", "measured_at", "received_at", "value", "quality")
READING_TYPES: Final = ("bigint", "text", "text", "timestamptz", "timestamptz", "float8", "text")


@dataclass(slots=True)
class Stored:
    """What one committed batch did."""

    readings: int = 0
    numbered: int = 0
    """Numbered items that were new, revisions included."""
    repeated: int = 0
    """Numbered items that stood already, with the same content."""
    states: dict[StreamKey, StreamState] = field(default_factory=dict)
    """New state of every stream that the batch touched, also of those that only repeated; what its
    site may be told, because the transaction committed."""


def store_batch(*, batch: Batch, states: dict[StreamKey, StreamState], at: datetime) -> Stored:
    """Write a batch in one transaction and return what sites may now be told.

    ``states`` is the worker's memory of its streams; it is read here and never changed, so that a
    batch whose transaction failed can be tried again. Storing a batch twice changes nothing.
    """
    with transaction.atomic():
        outcome = numbered.store_numbered(
            items=batch.numbered, refused=batch.refused_numbers, known=states, received_at=at
        )
        _insert_readings(batch.readings)
        _upsert_live(batch.live)
        _insert_refusals(batch.refusals)
        counts = dict(batch.counts)
        for error, count in outcome.counts.items():
            counts[error] = counts.get(error, 0) + count
        _add_counts(counts)
    return Stored(
        readings=len(batch.readings),
        numbered=outcome.stored,
        repeated=outcome.repeated,
        states=outcome.states,
    )


def beat(*, worker: str, partitions: Iterable[int], at: datetime) -> None:
    """Note that an ingest worker is connected and can write."""
    WorkerHeartbeat.objects.update_or_create(worker=worker, defaults={"partitions": sorted(partitions), "beat_at": at})


def forget_workers(*, before: datetime) -> None:
    """Delete heartbeats of workers that were killed long ago; a live one beats again within a second."""
    WorkerHeartbeat.objects.filter(beat_at__lt=before).delete()


def end_worker(*, worker: str) -> None:
    """Take back a worker's heartbeat when it ends in order."""
    WorkerHeartbeat.objects.filter(worker=worker).delete()


def take_host_lease(*, name: str, holder: str, lease_s: float, at: datetime) -> int | None:
    """Take or renew the right to speak for the host; return its fencing token, or None when another holds it.

    One conditional UPDATE decides, because row locks do nothing on SQLite. The token rises whenever
    the lease changes hands.
    """
    HostLease.objects.bulk_create([HostLease(name=name, expires_at=at)], ignore_conflicts=True)
    expires_at = at + timedelta(seconds=lease_s)
    row = HostLease.objects.filter(name=name)
    if row.filter(holder=holder).update(expires_at=expires_at):
        return row.values_list("token", flat=True).get()
    taken = row.filter(Q(holder="") | Q(expires_at__lte=at)).update(
        holder=holder, token=F("token") + 1, expires_at=expires_at
    )
    return row.filter(holder=holder).values_list("token", flat=True).first() if taken else None


def release_host_lease(*, name: str, holder: str) -> None:
    """Give the lease back at an orderly end, so that a stand-by need not wait it out."""
    HostLease.objects.filter(name=name, holder=holder).update(holder="")


def prune_readings(*, before: datetime, at: datetime, batch_rows: int = PRUNE_ROWS) -> int:
    """Delete the readings received before an instant and return how many went.

    Numbered intervals, records and waveforms are the books' evidence and are not touched. Rows are
    stored in about the order in which they were received, so the walk starts at the oldest and ends
    with the first batch that holds nothing old; each batch is a transaction of its own. Raises
    ValueError when ``before`` lies after ``at``.
    """
    if before > at:
        raise ValueError(f"readings before {before.isoformat()} are asked for, accepted: up to {at.isoformat()}")
    deleted, through = 0, 0
    while True:
        rows = list(Reading.objects.filter(pk__gt=through).order_by("pk").values_list("pk", "received_at")[:batch_rows])
        if not rows:
            return deleted
        first, through = rows[0][0], rows[-1][0]
        # Rows stamped in the future came while the clock was wrong: they say nothing of those behind them.
        if not any(received_at < before or received_at > at for _, received_at in rows):
            return deleted
        with transaction.atomic():
            deleted += Reading.objects.filter(pk__gte=first, pk__lte=through, received_at__lt=before).delete()[0]


def close_database() -> None:
    """Close the calling thread's connection; the next write opens a new one.

    A function, because ``connection.close`` named in another thread is that thread's.
    """
    connection.close()


def lock_timeout_s() -> float:
    """Return how long one write may wait for the database's lock [s]."""
    return float(connection.settings_dict.get("OPTIONS", {}).get("timeout", 20))


def _insert_readings(readings: list[ReadingItem]) -> None:
    """Insert readings; one that stands already at that instant stays as it is.

    Written as one statement per database because model instances cost more than the insert itself.
    """
    if not readings:
        return
    table = connection.ops.quote_name(Reading._meta.db_table)
    names = ", ".join(connection.ops.quote_name(name) for name in READING_COLUMNS)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            arrays = ", ".join(f"%s::{kind}[]" for kind in READING_TYPES[:-1])
            sql = f"INSERT INTO {table} ({names}) SELECT *, 'good' FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
            cursor.execute(sql, [list(column) for column in zip(*readings, strict=True)])
            return
        texts: dict[datetime, Any] = {}
        adapt = connection.ops.adapt_datetimefield_value

        def text(at: datetime) -> Any:
            found = texts.get(at)
            if found is None:
                found = texts[at] = adapt(at)
            return found

        marks = ", ".join(["%s"] * 6)
        cursor.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks}, 'good') ON CONFLICT DO NOTHING",  # noqa: S608
            [(s, asset, metric, text(m), text(r), value) for s, asset, metric, m, r, value in readings],
        )


def _upsert_live(live: dict[int, LiveRow]) -> None:
    rows = [
        LiveState(site_id=pk, measured_at=row.measured_at, received_at=row.received_at, **row.values)
        for pk, row in live.items()
    ]
    # A row holds all values of its site known so far, so a whole row replaces a whole row.
    LiveState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["site"],
        update_fields=["measured_at", "received_at", *LIVE_FIELDS],
        batch_size=500,
    )


def _insert_refusals(refusals: list[Refusal]) -> None:
    if not refusals:
        return
    RefusedMessage.objects.bulk_create(
        [
            RefusedMessage(
                received_at=refusal.received_at,
                topic=refusal.topic,
                error=refusal.error,
                detail=refusal.detail,
                size_bytes=refusal.size_bytes,
                payload=refusal.payload,
            )
            for refusal in refusals
        ]
    )
    newest = RefusedMessage.objects.aggregate(newest=Max("pk"))["newest"]
    RefusedMessage.objects.filter(pk__lte=newest - KEPT_REFUSALS).delete()


def _add_counts(counts: dict[str, int]) -> None:
    for error, count in sorted(counts.items()):
        if not RefusalCount.objects.filter(error=error).update(count=F("count") + count):
            RefusalCount.objects.create(error=error, count=count)
