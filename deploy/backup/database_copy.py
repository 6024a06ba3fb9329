"""Save the platform's database to one file and bring it back; PostgreSQL or SQLite, by DATABASE_URL.

    database_copy.py save --into FOLDER [--keep N]   while everything runs; prints the file's path
    database_copy.py check FILE                      is it whole?
    database_copy.py restore FILE                    with every process of the platform stopped

A save is complete or absent: it is written beside its place, checked, and renamed. Its SHA-256 stands in the file
``<name>.sha256``. A restore takes an empty database only; nothing is overwritten. Standard library and PostgreSQL's own
tools.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

PREFIX: Final = "vpp-"
SUFFIXES: Final = {"postgresql": ".pgdump", "sqlite": ".sqlite3"}


class CopyError(RuntimeError):
    """What cannot be saved or restored; the message says what was found and what is accepted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 2 with a reason when it cannot be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    save_to = commands.add_parser("save")
    save_to.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    save_to.add_argument("--keep", type=int, default=0, metavar="N", help="remove all but the N newest; 0 keeps all")
    for name in ("check", "restore"):
        commands.add_parser(name).add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "check":
            check(options.file)
            print(f"{options.file}: whole")
            return 0
        url = _database_url(os.environ.get("DATABASE_URL", ""))
        if options.command == "save":
            print(save(url, options.into, keep=options.keep))
        else:
            restore(url, options.file)
            print(
                "restored; next: manage.py migrate, manage.py verify_books, then start the processes (deploy/README.md)"
            )
    except (CopyError, OSError, sqlite3.Error) as error:
        print(f"database_copy: {error}", file=sys.stderr)
        return 2
    return 0


def save(url: SplitResult, folder: Path, *, keep: int = 0) -> Path:
    """Save the database into a folder and return the file's path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kind = _kind(url)
    path = folder / f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}{SUFFIXES[kind]}"
    draft = path.with_name(path.name + ".part")
    try:
        # It holds password hashes, telemetry and books: for its owner alone.
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if kind == "sqlite":
            _save_sqlite(_sqlite_path(url), draft)
        else:
            _postgres(url, "pg_dump", "--format=custom", "--no-owner", f"--file={draft}")
        _check_content(draft, kind)
        digest = _sha256(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        hash_path = _hash_path(path)
        hash_path.write_text(f"{digest}  {path.name}\n")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        _hash_path(path).unlink(missing_ok=True)
        raise
    if keep > 0:
        for old in sorted(folder.glob(f"{PREFIX}*{SUFFIXES[kind]}"))[:-keep]:
            old.unlink()
            _hash_path(old).unlink(missing_ok=True)
    return path


def check(path: Path) -> None:
    """Raise CopyError unless the file is one of ours, as it was written."""
    kind = next((kind for kind, suffix in SUFFIXES.items() if path.name.endswith(suffix)), None)
    if kind is None:
        raise CopyError(f"{path} is no saved database, accepted: a name ending in {' or '.join(SUFFIXES.values())}")
    try:
        told = _hash_path(path).read_text().split()[0]
    except (OSError, IndexError):
        raise CopyError(
            f"{_hash_path(path)} is missing or empty, accepted: the hash that was written beside the save"
        ) from None
    if _sha256(path) != told:
        raise CopyError(f"{path} is not as it was written: its SHA-256 differs from {_hash_path(path).name}")
    _check_content(path, kind)


def restore(url: SplitResult, path: Path) -> None:
    """Fill an empty database from a saved one; raise CopyError when it is not empty or of the other kind."""
    kind = _kind(url)
    if not path.name.endswith(SUFFIXES[kind]):
        raise CopyError(f"{path.name} was not saved from {kind}, accepted: a name ending in {SUFFIXES[kind]}")
    check(path)
    if kind == "sqlite":
        target = _sqlite_path(url)
        if target.exists() and target.stat().st_size:
            raise CopyError(f"{target} holds a database, accepted: move it away first, it is not overwritten")
        draft = target.with_name(target.name + ".part")
        draft.unlink(missing_ok=True)
        _save_sqlite(path, draft)
        draft.replace(target)
        return
    tables = _postgres(
        url, "psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command",
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
    ).strip()  # fmt: skip
    if tables != "0":
        raise CopyError(
            f"the database holds {tables} tables, accepted: an empty one (createdb), nothing is overwritten"
        )
    _postgres(
        url, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={_name(url)}", str(path)
    )


def _check_content(path: Path, kind: str) -> None:
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as saved:
            found = saved.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise CopyError(f"{path}: {found}")
    else:
        _run(["pg_restore", "--list", str(path)], os.environ)


def _save_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise CopyError(f"{source} is not there, accepted: the file of a SQLite database")
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        # One snapshot, while others write.
        live.backup(copy)
        # A saved file stands alone; with the live one's mode it would want two more beside it.
        copy.execute("PRAGMA journal_mode=DELETE")


def _postgres(url: SplitResult, program: str, *arguments: str) -> str:
    # By the environment: a password among the arguments is seen by every user of the machine.
    environment = {
        **os.environ,
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": unquote(url.username or ""),
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": _name(url),
    }
    return _run([program, *arguments], environment)


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CopyError(f"{command[0]} is not installed; on Debian: apt-get install postgresql-client") from None
    if done.returncode:
        raise CopyError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def _database_url(text: str) -> SplitResult:
    url = urlsplit(text)
    if url.scheme not in {"postgresql", "postgres", "sqlite"} or not url.path.strip("/"):
        # The value may hold a password, so it is not told.
        raise CopyError(
            "DATABASE_URL is not set or no address, accepted: sqlite:///path, postgresql://user:password@host:port/name"
        )
    return url


def _kind(url: SplitResult) -> str:
    return "sqlite" if url.scheme == "sqlite" else "postgresql"


def _name(url: SplitResult) -> str:
    return unquote(url.path.lstrip("/"))


def _sqlite_path(url: SplitResult) -> Path:
    return Path(unquote(url.path[1:] if url.path.startswith("/") else url.path))


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
