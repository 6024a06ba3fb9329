"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.brokers import Broker, nats_broker
from support.migrated import SQLITE, make_tables
from support.postgres import postgres_database
from support.writers import run

# A shared machine stands still for a while now and then; how long an example takes is no property of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Run a NATS broker for the tests of one module."""
    with nats_broker() as running:
        yield running


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.long), pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a database with the product's tables, for processes: PostgreSQL; in the long run SQLite, too."""

    def migrate(url: str) -> None:
        make_tables(url, lambda: run(url, "manage.py", "migrate", "--verbosity", "0"))

    if request.param == "sqlite":
        url = f"{SQLITE}{tmp_path / 'vpp.sqlite3'}"
        migrate(url)
        yield url
        return
    with postgres_database() as url:
        migrate(url)
        yield url


@pytest.fixture(autouse=True)
def _books_emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty the books after a test that commits: its flush deletes row by row, which the books refuse."""
    marker = request.node.get_closest_marker("django_db")
    commits = marker is not None and marker.kwargs.get("transaction", False)
    if not commits and "transactional_db" not in request.fixturenames and "live_server" not in request.fixturenames:
        yield
        return
    # Set up first, so that it is torn down (flushed) after this.
    request.getfixturevalue("transactional_db")
    yield
    from support.books import empty_books

    empty_books()
