"""Files that are replaced whole: a draft beside them, flushed, then one rename."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, in one rename."""
    _replace(path, data, 0o600)


def write_public(path: Path, data: bytes) -> None:
    """Write a file that every user of the machine may read, in one rename."""
    _replace(path, data, 0o644)


def write_if_changed(path: Path, data: bytes, *, mode: int) -> bool:
    """Write a file in one rename unless it holds these bytes already; tell whether it was written."""
    if path.exists() and path.read_bytes() == data:
        return False
    _replace(path, data, mode)
    return True


def _replace(path: Path, data: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    # Created with its mode: a key must not be readable for the moment before a chmod.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
