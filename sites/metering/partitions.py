"""Daily partitions on PostgreSQL: made ahead, dropped whole by retention. On SQLite there are none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

PARTITIONED: Final = {"metering_reading": "measured_at", "metering_minuterollup": "starts_at"}
"""Table -> the column whose UTC day chooses the partition."""
DAYS_AHEAD: Final = 3
DAYS_BEHIND: Final = 1
"""Days that have partitions before anything is written; older rows stand in the default partition."""
_LOCK: Final = 5_140_270_001
"""Advisory lock under which partitions are made and dropped."""


def is_partitioned() -> bool:
    """Tell whether this database has daily partitions."""
    return connection.vendor == "postgresql"


def make_partitions(*, at: datetime) -> list[str]:
    """Make the partitions of the days around ``at`` that are missing; return their names.

    Rows that a default partition took meanwhile move into the new ones.
    """
    if not is_partitioned():
        return []
    today = at.astimezone(UTC).date()
    made: list[str] = []
    for table, column in PARTITIONED.items():
        days = [today + timedelta(days=offset) for offset in range(-DAYS_BEHIND, DAYS_AHEAD + 1)]
        if {_name(table, day) for day in days} <= _partitions(table).keys():
            continue
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            existing = _partitions(table)
            for day in days:
                name = _name(table, day)
                if name not in existing:
                    _make(cursor, table, column, day, name)
                    made.append(name)
    return made


def drop_partitions(*, table: str, before: datetime) -> list[str]:
    """Drop a table's partitions that end at or before an instant; return their names."""
    dropped = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for name, day in sorted(_partitions(table).items()):
            if day is not None and _midnight(day) + timedelta(days=1) <= before:
                cursor.execute(f"DROP TABLE {_quoted(name)}")
                dropped.append(name)
    return dropped


def default_partition(table: str) -> str:
    """Return the name of the partition that takes every day without one of its own."""
    return f"{table}_rest"


def _partitions(table: str) -> dict[str, date | None]:
    """Return a table's partitions: name -> its day, None for the default one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [table],
        )
        names = [row[0] for row in cursor.fetchall()]
    return {name: _day_of(table, name) for name in names}


def _make(cursor: Any, table: str, column: str, day: date, name: str) -> None:
    first, end = _midnight(day), _midnight(day) + timedelta(days=1)
    rest = default_partition(table)
    cursor.execute(f"CREATE TABLE {_quoted(name)} (LIKE {_quoted(table)} INCLUDING ALL)")
    # One statement moves: a concurrent insert into the default partition waits for the lock of the next one.
    cursor.execute(f"LOCK TABLE {_quoted(rest)} IN ACCESS EXCLUSIVE MODE")
    moved = f"DELETE FROM {_quoted(rest)} WHERE {_quoted(column)} >= %s AND {_quoted(column)} < %s RETURNING *"  # noqa: S608
    cursor.execute(f"WITH moved AS ({moved}) INSERT INTO {_quoted(name)} SELECT * FROM moved", [first, end])  # noqa: S608
    bounds = f"FROM ('{first.isoformat()}') TO ('{end.isoformat()}')"
    cursor.execute(f"ALTER TABLE {_quoted(table)} ATTACH PARTITION {_quoted(name)} FOR VALUES {bounds}")


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def _day_of(table: str, name: str) -> date | None:
    try:
        return datetime.strptime(name.removeprefix(f"{table}_"), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
