"""A loss and its cure, as the runbook says: save, lose the machine, restore into a new database, verify the books."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.postgres import postgres_database

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "deploy" / "backup" / "database_copy.py"
BEGIN = """
import io, json, sys
import django
django.setup()
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from support.carbon_book import a_metered_site, a_period, close, meter
from sites.registry.models import Site
call_command("migrate", verbosity=0)

def told():
    out = io.StringIO()
    try:
        call_command("verify_books", json=True, stdout=out)
    except SystemExit:
        pass
    print(out.getvalue().strip())

def go_on(number):
    site = Site.objects.get()
    for minute in range(4 * number, 4 * number + 4):
        meter(site, minute, pcc=900, load=-800, battery=-100)
    close(period=a_period(number), dispatch_id=f"DC-{number}")
"""
FIRST = "a_metered_site(); close(); told()"
LATER = "go_on(1); told()"
AFTER = """
told()
call_command("migrate", check_unapplied=True, verbosity=0)
try:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE carbon_carbonentry SET body = '{}'")
    print('"altered"')
except DatabaseError as error:
    print(json.dumps(str(error)))
go_on(1)
go_on(2)
told()
"""


def ran(url: str, *words: object) -> str:
    """Run Python with a database; return what it printed."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "vpp.settings", "PYTHONPATH": paths},
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def played(url: str, script: str) -> list[Any]:
    """Play a part on a database and return what it told, line by line."""
    return [json.loads(line) for line in ran(url, "-c", BEGIN + script).splitlines()]


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.long), pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Yield the database that will be lost, and an empty one in its place."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'lost.sqlite3'}", f"sqlite:///{tmp_path / 'new.sqlite3'}"
        return
    with postgres_database() as url:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("CREATE DATABASE restored")
        yield url, url.rsplit("/", 1)[0] + "/restored"


def test_the_books_come_back_verified_protected_and_go_on(databases: tuple[str, str], tmp_path: Path) -> None:
    lost, new = databases
    (before,) = played(lost, FIRST)
    assert (before["verified"], before["entries"] > 4) == (True, True)
    saved = Path(ran(lost, TOOL, "save", "--into", tmp_path / "backups").strip())
    # After the save, and lost with the machine.
    (at_the_loss,) = played(lost, LATER)
    assert at_the_loss["entries"] > before["entries"]

    assert "restored" in ran(new, TOOL, "restore", saved)
    restored, refusal, after = played(new, AFTER)
    assert restored == before
    # The database itself still refuses a change to an entry.
    assert "append" in refusal
    assert (after["verified"], after["entries"] > at_the_loss["entries"]) == (True, True)
