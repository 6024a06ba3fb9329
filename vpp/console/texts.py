"""Figures, instants and names as people read them: units, a typographic minus, ages, local times."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sites.registry.models import Site

NOTHING: Final = "–"
MODES: Final = {
    "grid_tied": "Grid-tied",
    "islanding": "Islanding",
    "islanded": "Islanded",
    "resynchronizing": "Resynchronizing",
    "black_start": "Black start",
    "lockout": "Lockout",
    "maintenance": "Maintenance",
    "unknown": "Unknown",
}


def quantity(value: float | None, unit: str, digits: int = 1) -> str:
    """Return a figure with its unit and a typographic minus, or a dash for none."""
    if value is None:
        return NOTHING
    # Adding 0.0 turns a rounded "-0.0" into plain zero.
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−") + f" {unit}"


def money(amount: Decimal) -> str:
    """Return an amount with two decimals, or with as many of the book's six as a small one needs to be seen."""
    digits = 2 if abs(amount) >= Decimal("0.1") or amount == 0 else 6
    return f"{amount:,.{digits}f}".replace("-", "−")


def exact(amount: Decimal, currency: str) -> str:
    """Return an amount with all of the book's six decimals: lines of one table add up to the eye too."""
    return f"{amount:,.6f} {currency}".replace("-", "−")


def changed(amount: Decimal, currency: str) -> str:
    """Return a difference with its sign, or a dash where nothing changed."""
    return NOTHING if amount == 0 else f"{amount:+,.6f} {currency}".replace("-", "−")


def booked(amount: object, unit: str) -> str:
    """Return a posting's amount for people: micrograms as g or kg CO2e, everything else as it is booked."""
    if unit == "ugCO2e" and isinstance(amount, int):
        grams = amount / 1_000_000
        return quantity(grams / 1000, "kg CO2e", 3) if abs(grams) >= 1000 else quantity(grams, "g CO2e", 3)
    return f"{amount} {unit}".replace("-", "−")


def age(seconds: float | None) -> str:
    """Return how old something is, in the largest unit that says enough."""
    if seconds is None:
        return "never"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"


def zone_of(site: Site) -> ZoneInfo:
    """Return the site's own time zone; UTC when its name is not known to this machine."""
    try:
        return ZoneInfo(site.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def instant(at: datetime, zone: ZoneInfo | None = None, *, digits: int = 0) -> str:
    """Return an instant in a zone (UTC without one) with the zone's short name."""
    local = at.astimezone(zone or UTC)
    fraction = f".{local.microsecond:06d}"[: digits + 1] if digits else ""
    return f"{local:%Y-%m-%d %H:%M:%S}{fraction} {local.tzname()}"


def mode_name(mode: str) -> str:
    """Return a mode's name for people."""
    return MODES.get(mode, mode or NOTHING)


def link_loss(site: Site) -> str:
    """Return what the site does when its link is lost, for its owner and the dispatcher."""
    if site.loss_of_link == Site.LossOfLink.HOLD:
        return "holds its assignment to the end"
    return "releases at once: none of its power is firm"
