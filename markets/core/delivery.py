"""Required and delivered power from high-rate records: worst 10 s, response time, energies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import FloatArray, ResponseCurve, required_course, required_share
from sites.core.units import UWH_PER_KWH

BoolArray = npt.NDArray[np.bool_]

WORST_WINDOW_S: Final = 10.0
RESPONSE_SHARE: Final = 0.9
"""A response counts as given when it has this share of the full power."""


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """One site's own record over the obligation's window, on its sample grid; NaN where none came."""

    frequency_hz: FloatArray
    battery_kw: FloatArray
    """Positive into the bus [kW], shape ``(n,)``."""
    switch_closed: FloatArray
    """1 while the site is on the grid."""
    armed_kw: FloatArray
    """Power armed at the site [kW, >= 0]."""
    stream_kw: FloatArray | float = 0.0
    """What of the battery's power was for a setpoint stream, positive into the bus [kW]."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Power on the sample grid in the product's direction, shape ``(n,)`` each.

    A product that answers both ways has no direction of its own: there a power into the sites' buses is positive, and
    energies are net.
    """

    rate_hz: float
    contracted_kw: float | FloatArray
    """The same all the time, or at each sample where a share moved inside the window; 0 where none was held."""
    required_kw: FloatArray
    """Due by the curve [kW, >= 0 where the product has a direction]; NaN where no frequency is known."""
    delivered_kw: FloatArray
    """Given to the grid on top of the baseline [kW]; negative: in the wrong direction. 0 where
    nothing proves a delivery: no record, or the site off the grid."""
    available: BoolArray
    """What can be judged. One site: recorded, on the grid and armed; a fleet: any site recorded on the grid."""
    available_kw: FloatArray
    """Contracted power that stood ready: recorded, on the grid and armed [kW, >= 0]."""

    @property
    def available_ratio(self) -> float:
        """Share of contracted power times time that stood ready, 0 to 1; more than contracted never makes up."""
        if not self.available_kw.size or self.most_contracted_kw <= 0.0:
            return 0.0
        if isinstance(self.contracted_kw, np.ndarray):
            stood_kw = np.minimum(self.available_kw, self.contracted_kw)
            return float(stood_kw.sum() / self.contracted_kw.sum())
        return float(np.mean(np.minimum(self.available_kw / self.contracted_kw, 1.0)))

    @property
    def due_share(self) -> FloatArray:
        """What was due over what was contracted then [-]; NaN where nothing is known, 0 where nothing is contracted."""
        return self._over_contracted(self.required_kw)

    @property
    def given_share(self) -> FloatArray:
        """What was given over what was contracted then [-]; 0 where nothing is known or contracted."""
        return self._over_contracted(self.delivered_kw)

    def _over_contracted(self, power_kw: FloatArray) -> FloatArray:
        contracted_kw = np.broadcast_to(np.asarray(self.contracted_kw, dtype=np.float64), power_kw.shape)
        return np.divide(power_kw, contracted_kw, out=np.zeros(power_kw.shape), where=contracted_kw > 0.0)

    def part(self, samples: slice) -> Delivery:
        """Return some of the samples."""
        contracted_kw = self.contracted_kw
        return Delivery(
            self.rate_hz,
            contracted_kw[samples] if isinstance(contracted_kw, np.ndarray) else contracted_kw,
            self.required_kw[samples],
            self.delivered_kw[samples],
            self.available[samples],
            self.available_kw[samples],
        )

    @property
    def most_contracted_kw(self) -> float:
        """The largest power that was contracted at any time [kW]."""
        return float(np.max(self.contracted_kw, initial=0.0))


@dataclass(frozen=True, slots=True)
class WorstWindow:
    """The 10 s in which the least of what was due arrived."""

    starts_s: float
    """From the start of the record [s]."""
    due_kw: float
    delivered_kw: float

    @property
    def ratio(self) -> float:
        """Delivered over due [-]."""
        return self.delivered_kw / self.due_kw


def site_delivery(
    record: SiteRecord,
    *,
    curve: ResponseCurve,
    nominal_hz: float,
    rate_hz: float,
    contracted_kw: float | FloatArray,
    baseline_kw: FloatArray | float,
) -> Delivery:
    """Return what one site owed by its own frequency and what it gave; what was for a stream is not the curve's.

    ``baseline_kw`` is the declared one, positive into the bus: what the site writes into its own
    record is no proof. While the site is off the grid its battery serves its own load, which is no
    service; that time is unavailable.
    """
    recorded = np.isfinite(record.battery_kw) & np.isfinite(record.frequency_hz)
    on_grid = recorded & (record.switch_closed > 0.5)
    available = on_grid & (record.armed_kw > 0.0) & (np.asarray(contracted_kw) > 0.0)
    required = _due_share(curve, record.frequency_hz, nominal_hz, rate_hz) * _way(curve) * contracted_kw
    service = (record.battery_kw - baseline_kw - record.stream_kw) * _way(curve)
    return Delivery(
        rate_hz=rate_hz,
        contracted_kw=contracted_kw,
        required_kw=np.where(on_grid, required, np.nan),
        delivered_kw=np.where(on_grid, service, 0.0),
        available=available,
        available_kw=np.where(available, contracted_kw, 0.0),
    )


def followed_delivery(
    record: SiteRecord,
    *,
    asked: FloatArray,
    rate_hz: float,
    contracted_kw: float | FloatArray,
    baseline_kw: FloatArray | float,
    way: int,
) -> Delivery:
    """Return what one site was asked for by a signal or an instruction, and what it gave.

    ``asked`` is in shares of contract and ``way`` the sign, positive into the bus, in which both count. Beside an armed
    curve only the record's own stream column is for the signal; alone it is all of the battery's power above the
    baseline, which no column can claim.
    """  # fmt: skip
    recorded = np.isfinite(record.battery_kw) & (record.switch_closed > 0.5)
    contracted = np.broadcast_to(np.asarray(contracted_kw, dtype=np.float64), recorded.shape)
    available = recorded & (contracted > 0.0)
    beside_a_curve = np.nan_to_num(record.armed_kw) > 0.0
    given = np.where(beside_a_curve, record.stream_kw, record.battery_kw - baseline_kw) * way
    return Delivery(
        rate_hz=rate_hz,
        contracted_kw=contracted_kw,
        required_kw=np.where(recorded, asked * contracted, np.nan),
        delivered_kw=np.where(recorded, given, 0.0),
        available=available,
        available_kw=np.where(available, contracted, 0.0),
    )


def measured_delivery(
    given_kw: FloatArray, *, asked: FloatArray, rate_hz: float, contracted_kw: float | FloatArray
) -> Delivery:
    """Return the delivery of a power that is known from elsewhere, in the product's direction; NaN where it is not."""
    known = np.isfinite(given_kw)
    return Delivery(
        rate_hz=rate_hz,
        contracted_kw=contracted_kw,
        required_kw=np.where(known, asked * contracted_kw, np.nan),
        delivered_kw=np.where(known, given_kw, 0.0),
        available=known,
        available_kw=np.where(known, contracted_kw, 0.0),
    )


class FollowedSum:
    """Adds sites that follow one signal or keep one limit."""

    def __init__(self, samples: int) -> None:
        self._delivered_kw = np.zeros(samples)
        self._available_kw = np.zeros(samples)
        self._available = np.zeros(samples, dtype=np.bool_)

    def add(self, delivery: Delivery) -> None:
        """Add a site's delivery."""
        self._delivered_kw += delivery.delivered_kw
        self._available_kw += delivery.available_kw
        self._available |= delivery.available

    def delivery(self, *, asked: FloatArray, rate_hz: float, contracted_kw: float) -> Delivery:
        """Return the fleet's delivery against what was asked of it; what no site proves is missing."""
        return Delivery(
            rate_hz=rate_hz,
            contracted_kw=contracted_kw,
            required_kw=asked * contracted_kw,
            delivered_kw=self._delivered_kw.copy(),
            available=self._available.copy(),
            available_kw=self._available_kw.copy(),
        )


class FleetSum:
    """Adds sites one by one, so that a long window of a large fleet needs one site's memory."""

    def __init__(self, samples: int) -> None:
        self._delivered_kw = np.zeros(samples)
        self._available_kw = np.zeros(samples)
        self._frequency_sum = np.zeros(samples)
        self._frequency_count = np.zeros(samples, dtype=np.int64)

    def add(self, record: SiteRecord, delivery: Delivery) -> None:
        """Add a site's delivery, and its frequency while it is on the grid."""
        known = np.isfinite(delivery.required_kw)
        self._delivered_kw += delivery.delivered_kw
        self._available_kw += delivery.available_kw
        self._frequency_sum[known] += record.frequency_hz[known]
        self._frequency_count[known] += 1

    def delivery(
        self, *, curve: ResponseCurve, nominal_hz: float, rate_hz: float, contracted_kw: float | FloatArray
    ) -> Delivery:
        """Return the fleet's delivery against the obligation.

        What is due follows the mean of the frequencies that the sites on the grid measured: single
        meters are off by up to 10 mHz, which is 3 % of contract on the steep part of the curve.
        """
        known = self._frequency_count > 0
        frequency_hz = np.full(known.shape, np.nan)
        np.divide(self._frequency_sum, self._frequency_count, out=frequency_hz, where=known)
        due = _due_share(curve, frequency_hz, nominal_hz, rate_hz)
        return Delivery(
            rate_hz=rate_hz,
            contracted_kw=contracted_kw,
            required_kw=np.where(known, due * _way(curve) * contracted_kw, np.nan),
            delivered_kw=self._delivered_kw.copy(),
            available=known,
            available_kw=self._available_kw.copy(),
        )


def _due_share(curve: ResponseCurve, frequency_hz: FloatArray, nominal_hz: float, rate_hz: float) -> FloatArray:
    """Return the signed share of contract due at each sample; a trigger's share is latched."""
    if curve.trigger is None:
        return required_share(curve, frequency_hz, nominal_hz)
    return required_course(curve, np.arange(frequency_hz.size) / rate_hz, frequency_hz, nominal_hz)


def _way(curve: ResponseCurve) -> int:
    """Return the sign, positive into the site's bus, in which a product's powers count positive."""
    return curve.sign or 1


def timed_envelope(required_kw: FloatArray, within_s: float, rate_hz: float) -> tuple[FloatArray, FloatArray]:
    """Return the least and the most that may be delivered at each sample [kW].

    A response has ``within_s`` to follow: any power between the smallest and the largest that was
    due in that time is right. NaN where no frequency is known; a NaN does not spread.
    """
    width = max(1, round(within_s * rate_hz) + 1)
    if required_kw.size == 0:
        return required_kw.copy(), required_kw.copy()
    known = np.isfinite(required_kw)
    low = _trailing_min(np.where(known, required_kw, np.inf), width)
    high = -_trailing_min(np.where(known, -required_kw, np.inf), width)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def worst_window(delivery: Delivery, *, within_s: float, window_s: float = WORST_WINDOW_S) -> WorstWindow | None:
    """Return the window with the smallest delivered-to-due ratio, or None when nothing was due.

    Due is the lower timed envelope: what had to be there after the allowed time. What is above the
    upper one does not make up for what is missing at another instant. Only the windows in which at
    least 90 % of the largest mean was due are compared: near the dead band a ratio tells the meter's noise.
    The two ways of a product that answers both are judged apart: too much in one makes up for nothing in the other.
    """
    width = max(1, round(window_s * delivery.rate_hz))
    if delivery.required_kw.size < width:
        return None
    low, high = timed_envelope(delivery.required_kw, within_s, delivery.rate_hz)
    sides = (
        _worst_of_side(delivery, low, high, delivery.delivered_kw, width),
        _worst_of_side(delivery, -high, -low, -delivery.delivered_kw, width),
    )
    return min((worst for worst in sides if worst is not None), key=lambda worst: worst.ratio, default=None)


def _worst_of_side(
    delivery: Delivery, low: FloatArray, high: FloatArray, delivered_kw: FloatArray, width: int
) -> WorstWindow | None:
    """Return the worst window of one way, in which ``low``, ``high`` and ``delivered_kw`` count positive."""
    known = np.isfinite(low)
    due = np.where(known, np.maximum(low, 0.0), 0.0)
    # Where the other way may be taken, taking it is no lack of this one.
    counted = np.where(low < 0.0, np.maximum(np.minimum(delivered_kw, high), 0.0), np.minimum(delivered_kw, high))
    due_mean = _rolling_mean(due, width)
    delivered_mean = _rolling_mean(np.where(known, counted, 0.0), width)
    largest = float(due_mean.max())
    if largest < 0.01 * delivery.most_contracted_kw or largest <= 0.0:
        return None
    candidates = np.flatnonzero(due_mean >= 0.9 * largest)
    worst = candidates[np.argmin(delivered_mean[candidates] / due_mean[candidates])]
    return WorstWindow(worst / delivery.rate_hz, float(due_mean[worst]), float(delivered_mean[worst]))


def response_time_s(delivery: Delivery, *, within_s: float) -> float | None:
    """Return an upper bound of the lag [s] from 90 % of full being due to 90 % of full being given.

    Due counts from the first sample after which the power stays due for ``within_s``, the time the
    product allows: a requirement that is gone sooner, such as the flicker of a frequency meter in a
    phase jump, need not be met. None when the full power was never due so long; infinite when it was
    and never came. A sample says what held at some instant of its period, so the lag is counted to the end of the
    sample that shows the response: it is never less than one period. The delay of the site's own
    frequency estimate is not in it. Of a product that answers both ways the first time counts, whichever way.
    """
    if delivery.most_contracted_kw <= 0.0:
        return None
    threshold = np.broadcast_to(RESPONSE_SHARE * np.asarray(delivery.contracted_kw), delivery.required_kw.shape)
    width = max(1, round(within_s * delivery.rate_hz))
    if delivery.required_kw.size < width:
        return None
    lags = []
    for way in (1.0, -1.0):
        due = (np.nan_to_num(way * delivery.required_kw, nan=-np.inf) >= threshold) & (threshold > 0.0)
        running = np.convolve(due.astype(np.int64), np.ones(width, dtype=np.int64), mode="valid")
        stays_due = np.flatnonzero(running == width)
        if stays_due.size:
            first = int(stays_due[0])
            given = np.flatnonzero(way * delivery.delivered_kw[first:] >= threshold[first:])
            lags.append((first, float(given[0] + 1) / delivery.rate_hz if given.size else math.inf))
    return min(lags)[1] if lags else None


def energy_uwh(power_kw: FloatArray, rate_hz: float) -> int:
    """Return the energy under sampled power [uWh], NaN counted as 0, rounded half to even."""
    return round(float(np.nansum(power_kw)) / rate_hz / 3600.0 * UWH_PER_KWH)


def _rolling_mean(values: FloatArray, width: int) -> FloatArray:
    total = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray((total[width:] - total[:-width]) / width, dtype=np.float64)


def _trailing_min(values: FloatArray, width: int) -> FloatArray:
    # Doubling spans: log2(width) passes instead of width, for hours at 100 Hz.
    result = values.copy()
    span = 1
    while span < width:
        step = min(span, width - span)
        shifted = np.full_like(result, np.inf)
        shifted[step:] = result[:-step] if step < result.size else shifted[step:]
        result = np.minimum(result, shifted)
        span += step
    return result
