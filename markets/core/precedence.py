"""Who gets the power when more is asked for than there is: the order as a table, the sharing as one pure function.

Only events that stand at the same time in the same direction compete. In the table's order each gets what those before
it left; what one gets is never taken away by one behind it. So a higher one never gets less because of a lower one, no
power is given twice, and the order in which events are told to the function changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sites.core.intervals import Interval

LOWEST_PRIORITY: Final = math.inf
"""OpenADR 2.0b: 0 is no priority at all; 1 is the highest, and the larger the number the lower."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What an event asks for over one period; the power needs not be had both ways."""

    window: Interval
    up_kw: float
    """Into the grid [kW, >= 0]."""
    down_kw: float
    """Out of the grid [kW, >= 0]."""

    @property
    def size_kw(self) -> float:
        """The larger of both [kW]."""
        return max(self.up_kw, self.down_kw)

    def limited(self, size_kw: float) -> Piece:
        """Return the piece with no more than a size each way."""
        return Piece(self.window, min(self.up_kw, size_kw), min(self.down_kw, size_kw))


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that a claim's sites may give within a period, because of a capacity limit."""

    window: Interval
    is_up: bool
    power_kw: float


@dataclass(frozen=True, slots=True)
class Claim:
    """One event that stands, as it competes for the fleet's power."""

    name: str
    """Tells one event from all others: operator and event id."""
    pieces: tuple[Piece, ...]
    """What it asks for, by time."""
    available_kw: float
    """What its product's sites can keep up each way, if nothing else were owed [kW]."""
    is_emergency: bool
    priority: int
    """OpenADR: 0 none, 1 the highest."""
    placed_at: datetime
    """Since when it stands as it is."""
    allows_part: bool
    min_power_kw: float
    """Smallest power worth having [kW, > 0]."""
    caps: tuple[Cap, ...] = ()
    is_sold: bool = False
    """Awarded on an offer: counted whole, for whoever sold it declares anew what of it can be kept."""

    @property
    def rank(self) -> tuple[Any, ...]:
        """Its place: the smaller, the earlier it is served."""
        return tuple(rule.key(self) for rule in ORDER)


@dataclass(frozen=True, slots=True)
class OrderRule:
    """One line of the order: what decides, why, and where that comes from."""

    name: str
    text: str
    """Completes: event A goes before event B because …"""
    source: str
    certainty: str
    key: Callable[[Claim], Any]
    """The smaller goes first."""


ORDER: Final = (
    OrderRule(
        "sold",
        "it was awarded on an offer of ours: what is sold is not given away",
        "ours; an award is a contract, an event a request",
        "U",
        lambda claim: not claim.is_sold,
    ),
    OrderRule(
        "emergency",
        "it serves an emergency program, the other an economic one",
        "the purpose of such programs (ERCOT ERS, OpenADR 3 ALERT_GRID_EMERGENCY); the order is ours",
        "U",
        lambda claim: not claim.is_emergency,
    ),
    OrderRule(
        "priority",
        "its operator gave it the higher priority",
        "OpenADR 2.0b from memory: 1 is the highest, 0 none; OpenADR 3 counts from 0, which the mapping moves by one",
        "M",
        lambda claim: claim.priority if claim.priority > 0 else LOWEST_PRIORITY,
    ),
    OrderRule(
        "first-come",
        "it stood first: a promise is not broken for an equal one",
        "ours; the only line in which arrival counts",
        "U",
        lambda claim: claim.placed_at,
    ),
    OrderRule("name", "its name comes first: both came at one instant", "ours", "U", lambda claim: claim.name),
)
"""Before all of them: what a site keeps for itself (reserve, lockout, owner's windows, its own protection) is in no
claim's ``available_kw``, and capacity limits cap what any claim may have, whatever its rank."""

LIMITS_FIRST: Final = "a capacity limit holds there: it goes before any dispatch"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a claim gets."""

    free_kw: tuple[float, ...]
    """What those before it and the limits left for each of its pieces [kW, >= 0]."""
    pieces: tuple[Piece, ...]
    """What it gets of each; all 0 where it gets nothing."""
    before: tuple[str, ...]
    """Who had a share before it in its time and direction, by rank."""
    is_capped: bool
    """A capacity limit left it less than its sites could give."""

    @property
    def size_kw(self) -> float:
        """Largest power that it gets [kW]; 0: nothing."""
        return max((piece.size_kw for piece in self.pieces), default=0.0)


def shared(claims: Iterable[Claim]) -> dict[str, Grant]:
    """Return what each claim gets, by name; the order of ``claims`` does not matter.

    Raises ValueError for two claims of one name.
    """
    ordered = sorted(claims, key=lambda claim: claim.rank)
    grants: dict[str, Grant] = {}
    for place, claim in enumerate(ordered):
        if claim.name in grants:
            raise ValueError(f"two claims are called {claim.name!r}, accepted: one an event")
        grants[claim.name] = _granted(claim, [(other.name, grants[other.name]) for other in ordered[:place]])
    return grants


def why_before(first: Claim, second: Claim) -> OrderRule:
    """Return the rule by which one claim goes before another."""
    return next(rule for rule in ORDER if rule.key(first) != rule.key(second))


def _granted(claim: Claim, before: Sequence[tuple[str, Grant]]) -> Grant:
    if claim.is_sold:
        return Grant(tuple(piece.size_kw for piece in claim.pieces), claim.pieces, (), False)
    usable_kw = claim.available_kw if math.isfinite(claim.available_kw) else 0.0
    free_kw, given, rivals, is_capped = [], [], dict[str, None](), False
    for piece in claim.pieces:
        free = math.inf
        for is_up in (True, False):
            if (piece.up_kw if is_up else piece.down_kw) <= 0.0:
                continue
            taken = [
                (other.window, other.up_kw if is_up else other.down_kw, name)
                for name, grant in before
                for other in grant.pieces
                if other.window.overlap(piece.window) and (other.up_kw if is_up else other.down_kw) > 0.0
            ]
            rivals |= dict.fromkeys(name for _, _, name in taken)
            caps = [cap for cap in claim.caps if cap.is_up is is_up and cap.window.overlap(piece.window)]
            is_capped = is_capped or any(cap.power_kw < usable_kw for cap in caps)
            free = min(free, _least_free_kw(piece.window, usable_kw, taken, caps))
        free = 0.0 if math.isinf(free) else max(0.0, free)
        free_kw.append(free)
        given.append(_cut(piece, free, claim))
    is_cut = any(got.size_kw < asked.size_kw for got, asked in zip(given, claim.pieces, strict=True))
    if is_cut and not claim.allows_part:
        given = [piece.limited(0.0) for piece in claim.pieces]
    return Grant(tuple(free_kw), tuple(given), tuple(rivals), is_capped)


def _least_free_kw(
    window: Interval, usable_kw: float, taken: Sequence[tuple[Interval, float, str]], caps: Sequence[Cap]
) -> float:
    """Return the least that is left at any instant of a window [kW]; it changes only where something begins."""
    starts = {window.starts_at}
    starts |= {max(window.starts_at, part.starts_at) for part, _, _ in taken}
    starts |= {max(window.starts_at, cap.window.starts_at) for cap in caps}
    return min(
        min([usable_kw, *(cap.power_kw for cap in caps if at in cap.window)])
        - math.fsum(power_kw for part, power_kw, _ in taken if at in part)
        for at in starts
    )


def _cut(piece: Piece, free_kw: float, claim: Claim) -> Piece:
    return piece.limited(part_kw(piece.size_kw, free_kw, claim.min_power_kw))


def part_kw(asked_kw: float, free_kw: float, least_kw: float) -> float:
    """Return what is given of a size where so much is free [kW]: all, or whole kilowatts downwards.

    A part is a promise, not an estimate; below the least that is worth having it is nothing.
    """
    if free_kw >= asked_kw:
        return asked_kw
    part = float(math.floor(max(free_kw, 0.0)))
    return part if part >= max(least_kw, 1.0) else 0.0


def taken_kw(grants: Mapping[str, Grant], at: datetime, *, is_up: bool) -> float:
    """Return what all claims together hold at an instant in a direction [kW]."""
    return math.fsum(
        (piece.up_kw if is_up else piece.down_kw)
        for grant in grants.values()
        for piece in grant.pieces
        if at in piece.window
    )
