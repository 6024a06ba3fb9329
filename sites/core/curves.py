"""The technical response each product asks of a site, by name.

A curve gives the share of the contracted power against the deviation of the local frequency from
nominal. Price and score of the product are the market's and live there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class CurveError(ValueError):
    """A curve that no site could follow, or a name that the catalogue does not hold."""


class Direction(StrEnum):
    """Which deviation a curve answers."""

    LOW = "low"
    """Frequency below nominal: power into the grid (discharge, positive)."""
    HIGH = "high"
    """Frequency above nominal: power out of the grid (charge, negative)."""


@dataclass(frozen=True, slots=True)
class ResponseCurve:
    """Share of contracted power against the frequency deviation, linear between points."""

    name: str
    direction: Direction
    points: tuple[tuple[float, float], ...]
    """(absolute deviation [Hz], share of contracted power [-]); both strictly rising / non-falling."""
    initiate_within_s: float
    """Allowed delay before the response starts [s]."""
    full_within_s: float
    """Allowed time to full power [s]."""
    sustain_s: float
    """How long full power must be held [s]; sizes the energy behind the power."""
    source: str
    certainty: str
    """V = read in a primary or cited page, M = from memory of the primary document, U = unsure."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.points) <= MAX_POINTS:
            raise CurveError(f"curve {self.name!r} has {len(self.points)} points, accepted: 2 to {MAX_POINTS}")
        for (x0, y0), (x1, y1) in zip(self.points, self.points[1:], strict=False):
            if not (x1 > x0 and y1 >= y0):
                raise CurveError(
                    f"curve {self.name!r}: point ({x1}, {y1}) after ({x0}, {y0}), "
                    "accepted: deviations that rise and shares that do not fall"
                )
        if self.points[0][0] < 0.0 or self.points[0][1] < 0.0 or self.points[-1][1] > 1.0:
            raise CurveError(f"curve {self.name!r} leaves its range, accepted: deviation >= 0 Hz, share 0 to 1")

    @property
    def sign(self) -> int:
        """+1 when the response is into the site's bus (discharge), −1 when out of it (charge)."""
        return 1 if self.direction is Direction.LOW else -1


MAX_POINTS: Final = 8

CATALOGUE: Final[dict[str, ResponseCurve]] = {
    curve.name: curve
    for curve in (
        ResponseCurve(
            name="neso-dc-low",
            direction=Direction.LOW,
            points=((0.015, 0.0), (0.2, 0.05), (0.5, 1.0)),
            initiate_within_s=0.5,
            full_within_s=1.0,
            sustain_s=900.0,
            source="NESO Dynamic Containment low: 0 at 0.015 Hz, 5 % at 0.2 Hz, 100 % at 0.5 Hz, 15 min",
            certainty="V",
        ),
        ResponseCurve(
            name="neso-dc-high",
            direction=Direction.HIGH,
            points=((0.015, 0.0), (0.2, 0.05), (0.5, 1.0)),
            initiate_within_s=0.5,
            full_within_s=1.0,
            sustain_s=900.0,
            source="NESO Dynamic Containment high, mirror of low",
            certainty="V",
        ),
    )
}


def curve_named(name: str) -> ResponseCurve:
    """Return a curve of the catalogue; raise CurveError naming what is known otherwise."""
    try:
        return CATALOGUE[name]
    except KeyError:
        known = ", ".join(sorted(CATALOGUE))
        raise CurveError(f"curve {name!r} is not in the catalogue, accepted: {known}") from None


def required_share(curve: ResponseCurve, frequency_hz: FloatArray | float, nominal_hz: float) -> FloatArray:
    """Return the signed share of contracted power due at a frequency [-], same shape as the input.

    Positive into the site's bus. Outside the last point the share stays at the last value; on the
    side that the curve does not answer it is zero. NaN stays NaN: an unknown frequency owes an
    unknown power, and the caller must say what that means.
    """
    deviation = np.asarray(nominal_hz - np.asarray(frequency_hz, dtype=np.float64)) * curve.sign
    x, y = zip(*curve.points, strict=True)
    share = np.interp(deviation, x, y, left=0.0)
    return np.asarray(np.where(np.isnan(deviation), np.nan, share * curve.sign), dtype=np.float64)
