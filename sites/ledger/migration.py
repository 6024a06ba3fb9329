"""Migration operations that make a table append-only by triggers, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any, Final

from django.db import connection, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

Keys = tuple[tuple[str, ...], ...]
ENTRY_KEYS: Final[Keys] = (
    ("id",), ("chain", "position"), ("chain", "kind", "starts_at", "ends_at", "dispatch_id")
)  # fmt: skip
"""The unique keys of a book's entries."""
ENTRY_ADVICE: Final = "book a reversing entry instead"


def append_only(table: str, keys: Keys = ENTRY_KEYS, advice: str = ENTRY_ADVICE) -> list[migrations.RunPython]:
    """Return the operations that refuse UPDATE, DELETE and REPLACE on a table of entries; reversible.

    ``keys`` are the table's unique keys, ``advice`` what the refusal tells to do instead.

    SQLite rebuilds a table for most ALTERs and loses its triggers: a later migration that changes
    the table calls this again at its end. ``verify_books`` reports a book without its triggers.
    """

    def forwards(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in protect_statements(schema_editor.connection, table, keys, advice):
            schema_editor.execute(statement)

    def backwards(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in unprotect_statements(schema_editor.connection, table):
            schema_editor.execute(statement)

    return [migrations.RunPython(forwards, backwards)]


def protect_statements(
    connection: BaseDatabaseWrapper, table: str, keys: Keys = ENTRY_KEYS, advice: str = ENTRY_ADVICE
) -> list[str]:
    """Return the SQL that makes a table refuse UPDATE, DELETE and REPLACE; may be run again."""
    refusal = _refusal(table, advice)
    statements = unprotect_statements(connection, table)
    if connection.vendor == "sqlite":
        statements += _sqlite_triggers(table, keys, advice).values()
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
        return [f'DROP TRIGGER IF EXISTS "{name}"' for name in _sqlite_triggers(table)]
    if connection.vendor == "postgresql":
        drops = [f'DROP TRIGGER IF EXISTS "{table}_no_{verb}" ON "{table}"' for verb in ("update", "delete")]
        return [*drops, f'DROP FUNCTION IF EXISTS "{table}_refuse"()']
    raise NotImplementedError(f"database {connection.vendor} has no append-only trigger, accepted: sqlite, postgresql")


def is_protected(table: str) -> bool:
    """Tell whether all triggers of a table stand, are enabled and say what they should."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
            held = dict(cursor.fetchall())
            return all(held.get(name) == sql for name, sql in _sqlite_triggers(table).items())
        # 'O' and 'A' fire for everybody; 'D' never, 'R' only while replicating.
        cursor.execute(
            "SELECT COUNT(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname IN (%s, %s) "
            "AND tgenabled IN ('O', 'A')",
            [f'"{table}"', f"{table}_no_update", f"{table}_no_delete"],
        )
        return int(cursor.fetchone()[0]) == 2


def _sqlite_triggers(table: str, keys: Keys = ENTRY_KEYS, advice: str = ENTRY_ADVICE) -> dict[str, str]:
    """Return the SQL of each trigger by its name."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_refusal(table, advice)}'); END"
    triggers = {
        f"{table}_no_{verb.lower()}": f'CREATE TRIGGER "{table}_no_{verb.lower()}" BEFORE {verb} ON "{table}" {refuse}'
        for verb in ("UPDATE", "DELETE")
    }
    # INSERT OR REPLACE deletes what is in its way without any delete trigger, unless each connection
    # asks for that: so an insert that meets an entry under one of its keys is refused.
    met = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{table}" WHERE ' + " AND ".join(f'"{name}" = NEW."{name}"' for name in key) + ")"  # noqa: S608
        for key in keys
    )
    name = f"{table}_no_replace"
    return triggers | {name: f'CREATE TRIGGER "{name}" BEFORE INSERT ON "{table}" WHEN {met} {refuse}'}


def _refusal(table: str, advice: str) -> str:
    return f"{table} is append-only; {advice}"
