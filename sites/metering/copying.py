"""Inserting many rows at once: by binary COPY on PostgreSQL, else as Django does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import JSONField, Model


def insert_rows(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, each a value for every column but the key; one that stands already raises IntegrityError.

    Mappings and not instances: making one costs several times as much as writing its row.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        _copy(model, rows)
    else:
        model._default_manager.bulk_create([model(**row) for row in rows], batch_size=500)


def _copy(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    # Asked for here: the driver is there where the database is PostgreSQL.
    from psycopg.types.json import Jsonb

    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    # "varchar(12)" is the type varchar: COPY sends values, the column keeps its length.
    types = [str(field.db_type(connection)).partition("(")[0] for field in fields]
    names = [(field.attname, isinstance(field, JSONField)) for field in fields]
    with connection.cursor() as cursor, connection.wrap_database_errors:
        copying: Any = cursor.copy(f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN (FORMAT BINARY)")
        with copying as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row([Jsonb(row[name]) if is_json else row[name] for name, is_json in names])
