"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.brokers import Broker, nats_broker

# A shared machine stands still for a while now and then; how long an example takes is no property of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Run a NATS broker for the tests of one module."""
    with nats_broker() as running:
        yield running


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
