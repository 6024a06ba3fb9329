"""The books on both databases: writers at once leave no hole, and PostgreSQL refuses and finds the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.postgres import postgres_database
from support.writers import environment, run, write_at_once

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 3
OWN = 20
SHARED = 10

# Each writer appends its own entries and the same shared ones, all to one chain.
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
import django
django.setup()
from carbon.models import CarbonEntry
from sites.core.intervals import Interval
from sites.ledger.operations import append_entry
from sites.ledger.postings import posting

writer, own, shared = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
at = datetime(2026, 11, 20, tzinfo=UTC)
body = {"postings": [posting("a", "ug", 1), posting("b", "ug", -1)], "facts": {}}
print("ready", flush=True)
sys.stdin.readline()
for index in range(own + shared):
    minute = writer * 1000 + index if index < own else 100_000 + index
    period = Interval(at + timedelta(minutes=minute), at + timedelta(minutes=minute + 1))
    append_entry(CarbonEntry, chain="c", kind="test", period=period, dispatch_id="", body=body, at=at)
"""


def test_writers_at_once_leave_no_hole_and_book_the_same_once(database_url: str) -> None:
    ended = write_at_once(database_url, WRITER, [(str(number), str(OWN), str(SHARED)) for number in range(WRITERS)])
    assert [each.code for each in ended] == [0] * WRITERS, ended
    report = json.loads(run(database_url, "manage.py", "verify_books", "--json", accepts=(0, 1)))
    book = next(book for book in report["books"] if book["book"] == "carbon.carbonentry")
    assert book["entries"] == WRITERS * OWN + SHARED
    # No meter stands behind these entries; every other check must be silent.
    assert {fault["what"] for fault in report["faults"]} == {"recalculation_differs"}


@pytest.mark.postgres
def test_the_books_and_their_closing_hold_on_postgresql() -> None:
    with postgres_database() as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--create-db", "tests/integration/test_books.py",
             "tests/integration/test_carbon_closing.py"],
            env=environment(url), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
