"""What people may ask of a site, and the names under which a site refuses: pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SiteRequest(StrEnum):
    """One thing that a site may be asked for; what it means at the site stands in docs/operation.md."""

    ISLAND = "island"
    """Planned island (IEEE 2030.7 T1): bring the exchange to about zero, open, stay alone until asked back."""
    RECONNECT = "reconnect"
    """Return to the grid (T3) once it is fit and in step."""
    BLACK_START = "black_start"
    """Start a site that stands still (T4); nothing latched is cleared by it."""
    MAINTENANCE_ON = "maintenance_on"
    MAINTENANCE_OFF = "maintenance_off"
    GENSET_ON = "genset_on"
    """Let the set carry an island whatever the charge."""
    GENSET_OFF = "genset_off"
    ACKNOWLEDGE = "acknowledge"
    """Take warnings back until their cause shows again; latches stay."""
    CLEAR_LOCKOUT = "clear_lockout"
    """The key at the site: clears what is latched and gone, and starts. Never from afar."""


LOCAL_ONLY: Final = frozenset({SiteRequest.CLEAR_LOCKOUT})
"""Requests that a site takes only from somebody who stands in front of it."""


class RequestRefusal(StrEnum):
    """Why a site did not do what it was asked for."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    KEY_WITHDRAWN = "key_withdrawn"
    """Signed by a key that the platform has withdrawn."""
    WRONG_SITE = "wrong_site"
    STALE = "stale"
    """Its sequence is below the one that the site answered last: a replay, or one that was overtaken."""
    REPEATED = "repeated"
    """Its sequence is the last answered one but its content differs."""
    EXPIRED = "expired"
    LOCAL_ONLY = "local_only"
    """Only the key at the site does that."""
    NOT_IN_MODE = "not_in_mode"
    LATCHED = "latched"
    """What is latched has to be cleared at the site first, or its contact still stands."""
    NOT_FITTED = "not_fitted"
    BUSY = "busy"
    """Another request is being answered."""
    CONTROLLER_SILENT = "controller_silent"
    """The control process did not answer in time; it does not do it later either."""
    INTERRUPTED = "interrupted"
    """The site's link ended between asking and answering; whether it was done shows in the mode."""


ANSWERED_WITHIN_S: Final = 2.0
"""A controller that has not answered by then is silent [s]; an older request is not taken up."""
