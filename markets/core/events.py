"""An OpenADR event as we read it, whatever version of the protocol carried it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

DEFAULT_OPERATOR: Final = "operator"
"""Name of the operator where the settings declare one alone, without a table."""


class EventInvalid(ValueError):
    """A message in which no event can be recognized; the message names the field."""


class EventStatus(StrEnum):
    """Status that the operator gives an event."""

    NONE = "none"
    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class OptType(StrEnum):
    """OpenADR's own words for yes and no."""

    OPT_IN = "optIn"
    OPT_OUT = "optOut"


@dataclass(frozen=True, slots=True)
class EventInterval:
    """One step of a signal; values as received, so nonsense is kept for the decision to name."""

    starts_at: datetime | None
    """None where the message leaves it to the step before."""
    duration: timedelta | None
    value: float | None
    """As sent, in the signal's own unit and sign; None when the message held no number."""


@dataclass(frozen=True, slots=True)
class EventSignal:
    """What is asked for over time."""

    name: str
    """OpenADR signal name, such as ``LOAD_DISPATCH``."""
    type: str
    """OpenADR signal type, such as ``delta``."""
    intervals: tuple[EventInterval, ...]
    unit: str | None = None
    """``W`` when the signal carries its unit; None: the program's convention holds."""
    scale: str | None = None
    """SI scale code of the unit: ``none``, ``k``, ``M``, ``G`` …"""


@dataclass(frozen=True, slots=True)
class Event:
    """One version (modification) of one event."""

    vtn_id: str
    event_id: str
    modification_number: int
    status: str
    """As received; EventStatus names the accepted ones."""
    market_context: str
    starts_at: datetime | None
    duration: timedelta | None
    signals: tuple[EventSignal, ...]
    is_test: bool = False
    response_required: bool = True
    priority: int = 0
    """0: none given; else the lower the more urgent."""
    operator: str = DEFAULT_OPERATOR
    """Who sent it, by the connection it came over and not by what it says of itself."""
    targets: tuple[tuple[str, str], ...] = ()
    """(kind, name) of what it is meant for, such as ("resource_id", "site-0001"); none: all that the program has."""
    start_after: timedelta | None = None
    """Tolerance ``startafter``: start and end of a cancelled one are spread by lot over so long."""

    @property
    def content_key(self) -> str:
        """Text of what was asked: the same for a repetition, another when the content changed.

        The status is left out: it walks from far to completed without a modification.
        """
        asked = (self.market_context, self.starts_at, self.duration, self.signals, self.is_test)
        # What an event may leave out was not told apart before it was read: those that leave it out keep their hash.
        others = tuple(target for target in self.targets if not target[0].lower().startswith("ven"))
        further = tuple(part for part in (self.priority, others, self.start_after) if part)
        return repr((*asked, *further))

    @property
    def content_hash(self) -> str:
        """SHA-256 [64 hex] over ``content_key``."""
        return hashlib.sha256(self.content_key.encode()).hexdigest()
