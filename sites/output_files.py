"""What a command writes for people: judged before the work begins, and never half there.

A file is written beside its place and renamed: who reads it sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class OutputError(ValueError):
    """An output that cannot be written; the message names it and what is accepted."""

    name = "output_unusable"


def judge_outputs(*paths: Path | None) -> None:
    """Raise OutputError for a place where nothing can be written: better before minutes of work than after."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise OutputError(f"{path}: is a folder, accepted: a file")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}, accepted: a file in a folder that exists")
        if not _is_special(path) and not os.access(path.resolve().parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: its folder cannot be written, accepted: a file in a folder that can")
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(f"{path}: is read-only, accepted: a file that can be replaced")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in place of ``path``; it takes that place when the block ends without an error.

    A pipe or a device is given as it is. Raises OutputError where the system refuses.
    """
    judge_outputs(path)
    if _is_special(path):
        yield path
        return
    # What a link points at is replaced, not the link.
    target = path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}-", suffix=target.suffix)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}, accepted: a file that can be written") from None
    os.close(handle)
    beside = Path(name)
    try:
        beside.chmod(stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
        yield beside
        beside.replace(target)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}, accepted: a file that can be written") from None
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document at once; raises ValueError for a figure that JSON has no word for."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
