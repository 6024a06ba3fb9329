"""Writes of the meter book: one batch of an ingest worker, retention, the host's lease."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import BooleanField, F, FloatField, Max, Q

from sites.metering import leases, numbered, partitions, readings, rollups
from sites.metering.batches import Batch, LiveRow, ReadingItem, Refusal, Unseen
from sites.metering.instants import ms_of
from sites.metering.judging import LIVE_FIELDS, STANDING_FIELDS
from sites.metering.models import (
    HostLease,
    LiveState,
    MinuteRollUp,
    Reading,
    RefusalCount,
    RefusedMessage,
    SiteStanding,
    UnmappedMetric,
)
from sites.metering.numbered import StreamKey, StreamState
from sites.metering.sorting import MAX_UNMAPPED

KEPT_REFUSALS: Final = 10_000
"""Refused messages kept for inspection; older ones are deleted, their count stays."""
_STAGED_LIVE: Final = "metering_live_in"
_NAN: Final = float("nan")
PRUNE_ROWS: Final = 20_000
"""Readings looked at in one transaction when old ones are deleted: writers wait no longer than that."""


@dataclass(slots=True)
class Stored:
    """What one committed batch did."""

    readings: int = 0
    """Readings that were new."""
    readings_repeated: int = 0
    """Readings whose place and instant stood already: the first stays, whatever the second says."""
    numbered: int = 0
    """Numbered items that were new, revisions included."""
    repeated: int = 0
    """Numbered items that stood already, with the same content."""
    states: dict[StreamKey, StreamState] = field(default_factory=dict)
    """New state of every stream that the batch touched, also of those that only repeated; what its
    site may be told, because the transaction committed."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What retention deleted."""

    rows: int
    """Rows deleted one by one."""
    days: int = 0
    """Days dropped whole, with all their rows."""


def store_batch(
    *, batch: Batch, states: dict[StreamKey, StreamState], at: datetime, worker: str = "", lease_s: float = 0.0
) -> Stored:
    """Write a batch in one transaction and return what sites may now be told.

    ``states`` is the worker's memory of its streams; it is read here and never changed, so that a
    batch whose transaction failed can be tried again. Storing a batch twice changes nothing. Raises
    ``leases.LeaseLost`` when ``worker`` does not hold the batch's partitions any more.
    """
    with transaction.atomic():
        if batch.partitions:
            leases.keep_partitions(worker=worker, partitions=batch.partitions, lease_s=lease_s, at=at)
        outcome = numbered.store_numbered(
            items=batch.numbered, refused=batch.refused_numbers, known=states, received_at=at
        )
        new_readings = readings.insert_readings(batch.readings)
        readings.note_due(batch.due, at=at)
        _upsert_live(batch.live)
        _upsert_standing(batch.standing)
        _add_unmapped(batch.unmapped)
        _insert_refusals(batch.refusals)
        counts = dict(batch.counts)
        for error, count in outcome.counts.items():
            counts[error] = counts.get(error, 0) + count
        _add_counts(counts)
    return Stored(
        readings=new_readings,
        readings_repeated=len(batch.readings) - new_readings,
        numbered=outcome.stored,
        repeated=outcome.repeated,
        states=outcome.states,
    )


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


def prune_readings(*, before: datetime, at: datetime, batch_rows: int = PRUNE_ROWS) -> Pruned:
    """Delete the readings from before an instant and return what went.

    On SQLite those received before it, in bounded pieces; on PostgreSQL whole days of measuring, each by dropping
    its partition, and what stands in no day's partition as on SQLite. Numbered intervals, records and waveforms
    are the books' evidence and are not touched. Raises ValueError when ``before`` lies after ``at``.
    """
    if before > at:
        raise ValueError(f"readings before {before.isoformat()} are asked for, accepted: up to {at.isoformat()}")
    if partitions.is_partitioned():
        days = partitions.drop_partitions(table=Reading._meta.db_table, before=before)
        return Pruned(_prune_default(before), len(days))
    return Pruned(_prune_rows(before, at, batch_rows))


def _prune_default(before: datetime) -> int:
    rest = connection.ops.quote_name(partitions.default_partition(Reading._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {rest} WHERE received_at < %s", [before])  # noqa: S608
        return int(cursor.rowcount)


def _prune_rows(before: datetime, at: datetime, batch_rows: int) -> int:
    """Delete in about the order of reception: the walk ends with the first piece that holds nothing old.

    Each piece is a transaction of its own, so writers wait no longer than for one.
    """
    table = connection.ops.quote_name(Reading._meta.db_table)
    limits = [str(connection.ops.adapt_datetimefield_value(instant)) for instant in (before, at)]
    deleted, through = 0, 0
    with connection.cursor() as cursor:
        while True:
            # Rows stamped in the future came while the clock was wrong: they say nothing of those behind them.
            cursor.execute(
                "SELECT min(rowid), max(rowid), sum(received_at < %s OR received_at > %s) FROM "  # noqa: S608
                f"(SELECT rowid, received_at FROM {table} WHERE rowid > %s ORDER BY rowid LIMIT %s)",
                [*limits, through, batch_rows],
            )
            first, last, notable = cursor.fetchone()
            if not notable:
                return deleted
            through = last
            with transaction.atomic():
                old = f"DELETE FROM {table} WHERE rowid BETWEEN %s AND %s AND received_at < %s"  # noqa: S608
                cursor.execute(old, [first, through, limits[0]])
                deleted += cursor.rowcount


def prune_roll_ups(*, before: datetime) -> Pruned:
    """Delete roll-ups of minutes from before an instant; those of 15 minutes stay."""
    days: list[str] = []
    if partitions.is_partitioned():
        days = partitions.drop_partitions(table=MinuteRollUp._meta.db_table, before=before)
    return Pruned(rollups.prune_minutes(before=before), len(days))


def make_partitions(*, at: datetime) -> None:
    """Make the coming days' partitions where the database has any."""
    partitions.make_partitions(at=at)


def close_database() -> None:
    """Close the calling thread's connection; the next write opens a new one.

    A function, because ``connection.close`` named in another thread is that thread's.
    """
    connection.close()


def lock_timeout_s() -> float:
    """Return how long one write may wait for the database's lock [s]."""
    return float(connection.settings_dict.get("OPTIONS", {}).get("timeout", 20))


def _upsert_live(live: dict[int, LiveRow]) -> None:
    """Write the newest rows. A row holds all values of its site known so far, so it replaces a whole row."""
    if connection.vendor == "postgresql" and live:
        _upsert_live_by_copy(live)
        return
    rows = [
        LiveState(site_id=pk, measured_at=row.measured_at, received_at=row.received_at, **row.values)
        for pk, row in live.items()
    ]
    LiveState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["site"],
        update_fields=["measured_at", "received_at", *LIVE_FIELDS],
        batch_size=500,
    )


def _upsert_standing(standing: dict[int, LiveRow]) -> None:
    """Write what sites stand at, where it changed; a row holds all that its site told so far."""
    rows = [
        SiteStanding(site_id=pk, measured_at=row.measured_at, received_at=row.received_at, **row.values)
        # In order: two workers must not lock each other's rows crosswise.
        for pk, row in sorted(standing.items())
    ]
    SiteStanding.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["site"],
        update_fields=["measured_at", "received_at", *STANDING_FIELDS],
        batch_size=500,
    )


def _upsert_live_by_copy(live: dict[int, LiveRow]) -> None:
    """Write them through the readings' own copy: the mode as the text, all other values as the vector."""
    numbers = tuple(name for name in LIVE_FIELDS if name != "mode")
    rows: list[ReadingItem] = []
    # In order: two workers must not lock each other's rows crosswise.
    for pk, row in sorted(live.items()):
        values = tuple(_NAN if (value := row.values.get(name)) is None else float(value) for name in numbers)
        rows.append((pk, row.values.get("mode") or "", numbers, ms_of(row.measured_at), ms_of(row.received_at), values))
    taken = ["site_id", "measured_at", "received_at", "asset"]
    for place, name in enumerate(numbers, 1):
        known = f"nullif(values[{place}], 'NaN')"
        field = LiveState._meta.get_field(name)
        is_float = isinstance(field, FloatField)
        taken.append(known if is_float else f"{known} = 1" if isinstance(field, BooleanField) else f"{known}::bigint")
    names = ["site_id", "measured_at", "received_at", "mode", *numbers]
    updates = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    with connection.cursor() as cursor:
        readings.copy_staged(cursor, _STAGED_LIVE, rows, {numbers: 0})
        cursor.execute(
            f"INSERT INTO {LiveState._meta.db_table} ({', '.join(names)}) "  # noqa: S608
            f"SELECT {', '.join(taken)} FROM {_STAGED_LIVE} ORDER BY site_id "
            f"ON CONFLICT (site_id) DO UPDATE SET {updates}"
        )


def _add_unmapped(unmapped: dict[tuple[int, str, str], Unseen]) -> None:
    for (site_pk, device, name), seen in sorted(unmapped.items()):
        key = {"site_id": site_pk, "device": device, "name": name}
        told = {"type": seen.type, "unit": seen.unit, "value": seen.value, "seen_at": seen.seen_at}
        rows = UnmappedMetric.objects.filter(**key)
        if rows.update(count=F("count") + seen.count, **told):
            continue
        # A worker that starts again does not know what stands already.
        if UnmappedMetric.objects.filter(site_id=site_pk).count() < MAX_UNMAPPED:
            UnmappedMetric.objects.create(count=seen.count, **key, **told)


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
