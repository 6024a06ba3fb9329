"""Readings in the database: one row for a message; on PostgreSQL by COPY, on SQLite by one prepared statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import numpy as np
from django.db import connection

from sites.metering.batches import ReadingItem
from sites.metering.instants import instant_of
from sites.metering.models import Reading, ReadingShape, RollUpDue
from sites.metering.vectors import pack_vector

COLUMNS: Final = ("site_id", "measured_at", "asset", "shape_id", "received_at", "values")
_MS_TO_2000: Final = 946_684_800_000
"""PostgreSQL counts from 2000-01-01."""
_FLOAT8: Final = 701
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_STAGING: Final = "metering_reading_in"


def insert_readings(readings: list[ReadingItem]) -> int:
    """Insert readings; what stands already for that place, instant and shape stays as it is. Return the new ones."""
    if not readings:
        return 0
    shapes = shape_ids({item[2] for item in readings})
    return _copy(readings, shapes) if connection.vendor == "postgresql" else _execute_many(readings, shapes)


def note_due(due: Iterable[tuple[int, int]], *, at: datetime) -> None:
    """Note (partition, minute since 1970) whose roll-ups have to be made, in the readings' own transaction.

    Updated also where noted already: its row lock makes a roll-up wait for these readings, or this write for it.
    """
    rows = [
        RollUpDue(partition=partition, minute_at=instant_of(minute * 60_000), noted_at=at)
        # In order: two workers must not lock each other's rows crosswise.
        for partition, minute in sorted(due)
    ]
    RollUpDue.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["partition", "minute_at"], update_fields=["noted_at"],
        batch_size=1_000,
    )  # fmt: skip


def shape_ids(shapes: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """Return the keys of shapes, made where they are new."""
    names = {",".join(shape): shape for shape in shapes}
    found = dict(ReadingShape.objects.filter(names__in=names).values_list("names", "pk"))
    if missing := sorted(names.keys() - found.keys()):
        ReadingShape.objects.bulk_create([ReadingShape(names=text) for text in missing], ignore_conflicts=True)
        found |= dict(ReadingShape.objects.filter(names__in=missing).values_list("names", "pk"))
    return {names[text]: pk for text, pk in found.items()}


def _copy(readings: list[ReadingItem], shapes: dict[tuple[str, ...], int]) -> int:
    """Copy rows into a table of this connection, and from there what is new: COPY itself knows no conflicts."""
    table = connection.ops.quote_name(Reading._meta.db_table)
    names = ", ".join(connection.ops.quote_name(name) for name in COLUMNS)
    with connection.cursor() as cursor:
        copy_staged(cursor, _STAGING, readings, shapes)
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT * FROM {_STAGING} ON CONFLICT DO NOTHING")  # noqa: S608
        return int(cursor.rowcount)


def copy_staged(cursor: Any, staging: str, readings: list[ReadingItem], shapes: dict[tuple[str, ...], int]) -> None:
    """Copy rows in the columns of readings into a temporary table that is empty again after the transaction."""
    table = connection.ops.quote_name(Reading._meta.db_table)
    names = ", ".join(connection.ops.quote_name(name) for name in COLUMNS)
    cursor.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS AS SELECT {names} FROM {table} LIMIT 0"  # noqa: S608
    )
    # Django does not turn the faults of a copy into its own, by which the ingest knows a database that went away.
    with connection.wrap_database_errors, cursor.copy(f"COPY {staging} FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(_COPY_HEAD)
        for part in _binary_rows(readings, shapes):
            copy.write(part)
        copy.write(_COPY_END)


def _binary_rows(readings: list[ReadingItem], shapes: dict[tuple[str, ...], int]) -> Iterable[bytes]:
    """Yield the rows as COPY reads them, those with equal asset and shape together."""
    groups: dict[tuple[str, tuple[str, ...]], list[ReadingItem]] = defaultdict(list)
    for item in readings:
        groups[item[1], item[2]].append(item)
    for (asset, names), items in groups.items():
        name, width = asset.encode(), len(names)
        # Every field is its length and its bytes; an array: dimensions, has nulls, type, size, first index, elements.
        layout: Any = [
            ("fields", ">i2"), ("l0", ">i4"), ("site", ">i8"), ("l1", ">i4"), ("measured", ">i8"), ("l2", ">i4"),
            ("asset", f"V{len(name)}"), ("l3", ">i4"), ("shape", ">i8"), ("l4", ">i4"), ("received", ">i8"),
            ("l5", ">i4"), ("array", ">i4", (5,)), ("values", [("length", ">i4"), ("value", ">f8")], (width,)),
        ]  # fmt: skip
        if not name:
            # A field of no bytes has no place in a record.
            layout.pop(6)
        rows = np.empty(len(items), dtype=layout)
        sites, _, _, measured, received, values = zip(*items, strict=True)
        rows["fields"] = len(COLUMNS)
        rows["l0"] = rows["l1"] = rows["l3"] = rows["l4"] = 8
        rows["l2"], rows["l5"] = len(name), 20 + 12 * width
        if name:
            rows["asset"] = np.void(name)
        rows["site"], rows["shape"] = sites, shapes[names]
        rows["measured"] = (np.array(measured, dtype=np.int64) - _MS_TO_2000) * 1000
        rows["received"] = (np.array(received, dtype=np.int64) - _MS_TO_2000) * 1000
        rows["array"] = (1, 0, _FLOAT8, width, 1)
        rows["values"]["length"] = 8
        rows["values"]["value"] = values
        yield rows.tobytes()


def _execute_many(readings: list[ReadingItem], shapes: dict[tuple[str, ...], int]) -> int:
    table = connection.ops.quote_name(Reading._meta.db_table)
    names = ", ".join(connection.ops.quote_name(name) for name in COLUMNS)
    marks = ", ".join(["%s"] * len(COLUMNS))
    texts: dict[int, Any] = {}

    def text(milliseconds: int) -> Any:
        found = texts.get(milliseconds)
        if found is None:
            found = texts[milliseconds] = connection.ops.adapt_datetimefield_value(instant_of(milliseconds))
        return found

    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
            [
                (site, text(measured), asset, shapes[shape], text(received), pack_vector(values))
                for site, asset, shape, measured, received, values in readings
            ],
        )
        return int(cursor.rowcount)
