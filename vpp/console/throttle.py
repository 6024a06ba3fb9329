"""What is counted by name and address so that the next ones wait: sign-ins, questions of enrolment.

Counted in the database, so that several web processes have one count and none forgets it when it starts again.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import F

from vpp.console.models import Attempts

WINDOW_S: Final = 900
"""Tries are forgotten so long after the first of them [s]."""
MAX_OF_PAIR: Final = 5
"""Failures of one name from one address."""
MAX_OF_ONE: Final = 100
"""Failures of one name from all addresses, or of one address over all names. High, so that a stranger
cannot easily keep a dispatcher out by failing in the dispatcher's name."""


def may_try(*, name: str, address: str, at: datetime) -> bool:
    """Count a sign-in before the password is looked at; False when this name or address failed too often.

    Before, because a hundred guesses at once must not be more than a hundred one after another.
    """
    limits = _limits(name, address)
    held = _counts(limits, at)
    if any(held.get(key, 0) >= limit for key, limit in limits.items()):
        return False
    return all(_count(key, at) <= limit for key, limit in limits.items())


def note_success(*, name: str, address: str) -> None:
    """Forget the failures of a person who is in; to the others this one does not add."""
    pair, *others = _limits(name, address)
    Attempts.objects.filter(key=pair).delete()
    Attempts.objects.filter(key__in=others, count__gt=0).update(count=F("count") - 1)


def may_ask(*, what: str, who: str, limit: int, at: datetime) -> bool:
    """Count a question of an address and tell whether it is within the limit of its window."""
    key = _key(what, _network(who))
    # Beyond the limit nothing is written: a flood costs a look each.
    return _counts([key], at).get(key, 0) < limit and _count(key, at) <= limit


def is_within(*, what: str, who: str, limit: int, at: datetime) -> bool:
    """Tell whether what was counted of an address is within the limit, without counting."""
    key = _key(what, _network(who))
    return _counts([key], at).get(key, 0) < limit


def _counts(keys: Iterable[str], at: datetime) -> dict[str, int]:
    return dict(Attempts.objects.filter(key__in=list(keys), ends_at__gt=at).values_list("key", "count"))


def _count(key: str, at: datetime) -> int:
    """Count one more in one statement, whoever counts beside; return how many."""
    table = connection.ops.quote_name(Attempts._meta.db_table)
    now, ends_at = (
        connection.ops.adapt_datetimefield_value(instant) for instant in (at, at + timedelta(seconds=WINDOW_S))
    )
    with connection.cursor() as cursor:
        # The window runs from the first: whoever keeps trying does not prolong it.
        cursor.execute(
            f"INSERT INTO {table} (key, count, ends_at) VALUES (%s, 1, %s) ON CONFLICT (key) DO UPDATE SET "  # noqa: S608
            f"count = CASE WHEN {table}.ends_at <= %s THEN 1 ELSE {table}.count + 1 END, "
            f"ends_at = CASE WHEN {table}.ends_at <= %s THEN excluded.ends_at ELSE {table}.ends_at END RETURNING count",
            [key, ends_at, now, now],
        )
        count = int(cursor.fetchone()[0])
    if count == 1:
        Attempts.objects.filter(ends_at__lte=at).delete()
    return count


def _limits(name: str, address: str) -> dict[str, int]:
    """Return the counters' keys with their limits, the one of name and address together first."""
    plain, network = name.strip().casefold()[:150], _network(address)
    return {
        _key("sign-in:pair", f"{plain}\n{network}"): MAX_OF_PAIR,
        _key("sign-in:name", plain): MAX_OF_ONE,
        _key("sign-in:address", network): MAX_OF_ONE,
    }


def _network(address: str) -> str:
    """Return what one customer of a provider has: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def _key(kind: str, text: str) -> str:
    # Hashed: a name may hold anything, and often enough somebody types the password there.
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()}"
