"""Bodies of requests: strict JSON within bounds, checked against the version's schema."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from markets.openadr.vtn3.kinds import Version
from markets.openadr.vtn3.problems import TooLarge
from markets.openadr.vtn3.schemas import COMPONENTS
from markets.openadr.vtn3.spans import instant

MAX_BODY_BYTES: Final = 512_000
MAX_DEPTH: Final = 32
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""No database column of text takes a NUL, no UTF-8 half a surrogate pair."""
_FORMATS: Final = FormatChecker(formats=())
_FORMATS.checks("date-time", raises=ValueError)(lambda value: not isinstance(value, str) or bool(instant(value)))


class StrictJson(BaseParser):
    """JSON as RFC 8259 has it: no NaN, no name twice, no depth without end."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the decoded body; raise ParseError or TooLarge."""
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")
        return decode(raw)


def decode(raw: bytes) -> Any:
    """Return strict JSON's value; raise ParseError saying what is wrong."""
    try:
        text = raw.decode("utf-8")
        found = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_name_twice)
    except RecursionError:
        raise ParseError(f"JSON is nested too deeply, accepted: {MAX_DEPTH} levels") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise ParseError(f"no JSON: {str(error)[:200]}") from None
    _check(found)
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _check(value: Any) -> None:
    rows = [(value, 1)]
    while rows:
        held, depth = rows.pop()
        if depth > MAX_DEPTH:
            raise ParseError(f"JSON is nested too deeply, accepted: {MAX_DEPTH} levels")
        if isinstance(held, dict):
            rows += [(part, depth + 1) for pair in held.items() for part in pair]
        elif isinstance(held, list):
            rows += [(part, depth + 1) for part in held]
        elif isinstance(held, str) and _UNSTORABLE.search(held):
            raise ParseError("a text holds a NUL or half a surrogate pair")


@cache
def _validator(version: Version, name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": COMPONENTS[version]}}
    return Draft202012Validator(schema, format_checker=_FORMATS)


def check_body(version: Version, name: str, body: Any) -> None:
    """Raise ParseError, saying where and what, for a body that the version's schema refuses."""
    error = next(_validator(version, name).iter_errors(body), None)
    if error is not None:
        # In a choice of forms the one that is furthest in says most.
        while error.context:
            error = max(error.context, key=lambda one: len(one.absolute_path))
        raise ParseError(f"{error.json_path}: {error.message[:300]}")
