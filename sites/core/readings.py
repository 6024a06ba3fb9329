"""One measured value with its quality."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Quality(StrEnum):
    """How far a reading may be trusted (names after IEC 61850's quality)."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    """Measured, but something is off: its clock is flagged, or its site had no birth yet."""
    INVALID = "invalid"
    DERIVED = "derived"
    """Made by the platform from the registers of a meter whose accuracy class is declared."""
    UNPROVEN = "unproven"
    """Likewise, from registers of nobody knows which class."""


PROVES_NOTHING: Final = frozenset({Quality.INVALID, Quality.UNPROVEN})
"""Kept, shown and audited; no book settles on it."""

METER_CLASSES: Final = ("0.1S", "0.2S", "0.5S", "0.1", "0.2", "0.5", "1", "2", "3", "A", "B", "C")
"""Accuracy classes of energy meters: IEC 62053-21/-22 and the Measuring Instruments Directive (EN 50470)."""


class TimeQuality(StrEnum):
    """How far the instants of a metered interval may be trusted; its energy does not depend on them."""

    SYNCHRONIZED = "synchronized"
    """The site's clock followed a time source."""
    UNSYNCHRONIZED = "unsynchronized"
    """No source disciplined the site's clock."""
    STEPPED = "stepped"
    """The site's clock jumped while, or just before, this was metered."""
    DISPUTED = "disputed"
    """It came as live data, but its end does not fit the instant at which the platform received it."""
    SAMPLED = "sampled"
    """Its ends are the grid's; the registers there are the last ones read, up to a minute before."""
    UNKNOWN = "unknown"
    """The site does not say."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value measured at a site, as the platform keeps it."""

    site_id: str
    asset: str
    """Asset's name at its site, such as ``battery``; empty for the site itself."""
    metric: str
    measured_at: datetime
    value: float
    quality: Quality = Quality.GOOD
