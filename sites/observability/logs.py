"""Log lines as JSON: the event's name, its fields with their types, and which process speaks.

Log calls in this product are templates such as ``"%s site=%s sequence=%d"``: the event's name, then named fields. The
template keeps each name beside its argument, so fields are taken from the record itself and never parsed out of text.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

_PLACE: Final = re.compile(r"(?:(?P<name>[a-z][a-z0-9_]*)=)?%(?:[-+ #0]*\d*(?:\.\d+)?)(?P<kind>[sdifgrxe%])")
_RESERVED: Final = frozenset({"at", "level", "logger", "event", "message", "process", "pid", "error"})


def fields_of(template: str, arguments: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """Return an event's name and its named fields.

    The name is the template's first word, or the first argument where the template starts with ``%s``. Numbers and
    truth values keep their type, all else is text. A field that has the name of a fixed key gets a trailing ``_``.
    """
    values = iter(arguments)
    fields: dict[str, Any] = {}
    event = "" if template.startswith("%s") else template.split(" ", 1)[0]
    for place in _PLACE.finditer(template):
        if place["kind"] == "%":
            continue
        value = next(values, None)
        if place.start() == 0 and not event:
            event = str(value)
        elif name := place["name"]:
            fields[f"{name}_" if name in _RESERVED else name] = _plain(value)
    return event, fields


_speaker = ""


def speak_as(process: str) -> None:
    """Name this process in the lines that it logs from now on."""
    global _speaker
    _speaker = process


class JsonLines(logging.Formatter):
    """Formats each record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        event, fields = fields_of(record.msg, arguments) if isinstance(record.msg, str) else ("", {})
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": _speaker or record.processName,
            "pid": record.process,
            "event": event,
            "message": record.getMessage(),
        } | fields
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)
