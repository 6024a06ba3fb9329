"""What a command writes for people: a file that is replaced whole, or not at all."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any


class OutputError(ValueError):
    """An output that cannot be written; the message names it and what is accepted."""


def judge_output(path: Path) -> None:
    """Raise OutputError for a place where nothing can be written: better before the work than after."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, accepted: a file")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}, accepted: a file in a folder that exists")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document beside its place and rename it there; a pipe or a device is written as it is.

    Raises OutputError where the system refuses, ValueError for a figure that JSON has no word for.
    """
    judge_output(path)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            # What a link points at is replaced, not the link.
            _replace(path.resolve(), text)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}, accepted: a file that can be written") from None


def _replace(target: Path, text: str) -> None:
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}-", suffix=target.suffix)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
