"""A database with the product's tables: migrated once in a run, copied for each test that needs one of its own."""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.postgres import postgres_folder

SQLITE = "sqlite:///"
_made: dict[str, Path] = {}


def make_tables(database_url: str, migrate: Callable[[], object]) -> None:
    """Give an empty database the product's tables: by ``migrate`` the first time on its kind, by a copy after that.

    Migrating takes 6 s of a processor, a copy a tenth of it.
    """
    kind, save, load = (
        ("sqlite", _save_file, _load_file) if database_url.startswith(SQLITE) else ("postgresql", _dump, _restore)
    )
    if kind in _made:
        load(database_url, _made[kind])
        return
    migrate()
    kept = Path(tempfile.mkdtemp(prefix="vpp-migrated-")) / kind
    save(database_url, kept)
    _made[kind] = kept


def copy_file(source: Path, target: Path) -> None:
    """Copy an SQLite database whole, its log included."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _save_file(url: str, kept: Path) -> None:
    copy_file(Path(url.removeprefix(SQLITE)), kept)


def _load_file(url: str, kept: Path) -> None:
    copy_file(kept, Path(url.removeprefix(SQLITE)))


def _dump(url: str, kept: Path) -> None:
    _run("pg_dump", "--no-owner", "--file", str(kept), url)


def _restore(url: str, kept: Path) -> None:
    _run("psql", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--file", str(kept), url)


def _run(program: str, *arguments: str) -> None:
    folder = postgres_folder()
    assert folder is not None, "a PostgreSQL database without PostgreSQL's programs"
    done = subprocess.run([str(folder / program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
