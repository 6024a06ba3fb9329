"""The one decorator that compiles a kernel; without the compiler the same source runs as plain Python.

``NUMBA_DISABLE_JIT=1`` leaves every kernel interpreted, for a debugger or for line coverage.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

import numba
import numba.core.config

F = TypeVar("F", bound=Callable[..., Any])

Record: TypeAlias = Any
"""One element of a structured array. The compiler sees its fields; the type checker cannot."""

_EDGE: Final = Path(__file__).parents[2]
_SOURCES: Final = ("control/kernels", "control", "plant", "studies")


def sources_hash() -> str:
    """Return a hash over the source of every kernel: the key of the compiled cache."""
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((_EDGE / folder).glob("*.py")):
            source = path.read_bytes()
            # Only files that hold kernels: editing a study must not throw the cache away.
            if (
                b"@kernel" in source
                or b"@inlined" in source
                or path.name.endswith("records.py")
                or path.name == "compiled.py"
            ):
                digest.update(path.name.encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def cache_folder(shipped: Path, environment: Mapping[str, str]) -> Path | None:
    """Return where compiled code is kept: beside the sources, or in a folder of this user; None: nowhere.

    An installation that belongs to somebody else, as a service's does, holds what `make install` compiled; numba takes
    only a folder that it may write, so that is copied once into the user's own.
    """
    # Readable to everybody: others copy it.
    if _is_ours(shipped, mode=0o755):
        return shipped
    places = [environment.get("CACHE_DIRECTORY", "").partition(":")[0], environment.get("XDG_CACHE_HOME", "")]
    if home := environment.get("HOME", ""):
        places.append(f"{home}/.cache")
    for place in filter(None, places):
        own = Path(place) / "vpp-edge" / shipped.name
        if not own.is_dir() and shipped.is_dir():
            draft = own.with_name(f"{own.name}.{os.getpid()}")
            try:
                shutil.copytree(shipped, draft)
                draft.rename(own)
            except OSError:
                # No room, no right, or another process of ours was faster.
                shutil.rmtree(draft, ignore_errors=True)
        if _is_ours(own, mode=0o700):
            return own
    return None


def _is_ours(folder: Path, *, mode: int) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _choose_cache() -> bool:
    """Give the compiled code a folder of its own per state of the sources; tell whether there is one.

    Numba looks at the caller's file only: after an edit of a callee in another file it would still
    return the old result (measured).
    """
    config: Any = numba.core.config  # A module whose names are set at import, from the environment.
    if not config.CACHE_DIR:
        folder = cache_folder(_EDGE / "__pycache__" / f"kernels-{sources_hash()}", os.environ)
        if folder is None:
            return False
        config.CACHE_DIR = str(folder)
    return True


_IS_KEPT: Final = _choose_cache()
"""Without a folder each start compiles anew, which takes a minute and more."""


def drop_stale_caches() -> None:
    """Remove the caches that were filled for other sources than these."""
    current = f"kernels-{sources_hash()}"
    for folder in (_EDGE / "__pycache__").glob("kernels-*"):
        if folder.name != current:
            shutil.rmtree(folder, ignore_errors=True)


def kernel(function: F) -> F:
    """Compile a kernel without the interpreter's lock, and keep its Python type.

    ``error_model="numpy"``: a division yields inf instead of a branch and an exception per sample.
    No fast-math: the result of a kernel must not depend on how the compiler reordered it.
    """
    compiled: Any = numba.njit(nogil=True, cache=_IS_KEPT, error_model="numpy")(function)
    return cast(F, compiled)


def inlined(function: F) -> F:
    """Compile a kernel into each of its callers.

    What it computes stays in registers there, and the loop around it can be laid into vector units.
    """
    compiled: Any = numba.njit(nogil=True, cache=_IS_KEPT, error_model="numpy", forceinline=True)(function)
    return cast(F, compiled)
