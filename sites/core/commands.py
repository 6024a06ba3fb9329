"""A request to a site from afar: signed bytes that expire, and how a site judges them; pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sites.core.requests import LOCAL_ONLY, RequestRefusal, SiteRequest

MAX_COMMAND_BYTES: Final = 2048
MAX_LIFE: Final = timedelta(minutes=10)
"""Longest time from issue to expiry: an old command must not come true when a link returns."""
FORMAT_VERSION: Final = 1
_FIELDS: Final = frozenset(
    {"v", "kind", "command_id", "site_id", "sequence", "request", "issued_by", "issued_at", "expires_at"}
)
_KIND: Final = "command"


class CommandError(ValueError):
    """A body that is not a command; the message names the field and what is accepted."""


@dataclass(frozen=True, slots=True)
class SiteCommand:
    """One request to one site. It is done once at most, and lapses by itself at ``expires_at``."""

    command_id: str
    site_id: str
    sequence: int
    """Rises with every command to the site, from 1; its own count, beside that of assignments."""
    request: SiteRequest
    issued_by: str
    """Name of the person, for the site's own log."""
    issued_at: datetime
    expires_at: datetime

    def to_bytes(self) -> bytes:
        """Return the body that is signed and sent: JSON with sorted keys, UTF-8, no blanks."""
        body = {
            "v": FORMAT_VERSION,
            # An assignment's body has no kind: neither can be signed for one purpose and sent for the other.
            "kind": _KIND,
            "command_id": self.command_id,
            "site_id": self.site_id,
            "sequence": self.sequence,
            "request": self.request.value,
            "issued_by": self.issued_by,
            "issued_at": _text(self.issued_at),
            "expires_at": _text(self.expires_at),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @property
    def content_hash(self) -> str:
        """SHA-256 over the body, hexadecimal: what a command and its answer agree on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def command_from_bytes(body: bytes) -> SiteCommand:
    """Read a command's body.

    Raises CommandError naming the field, what it held and what is accepted.
    """
    if len(body) > MAX_COMMAND_BYTES:
        raise CommandError(f"body has {len(body)} bytes, accepted: up to {MAX_COMMAND_BYTES}")
    try:
        raw: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"body is not JSON: {error}") from None
    if not isinstance(raw, dict) or set(raw) != _FIELDS:
        held = ", ".join(sorted(str(key)[:40] for key in raw)[:20]) if isinstance(raw, dict) else type(raw).__name__
        raise CommandError(f"body holds {held}, accepted: an object of {', '.join(sorted(_FIELDS))}")
    if raw["v"] != FORMAT_VERSION or isinstance(raw["v"], bool) or raw["kind"] != _KIND:
        raise CommandError(f"v and kind are {raw['v']!r:.40}, {raw['kind']!r:.40}, accepted: {FORMAT_VERSION}, {_KIND}")
    sequence = raw["sequence"]
    if not isinstance(sequence, int) or isinstance(sequence, bool) or not 1 <= sequence < 2**53:
        raise CommandError(f"sequence is {sequence!r:.40}, accepted: a whole number from 1")
    try:
        request = SiteRequest(str(raw["request"]))
    except ValueError:
        raise CommandError(f"request is {raw['request']!r:.40}, accepted: {', '.join(SiteRequest)}") from None
    command = SiteCommand(
        command_id=_name(raw, "command_id"),
        site_id=_name(raw, "site_id"),
        sequence=sequence,
        request=request,
        issued_by=_name(raw, "issued_by"),
        issued_at=_instant(raw, "issued_at"),
        expires_at=_instant(raw, "expires_at"),
    )
    if not timedelta(0) < command.expires_at - command.issued_at <= MAX_LIFE:
        raise CommandError(
            f"it lives from {raw['issued_at']} to {raw['expires_at']}, accepted: up to {MAX_LIFE.total_seconds():g} s"
        )
    return command


def judge_command(
    command: SiteCommand, *, site_id: str, answered_sequence: int, answered_hash: str, at: datetime
) -> RequestRefusal | None:
    """Tell why a site must refuse a command whatever its mode, or None when its controller may be asked.

    ``answered_*``: the last command that this site answered or began to do. The same one once more is no refusal
    and no second request: the caller repeats its answer.
    """
    if command.site_id != site_id:
        return RequestRefusal.WRONG_SITE
    if command.sequence < answered_sequence:
        return RequestRefusal.STALE
    if command.sequence == answered_sequence:
        return None if command.content_hash == answered_hash else RequestRefusal.REPEATED
    if command.expires_at <= at:
        return RequestRefusal.EXPIRED
    if command.request in LOCAL_ONLY:
        return RequestRefusal.LOCAL_ONLY
    return None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _name(raw: dict[str, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str) or not 1 <= len(value) <= 150 or not value.isprintable():
        raise CommandError(f"{key} is {value!r:.80}, accepted: a printable text of 1 to 150 characters")
    return value


def _instant(raw: dict[str, Any], key: str) -> datetime:
    value = raw[key]
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        if at is not None and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise CommandError(f"{key} is {value!r:.80}, accepted: an ISO 8601 instant with its offset")
