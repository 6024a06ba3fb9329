"""What a response product asks of a site against the local frequency: droop curves and latched triggers.

A curve gives the share of the contracted power against the deviation of the local frequency from
nominal. Price and score of a product are the market's and live there; its rows stand in ``curves``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_POINTS: Final = 8
ROUNDING_HZ: Final = 1e-9
"""60 − 59.85 is a little less than 0.15 in binary: a threshold counts as reached from here on."""


class CurveError(ValueError):
    """A curve that no site could follow, or a name that the catalogue does not hold."""


class Direction(StrEnum):
    """Which deviation a curve answers."""

    LOW = "low"
    """Frequency below nominal: power into the grid (discharge, positive)."""
    HIGH = "high"
    """Frequency above nominal: power out of the grid (charge, negative)."""
    BOTH = "both"
    """Symmetric: discharge below nominal, charge above, the same shares either way."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A response that latches: once the threshold is passed it runs its course, whatever the frequency does.

    The threshold is the first point of the curve. A second crossing while it runs changes nothing; it is
    ready again when it has released, has rested and the frequency has been back inside the threshold.
    """

    ramp_s: float
    """From the activation to the full share at the site [s]; 0: as fast as the site can."""
    sustain_s: float
    """Full share is held this long [s], > 0."""
    release_per_s: float
    """Fastest release, share of the contracted power per second [1/s], > 0."""
    rest_s: float = 0.0
    """From the end of the release until the site is ready again [s]."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("ramp_s", 0.0, 3600.0),
            ("sustain_s", 0.001, 86_400.0),
            ("release_per_s", 1e-4, 1000.0),
            ("rest_s", 0.0, 86_400.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise CurveError(f"trigger: {name} is {value}, accepted: {low} to {high}")

    @property
    def length_s(self) -> float:
        """From the activation to the end of the release, for a site that is at once at full power [s]."""
        return self.sustain_s + 1.0 / self.release_per_s


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a site may take back the energy that it gave, while nothing is due inside the armed window."""

    share: float
    """Largest recovery power, share of the contracted power [0 to 1]."""
    after_s: float
    """Nothing has been due for this long [s]; the site adds its own stagger."""
    ramp_per_min: float
    """Ramp of the recovery power, share of the contracted power per minute [1/min], > 0."""

    def __post_init__(self) -> None:
        for name, low, high in (("share", 0.0, 1.0), ("after_s", 0.0, 86_400.0), ("ramp_per_min", 0.001, 1000.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise CurveError(f"recovery: {name} is {value}, accepted: {low} to {high}")


@dataclass(frozen=True, slots=True)
class ResponseCurve:
    """Share of contracted power against the frequency deviation, linear between points."""

    name: str
    direction: Direction
    points: tuple[tuple[float, float], ...]
    """(absolute deviation [Hz], share of contracted power [-]); strictly rising / non-falling."""
    initiate_within_s: float
    """Allowed delay before the response starts [s]."""
    full_within_s: float
    """Allowed time to full power [s]."""
    sustain_s: float
    """How long full power must be held [s]; sizes the energy behind the power."""
    source: str
    certainty: str
    """V = read in a primary or cited page, M = from memory of the primary document, U = unsure; that of the
    row's least certain figure."""
    nominal_hz: float = 50.0
    trigger: Trigger | None = None
    """None: a droop that follows the frequency both ways."""
    recovery: Recovery | None = None
    """None: the product allows no recovery beside the declared baseline."""
    over_delivery_share: float | None = None
    """Power above what is due that the product bears, share of contract [-]; None: none is published."""
    effective_from: date | None = None
    """First day of the rule; None: not known."""

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
        if self.trigger is not None and (self.direction is Direction.BOTH or self.points[0][1] != self.points[-1][1]):
            raise CurveError(
                f"curve {self.name!r} with a trigger answers {self.direction.value} with shares {self.points[0][1]} to "
                f"{self.points[-1][1]}, accepted: low or high, and one share throughout"
            )

    @property
    def sign(self) -> int:
        """+1 when the response is into the site's bus (discharge), −1 when out of it (charge), 0 when both."""
        return {Direction.LOW: 1, Direction.HIGH: -1, Direction.BOTH: 0}[self.direction]

    @property
    def deadband_hz(self) -> float:
        """Deviation up to which nothing is due [Hz]."""
        zero = [x for x, y in self.points if y == 0.0]
        return zero[-1] if zero else self.points[0][0]


def required_share(curve: ResponseCurve, frequency_hz: FloatArray | float, nominal_hz: float) -> FloatArray:
    """Return the signed share of contracted power due at a frequency [-], same shape as the input.

    Positive into the site's bus. Outside the last point the share stays at the last value; on the
    side that the curve does not answer it is zero. NaN stays NaN: an unknown frequency owes an
    unknown power, and the caller must say what that means. A trigger's share is the one that its
    threshold asks for, without the latch; ``required_course`` has the latch.
    """
    deviation = np.asarray(nominal_hz - np.asarray(frequency_hz, dtype=np.float64))
    x, y = zip(*curve.points, strict=True)
    sign = np.sign(deviation) if curve.direction is Direction.BOTH else float(curve.sign)
    share = np.interp(deviation * sign, x, y, left=0.0)
    return np.asarray(np.where(np.isnan(deviation), np.nan, share * sign), dtype=np.float64)


def required_course(curve: ResponseCurve, t_s: FloatArray, frequency_hz: FloatArray, nominal_hz: float) -> FloatArray:
    """Return the signed share due at each instant of a recording [-], triggers latched.

    ``t_s`` rises. A trigger is due in full from the instant at which its threshold is passed; how
    much later a site may be there is ``full_within_s``. An unknown frequency neither triggers nor ends it.
    """
    if curve.trigger is None:
        return required_share(curve, frequency_hz, nominal_hz)
    trigger = curve.trigger
    deviation = (nominal_hz - np.asarray(frequency_hz, dtype=np.float64)) * curve.sign
    outside = deviation >= curve.points[0][0] - ROUNDING_HZ
    inside = deviation < curve.points[0][0] - ROUNDING_HZ
    full = curve.points[-1][1]
    due = np.zeros(len(t_s))
    at = _next(outside, 0)
    while at < len(t_s):
        # No more than the course and the rest: a day may hold thousands of triggers.
        horizon_s = t_s[at] + trigger.length_s + trigger.rest_s + 1e-3
        since_s = t_s[at : np.searchsorted(t_s, horizon_s, side="right")] - t_s[at]
        course = np.clip(full - trigger.release_per_s * (since_s - trigger.sustain_s), 0.0, full)
        count = int(np.searchsorted(since_s, trigger.length_s, side="right"))
        due[at : at + count] = course[:count]
        # Ready again after the rest, once the frequency has been back.
        rested = int(np.searchsorted(since_s, trigger.length_s + trigger.rest_s, side="left"))
        at = _next(outside, _next(inside, at + rested))
    return due * curve.sign


def _next(mask: npt.NDArray[np.bool_], start: int) -> int:
    """Return the first index from ``start`` on where the mask holds, its length when there is none."""
    if start >= len(mask):
        return len(mask)
    # argmax stops at the first True.
    found = start + int(np.argmax(mask[start:]))
    return found if mask[found] else len(mask)
