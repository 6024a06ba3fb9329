"""Targets as both versions write them: objects in 3.0.1, plain strings in 3.1 (pure).

One is kept: the string. ``GROUP`` is the type of a string without one, so the 3.1 target ``feeder-7`` is
``{"type": "GROUP", "values": ["feeder-7"]}`` in 3.0.1, and ``{"type": "SERVICE_AREA", "values": ["north"]}`` there is
``SERVICE_AREA:north`` in 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

MAX_TARGETS: Final = 50
PLAIN: Final = "GROUP"
TYPE: Final = r"[A-Z][A-Z0-9_]{0,31}"
_TYPED: Final = re.compile(rf"({TYPE}):(.+)", re.DOTALL)


def from_objects(objects: Iterable[dict[str, Any]]) -> list[str]:
    """Return 3.0.1's target objects as strings, in their order, none twice."""
    return list(dict.fromkeys(joined(row["type"], value) for row in objects for value in row["values"]))


def joined(kind: str, value: str) -> str:
    """Return one type and value as the string that is kept."""
    return value if kind == PLAIN and not _TYPED.fullmatch(value) else f"{kind}:{value}"


def as_objects(targets: Iterable[str]) -> list[dict[str, Any]]:
    """Return strings as 3.0.1's target objects, one for each type."""
    found: dict[str, list[str]] = {}
    for target in targets:
        typed = _TYPED.fullmatch(target)
        kind, value = typed.groups() if typed else (PLAIN, target)
        found.setdefault(kind, []).append(value)
    return [{"type": kind, "values": values} for kind, values in found.items()]
