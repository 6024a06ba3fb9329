"""What is counted by name and address so that the next ones wait: failed sign-ins, questions of enrolment."""

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
        _count(key)


def note_success(*, name: str, address: str) -> None:
    """Forget the failures of a person who is in."""
    cache.delete(next(iter(_limits(name, address))))


def may_ask(*, what: str, who: str, limit: int) -> bool:
    """Count a question and tell whether it is within the limit of its window."""
    return _count(_key(what, who)) <= limit


def is_within(*, what: str, who: str, limit: int) -> bool:
    """Tell whether what was counted is within the limit, without counting."""
    return int(cache.get(_key(what, who), 0)) <= limit


def _count(key: str) -> int:
    # The window runs from the first: whoever keeps trying does not prolong it.
    cache.add(key, 0, WINDOW_S)
    try:
        return int(cache.incr(key))
    except ValueError:
        # Forgotten between the two lines.
        cache.set(key, 1, WINDOW_S)
        return 1


def _limits(name: str, address: str) -> dict[str, int]:
    """Return the counters' keys with their limits, the one of name and address together first."""
    plain = name.strip().casefold()[:150]
    return {
        _key("sign-in:pair", f"{plain}\n{address}"): MAX_OF_PAIR,
        _key("sign-in:name", plain): MAX_OF_ONE,
        _key("sign-in:address", address): MAX_OF_ONE,
    }


def _key(kind: str, text: str) -> str:
    # Hashed: a name may hold anything, and often enough somebody types the password there.
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()}"
