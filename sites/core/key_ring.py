"""Which signatures sites take: announced by the key authority, numbered, expiring; and how a site judges it. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sites.core import bodies
from sites.core.bodies import BodyError

FORMAT_VERSION: Final = 1
MAX_KEYS: Final = 4
MAX_WITHDRAWN: Final = 32
MAX_LIFE: Final = timedelta(days=90)
"""Longest time in which an announcement may be taken: one that was held back must not come true years later."""
_KIND: Final = "platform-keys"
_FIELDS: Final = frozenset({"v", "kind", "generation", "keys", "withdrawn", "issued_at", "expires_at"})
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}")


class KeyRefusal(StrEnum):
    """Why a site did not take an announcement of keys."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    """Not by the site's key authority."""
    NO_AUTHORITY = "no_authority"
    """The site has none: its keys change in its configuration only."""
    STALE = "stale"
    """Its generation is below the held one: a replay, or one that was overtaken."""
    REPEATED = "repeated"
    """Its generation is the held one but its content differs."""
    EXPIRED = "expired"
    NOT_KEPT = "not_kept"
    """The disk did not take it, so that it would be gone after a restart."""


@dataclass(frozen=True, slots=True)
class KeyAnnouncement:
    """The keys whose signatures sites take from now on, in place of all others."""

    generation: int
    """Rises with every announcement, from 1."""
    keys: tuple[bytes, ...]
    """Ed25519 public keys, 1 to 4: never none."""
    withdrawn: tuple[bytes, ...]
    """Ids of keys that were taken before: what they sign is refused by that name."""
    issued_at: datetime
    expires_at: datetime
    """Not taken from then on. What was taken in time stays."""

    def __post_init__(self) -> None:
        if not 1 <= len(set(self.keys)) == len(self.keys) <= MAX_KEYS:
            raise BodyError(f"keys are {len(self.keys)}, accepted: 1 to {MAX_KEYS}, each once")
        if len(self.withdrawn) > MAX_WITHDRAWN:
            raise BodyError(f"withdrawn are {len(self.withdrawn)}, accepted: up to {MAX_WITHDRAWN}")
        if not timedelta(0) < self.expires_at - self.issued_at <= MAX_LIFE:
            raise BodyError(f"it lives for {self.expires_at - self.issued_at}, accepted: up to {MAX_LIFE.days} days")

    def to_bytes(self) -> bytes:
        """Return the body that is signed and sent."""
        return bodies.packed(
            {
                "v": FORMAT_VERSION,
                "kind": _KIND,
                "generation": self.generation,
                "keys": [key.hex() for key in self.keys],
                "withdrawn": [key_id.hex() for key_id in self.withdrawn],
                "issued_at": bodies.text(self.issued_at),
                "expires_at": bodies.text(self.expires_at),
            }
        )

    @property
    def content_hash(self) -> str:
        """SHA-256 over the body, hexadecimal: what an announcement and a site's report of it agree on."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def announcement_from_bytes(body: bytes) -> KeyAnnouncement:
    """Read an announcement's body.

    Raises BodyError naming the field, what it held and what is accepted.
    """
    raw = bodies.object_from(body)
    if set(raw) != _FIELDS:
        held = ", ".join(sorted(str(key)[:40] for key in raw)[:20])
        raise BodyError(f"body holds {held}, accepted: an object of {', '.join(sorted(_FIELDS))}")
    if raw["v"] != FORMAT_VERSION or isinstance(raw["v"], bool) or raw["kind"] != _KIND:
        raise BodyError(f"v and kind are {raw['v']!r:.40}, {raw['kind']!r:.40}, accepted: {FORMAT_VERSION}, {_KIND}")
    generation = raw["generation"]
    if not isinstance(generation, int) or isinstance(generation, bool) or not 1 <= generation < 2**53:
        raise BodyError(f"generation is {generation!r:.40}, accepted: a whole number from 1")
    return KeyAnnouncement(
        generation=generation,
        keys=_each(raw, "keys", _KEY),
        withdrawn=_each(raw, "withdrawn", _KEY_ID),
        issued_at=bodies.instant(raw, "issued_at"),
        expires_at=bodies.instant(raw, "expires_at"),
    )


def judge_announcement(
    announcement: KeyAnnouncement, *, held: KeyAnnouncement | None, at: datetime
) -> KeyRefusal | None:
    """Tell why a site must refuse an announcement that its authority signed, or None when it takes it.

    The held one again is no refusal: the platform repeats until it has heard the report.
    """
    if held is not None and announcement.generation < held.generation:
        return KeyRefusal.STALE
    if held is not None and announcement.generation == held.generation:
        return None if announcement == held else KeyRefusal.REPEATED
    return KeyRefusal.EXPIRED if announcement.expires_at <= at else None


def _each(raw: dict[str, Any], name: str, pattern: re.Pattern[str]) -> tuple[bytes, ...]:
    values = raw[name]
    if not isinstance(values, list) or not all(isinstance(v, str) and pattern.fullmatch(v) for v in values):
        raise BodyError(
            f"{name} is {values!r:.80}, accepted: a list of lower-case hexadecimal texts of {pattern.pattern}"
        )
    return tuple(bytes.fromhex(value) for value in values)
