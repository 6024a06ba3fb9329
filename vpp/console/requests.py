"""Requests to sites as people read them: what a button says, what it will do, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sites.core.requests import SiteRequest
from sites.metering.models import SiteStanding
from vpp.console import texts
from vpp.dispatch import commands
from vpp.dispatch.models import SiteCommand


@dataclass(frozen=True, slots=True)
class RequestText:
    """What people read of one request."""

    title: str
    consequence: str
    """What happens at the site once it is confirmed."""


TEXTS: Final[dict[SiteRequest, RequestText]] = {
    SiteRequest.ISLAND: RequestText(
        "Planned island",
        "The site takes its load over, opens its switch and stays alone until it is asked back. It gives nothing to "
        "the grid meanwhile, and its share of an obligation is missing.",
    ),
    SiteRequest.RECONNECT: RequestText(
        "Reconnect",
        "The site returns to the grid once that has been fit for the code's delay and both sides are in step.",
    ),
    SiteRequest.BLACK_START: RequestText(
        "Black start",
        "A site that stands still raises its own bus, or joins a grid that is there. Nothing latched is cleared.",
    ),
    SiteRequest.MAINTENANCE_ON: RequestText(
        "Begin maintenance",
        "Battery, sun and genset are blocked; the load stays on the grid and is dark when the grid fails. An armed "
        "response stops.",
    ),
    SiteRequest.MAINTENANCE_OFF: RequestText(
        "End maintenance",
        "The site joins the grid again and serves what it is armed with. Make sure that nobody works there.",
    ),
    SiteRequest.GENSET_ON: RequestText(
        "Run genset",
        "In an island the set carries load whatever the charge, until it is asked back or the grid returns.",
    ),
    SiteRequest.GENSET_OFF: RequestText("Genset by its own rules", "The set stops when charge and minimum time allow."),
    SiteRequest.ACKNOWLEDGE: RequestText(
        "Acknowledge warnings",
        "Warnings go until their cause shows again; a set that failed three times may try again. Latched alarms stay.",
    ),
    SiteRequest.CLEAR_LOCKOUT: RequestText(
        "Clear lockout",
        "Only the key at the site does that: the site will refuse, and the trail shows that it was asked.",
    ),
}
BUTTONS: Final = tuple(request for request in SiteRequest if request is not SiteRequest.CLEAR_LOCKOUT)
"""What a page offers, in order; the key at the site has no button."""
STATES: Final = {
    "waiting": "waiting for the site",
    "accepted": "taken up",
    "refused": "refused",
    "unanswered": "no answer, expired",
}
ERRORS: Final = {
    "malformed": "the site could not read it",
    "unsigned": "the site does not know our key",
    "wrong_site": "it was for another site",
    "stale": "overtaken by a later one",
    "repeated": "its number was used before",
    "expired": "it came too late",
    "local_only": "only the key at the site does that",
    "not_in_mode": "not in the site's present mode",
    "latched": "a latched alarm has to be cleared at the site first",
    "not_fitted": "the site has nothing that could do it",
    "busy": "the site was answering another request",
    "controller_silent": "the site's controller did not answer",
    "interrupted": "the site's link restarted in between; the mode shows whether it was done",
}
ALARMS: Final = {
    "emergency_stop": "Emergency stop",
    "fire": "Fire",
    "bms_trip": "Battery management trip",
    "fault": "Fault of the bus",
    "bond_closed": "Neutral-earth bond closed beside the grid's",
    "battery_parted": "Battery parted by its management",
    "genset_failed": "Genset does not start",
    "local_reset": "Key turned",
    "neutral_earth_closed": "Neutral-earth bond closed",
}
LIMITS: Final = {
    "none": "not limited",
    "energy": "held back by its energy",
    "export": "held back by the export limit",
    "import": "held back by the import limit",
    "rating": "held back by the converter's rating",
}
OUTBOXES: Final = {
    "ok": "safe",
    "filling": "nearly full: samples will be given up soon",
    "dropping": "samples were given up within the last hour",
    "unwritable": "the disk takes nothing more: intervals wait in memory",
}
TIERS: Final = ("none: the load is dark", "critical only", "critical and essential", "all three")
SOON_S: Final = 86_400.0


def standing_texts(standing: SiteStanding | None, *, saturates_in_s: float | None, zone: ZoneInfo) -> dict[str, str]:
    """Return what a site stands at, in words; dashes for a site that told nothing of it."""
    if standing is None:
        names = ("alarms", "warnings", "lockout", "inputs", "tiers", "limit", "decision", "counters", "outbox")
        return dict.fromkeys(names, texts.NOTHING)
    mode, _, event = standing.lockout_cause.partition(": ")
    limit = LIMITS.get(standing.limited_by, texts.NOTHING)
    if saturates_in_s is not None and saturates_in_s < SOON_S:
        limit += f"; energy ends in {texts.age(saturates_in_s)} at this power"
    tiers = standing.tiers_closed
    return {
        "alarms": _words(standing.alarms) or "none",
        "warnings": _words(standing.warnings) or "none",
        "lockout": f"{_spaced(event)}, when {texts.mode_name(mode).lower()}" if event else "none",
        "inputs": _words(standing.inputs) or "none tripped",
        "tiers": TIERS[tiers] if tiers is not None and 0 <= tiers < len(TIERS) else texts.NOTHING,
        "limit": limit,
        "decision": _decision(standing, zone),
        "counters": _counters(standing),
        "outbox": _outbox(standing, zone),
    }


def request_buttons(permitted: Iterable[SiteRequest]) -> list[dict[str, str]]:
    """Return the requests that a page offers this person, as a template needs them."""
    allowed = frozenset(permitted)
    return [{"name": request.value, "title": TEXTS[request].title} for request in BUTTONS if request in allowed]


def command_texts(command: SiteCommand, *, at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return one line of a site's trail: who asked for what, when, and what the site answered."""
    state = commands.state_of(command, at=at)
    role = command.issued_as
    reason = ERRORS.get(command.error, _spaced(command.error))
    took_ms = None
    if command.answered_at is not None and command.first_sent_at is not None:
        took_ms = max(0.0, (command.answered_at - command.first_sent_at).total_seconds() * 1e3)
    return {
        "request": TEXTS[SiteRequest(command.request)].title,
        "who": command.issued_by_name + (f" ({role})" if role and role != command.issued_by_name else ""),
        "issued_at": texts.instant(command.issued_at, zone),
        "state": state,
        "answer": STATES[state] + (f": {reason}" if reason else ""),
        "took": texts.quantity(took_ms, "ms", 0) if took_ms is not None else "",
    }


def _words(names: str) -> str:
    return ", ".join(ALARMS.get(name, _spaced(name)) for name in names.split(",") if name)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _decision(standing: SiteStanding, zone: ZoneInfo) -> str:
    if standing.decided_at is None:
        return "none yet"
    path = f", seen by the {_spaced(standing.decision_path)} path" if standing.decision_path else ""
    return f"{_spaced(standing.decision_cause)} at {texts.instant(standing.decided_at, zone, digits=3)}{path}"


def _outbox(standing: SiteStanding, zone: ZoneInfo) -> str:
    if not standing.outbox_state:
        return texts.NOTHING
    parts = [OUTBOXES.get(standing.outbox_state, _spaced(standing.outbox_state))]
    if standing.outbox_rows and standing.outbox_oldest_at is not None:
        oldest = texts.instant(standing.outbox_oldest_at, zone)
        parts.append(f"{standing.outbox_rows:,} rows wait, the oldest from {oldest}")
    if standing.outbox_used_ratio:
        parts.append(f"{standing.outbox_used_ratio:.0%} of its bound taken")
    dropped = ((standing.outbox_dropped_records, "records"), (standing.outbox_dropped_waveforms, "waveforms"))
    parts += [f"samples of {count:,} {name} given up" for count, name in dropped if count]
    return "; ".join(parts)


def _counters(standing: SiteStanding) -> str:
    parts = (
        (standing.ticks_overrun, "ticks overrun"),
        (standing.samples_caught_up, "samples caught up"),
        (standing.requests_refused, "requests refused"),
    )
    return ", ".join(f"{value:,} {name}" for value, name in parts if value is not None) or texts.NOTHING
