"""The backup: saved while somebody writes, checked, and brought back into an empty database alone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from support.postgres import postgres_database

TOOL = Path(__file__).resolve().parents[2] / "deploy" / "backup" / "database_copy.py"


def ran(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments],
        env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def saved(url: str, folder: Path, *arguments: str) -> Path:
    done = ran(url, "save", "--into", str(folder), *arguments)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def a_sqlite_database(path: Path, rows: int = 100) -> str:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, half INTEGER)")
        database.executemany("INSERT INTO entry VALUES (?, ?)", [(n, n) for n in range(rows)])
    return f"sqlite:///{path}"


def test_a_save_is_one_instant_of_a_database_that_is_being_written(tmp_path):
    url = a_sqlite_database(tmp_path / "live.sqlite3", rows=0)
    stop = threading.Event()

    def write_pairs() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "live.sqlite3", timeout=20)) as database:
            number = 0
            while not stop.is_set():
                with database:
                    database.execute("INSERT INTO entry VALUES (?, 0)", [number])
                    database.execute("INSERT INTO entry VALUES (?, 1)", [number + 1])
                number += 2

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        path = saved(url, tmp_path / "backups")
    finally:
        stop.set()
        writer.join()
    assert path.stat().st_mode & 0o077 == 0
    done = ran(f"sqlite:///{tmp_path / 'back.sqlite3'}", "restore", str(path))
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "back.sqlite3")) as back:
        assert back.execute("SELECT count(*) % 2 FROM entry").fetchone() == (0,)


def test_a_database_that_is_there_is_not_overwritten(tmp_path):
    url = a_sqlite_database(tmp_path / "live.sqlite3")
    path = saved(url, tmp_path / "backups")
    done = ran(url, "restore", str(path))
    assert done.returncode == 2
    assert "is not overwritten" in done.stderr


@pytest.mark.parametrize("harm", ["cut", "altered", "hash lost", "renamed"])
def test_a_save_that_is_not_as_it_was_written_is_refused(tmp_path, harm):
    path = saved(a_sqlite_database(tmp_path / "live.sqlite3"), tmp_path / "backups")
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "altered":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif harm == "hash lost":
        path.with_name(path.name + ".sha256").unlink()
    else:
        path = path.rename(path.with_suffix(".pgdump"))
    target = tmp_path / "back.sqlite3"
    done = ran(f"sqlite:///{target}", "restore", str(path))
    assert done.returncode == 2
    assert "accepted" in done.stderr or "not as it was written" in done.stderr
    assert not target.exists()


def test_only_the_newest_saves_are_kept(tmp_path):
    url = a_sqlite_database(tmp_path / "live.sqlite3")
    paths = [saved(url, tmp_path / "backups", "--keep", "2") for _ in range(3)]
    left = sorted(path.name for path in (tmp_path / "backups").iterdir())
    assert left == sorted([name for path in paths[1:] for name in (path.name, path.name + ".sha256")])


def test_a_save_that_fails_leaves_nothing(tmp_path):
    done = ran(f"sqlite:///{tmp_path / 'absent.sqlite3'}", "save", "--into", str(tmp_path / "backups"))
    assert done.returncode == 2
    assert not list((tmp_path / "backups").iterdir())


@pytest.mark.parametrize("url", ["", "mysql://a/b", "sqlite://"])
def test_an_address_that_is_none_is_refused_without_telling_it(tmp_path, url):
    done = ran(url, "save", "--into", str(tmp_path))
    assert done.returncode == 2
    assert "accepted: sqlite:///path" in done.stderr


@pytest.mark.postgres
def test_a_postgresql_database_comes_back_whole_into_an_empty_one_alone(tmp_path):
    with postgres_database() as url:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(
                "CREATE TABLE entry (number bigint PRIMARY KEY, at timestamptz) PARTITION BY RANGE (number)"
            )
            database.execute("CREATE TABLE entry_low PARTITION OF entry FOR VALUES FROM (0) TO (1000)")
            database.execute("INSERT INTO entry SELECT n, now() FROM generate_series(0, 999) n")
            before = database.execute("SELECT md5(string_agg(entry::text, ',' ORDER BY number)) FROM entry").fetchone()
            path = saved(url, tmp_path)
            assert "accepted: an empty one" in ran(url, "restore", str(path)).stderr
            database.execute("CREATE DATABASE restored")
        other = url.rsplit("/", 1)[0] + "/restored"
        done = ran(other, "restore", str(path))
        assert done.returncode == 0, done.stderr
        with psycopg.connect(other) as database:
            after = database.execute("SELECT md5(string_agg(entry::text, ',' ORDER BY number)) FROM entry").fetchone()
        assert after == before
