"""Migration operations that make a table append-only by triggers, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from django.db import connection, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def append_only(table: str) -> list[migrations.RunPython]:
    """Return the operations that refuse UPDATE and DELETE on a table; reversible.

    SQLite rebuilds a table for most ALTERs and loses its triggers: a later migration that changes
    the table calls this again at its end. ``verify_books`` reports a book without its triggers.
    """

    def forwards(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in protect_statements(schema_editor.connection, table):
            schema_editor.execute(statement)

    def backwards(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in unprotect_statements(schema_editor.connection, table):
            schema_editor.execute(statement)

    return [migrations.RunPython(forwards, backwards)]


def protect_statements(connection: BaseDatabaseWrapper, table: str) -> list[str]:
    """Return the SQL that makes a table refuse UPDATE and DELETE; may be run again."""
    refusal = f"{table} is append-only; book a reversing entry instead"
    statements = unprotect_statements(connection, table)
    if connection.vendor == "sqlite":
        statements += [
            f'CREATE TRIGGER "{table}_no_{verb.lower()}" BEFORE {verb} ON "{table}" '
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    else:
        statements += [
            f'CREATE OR REPLACE FUNCTION "{table}_refuse"() RETURNS trigger LANGUAGE plpgsql AS '
            f"$refuse$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'restrict_violation'; END $refuse$",
        ]
        statements += [
            f'CREATE TRIGGER "{table}_no_{verb.lower()}" BEFORE {verb} ON "{table}" '
            f'FOR EACH ROW EXECUTE FUNCTION "{table}_refuse"()'
            for verb in ("UPDATE", "DELETE")
        ]
    return statements


def unprotect_statements(connection: BaseDatabaseWrapper, table: str) -> list[str]:
    """Return the SQL that takes the triggers away again; may be run again."""
    if connection.vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{table}_no_{verb}"' for verb in ("update", "delete")]
    if connection.vendor == "postgresql":
        drops = [f'DROP TRIGGER IF EXISTS "{table}_no_{verb}" ON "{table}"' for verb in ("update", "delete")]
        return [*drops, f'DROP FUNCTION IF EXISTS "{table}_refuse"()']
    raise NotImplementedError(f"database {connection.vendor} has no append-only trigger, accepted: sqlite, postgresql")


def is_protected(table: str) -> bool:
    """Tell whether both triggers of a table stand and are enabled."""
    if connection.vendor == "sqlite":
        query = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s AND name IN (%s, %s)"
        names = [table, f"{table}_no_update", f"{table}_no_delete"]
    else:
        query = (
            "SELECT COUNT(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname IN (%s, %s) AND tgenabled <> 'D'"
        )
        names = [f'"{table}"', f"{table}_no_update", f"{table}_no_delete"]
    with connection.cursor() as cursor:
        cursor.execute(query, names)
        return int(cursor.fetchone()[0]) == 2
