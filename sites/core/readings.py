"""One measured value with its quality."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Quality(StrEnum):
    """How far a reading may be trusted (names after IEC 61850's quality)."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    """Measured, but something is off: its clock is flagged, or its site had no birth yet."""
    INVALID = "invalid"


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
