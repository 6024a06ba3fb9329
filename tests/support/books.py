"""Books under test: tamper with rows as an intruder would, and empty the books between tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from sites.identity.models import AUDIT_ADVICE, IdentityEvent
from sites.ledger import queries
from sites.ledger.migration import protect_statements, unprotect_statements
from sites.ledger.models import Entry


@contextmanager
def without_triggers(model: type[Entry]) -> Iterator[None]:
    """Take a book's append-only triggers away for the block, as an intruder with the schema's rights can."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        for statement in unprotect_statements(connection, table):
            cursor.execute(statement)
    yield
    with connection.cursor() as cursor:
        for statement in protect_statements(connection, table):
            cursor.execute(statement)


def tamper(model: type[Entry], sql: str, parameters: list[object]) -> int:
    """Run raw SQL against an unprotected book, ``{table}`` being its table; return the rows it hit."""
    with without_triggers(model), connection.cursor() as cursor:
        cursor.execute(sql.format(table=f'"{model._meta.db_table}"'), parameters)
        return int(cursor.rowcount)


def empty_books() -> None:
    """Delete every entry of every book and audit; a transactional test's flush cannot, as the triggers refuse it."""
    for model in queries.books():
        tamper(model, "DELETE FROM {table}", [])
    with connection.cursor() as cursor:
        table = IdentityEvent._meta.db_table
        for statement in unprotect_statements(connection, table):
            cursor.execute(statement)
        cursor.execute(f'DELETE FROM "{table}"')  # noqa: S608
        for statement in protect_statements(connection, table, (("id",),), AUDIT_ADVICE):
            cursor.execute(statement)
