"""Failed sign-ins counted by name and address: after a few, the next ones wait."""

from __future__ import annotations

import hashlib
from typing import Final

from django.core.cache import cache

WINDOW_S: Final = 900
"""Failures are forgotten so long after the first of them [s]."""
MAX_OF_PAIR: Final = 5
"""Failures of one name from one address."""
MAX_OF_ONE: Final = 100
"""Failures of one name from all addresses, or of one address over all names. High, so that a stranger
cannot easily keep a dispatcher out by failing in the dispatcher's name."""


def must_wait(*, name: str, address: str) -> bool:
    """Tell whether this name or address has failed too often; the password is not looked at then."""
    limits = _limits(name, address)
    held = cache.get_many(limits)
    return any(held.get(key, 0) >= limit for key, limit in limits.items())


def note_failure(*, name: str, address: str) -> None:
    """Count a failed sign-in."""
    for key in _limits(name, address):
        # The window runs from the first failure: whoever keeps trying does not prolong it.
        cache.add(key, 0, WINDOW_S)
        try:
            cache.incr(key)
        except ValueError:
            # Forgotten between the two lines.
            cache.set(key, 1, WINDOW_S)


def note_success(*, name: str, address: str) -> None:
    """Forget the failures of a person who is in."""
    cache.delete(next(iter(_limits(name, address))))


def _limits(name: str, address: str) -> dict[str, int]:
    """Return the counters' keys with their limits, the one of name and address together first."""
    plain = name.strip().casefold()[:150]
    return {
        _key("pair", f"{plain}\n{address}"): MAX_OF_PAIR,
        _key("name", plain): MAX_OF_ONE,
        _key("address", address): MAX_OF_ONE,
    }


def _key(kind: str, text: str) -> str:
    # Hashed: a name may hold anything, and often enough somebody types the password there.
    return f"sign-in:{kind}:{hashlib.sha256(text.encode()).hexdigest()}"
