"""What VTNs of OpenADR 3 send, read leniently into the words of the specification (pure).

Servers in the field write instants without T or Z, snake_case, JSON inside JSON texts and numbers as
texts; what can be made out is made out here, so that the rest knows one form. Nothing is guessed: an
instant without an offset is UTC, as the specification has it, and what stays unclear stays as it came,
for the decision to name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from markets.openadr.mapping import number
from markets.openadr.vtn3.spans import DURATION_PATTERN, MAX_DURATION_CHARACTERS, duration_s
from markets.openadr.vtn3.targets import joined

MAX_DEPTH: Final = 32
MAX_WRAPPINGS: Final = 3
"""How often a text of JSON may hold a text of JSON."""
FOREVER: Final = timedelta(days=3_650_000)
"""What an endless duration (``P9999Y``) and one beyond the calendar count as."""

_DURATION: Final = re.compile(DURATION_PATTERN)
_WORDS: Final = (
    "id", "objectType", "createdDateTime", "modificationDateTime", "programID", "programName", "programLongName",
    "eventID", "eventName", "venID", "venName", "clientID", "clientName", "priority", "targets", "duration",
    "intervalPeriod", "intervals", "start", "randomizeStart", "payloads", "payloadDescriptors", "payloadType",
    "reportDescriptors", "readingType", "units", "currency", "type", "values", "reportName", "resources",
    "resourceName", "aggregate", "startInterval", "numIntervals", "historical", "frequency", "repeat",
    "reportIntervals", "tokenURL", "attributes", "bindingEvents",
)  # fmt: skip
_WORD_OF: Final = {word.lower(): word for word in _WORDS}
_STRUCTURES: Final = frozenset(
    {"targets", "intervalPeriod", "intervals", "payloads", "payloadDescriptors", "reportDescriptors", "values",
     "resources", "attributes"}
)  # fmt: skip
_LISTS: Final = ("items", "data", "results", "content", "programs", "events", "reports", "vens", "subscriptions")


class Unreadable(ValueError):
    """Content in which no object of the protocol can be made out."""


def document(content: bytes) -> Any:
    """Return the JSON in an answer, out of as many texts as it was wrapped in; raises Unreadable."""
    try:
        value: Any = json.loads(content.decode("utf-8-sig"))
        for _ in range(MAX_WRAPPINGS):
            if not isinstance(value, str):
                break
            value = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {str(error)[:120]}") from None
    return normalized(value)


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, of an envelope around one, or the one object that stands alone."""
    if isinstance(value, dict) and "id" not in value:
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), value)
    if isinstance(value, dict) and "id" in value:
        value = [value]
    if not isinstance(value, list):
        raise Unreadable(f"a {type(value).__name__}, accepted: a list of objects")
    return [row for row in (_unwrapped(row) for row in value) if isinstance(row, dict)]


def normalized(value: Any, depth: int = 0) -> Any:
    """Return a value with the specification's names at every level and no structure left as text.

    >>> normalized({"program_id": "p", "interval_period": '{"start": "now"}'})
    {'programID': 'p', 'intervalPeriod': {'start': 'now'}}
    """
    if depth > MAX_DEPTH:
        raise Unreadable(f"more than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [normalized(part, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, held in value.items():
        word = _WORD_OF.get(name.replace("_", "").lower()) or name
        if word in found and word != name:
            # The specification's own spelling wins over another one beside it.
            continue
        found[word] = normalized(_unwrapped(held) if word in _STRUCTURES else held, depth + 1)
    return found


def instant(value: object) -> datetime | None:
    """Return an instant in UTC, with blank or T, with or without an offset; None for anything else.

    >>> instant("2026-03-01 16:00:00") == instant("2026-03-01T16:00:00Z") == instant("2026-03-01T17:00:00+01:00")
    True
    """
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value.strip().upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except ValueError:
        return None
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def duration(value: object) -> timedelta | None:
    """Return an ISO 8601 duration, FOREVER at most; None for anything else, a negative one too."""
    if not isinstance(value, str) or len(value) > MAX_DURATION_CHARACTERS:
        return None
    text = value.strip().upper()
    if not _DURATION.match(text):
        return None
    return timedelta(seconds=min(duration_s(text), FOREVER.total_seconds()))


def whole(value: object) -> int | None:
    """Return a whole number, out of a text too; None for anything else."""
    found = number(value)
    return int(found) if found is not None and abs(found) < 2**31 and found == int(found) else None


def target_names(value: object) -> list[str]:
    """Return targets of either version as strings: ``VEN_NAME:us`` for a typed one of 3.0.1."""
    found = []
    for target in value if isinstance(value, list) else []:
        if isinstance(target, str):
            found.append(target)
        elif isinstance(target, dict) and isinstance(target.get("values"), list):
            kind = str(target.get("type", "")).upper()
            found += [joined(kind, held) for held in _texts(target["values"])]
    return found


def _texts(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _unwrapped(value: Any) -> Any:
    """Return the structure that a text holds, or the text itself when it holds none."""
    for _ in range(MAX_WRAPPINGS):
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[", '"')):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    return value
