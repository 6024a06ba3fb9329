"""Instants between the wire's milliseconds and the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
OLDEST_MS: Final = 946_684_800_000
_MILLISECOND: Final = timedelta(milliseconds=1)


def instant_of(milliseconds: int) -> datetime:
    """Return an instant from milliseconds since 1970, of which a calendar is known to hold it."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def instant_of_ms(milliseconds: int | None) -> datetime | None:
    """Return an instant from milliseconds since 1970, or None when no calendar holds it."""
    if milliseconds is None or not 0 <= milliseconds < 253_402_300_800_000:
        return None
    return instant_of(milliseconds)


def ms_of(at: datetime) -> int:
    """Return an instant as whole milliseconds since 1970."""
    return (at - EPOCH) // _MILLISECOND
