"""From when to when an event lasts, by its periods and ISO 8601 durations (pure).

``P9999Y`` means without end, and a start in year 1 means now (OpenADR 3.1 User Guide, "do it now" events). What would
leave the calendar ends at its last instant. A year counts 365 days and a month 30: only ``active`` is decided by it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

LAST: Final = datetime.max.replace(tzinfo=UTC)
FIRST: Final = datetime.min.replace(tzinfo=UTC)
DURATION_PATTERN: Final = (
    r"^P(?=[0-9]|T[0-9])([0-9]{1,4}Y)?([0-9]{1,4}M)?([0-9]{1,6}[DW])?"
    r"(T(?=[0-9])([0-9]{1,6}H)?([0-9]{1,7}M)?([0-9]{1,9}(\.[0-9]{1,6})?S)?)?$"
)
"""As the protocol has it, with bounded figures and without a sign: nothing lasts for a negative time."""
OFFSET_PATTERN: Final = "^-?" + DURATION_PATTERN[1:]
"""A time zone's offset may be negative."""
MAX_DURATION_CHARACTERS: Final = 48
_PART: Final = re.compile(r"([0-9.]+)([YMWDHS])")
_DAYS: Final = {"Y": 365, "M": 30, "W": 7, "D": 1}
_SECONDS: Final = {"H": 3600, "M": 60, "S": 1}


def duration_s(text: str) -> float:
    """Return the seconds of a duration of DURATION_PATTERN; ``P9999Y`` and longer are inf."""
    date, _, time = text.removeprefix("P").partition("T")
    years = 0.0
    total_s = 0.0
    for amount, unit in _PART.findall(date):
        years = float(amount) if unit == "Y" else years
        total_s += float(amount) * _DAYS[unit] * 86_400.0
    total_s += sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(time))
    return float("inf") if years >= 9999 else total_s


def instant(text: str) -> datetime:
    """Return an RFC 3339 instant in UTC; raises ValueError for one without an offset, or of no calendar."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", text):
        raise ValueError(f"{text[:40]!r} is no instant, accepted: such as 2026-03-01T16:00:00Z")
    # Python keeps microseconds.
    found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper()))
    try:
        return found.astimezone(UTC)
    except OverflowError:
        return FIRST if found.year < 5000 else LAST


def span_of(event: dict[str, Any], *, created_at: datetime) -> tuple[datetime, datetime]:
    """Return the half-open span of an event; one without a start begins when it was created, one without length lasts.

    Its own ``duration``, where it says one, takes the place of the intervals' sum.
    """
    shared = event.get("intervalPeriod") or {}
    start = instant(shared["start"]) if shared.get("start") else None
    starts_at, ends_at = start or created_at, start or created_at
    lengths: list[float] = []
    default_s = duration_s(shared["duration"]) if shared.get("duration") else None
    for interval in event.get("intervals") or [{}]:
        own = interval.get("intervalPeriod") or {}
        length_s = duration_s(own["duration"]) if own.get("duration") else default_s
        lengths.append(float("inf") if length_s is None else length_s)
        if own.get("start"):
            own_start = instant(own["start"])
            starts_at = own_start if start is None and ends_at == created_at else min(starts_at, own_start)
            ends_at = max(ends_at, _later(own_start, lengths[-1]))
        else:
            ends_at = _later(ends_at, lengths[-1])
    if event.get("duration"):
        ends_at = _later(starts_at, duration_s(event["duration"]))
    return starts_at, ends_at


def _later(at: datetime, length_s: float) -> datetime:
    try:
        return at + timedelta(seconds=length_s)
    except OverflowError:
        return LAST
