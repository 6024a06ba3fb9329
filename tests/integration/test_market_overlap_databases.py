"""Two operators at once for the same kilowatts: on both databases, one of them gets them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.migrated import make_tables
from support.openadr import ROOT
from support.postgres import postgres_database
from test_books_databases import environment, manage

WRITERS = 4
WRITER = """
import sys, django
django.setup()
from datetime import UTC, datetime, timedelta
from markets import operations, queries
from markets.core.events import Event, EventInterval, EventSignal
number = sys.argv[1]
at = datetime(2026, 6, 1, 12, tzinfo=UTC)
starts_at, length = at + timedelta(minutes=5), timedelta(minutes=30)
context = queries.program_named("neso-dc-low").market_context
print("ready", flush=True)
sys.stdin.readline()
for event in range(5):
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(starts_at, length, -10.0),), "W", "k")
    operations.receive_event(
        raw=b"<raw/>", available_kw=100.0, at=at,
        event=Event("VTN", f"{number}-{event}", 0, "far", context, starts_at, length, (signal,)),
    )
"""


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.long), pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'market.sqlite3'}"
        return
    with postgres_database() as url:
        yield url


def test_nothing_is_promised_twice_by_writers_at_once(database_url: str) -> None:
    """20 events of 10 kW from 4 processes, 100 kW in all: ten are accepted, whoever came first."""
    make_tables(database_url, lambda: manage(database_url, "migrate", "--verbosity", "0").check_returncode())
    manage(database_url, "load_programs").check_returncode()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(number)], env=environment(database_url), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(WRITERS)
    ]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, said = writer.communicate(timeout=120)
            assert writer.returncode == 0, said
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    count = manage(
        database_url, "shell", "--no-imports", "-c",
        "from markets.models import Obligation; from django.db.models import Sum;"
        "print(Obligation.objects.filter(status='open').aggregate(sum=Sum('power_kw'))['sum'])",
    )  # fmt: skip
    assert count.stdout.strip() == "100.0", count.stdout + count.stderr
