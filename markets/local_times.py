"""Instants and zones as people write them; a local time that does not name one instant is refused."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo


class LocalTimeError(ValueError):
    """A time or a zone that cannot be read; the message says what is accepted."""


def zone_named(name: str) -> ZoneInfo:
    """Return a zone by its name in the tz database; raise LocalTimeError for another one."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise LocalTimeError(f"zone {name[:60]!r} is not known, accepted: a name such as Europe/London") from None


def aware_instant(text: str, *, zone: tzinfo | None) -> datetime:
    """Return the instant that a text names [UTC]: with ``Z`` or an offset, or local to the zone where one is given.

    Raises LocalTimeError for a time without either, and for one that the zone's clock skips or shows twice.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise LocalTimeError(f"{text.strip()[:40]!r}, accepted: an instant such as 2026-07-01T15:00Z") from None
    if at.tzinfo is None:
        if zone is None:
            raise LocalTimeError(f"{text.strip()} has no zone, accepted: with Z or an offset, or the zone with --zone")
        at = _local(at, zone)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise LocalTimeError(f"{text.strip()[:40]}, accepted: a year from 2 to 9998") from None


def _local(at: datetime, zone: tzinfo) -> datetime:
    first, second = (at.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, after = first.utcoffset(), second.utcoffset()
    if before is None or after is None or before == after:
        return first
    if before > after:
        raise LocalTimeError(
            f"{at.isoformat()} comes twice in {zone}, accepted: with its offset, "
            f"{first.isoformat()} or {second.isoformat()}"
        )
    raise LocalTimeError(f"{at.isoformat()} does not come in {zone}: its clock skips it, accepted: a time that comes")
