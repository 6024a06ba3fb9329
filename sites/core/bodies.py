"""Reading the fields of signed JSON bodies: each refusal names the field, what it held and what is accepted."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, Final

MAX_BODY_BYTES: Final = 4096


class BodyError(ValueError):
    """A body that is not what it should be; the message names the field and what is accepted."""


def object_from(body: bytes, *, what: str = "body", max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the JSON object that a bounded body holds; ``what`` names it in a refusal."""
    if len(body) > max_bytes:
        raise BodyError(f"{what} has {len(body)} bytes, accepted: up to {max_bytes}")
    try:
        raw: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"{what} is not JSON ({error}), accepted: an object") from None
    if not isinstance(raw, dict):
        raise BodyError(f"{what} is a {type(raw).__name__}, accepted: an object")
    return raw


def packed(body: dict[str, Any]) -> bytes:
    """Return the bytes that are signed and sent: JSON with sorted keys, UTF-8, no blanks."""
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def text(at: datetime) -> str:
    """Return an instant as bodies carry it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def string(raw: dict[str, Any], key: str) -> str:
    """Return a text of 1 to 100 characters."""
    value = raw.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise BodyError(f"{key} is {value!r}, accepted: a text of 1 to 100 characters")
    return value


def sequence(raw: dict[str, Any]) -> int:
    """Return a whole number from 1."""
    value = raw.get("sequence")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**53:
        raise BodyError(f"sequence is {value!r}, accepted: a whole number from 1")
    return value


def finite(value: object, key: str) -> float:
    """Return a finite number."""
    # A whole number beyond all floats would raise inside isfinite; infinities and NaN fail the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise BodyError(f"{key} is {value!r:.80}, accepted: a finite number")
    return float(value)


def number(raw: dict[str, Any], key: str, low: float, high: float) -> float:
    """Return a number within a range, both ends included."""
    value = finite(raw.get(key), key)
    if not low <= value <= high:
        raise BodyError(f"{key} is {value}, accepted: {low} to {high}")
    return value


def instant(raw: dict[str, Any], key: str) -> datetime:
    """Return an instant in UTC."""
    value = raw.get(key)
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BodyError(f"{key} is {value!r}, accepted: an ISO 8601 instant with its offset")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise BodyError(f"{key} is {value!r}, accepted: an instant within the calendar in UTC") from None
